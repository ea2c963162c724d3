// The official client for Python: python.py does what it is told, line by line.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { overBothTransports } from "./usage.mjs";
import { artefacts } from "./world.mjs";

overBothTransports("Python client 2.3", async (over, world) => {
  const server = over === "stdio" ? world.stdio : await world.http();
  const program = fileURLToPath(new URL("python.py", import.meta.url));
  const child = spawn(join(artefacts, "python/bin/python"), [program, JSON.stringify(server)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ask = async (verb, ...rest) => {
    child.stdin.write(`${JSON.stringify([verb, ...rest])}\n`);
    const { value, done } = await lines.next();
    assert.ok(!done, "the client ended early");
    return JSON.parse(value);
  };
  assert.equal(await ask("version"), "2026-07-28");
  return {
    tools: async () => (await ask("tools")).tools,
    call: (name, args) => ask("call", name, args),
    refusal: async (name) => (await ask("call", name, {})).code,
    close: () =>
      new Promise((resolve) => {
        child.once("exit", resolve);
        child.stdin.end();
      }),
  };
});
