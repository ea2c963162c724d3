// The same for `require()`, which returns the class.
import MCP = require("ipfs-accelerate-mcp-sdk");

const mcp = new MCP({ url: "http://localhost:8080" });
const same: MCP.MCP = new MCP.default();
const failure = (error: unknown) => error instanceof MCP.MCPToolError && error.remedy;
const look = async (): Promise<MCP.GetStatusData> => (await mcp.call_tool("runner_get_status", {})).data;
// @ts-expect-error It is a class.
MCP();
console.log(same, failure, look);
