// What is in the package, and the forms in which it can be loaded.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import vm from "node:vm";
import * as module from "ipfs-accelerate-mcp-sdk";

const require = createRequire(import.meta.url);
const root = "node_modules/ipfs-accelerate-mcp-sdk/";
const read = (file) => readFileSync(root + file, "utf8");
const { MCP } = module;

test("the package holds what is needed and nothing else", () => {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const names = files.map((entry) => `${(entry.parentPath ?? entry.path).slice(root.length)}/${entry.name}`.replace(/^\//, "")).sort();
  assert.deepEqual(names, [
    "LICENSE", "README.md", "dist/index.cjs", "dist/mcp.min.js", "dist/mcp.min.mjs", "package.json",
    "src/index.mjs", "types/index.d.cts", "types/index.d.ts",
  ]);
  const { dependencies, sideEffects, version } = JSON.parse(read("package.json"));
  assert.deepEqual([dependencies, sideEffects], [undefined, false]);
  // The same version as the program.
  assert.equal(version, readFileSync("../../Cargo.toml", "utf8").match(/^version = "(.*)"/m)[1]);
  assert.equal(read("LICENSE"), readFileSync("../../LICENSE", "utf8"));
});

test("require() yields the class, with the rest beside it", () => {
  const required = require("ipfs-accelerate-mcp-sdk");
  assert.equal(typeof new required({}).call_tool, "function");
  assert.deepEqual([required.default, required.MCP], [required, required]);
  const error = new required.MCPToolError("x", { code: "y" });
  assert.ok(error instanceof required.MCPError && error instanceof Error);
});

test("import yields the same, by name and by default", () => {
  assert.deepEqual(Object.keys(module).sort(), ["MCP", "MCPError", "MCPToolError", "default"]);
  assert.equal(module.default, MCP);
});

test("a page has the class as its one global, and what it loads asks for nothing of Node's", async () => {
  const script = read("dist/mcp.min.js");
  const page = vm.createContext({ URL, AbortController, TextDecoder, setTimeout, clearTimeout, location: { href: "https://board.test/a" } });
  const before = Object.keys(page);
  vm.runInContext(script, page);
  assert.deepEqual(Object.keys(page).filter((name) => !before.includes(name)), ["MCP"]);
  page.fetch = async (url, { body }) => Response.json({ jsonrpc: "2.0", id: JSON.parse(body).id, result: { structuredContent: { url: String(url) } } });
  // The address is relative to the page's.
  const status = await vm.runInContext("new MCP({ url: '/' }).getStatus()", page);
  assert.equal(status.url, "https://board.test/mcp");
  for (const text of [script, read("dist/mcp.min.mjs")]) {
    for (const word of ["process", "node:", "HOME", "require("]) assert.ok(!text.includes(word), word);
  }
  const small = await import(`./${root}dist/mcp.min.mjs`);
  assert.deepEqual(Object.keys(small).sort(), Object.keys(module).sort());
});

test("the types name the methods that there are, and no others", () => {
  const methods = Object.getOwnPropertyNames(MCP.prototype).concat(Object.keys(MCP.prototype));
  const named = read("types/index.d.ts").match(/declare class MCP \{([^]*?)\n\}/)[1].matchAll(/^  (?:readonly )?(\w+)[<(:]/gm);
  const typed = [...named].map(([, name]) => name).filter((name) => name !== "url");
  assert.deepEqual([...new Set(typed)].sort(), [...new Set(methods)].sort());
});
