// The official TypeScript client of revision 2026-07-28, which finds the revision out by itself.
import assert from "node:assert/strict";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { overBothTransports } from "./usage.mjs";

overBothTransports("TypeScript client 2.4", async (over, world) => {
  const client = new Client({ name: "client-test", version: "1" }, { versionNegotiation: { mode: "auto" } });
  let transport;
  if (over === "stdio") {
    transport = new StdioClientTransport(world.stdio);
  } else {
    const { url, token } = await world.http();
    const requestInit = { headers: { authorization: `Bearer ${token}` } };
    transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
  }
  await client.connect(transport);
  assert.equal(client.getNegotiatedProtocolVersion(), "2026-07-28");
  return {
    tools: async () => (await client.listTools()).tools,
    call: (name, args) => client.callTool({ name, arguments: args }),
    refusal: (name) => client.callTool({ name, arguments: {} }).catch((error) => error.code),
    close: () => client.close(),
  };
});
