// A server in place of `fetch`, which answers what the test says and remembers what it was sent.
import assert from "node:assert/strict";
import MCP from "ipfs-accelerate-mcp-sdk";

/** `answers` one after the other, the last one for ever; each is a response, or makes one of the request. */
export function server(...answers) {
  const requests = [];
  const fetch = async (url, { headers, body, signal }) => {
    signal.throwIfAborted();
    const request = { url: String(url), headers, signal, ...JSON.parse(body) };
    requests.push(request);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    return answer(request);
  };
  return { fetch, requests };
}

export const message = ({ id }, result) => JSON.stringify({ jsonrpc: "2.0", id, result });
export const notification = (method, params) => JSON.stringify({ jsonrpc: "2.0", method, params });

/** Answers with a result as JSON. */
export const result = (value) => (request) => Response.json(JSON.parse(message(request, { resultType: "complete", ...value })));
/** Answers with the structured content of a tool. */
export const content = (value) => result({ content: [], structuredContent: { success: true, ...value } });
/** Answers with a status. */
export const status = (code, body = "", headers = {}) => () => new Response(body, { status: code, headers });
/** Breaks the connection before anything is answered. */
export const broken = () => { throw new TypeError("fetch failed"); };
/** Never answers, as `fetch` does when it is aborted meanwhile. */
export const silent = ({ signal }) => new Promise((_, reject) => {
  signal.addEventListener("abort", () => reject(signal.reason));
});

/** Answers with a stream; `write` is told how to send, end and break it. */
export const stream = (write) => (request) => {
  let controller;
  const body = new ReadableStream({ start: (it) => { controller = it; } });
  request.signal.addEventListener("abort", () => {
    try { controller.error(request.signal.reason); } catch { /* It has ended already. */ }
  });
  const encoder = new TextEncoder();
  const send = (data) => controller.enqueue(typeof data === "string" ? encoder.encode(data) : data);
  write({
    request,
    send,
    event: (data) => send(`data: ${data}\n\n`),
    end: () => controller.close(),
    // What was sent before it arrives.
    crash: () => setImmediate(() => controller.error(new TypeError("terminated"))),
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
};

/** A client of the server in place of `fetch`. */
export const client = (fetch, options) => new MCP({ url: "http://runners.test", token: "secret", fetch, ...options });

/** What `promise` is rejected with. */
export const failure = (promise) => promise.then((value) => assert.fail(`it succeeded: ${JSON.stringify(value)}`), (error) => error);

/** A promise, and the functions that settle it. */
export function withResolvers() {
  const it = {};
  it.promise = new Promise((resolve, reject) => Object.assign(it, { resolve, reject }));
  return it;
}
