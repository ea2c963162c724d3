// Makes dist/ from the one source: for `require()`, and for `<script>`. ES modules need no build.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { transform } from "esbuild";

/** What a page may cost, compressed. */
const MOST = 2_500;

const source = readFileSync(new URL("src/index.mjs", import.meta.url), "utf8");
const [code, exported] = source.split(/^export /m);
if (exported !== "{ MCP as default, MCP, MCPError, MCPToolError };\n") throw new Error("src/index.mjs exports something else");
const whole = "Object.assign(MCP, { default: MCP, MCP, MCPError, MCPToolError })";

const minify = async (text, options) => (await transform(text, { minify: true, target: "es2022", ...options })).code;
const script = await minify(`var MCP = (() => {\n${code}\nreturn ${whole};\n})();`);
const module = await minify(source, { format: "esm" });

const dist = new URL("dist/", import.meta.url);
mkdirSync(dist, { recursive: true });
writeFileSync(new URL("index.cjs", dist), `"use strict";\n${code}module.exports = ${whole};\n`);
writeFileSync(new URL("mcp.min.js", dist), script);

for (const [name, text] of Object.entries({ "mcp.min.js": script, "the same as a module": module })) {
  const size = gzipSync(text, { level: 9 }).length;
  console.log(`${name}: ${size} bytes gzipped, ${MOST} at most`);
  if (size > MOST) process.exitCode = 1;
}
