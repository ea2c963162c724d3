// A client for the runner autoscaler, and for any MCP server over HTTP that speaks revision
// 2026-07-28 of the protocol (modelcontextprotocol.io/specification/2026-07-28). This file ships as
// it is, to browsers too. What everything is for stands with its type, in ../types/index.d.ts.

// <tools>
const VERSION = "0.1.0";
// Whether calling it changes nothing.
const TOOLS = {
  runner_start_autoscaler: false,
  runner_stop_autoscaler: false,
  runner_get_status: true,
  runner_list_workflows: true,
  runner_provision_for_workflow: false,
  runner_list_containers: true,
  runner_stop_container: false,
};
// </tools>

const PROTOCOL = "2026-07-28";

class MCPError extends Error {
  name = "MCPError";
  constructor(otherwise, { message = otherwise, retry_after_s: retryAfter, ...details }) {
    super(message);
    Object.assign(this, details, { retryAfter });
  }
}

class MCPToolError extends MCPError {
  name = "MCPToolError";
}

class MCP {
  #id = 0;
  #options;

  constructor(options) {
    this.#options = options;
    this.url = new URL(options?.url ?? "http://localhost:8080", globalThis.location?.href);
    if (this.url.pathname === "/") this.url.pathname = "/mcp";
  }

  async callTool(tool, args = {}, options) {
    const result = await this.request("tools/call", { name: tool, arguments: args }, options);
    const { structuredContent = result, isError, content } = result;
    if (!isError) return structuredContent;
    throw new MCPToolError(content.map((part) => part.text).join("\n"), {
      code: "tool_failed", retryable: false, ...structuredContent.error, tool,
    });
  }

  listTools(options) { return this.#list("tools", options); }

  listResources(options) { return this.#list("resources", options); }

  async readResource(uri, options) {
    const { contents: [{ mimeType, text, blob }] } = await this.request("resources/read", { uri }, options);
    return /json/.test(mimeType) ? JSON.parse(text) : text ?? blob;
  }

  async complete(params, options) {
    return (await this.request("completion/complete", params, options)).completion;
  }

  async subscribe(uris, onChange, options) {
    // Servers say something every 15 s or so: one that is silent is gone.
    const settings = { ...this.#options, ...options, timeout: 45_000 };
    const { signal, onState } = settings;
    let attempt = 0;
    const on = {
      "notifications/resources/updated": ({ uri }) => onChange(uri),
      "notifications/subscriptions/acknowledged": ({ notifications }) => {
        const missing = uris.find((uri) => !notifications.resourceSubscriptions?.includes(uri));
        if (missing) throw new MCPError(`The server does not watch ${missing}.`, { code: "not_found" });
        attempt = 0;
        onState?.("live");
        // What happened while nobody listened is not told again.
        for (const uri of uris) onChange(uri);
      },
    };
    const params = { notifications: { resourceSubscriptions: uris } };
    for (let wait = 0; ; wait = backoff(attempt++)) {
      const end = await this.#exchange("subscriptions/listen", params, settings, on, wait).catch((error) => error);
      if (signal?.aborted) return;
      // A server that stops ends it with a result.
      if (!end.resultType && !end.retryable && end.code !== "timeout") throw end;
      onState?.("reconnecting", end);
    }
  }

  async request(method, params, options) {
    options = { ...this.#options, ...options };
    const { onElicit, onprogress, retries = 2 } = options;
    // Nobody knows whether a call that got lost was done: only what changes nothing is tried again.
    const reads = method !== "tools/call" || TOOLS[params.name] === true;
    const on = { "notifications/progress": onprogress };
    const send = (attempt, wait) => this.#exchange(method, params, options, on, wait).catch((error) => {
      if (!reads || !error.retryable || attempt >= retries || error.retryAfter > 60) throw error;
      return send(attempt + 1, backoff(attempt, error.retryAfter));
    });
    for (let round = 0; ; round++) {
      const { resultType, inputRequests = {}, requestState, ...result } = await send(0);
      if (resultType !== "input_required") return result;
      const questions = Object.entries(inputRequests);
      if (!onElicit || round > 8 || questions.some(([, { method }]) => method !== "elicitation/create")) {
        throw new MCPError("The server asks what nobody answers.", { code: "input_required" });
      }
      const inputResponses = {};
      for (const [key, { params }] of questions) inputResponses[key] = await onElicit(params) ?? { action: "cancel" };
      params = { ...params, inputResponses, requestState };
    }
  }

  async #list(kind, options, cursor) {
    const { [kind]: page, nextCursor } = await this.request(`${kind}/list`, { cursor }, options);
    return nextCursor ? [...page, ...await this.#list(kind, options, nextCursor)] : page;
  }

  /** Sends one request, after `wait` ms; its result. What comes before that is told to `on`. */
  async #exchange(method, params, options, on, wait) {
    const { fetch = globalThis.fetch, token, signal, timeout = 60_000, onprogress, onElicit } = options;
    const id = ++this.#id;
    const end = new AbortController();
    let timer;
    const wind = () => {
      clearTimeout(timer);
      // Longer ones would overflow, and end at once.
      if (timeout < 2 ** 31) timer = setTimeout(() => {
        end.abort(new MCPError(`No answer within ${timeout} ms.`, { code: "timeout" }));
      }, timeout);
    };
    const lost = (cause) => {
      end.signal.throwIfAborted();
      throw new MCPError(`The connection to ${this.url} failed.`, { code: "unreachable", retryable: true, cause });
    };
    try {
      signal?.throwIfAborted();
      signal?.addEventListener("abort", () => end.abort(signal.reason), { signal: end.signal });
      // When it is aborted meanwhile, fetch says so.
      if (wait) await new Promise((resolve) => timer = setTimeout(end.signal.onabort = resolve, wait));
      const bearer = await (typeof token === "function" ? token() : token ?? (globalThis.process && ownToken(this.url)));
      let name = params.name ?? params.uri;
      // What can't stand in a header (SEP-2243).
      if (/[^ -~]/.test(name)) name = `=?base64?${btoa(unescape(encodeURIComponent(name)))}?=`;
      wind();
      const response = await fetch(this.url, {
        method: "POST",
        signal: end.signal,
        headers: {
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          "mcp-protocol-version": PROTOCOL,
          "mcp-method": method,
          ...(name && { "mcp-name": name }),
          ...(bearer && { authorization: `Bearer ${bearer}` }),
        },
        body: JSON.stringify({
          jsonrpc: "2.0",
          id,
          method,
          params: {
            ...params,
            _meta: {
              "io.modelcontextprotocol/protocolVersion": PROTOCOL,
              "io.modelcontextprotocol/clientInfo": options.clientInfo ?? { name: "ipfs-accelerate-mcp-sdk", version: VERSION },
              "io.modelcontextprotocol/clientCapabilities": { elicitation: onElicit && { form: {} } },
              progressToken: onprogress && id,
            },
          },
        }),
      }).catch(lost);
      const { status, headers } = response;
      const take = (text) => {
        let message;
        try {
          message = JSON.parse(text);
        } catch {
          // It stands in the error.
        }
        const { result, method, params, error } = message ?? {};
        if (result) return result;
        if (method) return void on[method]?.(params);
        const after = headers.get("retry-after");
        throw new MCPError(`HTTP ${status}: ${text.slice(0, 200)}`, {
          code: "bad_answer",
          status,
          retryable: /429|50[234]/.test(status),
          retry_after_s: +after || (Date.parse(after) - Date.now()) / 1000 || undefined,
          // This server's own errors say more than JSON-RPC's.
          ...(error?.data?.error ?? error),
        });
      };
      if (!/event-stream/.test(headers.get("content-type"))) return take(await response.text().catch(lost));
      const stream = response.body.getReader();
      const decoder = new TextDecoder();
      let rest = "";
      let data = "";
      for (;;) {
        const { done, value } = await stream.read().catch(lost);
        if (done) lost();
        wind();
        rest += decoder.decode(value, { stream: true });
        // A CR at the end may be the first half of a CRLF.
        const lines = rest.split(/\r\n|\n|\r(?!$)/);
        rest = lines.pop();
        // A line of nothing else is empty whatever follows.
        if (rest === "\r") lines.push("");
        for (const line of lines) {
          if (/^data:/.test(line)) data += line.slice(5);
          if (line || !data) continue;
          const result = take(data);
          if (result) return result;
          data = "";
        }
      }
    } finally {
      clearTimeout(timer);
      // Closing a stream cancels what is still being done.
      end.abort();
    }
  }
}

for (const tool in TOOLS) {
  const method = tool.slice(7).replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  MCP.prototype[method] = function (args, options) { return this.callTool(tool, args, options); };
}

MCP.prototype.call_tool = MCP.prototype.callTool;
MCP.prototype.list_tools = MCP.prototype.listTools;

/** Longer with each attempt, never as long as anybody else's, and no less than `seconds`. */
function backoff(attempt, seconds = 0) {
  return Math.max(seconds * 1000, Math.min(2 ** attempt, 50) * (1 + Math.random()) * 200);
}

/** The token that the server of the same user made, for nobody but a server on this machine. */
function ownToken({ hostname }) {
  const fs = globalThis.process.getBuiltinModule?.("node:fs");
  if (!fs || !/^(localhost|127[\d.]+|\[::1])$/.test(hostname)) return;
  const { RUNNER_KIT_HTTP_TOKEN, XDG_STATE_HOME, HOME } = globalThis.process.env;
  const file = `${/^\//.test(XDG_STATE_HOME) ? XDG_STATE_HOME : `${HOME}/.local/state`}/ipfs-accelerate/http-token`;
  return RUNNER_KIT_HTTP_TOKEN || (fs.existsSync(file) && fs.readFileSync(file, "utf8").trim());
}

export { MCP as default, MCP, MCPError, MCPToolError };
