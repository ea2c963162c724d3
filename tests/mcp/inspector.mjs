// The inspector's command line, strict. Each call is a process and a session of its own.
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

/** Tests it in `era`, "legacy" or "modern". */
export function inspect(era) {
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
    const result = async (...method) => {
      const { code, stdout, stderr } = await run(...method);
      assert.ok(stdout, stderr);
      const { result } = JSON.parse(stdout);
      assert.equal(code, result.isError ? IS_ERROR : 0, stderr);
      return result;
    };
    return {
      commandLine: true,
      tools: async () => {
        const { code, stdout, stderr } = await run("tools/list", "--strict");
        assert.equal(code, 0, stderr);
        // Warnings don't count as errors here; there are to be none.
        assert.equal(stderr.match(/^\d+ errors, (\d+) warnings/m)?.[1] ?? "0", "0", stderr);
        return JSON.parse(stdout).result.tools;
      },
      call: (name, args) => result("tools/call", "--tool-name", name, "--tool-args-json", JSON.stringify(args)),
      refusal: async (name) => {
        const { code, stderr } = await run("tools/call", "--tool-name", name, "--tool-args-json", "{}");
        assert.equal(code, IS_ERROR);
        // It looks into the list of tools and does not ask.
        return /"tool_not_found"/.test(stderr) ? UNKNOWN_TOOL : stderr;
      },
      resources: async () => ({ ...(await result("resources/list")), ...(await result("resources/templates/list")) }),
      read: async (uri) => (await result("resources/read", "--uri", uri)).contents,
      prompts: async () => (await result("prompts/list")).prompts,
      prompt: async (name, args) => {
        const pairs = Object.entries(args).map(([key, value]) => `${key}=${value}`);
        return (await result("prompts/get", "--prompt-name", name, "--prompt-args", ...pairs)).messages;
      },
      close: () => rmSync(home, { recursive: true, force: true }),
    };
  });
}
