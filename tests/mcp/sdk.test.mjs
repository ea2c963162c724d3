// The official TypeScript SDK of the older revisions.
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { overBothTransports } from "./usage.mjs";

overBothTransports("TypeScript SDK 1.32", async (over, world) => {
  const client = new Client({ name: "sdk-test", version: "1" });
  let transport;
  if (over === "stdio") {
    transport = new StdioClientTransport(world.stdio);
  } else {
    const { url, token } = await world.http();
    const requestInit = { headers: { authorization: `Bearer ${token}` } };
    transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
  }
  await client.connect(transport);
  assert.equal(transport.protocolVersion ?? "2025-11-25", "2025-11-25");
  return {
    tools: async () => (await client.listTools()).tools,
    call: (name, args) => client.callTool({ name, arguments: args }),
    refusal: (name) => client.callTool({ name, arguments: {} }).catch((error) => error.code),
    close: () => client.close(),
  };
});
