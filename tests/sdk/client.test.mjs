// What the client sends, and makes of what it is answered.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { describe, test } from "node:test";
import MCP, { MCPError, MCPToolError } from "ipfs-accelerate-mcp-sdk";
import { broken, client, content, failure, message, notification, result, server, status, stream } from "./double.mjs";

const READS = "runner_get_status";

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
    const foreign = ["http://runners.test", "http://notlocalhost", "http://localhost.evil.test", "http://127.0.0.1.evil.test", "http://128.0.0.1", "http://[::2]"];
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
