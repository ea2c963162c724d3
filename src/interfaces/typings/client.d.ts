/** What holds for one call. Given to the client, it holds for all of its calls. */
interface CallOptions {
  /** Aborts the call, and what the server is doing for it. */
  signal?: AbortSignal;
  /** Milliseconds that the server may be silent, 60,000 by default; `Infinity` for as long as it likes. Progress begins them anew. */
  timeout?: number;
  /**
   * How often a request that changes nothing is made again, later each time, after a connection was lost, after HTTP 429, 502, 503 or
   * 504, and where the server says that the failure may pass; 2 by default. A call that changes something is never made again.
   */
  retries?: number;
  /** Told what the server is doing meanwhile. */
  onprogress?: (progress: Progress) => void;
  /**
   * Answers for the user when the server asks. Without it nobody is asked, and what needs a confirmation fails with
   * `confirmation_required`.
   */
  onElicit?: (question: Question) => Answer | undefined | Promise<Answer | undefined>;
}

/** How a client reaches its server. */
interface ClientOptions extends CallOptions {
  /** The server's address, `http://localhost:8080` by default. `/mcp` is added where it has no path. */
  url?: string | URL;
  /**
   * The bearer token, or what returns it: it is asked for each request. By default, in Node and for a server on this machine alone:
   * `RUNNER_KIT_HTTP_TOKEN`, else what the same user's server left in its state directory.
   */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch;
  /** Who calls, for the server's audit log. */
  clientInfo?: { name: string; version: string };
}

/** How a subscription is kept. */
interface SubscribeOptions {
  /** Ends it. */
  signal?: AbortSignal;
  /** Told when changes are heard, and when they are not: then with what went wrong, unless the server ended it properly. */
  onState?: (state: "live" | "reconnecting", reason?: unknown) => void;
}

/** A step of a call. */
interface Progress {
  progress: number;
  total?: number;
  message?: string;
  progressToken: string | number;
}

/** What the server wants the user to be asked (an elicitation). */
interface Question {
  message: string;
  /** JSON schema of the `content` of the answer. */
  requestedSchema: { type: "object"; properties: Record<string, any>; required?: string[] };
}

/** What the user answers. */
interface Answer {
  action: "accept" | "decline" | "cancel";
  content?: Record<string, string | number | boolean | string[]>;
}

/** How a server lists a tool. */
interface Tool {
  name: string;
  title?: string;
  description?: string;
  inputSchema: Record<string, any>;
  outputSchema?: Record<string, any>;
  annotations?: { readOnlyHint?: boolean; destructiveHint?: boolean; idempotentHint?: boolean; openWorldHint?: boolean };
}

/** How a server lists a resource. */
interface Resource {
  uri: string;
  name: string;
  title?: string;
  description?: string;
  mimeType?: string;
}

/** What is to be completed. */
interface CompleteParams {
  ref: { type: "ref/prompt"; name: string } | { type: "ref/resource"; uri: string };
  argument: { name: string; value: string };
  /** The other arguments, as far as they are known. */
  context?: { arguments?: Record<string, string> };
}

/** How it can be completed. */
interface Completion {
  values: string[];
  total?: number;
  hasMore?: boolean;
}

/** What is known of a failure. */
interface ErrorDetails {
  code: string | number;
  message?: string;
  status?: number;
  remedy?: string;
  retryable?: boolean;
  retry_after_s?: number | null;
  cause?: unknown;
}

/** A request that could not be made, or was refused. */
declare class MCPError extends Error {
  constructor(message: string, details: ErrorDetails);
  /**
   * `unreachable`, `timeout`, `bad_answer`, `input_required` (the server asked, and there is no `onElicit`), the server's own code, or a
   * number of JSON-RPC.
   */
  readonly code: ErrorCode | number | (string & {});
  /** The HTTP status, where there was one. */
  readonly status?: number;
  /** What to do about it. */
  readonly remedy?: string;
  /** Whether the same may succeed later by itself. */
  readonly retryable?: boolean;
  /** Seconds to wait before that, where the server said so. */
  readonly retryAfter?: number | null;
  readonly cause?: unknown;
}

/** A tool that was called, and failed. */
declare class MCPToolError extends MCPError {
  /** Which one. */
  readonly tool: string;
  /** `tool_failed` where a foreign server gave none. */
  readonly code: ErrorCode | (string & {});
  readonly retryable: boolean;
}

/** The name of a tool that this server has. */
type ToolName = keyof Tools;
/** What the tool `Name` takes. */
type ToolInput<Name> = Name extends ToolName ? Tools[Name]["input"] : Record<string, unknown>;
/** What the tool `Name` returns. */
type ToolResult<Name> = Name extends ToolName ? Tools[Name]["result"] : Record<string, any>;
/** Arguments may be left out where none is required. */
type Rest<Input> = {} extends Input ? [args?: Input, options?: CallOptions] : [args: Input, options?: CallOptions];

/** A client of the runner autoscaler, or of any MCP server over HTTP that speaks revision 2026-07-28. */
declare class MCP {
  constructor(options?: ClientOptions);
  /** Where requests go. */
  readonly url: URL;
  /** Calls a tool; what it returns. Throws an `MCPToolError` when it fails, an `MCPError` when it could not be called. */
  call_tool<Name extends ToolName | (string & {})>(tool: Name, ...rest: Rest<ToolInput<Name>>): Promise<ToolResult<Name>>;
  /** The same as `call_tool`. */
  callTool<Name extends ToolName | (string & {})>(tool: Name, ...rest: Rest<ToolInput<Name>>): Promise<ToolResult<Name>>;
  /** All tools of the server. */
  list_tools(options?: CallOptions): Promise<Tool[]>;
  /** The same as `list_tools`. */
  listTools(options?: CallOptions): Promise<Tool[]>;
  /** All resources of the server that have a fixed address. */
  listResources(options?: CallOptions): Promise<Resource[]>;
  /** What a resource says: its value if it is JSON, otherwise its text, base64 if it is binary. */
  readResource<Content = any>(uri: string, options?: CallOptions): Promise<Content>;
  /** How an argument of a prompt or of a template of resources can be completed. */
  complete(params: CompleteParams, options?: CallOptions): Promise<Completion>;
  /**
   * Calls `onChange` with each of the addresses at first, and again whenever it has changed or may have: after a connection was lost,
   * too. Connects again by itself; resolves when `signal` is aborted, rejects when the server refuses.
   */
  subscribe(uris: string[], onChange: (uri: string) => void, options?: SubscribeOptions): Promise<void>;
  /** The result of any request of the protocol. */
  request<Result = any>(method: string, params: object, options?: CallOptions): Promise<Result>;
  // <methods>
}
