// Preloaded into programs that have no option for it (`node --import`): every request they send
// carries the bearer token, and is otherwise sent as they made it, Host and Origin included.
import { subscribe } from "node:diagnostics_channel";

const authorization = `Bearer ${process.env.MCP_TEST_TOKEN}`;

// fetch, and undici by whatever name.
subscribe("undici:request:create", ({ request }) => request.addHeader("authorization", authorization));
// node:http.
subscribe("http.client.request.created", ({ request }) => request.setHeader("authorization", authorization));
