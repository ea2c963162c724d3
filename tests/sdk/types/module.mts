// What a program in TypeScript may write, and what its compiler refuses.
import MCP, { MCP as Named, MCPError, MCPToolError } from "ipfs-accelerate-mcp-sdk";
import type { CallOptions, ErrorCode, GetStatusData, ListWorkflowsData, ToolName, Tools } from "ipfs-accelerate-mcp-sdk";

/** Whether two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>) => {};

const mcp: Named = new MCP({ url: "http://localhost:8080", token: async () => "secret", retries: 1 });

const status = await mcp.call_tool("runner_get_status");
same<typeof status.data, GetStatusData>(true);
same<typeof status.data.active_runners, number>(true);
same<typeof status.data.last_check, string | null>(true);
same<typeof status.data.mode, "service" | "in-process">(true);
same<NonNullable<typeof status.data.last_error>["code"], ErrorCode>(true);
same<typeof status.success, true>(true);
const again: typeof status = await mcp.getStatus();

const queues = await mcp.callTool("runner_list_workflows", { limit: 5 });
same<typeof queues.data, ListWorkflowsData>(true);
same<(typeof queues.data)[number]["unmatched"][number]["reason"], string>(true);
same<typeof queues.next_cursor, string | null>(true);
same<keyof Tools, ToolName>(true);

const options: CallOptions = {
  signal: AbortSignal.timeout(1_000),
  onprogress: ({ progress, message }) => console.log(progress, message),
  onElicit: ({ message }) => ({ action: "accept", content: { stop: message.length > 0 } }),
};
await mcp.startAutoscaler({ owner: "myorg", poll_interval: 60, max_runners: 8, background: true }, options);
await mcp.stopContainer({ container: "abc123def456", force: true });
await mcp.call_tool("runner_stop_container", { container: "abc123def456" });
await mcp.stopAutoscaler();
await mcp.call_tool("runner_stop_autoscaler", {});

// @ts-expect-error What is required can't be left out.
await mcp.call_tool("runner_stop_container");
// @ts-expect-error Nor by its method.
await mcp.stopContainer();
// @ts-expect-error The name is wrong.
await mcp.call_tool("runner_stop_container", { id: "abc123def456" });
// @ts-expect-error The type is wrong.
await mcp.startAutoscaler({ max_runners: "8" });
// @ts-expect-error It takes nothing.
await mcp.getStatus({ verbose: true });
// @ts-expect-error There is no such member.
status.data.active;

// Another server's tools take and return anything.
const other = await mcp.callTool("add", { a: 1, b: 2 });
other.sum;

const lines: string = await mcp.readResource<string>("runner://containers/abc123def456/log");
const stop = new AbortController();
const ended: Promise<void> = mcp.subscribe(["runner://status"], (uri) => uri.length, {
  signal: stop.signal,
  onState: (state) => same<typeof state, "live" | "reconnecting">(true),
});
const { values } = await mcp.complete({
  ref: { type: "ref/resource", uri: "runner://queues/{owner}/{repo}" },
  argument: { name: "owner", value: "my" },
});
same<typeof values, string[]>(true);

try {
  await mcp.getStatus();
} catch (error) {
  if (error instanceof MCPToolError) same<typeof error.tool, string>(true);
  if (error instanceof MCPError && error.code === "timeout") console.log(error.remedy ?? error.message, error.retryAfter);
}
console.log(again, lines, ended);
