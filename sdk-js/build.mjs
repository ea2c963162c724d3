// Makes dist/ from the one source: for `require()`, and for `<script>`. ES modules need no build.
// Fails when a page would have to load more than it may.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { transform } from "esbuild";

/** What a page may cost, in compressed bytes. */
const MOST = 2_500;

const source = readFileSync(new URL("src/index.mjs", import.meta.url), "utf8");
const [code, exported] = source.split(/^export /m);
if (exported !== "{ MCP as default, MCP, MCPError, MCPToolError };\n") throw new Error("src/index.mjs exports something else");

const forBrowsers = {
  minify: true,
  treeShaking: true,
  target: "es2022",
  // What only Node has is left out.
  define: { "globalThis.process": "undefined" },
};
const script = await transform(`${code}globalThis.MCP = Object.assign(MCP, { MCPError, MCPToolError });`, { ...forBrowsers, format: "iife" });
const module = await transform(source, { ...forBrowsers, format: "esm" });

const dist = new URL("dist/", import.meta.url);
mkdirSync(dist, { recursive: true });
writeFileSync(new URL("index.cjs", dist), `"use strict";\n${code}module.exports = Object.assign(MCP, { default: MCP, MCP, MCPError, MCPToolError });\n`);
writeFileSync(new URL("mcp.min.js", dist), script.code);
writeFileSync(new URL("mcp.min.mjs", dist), module.code);

for (const [name, text] of Object.entries({ "mcp.min.js": script.code, "mcp.min.mjs": module.code })) {
  const size = gzipSync(text, { level: 9 }).length;
  console.log(`${name}: ${text.length} bytes, ${size} gzipped, ${MOST} at most`);
  if (size > MOST) process.exitCode = 1;
}
