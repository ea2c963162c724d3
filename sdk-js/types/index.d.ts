// Written by `cargo run -- generate`.

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
  /** Starts watching GitHub for queued self-hosted jobs and launching one-job runner containers for them, by a service that goes on after this call. Needed once; for single runners without it use runner_provision_for_workflow. Uses API budget and the host's CPU and memory. Starting what runs changes nothing. */
  startAutoscaler(args?: StartAutoscalerInput, options?: CallOptions): Promise<StartAutoscalerResult>;
  /** Stops watching for queued jobs: no more runners are launched. Runners go on until their job is done; to end one use runner_stop_container. Stopping what is stopped changes nothing. */
  stopAutoscaler(args?: StopAutoscalerInput, options?: CallOptions): Promise<StopAutoscalerResult>;
  /** Tells whether the autoscaler runs, how many runners are active, how many jobs wait and why, capacity, last error and API budget. Use it first; for queues runner_list_workflows, for runners runner_list_containers. Costs nothing. */
  getStatus(args?: GetStatusInput, options?: CallOptions): Promise<GetStatusResult>;
  /** Lists repositories with running, failed or pending workflow runs, those that wait first: queued jobs, since when, and those that no runner here can serve. For the runners use runner_list_containers. Costs nothing while the autoscaler runs, otherwise some API budget. */
  listWorkflows(args?: ListWorkflowsInput, options?: CallOptions): Promise<ListWorkflowsResult>;
  /** Launches runner containers at once: one for repo whether or not a job waits, without repo one for every queued job; never beyond max_runners. The running autoscaler does this by itself. Without a job a runner ends after idle_timeout. Uses the host's CPU and memory. */
  provisionForWorkflow(args?: ProvisionForWorkflowInput, options?: CallOptions): Promise<ProvisionForWorkflowResult>;
  /** Lists the runner containers of this autoscaler, newest first: repository, name, labels, phase and job. Use it to find the id for runner_stop_container; for waiting jobs use runner_list_workflows. Costs nothing. */
  listContainers(args?: ListContainersInput, options?: CallOptions): Promise<ListContainersResult>;
  /** Stops and removes one runner container, its work directory and registration. An idle one stops at once; one with a job after the user agreed, or with force, and the job fails. To launch no more use runner_stop_autoscaler. Stopping what has ended changes nothing. */
  stopContainer(args: StopContainerInput, options?: CallOptions): Promise<StopContainerResult>;
}

/** What each tool takes and returns. */
interface Tools {
  runner_start_autoscaler: { input: StartAutoscalerInput; result: StartAutoscalerResult };
  runner_stop_autoscaler: { input: StopAutoscalerInput; result: StopAutoscalerResult };
  runner_get_status: { input: GetStatusInput; result: GetStatusResult };
  runner_list_workflows: { input: ListWorkflowsInput; result: ListWorkflowsResult };
  runner_provision_for_workflow: { input: ProvisionForWorkflowInput; result: ProvisionForWorkflowResult };
  runner_list_containers: { input: ListContainersInput; result: ListContainersResult };
  runner_stop_container: { input: StopContainerInput; result: StopContainerResult };
}

/** What kind of failure it is. */
type ErrorCode =
  /** No credential, or GitHub refused it (401). */
  | "not_authenticated"
  /** The container engine does not answer. */
  | "docker_unreachable"
  /** The credential lacks a right; the message names right and repository. */
  | "token_denied"
  /** A runner container could not be created or started, or its image is missing. */
  | "container_failed"
  /** Something was asked for or waits, and no more runners may be started. */
  | "at_capacity"
  /** GitHub, provision_rate or api_budget asks to wait. */
  | "rate_limited"
  /** GitHub does not answer, or answers with server errors. */
  | "github_unreachable"
  /** An argument or option has an impossible value. */
  | "invalid_argument"
  /** No such repository, organisation or container. */
  | "not_found"
  /** The operation changes something and the operator allows looking only. */
  | "read_only"
  /** The container is busy and nobody confirmed that it may be stopped. */
  | "confirmation_required"
  /** A service runs already, with another configuration. */
  | "already_running"
  /** This host got in the way: state directory, socket, process. */
  | "internal"
  ;

/** What `runner_start_autoscaler` takes. */
type StartAutoscalerInput = {
  /** Return when a detached service runs, instead of staying (default true; on the command line false). */
  background?: boolean;
  /** Processors of each runner, 0.01 to 1024 (default 4, clamped to the host). */
  cpu_limit?: number;
  /** Globs of repositories to leave alone (default: none). */
  exclude_repos?: string[];
  /** Labels that runners serve (default self-hosted, linux, the architecture, docker). */
  labels?: string[];
  /** Most runners at a time, 0 to 1000 (default 10); 0 launches none. */
  max_runners?: number;
  /** Memory of each runner, as 512m, 1.5g or in bytes (default 4g, clamped to the host). */
  memory_limit?: string;
  /** Idle runners kept ready per scope, 0 to max_runners (default 0). */
  min_idle?: number;
  /** User or organisation to watch (default: every repository that the credential can see). */
  owner?: string;
  /** Seconds between looks at GitHub while all is quiet, 1 to 86400 (default 120). */
  poll_interval?: number;
  /** Globs of repositories to watch, by full name (default: all). */
  repos?: string[];
  /** Image of the runner containers (default myoung34/github-runner:latest). */
  runner_image?: string;
  /** Repositories pushed within so many days are looked at each time, 1 to 365 (default 1). */
  since_days?: number;
};

/** The `data` of what `runner_start_autoscaler` returns. */
type StartAutoscalerData = {
  /** Runner containers that have not ended. */
  active_runners: number;
  /** How many runners may be, and are. */
  capacity: {
    /** What is left. */
    free: number;
    /** `max_runners`. */
    max: number;
    /** Runners that exist or are being launched. */
    used: number;
  };
  /** Whether this call started it. */
  changed: boolean;
  /** Looks at the demand since then. */
  iterations: number;
  /** When the demand was last looked at. */
  last_check: string | null;
  /** The last failure, while it lasts. */
  last_error: {
    /** When. */
    at: string;
    /** The error's code. */
    code: ErrorCode;
    /** What failed and what to do. */
    message: string;
  } | null;
  /** Whether a service or this very process does the work. */
  mode: "service" | "in-process";
  /** Runners launched since the start. */
  provisioned_runners: number;
  /** Those jobs. */
  queued_jobs: number;
  /** Workflow runs with at least one queued job that runners here can serve. */
  queued_workflows: number;
  /** GitHub's hourly budget. */
  rate_limit: {
    /** One sentence: whether the budget lasts until then. */
    forecast: string;
    /** Requests an hour. */
    limit: number;
    /** What is left of them. */
    remaining: number;
    /** When they are all there again. */
    reset_at: string;
  } | null;
  /** Repositories that are watched. */
  repositories_monitored: number;
  /** Whether the loop runs. */
  running: boolean;
  /** Since when. */
  start_time: string | null;
  /** Sentences worth knowing. */
  warnings: string[];
};

/** What `runner_start_autoscaler` returns. */
interface StartAutoscalerResult {
  /** The answer to a start. */
  data: StartAutoscalerData;
  /** One sentence about the result. */
  message: string;
  /** Addresses of resources that tell more. */
  see?: string[];
  success: true;
}

/** What `runner_stop_autoscaler` takes. */
type StopAutoscalerInput = Record<string, never>;

/** The `data` of what `runner_stop_autoscaler` returns. */
type StopAutoscalerData = {
  /** Whether this call stopped it. */
  changed: boolean;
  /** Runners that go on until their job is done. */
  runners_left: number;
  /** Always false. */
  running: boolean;
};

/** What `runner_stop_autoscaler` returns. */
interface StopAutoscalerResult {
  /** The answer to a stop. */
  data: StopAutoscalerData;
  /** One sentence about the result. */
  message: string;
  /** Addresses of resources that tell more. */
  see?: string[];
  success: true;
}

/** What `runner_get_status` takes. */
type GetStatusInput = Record<string, never>;

/** The `data` of what `runner_get_status` returns. */
type GetStatusData = {
  /** Runner containers that have not ended. */
  active_runners: number;
  /** How many runners may be, and are. */
  capacity: {
    /** What is left. */
    free: number;
    /** `max_runners`. */
    max: number;
    /** Runners that exist or are being launched. */
    used: number;
  };
  /** Looks at the demand since then. */
  iterations: number;
  /** When the demand was last looked at. */
  last_check: string | null;
  /** The last failure, while it lasts. */
  last_error: {
    /** When. */
    at: string;
    /** The error's code. */
    code: ErrorCode;
    /** What failed and what to do. */
    message: string;
  } | null;
  /** Whether a service or this very process does the work. */
  mode: "service" | "in-process";
  /** Runners launched since the start. */
  provisioned_runners: number;
  /** Those jobs. */
  queued_jobs: number;
  /** Workflow runs with at least one queued job that runners here can serve. */
  queued_workflows: number;
  /** GitHub's hourly budget. */
  rate_limit: {
    /** One sentence: whether the budget lasts until then. */
    forecast: string;
    /** Requests an hour. */
    limit: number;
    /** What is left of them. */
    remaining: number;
    /** When they are all there again. */
    reset_at: string;
  } | null;
  /** Repositories that are watched. */
  repositories_monitored: number;
  /** Whether the loop runs. */
  running: boolean;
  /** Since when. */
  start_time: string | null;
  /** Sentences worth knowing. */
  warnings: string[];
};

/** What `runner_get_status` returns. */
interface GetStatusResult {
  /** The state of the autoscaler. */
  data: GetStatusData;
  /** One sentence about the result. */
  message: string;
  /** Addresses of resources that tell more. */
  see?: string[];
  success: true;
}

/** What `runner_list_workflows` takes. */
type ListWorkflowsInput = {
  /** Also repositories where nothing runs, waits or failed (default false). */
  all?: boolean;
  /** next_cursor of the page before. */
  cursor?: string;
  /** Most entries, 1 to 1000 (default 100). */
  limit?: number;
  /** Only this repository, as owner/name. */
  repo?: string;
};

/** The `data` of what `runner_list_workflows` returns. */
type ListWorkflowsData = Array<{
  /** Runs that failed within `since_days`. */
  failed: number;
  /** Runs that wait. */
  pending: number;
  /** Queued jobs that runners here can serve. */
  queued_jobs: number;
  /** The repository. */
  repo: string;
  /** Runs in progress that wait for nothing. */
  running: number;
  /** running + failed + pending. */
  total_workflows: number;
  /** Queued jobs that no runner here can serve. */
  unmatched: {
    /** How many they are. */
    jobs: number;
    /** What they ask for. */
    labels: string[];
    /** What is missing. */
    reason: string;
  }[];
  /** Since when the oldest of them waits. */
  waiting_since: string | null;
}>;

/** What `runner_list_workflows` returns. */
interface ListWorkflowsResult {
  /** Entries in `data`. */
  count: number;
  data: ListWorkflowsData;
  /** One sentence about the result. */
  message: string;
  /** What to give as `cursor` to get them. */
  next_cursor: string | null;
  /** Addresses of resources that tell more. */
  see?: string[];
  success: true;
  /** Whether there are more. */
  truncated: boolean;
}

/** What `runner_provision_for_workflow` takes. */
type ProvisionForWorkflowInput = {
  /** One runner for this repository, as owner/name; without it one for every queued job. */
  repo?: string;
};

/** The `data` of what `runner_provision_for_workflow` returns. */
type ProvisionForWorkflowData = Array<{
  /** The engine's id, its first twelve digits. */
  container_id: string;
  /** What it can serve. */
  labels: string[];
  /** Why it was launched. */
  origin: "queue" | "manual" | "warm";
  /** The repository that it is for, or the organisation. */
  repo: string;
  /** Its name, in Docker and on GitHub. */
  runner_name: string;
  /** What it is doing: `starting`. */
  status: "starting" | "idle" | "busy" | "exited";
}>;

/** What `runner_provision_for_workflow` returns. */
interface ProvisionForWorkflowResult {
  /** Entries in `data`. */
  count: number;
  data: ProvisionForWorkflowData;
  /** One sentence about the result. */
  message: string;
  /** What to give as `cursor` to get them. */
  next_cursor: string | null;
  /** Addresses of resources that tell more. */
  see?: string[];
  success: true;
  /** Whether there are more. */
  truncated: boolean;
}

/** What `runner_list_containers` takes. */
type ListContainersInput = {
  /** next_cursor of the page before. */
  cursor?: string;
  /** Most entries, 1 to 1000 (default 100). */
  limit?: number;
  /** Only those of this repository, as owner/name. */
  repo?: string;
};

/** The `data` of what `runner_list_containers` returns. */
type ListContainersData = Array<{
  /** The engine's id, its first twelve digits. */
  container_id: string;
  /** When it was created. */
  created_at: string;
  /** The job it works on. */
  job: {
    /** GitHub's id of the job. */
    id: number;
    /** The job's name. */
    name: string;
    /** The workflow run that it belongs to. */
    run_id: number;
    /** Its page. */
    url: string;
  } | null;
  /** What it can serve. */
  labels: string[];
  /** What it is doing. */
  phase: "starting" | "idle" | "busy" | "exited";
  /** The repository that it is for, or the organisation. */
  repo: string;
  /** Its name, in Docker and on GitHub. */
  runner_name: string;
  /** The engine's word: created, running, exited. */
  status: string;
}>;

/** What `runner_list_containers` returns. */
interface ListContainersResult {
  /** Entries in `data`. */
  count: number;
  data: ListContainersData;
  /** One sentence about the result. */
  message: string;
  /** What to give as `cursor` to get them. */
  next_cursor: string | null;
  /** Addresses of resources that tell more. */
  see?: string[];
  success: true;
  /** Whether there are more. */
  truncated: boolean;
}

/** What `runner_stop_container` takes. */
type StopContainerInput = {
  /** The container's id, the beginning of it, or the runner's name. */
  container: string;
  /** Stop it even if it has a job, which then fails (default false). */
  force?: boolean;
};

/** The `data` of what `runner_stop_container` returns. */
type StopContainerData = {
  /** Whether this call stopped it. */
  changed: boolean;
  /** The engine's id, its first twelve digits. */
  container_id: string;
  /** The repository that it was for, or the organisation. */
  repo: string;
  /** Whether it is stopped now. */
  stopped: boolean;
  /** What it was doing. */
  was: "starting" | "idle" | "busy" | "exited";
};

/** What `runner_stop_container` returns. */
interface StopContainerResult {
  /** The answer to a request to stop a container. */
  data: StopContainerData;
  /** One sentence about the result. */
  message: string;
  /** Addresses of resources that tell more. */
  see?: string[];
  success: true;
}

export { MCP as default, MCP, MCPError, MCPToolError };
export type { CallOptions, ClientOptions, SubscribeOptions, Progress, Question, Answer, Tool, Resource, CompleteParams, Completion, ErrorDetails, ToolName, ToolInput, ToolResult, Rest, Tools, ErrorCode, StartAutoscalerInput, StartAutoscalerData, StartAutoscalerResult, StopAutoscalerInput, StopAutoscalerData, StopAutoscalerResult, GetStatusInput, GetStatusData, GetStatusResult, ListWorkflowsInput, ListWorkflowsData, ListWorkflowsResult, ProvisionForWorkflowInput, ProvisionForWorkflowData, ProvisionForWorkflowResult, ListContainersInput, ListContainersData, ListContainersResult, StopContainerInput, StopContainerData, StopContainerResult };
