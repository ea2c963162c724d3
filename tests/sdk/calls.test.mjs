// How long a call lasts, when it is made again, and what it asks.
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { createServer } from "node:http";
import { describe, mock, test } from "node:test";
import MCP, { MCPError } from "ipfs-accelerate-mcp-sdk";
import { broken, client, content, failure, message, notification, result, server, silent, status, stream, withResolvers } from "./double.mjs";

const READS = "runner_get_status";
const CHANGES = "runner_stop_autoscaler";

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

    for (const answer of [silent, stream(() => {}), status(503, "", { "retry-after": "50" })]) {
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
