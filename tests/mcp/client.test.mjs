// The official TypeScript client of revision 2026-07-28, which finds the revision out by itself.
import assert from "node:assert/strict";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { connect, verbs } from "./typescript.mjs";
import { overBothTransports } from "./usage.mjs";

overBothTransports("TypeScript client 2.4", async (over, world, ask) => {
  const options = { capabilities: { elicitation: {} }, versionNegotiation: { mode: "auto" } };
  const client = new Client({ name: "client-test", version: "1" }, options);
  const changed = Promise.withResolvers();
  client.setRequestHandler("elicitation/create", ({ params }) => ask(params.message));
  client.setNotificationHandler("notifications/resources/updated", ({ params }) => changed.resolve(params.uri));
  await client.connect(await connect(over, world, { StdioClientTransport, StreamableHTTPClientTransport }));
  assert.equal(client.getNegotiatedProtocolVersion(), "2026-07-28");
  return {
    ...verbs(client),
    watch: (uri) => client.listen({ resourceSubscriptions: [uri] }),
    change: () => changed.promise,
  };
});
