// The inspector's command line, strict, in both eras. Each call is a process and a session of its own.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { overBothTransports, UNKNOWN_TOOL } from "./usage.mjs";

const root = dirname(createRequire(import.meta.url).resolve("@modelcontextprotocol/inspector/package.json"));
const inspector = join(root, "clients/launcher/build/index.js");
/** Exit codes of the inspector's command line. */
const IS_ERROR = 5;

for (const era of ["legacy", "modern"]) {
  overBothTransports(`inspector 2.12, ${era} era`, async (over, world) => {
    // It keeps files in its home.
    const home = mkdtempSync(join(tmpdir(), "inspector-"));
    const server = [];
    let target = [];
    if (over === "stdio") {
      for (const [name, value] of Object.entries(world.stdio.env)) server.push("-e", `${name}=${value}`);
      target = ["--", world.stdio.command, ...world.stdio.args];
    } else {
      const { url, token } = await world.http();
      server.push("--transport", "http", "--server-url", url, "--header", `Authorization: Bearer ${token}`);
    }
    const run = (...method) => {
      const line = [inspector, "--cli", ...server, "--protocol-era", era, "--format", "json", "--method", ...method, ...target];
      const options = { env: { PATH: process.env.PATH, HOME: home }, maxBuffer: 1 << 24 };
      return new Promise((resolve) => {
        execFile(process.execPath, line, options, (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }));
      });
    };
    return {
      tools: async () => {
        const { code, stdout, stderr } = await run("tools/list", "--strict");
        assert.equal(code, 0, stderr);
        assert.doesNotMatch(stderr, /\d+ errors?, [1-9]|^[1-9]\d* errors?|Warning: tool/m);
        return JSON.parse(stdout).result.tools;
      },
      call: async (name, args) => {
        const { code, stdout, stderr } = await run("tools/call", "--tool-name", name, "--tool-args-json", JSON.stringify(args));
        assert.ok(stdout, stderr);
        const { result } = JSON.parse(stdout);
        assert.equal(code, result.isError ? IS_ERROR : 0, stderr);
        return result;
      },
      refusal: async (name) => {
        const { code, stderr } = await run("tools/call", "--tool-name", name, "--tool-args-json", "{}");
        assert.equal(code, IS_ERROR);
        // It looks into the list of tools and does not ask.
        return /"tool_not_found"/.test(stderr) ? UNKNOWN_TOOL : stderr;
      },
      close: () => rmSync(home, { recursive: true, force: true }),
    };
  });
}
