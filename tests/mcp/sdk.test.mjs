// The official TypeScript SDK of the older revisions.
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema, ResourceUpdatedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { overBothTransports } from "./usage.mjs";
import { connect, verbs } from "./typescript.mjs";

overBothTransports("TypeScript SDK 1.32", async (over, world, ask) => {
  const client = new Client({ name: "sdk-test", version: "1" }, { capabilities: { elicitation: {} } });
  const changed = Promise.withResolvers();
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => ask(params.message));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => changed.resolve(params.uri));
  const transport = await connect(over, world, { StdioClientTransport, StreamableHTTPClientTransport });
  await client.connect(transport);
  if (over === "http") assert.equal(transport.protocolVersion, "2025-11-25");
  return { ...verbs(client), watch: (uri) => client.subscribeResource({ uri }), change: () => changed.promise };
});
