// What the client does by itself, whatever the server.
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { describe, mock, test } from "node:test";
import MCP, { MCPError, MCPToolError } from "ipfs-accelerate-mcp-sdk";
import { broken, content, message, notification, result, server, silent, status, stream } from "./double.mjs";

const url = "http://runners.test";
const client = (fetch, options) => new MCP({ url, token: "secret", fetch, ...options });
/** What `promise` is rejected with. */
const failure = (promise) => promise.then((value) => assert.fail(`it succeeded: ${JSON.stringify(value)}`), (error) => error);
const READS = "runner_get_status";
const CHANGES = "runner_stop_autoscaler";

describe("requests", () => {
  test("say in headers and body what they are, as revision 2026-07-28 wants it", async () => {
    const { fetch, requests } = server(content({ data: 1 }));
    await client(fetch).callTool(READS, {});
    const [{ headers, params, method, jsonrpc }] = requests;
    assert.deepEqual(headers, {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": READS,
      authorization: "Bearer secret",
    });
    const { version } = createRequire(import.meta.url)("ipfs-accelerate-mcp-sdk/package.json");
    assert.deepEqual(params._meta, {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientInfo": { name: "ipfs-accelerate-mcp-sdk", version },
      "io.modelcontextprotocol/clientCapabilities": {},
    });
    assert.deepEqual([jsonrpc, method, params.name, params.arguments], ["2.0", "tools/call", READS, {}]);
  });

  test("go to /mcp unless the address has a path, and have each their own id", async () => {
    const { fetch, requests } = server(content({}));
    for (const [given, used] of [
      ["http://a.test", "http://a.test/mcp"],
      ["http://a.test/", "http://a.test/mcp"],
      ["https://a.test/sub/mcp", "https://a.test/sub/mcp"],
      [undefined, "http://localhost:8080/mcp"],
    ]) {
      const mcp = client(fetch, { url: given });
      await Promise.all([mcp.getStatus(), mcp.getStatus()]);
      const [one, other] = requests.splice(0);
      assert.equal(one.url, used);
      assert.notEqual(one.id, other.id);
    }
  });

  test("ask a function for the token each time, and send none where there is none", async () => {
    const { fetch, requests } = server(content({}));
    let count = 0;
    const mcp = client(fetch, { token: async () => `token-${++count}` });
    await mcp.getStatus();
    await mcp.getStatus();
    await client(fetch, { token: undefined }).getStatus();
    assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer token-1", "Bearer token-2", undefined]);
  });

  test("encode a name that no header can carry", async () => {
    const { fetch, requests } = server(result({ contents: [{ uri: "x", text: "hi" }] }));
    await client(fetch).readResource("file:///grüße");
    assert.equal(requests[0].headers["mcp-name"], `=?base64?${Buffer.from("file:///grüße").toString("base64")}?=`);
  });

  test("never carry the user's own token to another machine", async (t) => {
    t.after(() => delete process.env.RUNNER_KIT_HTTP_TOKEN);
    process.env.RUNNER_KIT_HTTP_TOKEN = "the-users-own";
    const { fetch, requests } = server(content({}));
    const local = ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "http://127.1:1"];
    const foreign = ["http://runners.test", "http://localhost.evil.test", "http://127.0.0.1.evil.test", "http://128.0.0.1", "http://[::2]"];
    for (const url of [...local, ...foreign]) await new MCP({ url, fetch }).getStatus();
    const sent = requests.map(({ headers }) => headers.authorization);
    assert.deepEqual(sent, [...local.map(() => "Bearer the-users-own"), ...foreign.map(() => undefined)]);
  });
});

describe("answers", () => {
  test("are the structured content, and the whole result where there is none", async () => {
    const { fetch } = server(content({ data: [1], count: 1 }), result({ content: [{ type: "text", text: "3" }] }));
    assert.deepEqual(await client(fetch).call_tool("any"), { success: true, data: [1], count: 1 });
    assert.deepEqual(await client(fetch).call_tool("any"), { content: [{ type: "text", text: "3" }] });
  });

  test("of lists are all pages in one", async () => {
    const { fetch, requests } = server(result({ tools: [{ name: "a" }], nextCursor: "2" }), result({ tools: [{ name: "b" }] }));
    assert.deepEqual((await client(fetch).list_tools()).map(({ name }) => name), ["a", "b"]);
    assert.deepEqual(requests.map(({ params }) => params.cursor), [undefined, "2"]);
  });

  test("of resources are JSON's value, text, or base64", async () => {
    for (const [content, value] of [
      [{ mimeType: "application/json", text: "[1]" }, [1]],
      [{ mimeType: "application/vnd.x+json", text: "[2]" }, [2]],
      [{ mimeType: "text/plain", text: "[3]" }, "[3]"],
      [{ text: "" }, ""],
      [{ mimeType: "image/png", blob: "AAAA" }, "AAAA"],
    ]) {
      const { fetch } = server(result({ contents: [{ uri: "x:y", ...content }] }));
      assert.deepEqual(await client(fetch).readResource("x:y"), value);
    }
  });

  const progress = (step, { id }) => notification("notifications/progress", { progressToken: id, progress: step, message: `schritt ${step} – ✓` });
  const parts = (request) => [progress(1, request), progress(2, request), JSON.stringify(JSON.parse(message(request, { structuredContent: { data: "größe" } })), null, 1)];

  for (const [name, end] of [["LF", "\n"], ["CRLF", "\r\n"], ["CR", "\r"]]) {
    test(`in a stream with ${name} are read wherever it is cut`, async () => {
      // A comment, fields that mean nothing here, data over several lines, with and without the space.
      const text = (request) => `\u{feff}: hi${end}id: 7${end}retry: 10${end}${end}event: message${end}` + parts(request)
        .map((part, at) => part.split("\n").map((line) => `data:${at ? " " : ""}${line}${end}`).join("") + end).join("");
      const length = new TextEncoder().encode(text({ id: 1 })).length;
      for (const size of [1, 2, 3, 7, length - 1, length, ...Array(length).keys()].filter(Boolean)) {
        const { fetch } = server(stream(({ request, send }) => {
          const bytes = new TextEncoder().encode(text(request));
          // A few sizes throughout; every place for a single cut.
          for (let at = 0; at < bytes.length; at += size) send(bytes.slice(at, at + size));
        }));
        const steps = [];
        const { data } = await client(fetch).callTool("any", {}, { onprogress: ({ message }) => steps.push(message) });
        assert.deepEqual([data, ...steps], ["größe", "schritt 1 – ✓", "schritt 2 – ✓"], `${size}`);
      }
    });
  }

  test("end the stream as soon as the result is there", async () => {
    const { fetch, requests } = server(stream(({ request, event }) => event(message(request, { structuredContent: {} }))));
    await client(fetch).getStatus();
    assert.ok(requests[0].signal.aborted);
  });

  test("that break off, or end too early, or are no answers, are errors", async () => {
    const retries = 0;
    for (const [answer, code] of [
      [stream(({ event, crash }) => { event(notification("x", {})); crash(); }), "unreachable"],
      [stream(({ send, end }) => { send("data: {"); end(); }), "unreachable"],
      [stream(({ event }) => event("{")), "bad_answer"],
      [status(200, "<html>"), "bad_answer"],
      [status(200, "null"), "bad_answer"],
      [status(202), "bad_answer"],
      [broken, "unreachable"],
    ]) {
      const error = await failure(client(server(answer).fetch, { retries }).getStatus());
      assert.ok(error instanceof MCPError && !(error instanceof MCPToolError), error);
      assert.equal(error.code, code, error.message);
    }
  });
});

describe("errors", () => {
  test("of a tool have code, message, remedy and when to try again", async () => {
    const error = { code: "rate_limited", message: "GitHub asks to wait.", remedy: "Wait.", retryable: true, retry_after_s: 40 };
    const { fetch, requests } = server(result({ isError: true, content: [], structuredContent: { success: false, error } }));
    const thrown = await failure(client(fetch).getStatus());
    assert.ok(thrown instanceof MCPToolError && thrown instanceof MCPError && thrown instanceof Error);
    assert.equal(String(thrown), "MCPToolError: GitHub asks to wait.");
    const { code, message, remedy, retryable, retryAfter, tool } = thrown;
    assert.deepEqual({ code, message, remedy, retryable, retry_after_s: retryAfter }, error);
    assert.deepEqual([tool, requests.length], [READS, 1]);
  });

  test("of other servers' tools have their text", async () => {
    const parts = [{ type: "text", text: "It broke." }, { type: "text", text: "Badly." }];
    const { fetch } = server(result({ isError: true, content: parts }));
    const { message, code, tool } = await failure(client(fetch).callTool("add", { a: 1 }));
    assert.deepEqual([message, code, tool], ["It broke.\nBadly.", "tool_failed", "add"]);
  });

  test("of the protocol have its code, and of this server its own", async () => {
    const refused = (status, error) => () => Response.json({ jsonrpc: "2.0", id: 1, error }, { status });
    const own = { code: "not_found", message: "No.", remedy: "Look.", retryable: false, retry_after_s: null };
    for (const [answer, expected] of [
      [refused(200, { code: -32602, message: "Unknown tool: x" }), { code: -32602, message: "Unknown tool: x", status: 200 }],
      [refused(400, { code: -32022, message: "Version" }), { code: -32022, message: "Version", status: 400 }],
      [refused(200, { code: -32002, message: "No. Look.", data: { success: false, error: own } }), { code: "not_found", message: "No.", remedy: "Look." }],
      [() => Response.json({ success: false, error: { ...own, code: "not_authenticated" } }, { status: 401 }), { code: "not_authenticated", status: 401 }],
      [status(500, "oops"), { code: "bad_answer", message: "HTTP 500: oops", status: 500 }],
    ]) {
      const error = await failure(client(server(answer).fetch).callTool("x"));
      for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value, `${name} of ${error}`);
    }
  });
});

describe("a call", () => {
  test("that reads is made again after lost connections and 429, 502, 503, 504", async () => {
    for (const trouble of [broken, status(429), status(502, "<html>"), status(503), status(504), stream(({ crash }) => crash())]) {
      const { fetch, requests } = server(trouble, content({ data: 7 }));
      assert.equal((await client(fetch).callTool(READS)).data, 7);
      assert.equal(requests.length, 2);
    }
  });

  test("that changes something, or that nobody knows, is never made again", async () => {
    for (const tool of [CHANGES, "constructor", "add", "toString"]) {
      const { fetch, requests } = server(broken);
      assert.equal((await failure(client(fetch).callTool(tool))).code, "unreachable");
      assert.equal(requests.length, 1, tool);
    }
    assert.equal((await failure(client(server(status(503)).fetch).callTool(CHANGES))).retryable, true);
  });

  test("that reads is given up after as many attempts as are wanted, and at once after a refusal", async () => {
    for (const [trouble, options, count] of [
      [broken, {}, 3],
      [broken, { retries: 1 }, 2],
      [broken, { retries: 0 }, 1],
      [status(500), {}, 1],
      [status(401), {}, 1],
      [status(503, "", { "retry-after": "61" }), {}, 1],
    ]) {
      const { fetch, requests } = server(trouble);
      await failure(client(fetch).callTool(READS, {}, options));
      assert.equal(requests.length, count);
    }
  });

  test("is made again when the server says, in seconds or as a date, and else later each time", async (t) => {
    const waits = [];
    const real = setTimeout;
    t.mock.method(globalThis, "setTimeout", (then, ms, ...more) => ms === 60_000 ? real(then, ms) : (waits.push(ms), real(then, 0, ...more)));
    const date = new Date(Date.now() + 30_000).toUTCString();
    const { fetch } = server(status(503, "", { "retry-after": "7" }), status(429, "", { "retry-after": date }), broken, broken, broken, content({}));
    await client(fetch, { retries: 5 }).getStatus();
    const [seconds, at, ...backoff] = waits;
    assert.equal(seconds, 7_000);
    assert.ok(at > 28_000 && at <= 30_000, `${at}`);
    backoff.forEach((ms, attempt) => {
      const least = 200 * 2 ** (attempt + 2);
      assert.ok(ms >= least && ms < 2 * least, `${ms} after ${attempt + 2}`);
    });
    assert.equal(backoff.length, 3);
  });

  test("fails when the server is silent for too long, and not while it tells of progress", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const started = withResolvers();
    const late = failure(client(server((request) => (started.resolve(), silent(request))).fetch, { timeout: 100 }).getStatus());
    await started.promise;
    t.mock.timers.tick(100);
    const error = await late;
    assert.deepEqual([error.code, error instanceof MCPError], ["timeout", true]);

    const opened = withResolvers();
    const { fetch } = server(stream(opened.resolve));
    let heard = withResolvers();
    const answer = client(fetch, { timeout: 100 }).callTool("any", {}, { onprogress: ({ progress }) => heard.resolve(progress) });
    const { request, event } = await opened.promise;
    for (const step of [1, 2, 3]) {
      t.mock.timers.tick(90);
      event(notification("notifications/progress", { progressToken: request.id, progress: step }));
      assert.equal(await heard.promise, step);
      heard = withResolvers();
    }
    event(message(request, { structuredContent: { data: "done" } }));
    assert.equal((await answer).data, "done");
  });

  test("may wait for ever", async (t) => {
    const set = t.mock.method(globalThis, "setTimeout");
    await client(server(content({})).fetch, { timeout: Infinity }).getStatus();
    assert.equal(set.mock.callCount(), 0);
  });

  test("is aborted with the reason that was given: before it begins, meanwhile, and between two attempts", async () => {
    const reason = new Error("enough");
    const early = server(content({}));
    assert.equal(await failure(client(early.fetch).getStatus({}, { signal: AbortSignal.abort(reason) })), reason);
    assert.equal(early.requests.length, 0);

    for (const answer of [silent, stream(() => {}), broken]) {
      const stop = new AbortController();
      const { fetch, requests } = server((request) => {
        // After what is done with the answer at once.
        setImmediate(() => stop.abort(reason));
        return answer(request);
      });
      assert.equal(await failure(client(fetch).getStatus({}, { signal: stop.signal })), reason);
      assert.equal(requests.length, 1);
      assert.ok(requests[0].signal.aborted);
    }
  });

  test("leaves nothing on a signal that is used for many", async () => {
    const { signal } = new AbortController();
    const add = mock.method(signal, "addEventListener");
    const { fetch } = server(content({}));
    for (let count = 0; count < 20; count++) await client(fetch).getStatus({}, { signal });
    assert.deepEqual([add.mock.callCount(), getEventListeners(signal, "abort").length], [20, 0]);
  });

  test("passes on what the caller's own functions throw", async () => {
    const bug = new TypeError("a bug of the caller");
    const { fetch, requests } = server(stream(({ event, request }) => event(notification("notifications/progress", { progressToken: request.id, progress: 1 }))));
    const thrown = await failure(client(fetch).getStatus({}, { onprogress: () => { throw bug; } }));
    assert.deepEqual([thrown, requests.length], [bug, 1]);
    const token = () => { throw bug; };
    assert.equal(await failure(client(fetch, { token }).getStatus()), bug);
  });
});

describe("a question of the server", () => {
  const ask = (requests, requestState) => result({ resultType: "input_required", inputRequests: requests, requestState });
  const question = { method: "elicitation/create", params: { message: "Sure?", requestedSchema: { type: "object", properties: {} } } };

  test("is answered, and the call made again with the answers and the server's state", async () => {
    const { fetch, requests } = server(ask({ a: question, b: question }, "s1"), ask({ c: question }, "s2"), content({ data: "done" }));
    const asked = [];
    const answer = await client(fetch).callTool(CHANGES, { x: 1 }, {
      onElicit: async ({ message }) => (asked.push(message), asked.length < 3 ? { action: "accept", content: { yes: true } } : undefined),
    });
    assert.deepEqual([answer.data, asked], ["done", ["Sure?", "Sure?", "Sure?"]]);
    const yes = { action: "accept", content: { yes: true } };
    const told = requests.map(({ params: { arguments: args, inputResponses, requestState } }) => ({ args, inputResponses, requestState }));
    assert.deepEqual(told, [
      { args: { x: 1 }, inputResponses: undefined, requestState: undefined },
      { args: { x: 1 }, inputResponses: { a: yes, b: yes }, requestState: "s1" },
      // Who says nothing does not agree.
      { args: { x: 1 }, inputResponses: { c: { action: "cancel" } }, requestState: "s2" },
    ]);
    assert.deepEqual(requests[0].params._meta["io.modelcontextprotocol/clientCapabilities"], { elicitation: { form: {} } });
  });

  test("fails where nobody answers, where it is none for a user, and where it has no end", async () => {
    const onElicit = () => ({ action: "accept" });
    for (const [answer, options, count] of [
      [ask({ a: question }, "s"), {}, 1],
      [ask({ a: question, b: { method: "sampling/createMessage", params: {} } }, "s"), { onElicit }, 1],
      [ask({ a: question }, "s"), { onElicit }, 10],
      [ask(undefined, "s"), { onElicit }, 10],
    ]) {
      const { fetch, requests } = server(answer);
      assert.equal((await failure(client(fetch).callTool(CHANGES, {}, options))).code, "input_required");
      assert.equal(requests.length, count);
    }
  });
});

describe("a subscription", () => {
  const acknowledged = (uris) => notification("notifications/subscriptions/acknowledged", { notifications: { resourceSubscriptions: uris } });
  const updated = (uri) => notification("notifications/resources/updated", { uri });
  const URI = "runner://status";

  test("tells of each address at first, of changes, and of all again after a loss", async (t) => {
    const real = setTimeout;
    t.mock.method(globalThis, "setTimeout", (then, ms) => ms === 45_000 ? real(then, ms) : real(then, 0));
    const stop = new AbortController();
    const told = [];
    const live = ({ event }) => event(acknowledged([URI, "runner://events"]));
    const { fetch, requests } = server(
      broken,
      stream((to) => { live(to); to.event(updated(URI)); to.crash(); }),
      status(503),
      // A server that stops ends it with a result.
      stream((to) => { live(to); to.event(message(to.request, { resultType: "complete", _meta: {} })); }),
      stream((to) => { live(to); to.event(updated("runner://events")); setImmediate(() => stop.abort()); }),
    );
    await client(fetch).subscribe([URI, "runner://events"], (uri) => told.push(uri), {
      signal: stop.signal,
      onState: (state) => told.push(state),
    });
    const all = [URI, "runner://events"];
    assert.deepEqual(told, [
      "reconnecting", "live", ...all, URI,
      "reconnecting", "reconnecting", "live", ...all,
      "reconnecting", "live", ...all, "runner://events",
    ]);
    assert.equal(requests.length, 5);
    const [{ method, headers, params }] = requests;
    assert.deepEqual([method, headers["mcp-method"], params.notifications], ["subscriptions/listen", "subscriptions/listen", { resourceSubscriptions: all }]);
  });

  test("takes a silent stream for a lost one, and a comment for a sign of life", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const streams = [withResolvers(), withResolvers()];
    const stop = new AbortController();
    const { fetch } = server(...streams.map(({ resolve }) => stream(resolve)));
    let state = withResolvers();
    const ended = client(fetch).subscribe([URI], () => {}, {
      signal: stop.signal,
      onState: (...told) => state.resolve(told),
    });
    const first = await streams[0].promise;
    first.event(acknowledged([URI]));
    assert.deepEqual(await state.promise, ["live"]);
    state = withResolvers();
    for (let count = 0; count < 3; count++) {
      t.mock.timers.tick(40_000);
      first.send(": still here\n");
      await new Promise(setImmediate);
    }
    assert.equal(first.request.signal.aborted, false);
    t.mock.timers.tick(45_000);
    const [lost, reason] = await state.promise;
    assert.deepEqual([lost, reason.code], ["reconnecting", "timeout"]);
    t.mock.timers.tick(20_000);
    await streams[1].promise;
    stop.abort();
    await ended;
  });

  test("is refused aloud", async () => {
    const refusal = { success: false, error: { code: "not_authenticated", message: "No.", remedy: "Sign in.", retryable: false } };
    for (const [answer, code] of [
      [() => Response.json(refusal, { status: 401 }), "not_authenticated"],
      [() => Response.json({ jsonrpc: "2.0", id: 1, error: { code: -32601, message: "No such method" } }, { status: 404 }), -32601],
      [stream(({ event }) => event(acknowledged([]))), "not_found"],
      [stream(({ event }) => event(notification("notifications/subscriptions/acknowledged", { notifications: {} }))), "not_found"],
    ]) {
      const { fetch, requests } = server(answer);
      assert.equal((await failure(client(fetch).subscribe([URI], () => {}))).code, code);
      assert.equal(requests.length, 1);
    }
  });

  test("ends when it is aborted, also while it waits", async () => {
    const stop = new AbortController();
    const { fetch, requests } = server(broken);
    const states = [];
    await client(fetch).subscribe([URI], () => {}, {
      signal: stop.signal,
      onState: (state) => { states.push(state); stop.abort(); },
    });
    assert.deepEqual([states, requests.length], [["reconnecting"], 1]);
    await client(fetch).subscribe([URI], () => {}, { signal: stop.signal });
    assert.equal(requests.length, 1);
  });
});

test("connections that a real server drops are as bad as those of a double", async () => {
  let count = 0;
  const dropping = createServer((request, response) => {
    request.resume().on("end", () => {
      count++;
      if (count === 1) return request.socket.destroy();
      if (count === 2) {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write(`data: ${notification("notifications/progress", { progress: 1 })}\n\n`, () => request.socket.destroy());
        return;
      }
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ jsonrpc: "2.0", id: 1, result: { structuredContent: { data: count } } }));
    });
  });
  await new Promise((resolve) => dropping.listen(0, "127.0.0.1", resolve));
  try {
    const mcp = new MCP({ url: `http://127.0.0.1:${dropping.address().port}`, token: "secret" });
    assert.equal((await mcp.callTool(READS)).data, 3);
    count = 0;
    const error = await failure(mcp.callTool(CHANGES));
    assert.deepEqual([error.code, error.retryable, count], ["unreachable", true, 1]);
    assert.ok(error.cause);
  } finally {
    dropping.closeAllConnections();
    await new Promise((resolve) => dropping.close(resolve));
  }
});

function withResolvers() {
  const it = {};
  it.promise = new Promise((resolve, reject) => Object.assign(it, { resolve, reject }));
  return it;
}
