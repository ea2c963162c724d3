// The official client for Python: python.py does what it is told, line by line.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { overBothTransports } from "./usage.mjs";
import { artefacts } from "./world.mjs";

overBothTransports("Python client 2.3", async (over, world, ask) => {
  const server = over === "stdio" ? world.stdio : await world.http();
  const program = fileURLToPath(new URL("python.py", import.meta.url));
  const child = spawn(join(artefacts, "python/bin/python"), [program, JSON.stringify(server)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const tell = (value) => child.stdin.write(`${JSON.stringify(value)}\n`);
  const does = async (...verb) => {
    tell(verb);
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(!done, "the client ended early");
      const answer = JSON.parse(value);
      if (!answer.asks) return answer.does;
      tell(ask(answer.asks));
    }
  };
  assert.equal(await does("version"), "2026-07-28");
  return {
    tools: async () => (await does("tools")).tools,
    call: (name, args) => does("call", name, args),
    refusal: async (name) => (await does("call", name, {})).code,
    resources: async () => ({ ...(await does("resources")), ...(await does("templates")) }),
    read: async (uri) => (await does("read", uri)).contents,
    prompts: async () => (await does("prompts")).prompts,
    prompt: async (name, args) => (await does("prompt", name, args)).messages,
    complete: async (ref, name, value) => (await does("complete", ref, name, value)).completion.values,
    watch: (uri) => does("watch", uri),
    change: () => does("change"),
    close: () =>
      new Promise((resolve) => {
        child.once("exit", resolve);
        child.stdin.end();
      }),
  };
});
