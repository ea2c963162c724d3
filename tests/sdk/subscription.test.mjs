// What the client does to hear of changes.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { broken, client, failure, message, notification, server, status, stream, withResolvers } from "./double.mjs";

describe("a subscription", () => {
  const acknowledged = (uris) => notification("notifications/subscriptions/acknowledged", { notifications: { resourceSubscriptions: uris } });
  const updated = (uri) => notification("notifications/resources/updated", { uri });
  const URI = "runner://status";

  test("tells of each address at first, of changes, and of all again after a loss", async (t) => {
    const waits = [];
    const real = setTimeout;
    t.mock.method(globalThis, "setTimeout", (then, ms) => ms === 45_000 ? real(then, ms) : (waits.push(ms), real(then, 0)));
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
    // The longer it fails, the longer it waits; when it was live, it has not failed yet.
    assert.deepEqual(waits.map((ms) => ms < 400), [true, true, false, true]);
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
