// A client for the runner autoscaler, and for any MCP server over HTTP that speaks revision
// 2026-07-28 of the protocol (modelcontextprotocol.io/specification/2026-07-28). This file is what
// ships: browsers get it as it is. Its types are in ../types.

// <generated> by `cargo run -- generate`: the tools, and whether calling one changes nothing.
const VERSION = "0.1.0";
const TOOLS = {
  runner_start_autoscaler: false,
  runner_stop_autoscaler: false,
  runner_get_status: true,
  runner_list_workflows: true,
  runner_provision_for_workflow: false,
  runner_list_containers: true,
  runner_stop_container: false,
};
// </generated>

const PROTOCOL = "2026-07-28";
const META = "io.modelcontextprotocol/";
/** Questions that one call may ask, one after the other. */
const ROUNDS = 8;
/** A stream that says nothing for so long is dead: servers send a comment every 15 s or so. */
const QUIET = 45_000;
const LATER = [429, 502, 503, 504];

/** A request that could not be made, or was refused. */
class MCPError extends Error {
  name = "MCPError";
  constructor(message, details) {
    super(message);
    Object.assign(this, details);
  }
}

/** A tool that was called, and failed. */
class MCPToolError extends MCPError {
  name = "MCPToolError";
}

class MCP {
  #id = 0;
  #options;

  constructor({ url = "http://localhost:8080", ...options } = {}) {
    this.url = new URL(url, globalThis.location?.href);
    if (this.url.pathname === "/") this.url.pathname = "/mcp";
    this.#options = { timeout: 60_000, retries: 2, ...options };
  }

  /** Calls a tool; its structured content. */
  async callTool(tool, args = {}, options) {
    const result = await this.request("tools/call", { name: tool, arguments: args }, options);
    const { structuredContent: content = result, isError } = result;
    if (!isError && content.success !== false) return content;
    const { retry_after_s: retryAfter, message, ...error } = content.error ?? {};
    const text = message ?? result.content?.map((part) => part.text).join("\n");
    throw new MCPToolError(text, { code: "tool_failed", retryable: false, ...error, retryAfter, tool });
  }

  call_tool(...call) { return this.callTool(...call); }

  /** All tools of the server. */
  listTools(options) { return this.#all("tools", options); }

  list_tools(options) { return this.listTools(options); }

  /** All resources of the server that have a fixed address. */
  listResources(options) { return this.#all("resources", options); }

  /** The text of a resource; what it says if it is JSON; base64 if it is binary. */
  async readResource(uri, options) {
    const { contents: [{ mimeType, text, blob }] } = await this.request("resources/read", { uri }, options);
    return /[/+]json\b/.test(mimeType) ? JSON.parse(text) : text ?? blob;
  }

  /** What can stand for the argument `name` of a prompt, or of a template of resources. */
  async complete(of, name, value = "", known = {}, options) {
    const ref = of.includes("://") ? { type: "ref/resource", uri: of } : { type: "ref/prompt", name: of };
    const params = { ref, argument: { name, value }, context: { arguments: known } };
    return (await this.request("completion/complete", params, options)).completion;
  }

  /**
   * Calls `onChange` with each of the addresses at first, and again whenever it has changed or may
   * have, until `signal` is aborted. Connects again when the connection is lost.
   */
  async subscribe(uris, onChange, { signal, onState } = {}) {
    const hear = ({ method, params }) => {
      if (method === "notifications/resources/updated") onChange(params.uri);
      if (method !== "notifications/subscriptions/acknowledged") return;
      const missing = uris.find((uri) => !params.notifications.resourceSubscriptions?.includes(uri));
      if (missing) throw new MCPError(`The server does not watch ${missing}.`, { code: "not_found" });
      attempt = 0;
      onState?.("live");
      // What happened while nobody listened is not told again.
      for (const uri of uris) onChange(uri);
    };
    for (var attempt = 0; ; attempt++) {
      let lost;
      try {
        if (attempt) await pause(attempt, 0, signal);
        const notifications = { resourceSubscriptions: uris };
        await this.#exchange("subscriptions/listen", { notifications }, { signal, timeout: QUIET }, hear);
      } catch (error) {
        if (signal?.aborted) return;
        if (!error.retryable && error.code !== "timeout") throw error;
        lost = error;
      }
      onState?.("reconnecting", lost);
    }
  }

  /** The result of any request of the protocol. */
  async request(method, params = {}, options) {
    options = { ...this.#options, ...options };
    // Whether a call that got lost was done nobody knows: only what changes nothing is tried again.
    const reads = method !== "tools/call" || TOOLS[params.name] === true;
    for (let attempt = 0, round = 0; ; ) {
      let result;
      try {
        result = await this.#exchange(method, params, options);
      } catch (error) {
        if (!reads || !error.retryable || attempt >= options.retries || error.retryAfter > 60) throw error;
        await pause(++attempt, error.retryAfter, options.signal);
        continue;
      }
      if (result.resultType !== "input_required") return result;
      const { inputRequests = {}, requestState } = result;
      const inputResponses = {};
      for (const [key, { method, params }] of Object.entries(inputRequests)) {
        if (!options.onElicit || method !== "elicitation/create" || round++ > ROUNDS) {
          throw new MCPError("The server asks for what nobody here can answer.", { code: "input_required" });
        }
        inputResponses[key] = (await options.onElicit(params)) ?? { action: "cancel" };
      }
      params = { ...params, inputResponses, requestState };
    }
  }

  async #all(kind, options) {
    const all = [];
    let cursor;
    do {
      const page = await this.request(`${kind}/list`, cursor && { cursor }, options);
      all.push(...page[kind]);
      cursor = page.nextCursor;
    } while (cursor);
    return all;
  }

  /** Sends one request; `hear`s what comes before its result. */
  async #exchange(method, params, { signal, timeout, onprogress, onElicit }, hear) {
    const { fetch = globalThis.fetch, token, clientInfo } = this.#options;
    signal?.throwIfAborted();
    const id = ++this.#id;
    const end = new AbortController();
    const abort = () => end.abort(signal.reason);
    signal?.addEventListener("abort", abort);
    let timer;
    const wind = () => {
      clearTimeout(timer);
      const late = () => end.abort(new MCPError(`No answer within ${timeout / 1000} s.`, { code: "timeout" }));
      // Longer ones would overflow, and end at once.
      if (timeout > 0 && timeout < 2 ** 31) timer = setTimeout(late, timeout);
    };
    const io = (promise) => promise.catch((cause) => {
      throw end.signal.aborted
        ? end.signal.reason
        : new MCPError(`The connection to ${this.url.origin} failed.`, { code: "unreachable", retryable: true, cause });
    });
    const read = (text, status) => {
      try {
        return JSON.parse(text);
      } catch (cause) {
        throw new MCPError(`HTTP ${status}: ${text.slice(0, 200)}`, {
          code: "bad_answer", status, retryable: LATER.includes(status), cause,
        });
      }
    };
    wind();
    try {
      const bearer = await (typeof token === "function" ? token() : token ?? ownToken(this.url));
      const name = params.name ?? params.uri;
      const response = await io(fetch(this.url, {
        method: "POST",
        signal: end.signal,
        headers: {
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          "mcp-protocol-version": PROTOCOL,
          "mcp-method": method,
          ...(name && { "mcp-name": header(name) }),
          ...(bearer && { authorization: `Bearer ${bearer}` }),
        },
        body: JSON.stringify({
          jsonrpc: "2.0",
          id,
          method,
          params: {
            ...params,
            _meta: {
              [`${META}protocolVersion`]: PROTOCOL,
              [`${META}clientInfo`]: clientInfo ?? { name: "ipfs-accelerate-mcp-sdk", version: VERSION },
              [`${META}clientCapabilities`]: onElicit ? { elicitation: { form: {} } } : {},
              ...(onprogress && { progressToken: id }),
            },
          },
        }),
      }));
      const { status, headers } = response;
      // The result; undefined for what comes before it.
      const take = (message) => {
        if (message.error) {
          // This server's own errors say more than JSON-RPC's.
          const { code, message: text, remedy } = message.error.data?.error ?? message.error;
          const after = headers.get("retry-after");
          const retryAfter = after ? +after || (Date.parse(after) - Date.now()) / 1000 : undefined;
          throw new MCPError(text, { code, status, remedy, retryAfter, retryable: LATER.includes(status) });
        }
        if (message.id === id) return message.result;
        if (!hear) wind();
        hear?.(message);
        if (message.method === "notifications/progress") onprogress?.(message.params);
      };
      if (!/^text\/event-stream/.test(headers.get("content-type"))) {
        const result = take(read(await io(response.text()), status));
        if (result) return result;
      } else {
        const stream = response.body.getReader();
        const decoder = new TextDecoder();
        let rest = "";
        let data = [];
        for (let part; !(part = await io(stream.read())).done; ) {
          if (hear) wind();
          rest += decoder.decode(part.value, { stream: true });
          // A CR at the end may be the first half of a CRLF.
          const lines = rest.split(/\r\n|\n|\r(?!$)/);
          rest = lines.pop();
          for (const line of lines) {
            if (line.startsWith("data:")) data.push(line.slice(5));
            if (line || !data.length) continue;
            const result = take(read(data.join("\n"), status));
            if (result) return result;
            data = [];
          }
        }
      }
      throw new MCPError("The connection ended before the answer.", { code: "unreachable", status, retryable: true });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      // Closing a stream cancels what is still being done.
      end.abort();
    }
  }
}

for (const tool of Object.keys(TOOLS)) {
  const method = tool.slice(7).replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  MCP.prototype[method] = function (args, options) { return this.callTool(tool, args, options); };
}

/** Waits longer with each attempt, never as long as anybody else, and no less than `seconds`. */
function pause(attempt, seconds = 0, signal) {
  const backoff = Math.min(125 * 2 ** attempt, 10_000) * (1 + Math.random());
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, Math.max(backoff, seconds * 1000));
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** A value that can stand in a header (SEP-2243). */
function header(value) {
  if (/^[!-~]([ -~]*[!-~])?$/.test(value) && !value.startsWith("=?")) return value;
  return `=?base64?${btoa(String.fromCharCode(...new TextEncoder().encode(value)))}?=`;
}

/** The token that the server of the same user made, for nobody but a server on this machine. */
function ownToken({ hostname }) {
  const { process } = globalThis;
  const fs = process?.getBuiltinModule?.("node:fs");
  if (!fs || !/^(localhost|127\.[\d.]+|\[::1])$/.test(hostname)) return undefined;
  const { RUNNER_KIT_HTTP_TOKEN: token, XDG_STATE_HOME: state, HOME } = process.env;
  if (token) return token;
  const file = `${state || `${HOME}/.local/state`}/ipfs-accelerate/http-token`;
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim() : undefined;
}

export { MCP as default, MCP, MCPError, MCPToolError };
