// The official TypeScript SDK as a server: not ours, and not of our opinion of the protocol.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { toNodeHandler } from "@modelcontextprotocol/node";
import { acceptedContent, createMcpHandler, fromJsonSchema, inputRequired, McpServer, ResourceTemplate } from "@modelcontextprotocol/server";
import MCP, { MCPError, MCPToolError } from "ipfs-accelerate-mcp-sdk";
import { failure, withResolvers } from "./double.mjs";

const object = (properties, required = Object.keys(properties)) => fromJsonSchema({ type: "object", properties, required });
const number = { type: "number" };

/** A server of the other SDK; `responseMode` is how it likes to answer. */
function serve(responseMode) {
  const [waiting, cancelled] = [withResolvers(), withResolvers()];
  const make = () => {
    const mcp = new McpServer({ name: "foreign", version: "1" }, { capabilities: { resources: { subscribe: true } } });
    mcp.registerTool("add", { inputSchema: object({ a: number, b: number }), outputSchema: object({ sum: number }) },
      async ({ a, b }) => ({ content: [], structuredContent: { sum: a + b } }));
    mcp.registerTool("greet", { inputSchema: object({ name: { type: "string" } }) },
      async ({ name }) => ({ content: [{ type: "text", text: `Hello ${name}` }] }));
    mcp.registerTool("fail", { inputSchema: object({}) },
      async () => ({ isError: true, content: [{ type: "text", text: "It does not work." }] }));
    mcp.registerTool("count", { inputSchema: object({ to: number }) }, async ({ to }, { mcpReq }) => {
      for (let progress = 1; progress <= to; progress++) {
        await mcpReq.notify({ method: "notifications/progress", params: { progressToken: mcpReq._meta.progressToken, progress, total: to } });
      }
      return { content: [], structuredContent: { counted: to } };
    });
    mcp.registerTool("wait", { inputSchema: object({}) }, async (_, { mcpReq }) => {
      waiting.resolve();
      await new Promise((resolve) => mcpReq.signal.addEventListener("abort", resolve));
      cancelled.resolve();
      return { content: [] };
    });
    mcp.registerTool("remove", { inputSchema: object({}) }, async (_, { mcpReq }) => {
      const requestedSchema = { type: "object", properties: { sure: { type: "boolean" } }, required: ["sure"] };
      if (!mcpReq.inputResponses) {
        return inputRequired({ inputRequests: { confirm: inputRequired.elicit({ message: "Remove it?", requestedSchema }) } });
      }
      const answer = acceptedContent(mcpReq.inputResponses, "confirm");
      return { content: [], structuredContent: { removed: answer?.sure === true } };
    });
    mcp.registerResource("state", "test://state", { mimeType: "application/json" },
      async ({ href }) => ({ contents: [{ uri: href, mimeType: "application/json", text: '{"on":true}' }] }));
    const cities = new ResourceTemplate("test://city/{name}", { list: undefined, complete: { name: (typed) => ["Paris", "Prague"].filter((city) => city.startsWith(typed)) } });
    mcp.registerResource("city", cities, {}, async ({ href }, { name }) => ({ contents: [{ uri: href, text: `${name}!` }] }));
    return mcp;
  };
  const handler = createMcpHandler(make, { legacy: "reject", responseMode });
  const http = createServer(toNodeHandler(handler));
  return { http, handler, waiting: waiting.promise, cancelled: cancelled.promise };
}

for (const mode of ["auto", "sse"]) {
  describe(`the official server that answers ${mode === "sse" ? "in streams" : "as it likes"}`, () => {
    let server;
    let mcp;
    before(async () => {
      server = serve(mode);
      await new Promise((resolve) => server.http.listen(0, "127.0.0.1", resolve));
      mcp = new MCP({ url: `http://127.0.0.1:${server.http.address().port}` });
    });
    after(async () => {
      await server.handler.close();
      server.http.closeAllConnections();
      await new Promise((resolve) => server.http.close(resolve));
    });

    test("lists and calls tools", async () => {
      assert.deepEqual((await mcp.list_tools()).map(({ name }) => name).sort(), ["add", "count", "fail", "greet", "remove", "wait"]);
      assert.deepEqual(await mcp.call_tool("add", { a: 1, b: 2 }), { sum: 3 });
      assert.equal((await mcp.callTool("greet", { name: "you" })).content[0].text, "Hello you");
    });

    test("fails with its own words", async () => {
      const failed = await failure(mcp.callTool("fail", {}));
      assert.ok(failed instanceof MCPToolError);
      assert.deepEqual([failed.message, failed.code, failed.tool], ["It does not work.", "tool_failed", "fail"]);
      const unknown = await failure(mcp.callTool("nothing", {}));
      assert.ok(unknown instanceof MCPError);
      assert.equal(unknown.code, -32602);
      assert.equal((await failure(mcp.request("no/such", {}))).code, -32601);
    });

    test("tells of its progress", async () => {
      const steps = [];
      const result = await mcp.callTool("count", { to: 3 }, { onprogress: ({ progress, total }) => steps.push(`${progress}/${total}`) });
      assert.deepEqual([result.counted, steps], [3, ["1/3", "2/3", "3/3"]]);
    });

    test("hears that a call is aborted", async () => {
      const stop = new AbortController();
      const ended = failure(mcp.callTool("wait", {}, { signal: stop.signal }));
      await server.waiting;
      stop.abort();
      assert.equal((await ended).name, "AbortError");
      await server.cancelled;
    });

    test("asks, and is answered", async () => {
      const asked = [];
      const onElicit = ({ message, requestedSchema }) => {
        asked.push(message, Object.keys(requestedSchema.properties));
        return { action: "accept", content: { sure: true } };
      };
      assert.deepEqual(await mcp.callTool("remove", {}, { onElicit }), { removed: true });
      assert.deepEqual(asked, ["Remove it?", ["sure"]]);
      assert.deepEqual(await mcp.callTool("remove", {}, { onElicit: () => undefined }), { removed: false });
      // Who can't be asked is refused by that server.
      assert.ok(await failure(mcp.callTool("remove", {})) instanceof MCPError);
    });

    test("has resources, completes their names, and tells of changes", async () => {
      assert.deepEqual((await mcp.listResources()).map(({ uri }) => uri), ["test://state"]);
      assert.deepEqual(await mcp.readResource("test://state"), { on: true });
      assert.equal(await mcp.readResource("test://city/Paris"), "Paris!");
      const ref = { type: "ref/resource", uri: "test://city/{name}" };
      assert.deepEqual((await mcp.complete({ ref, argument: { name: "name", value: "Pr" } })).values, ["Prague"]);

      const stop = new AbortController();
      const told = [];
      const changed = withResolvers();
      const ended = mcp.subscribe(["test://state"], (uri) => {
        told.push(uri);
        if (told.length === 1) server.handler.notify.resourceUpdated(uri);
        else changed.resolve();
      }, { signal: stop.signal });
      await changed.promise;
      stop.abort();
      await ended;
      assert.deepEqual(told, ["test://state", "test://state"]);
    });
  });
}
