// The official conformance suites: their generic scenarios against the program's own HTTP
// endpoint, all of them against the fixture server on the same HTTP (examples/conformance.rs).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import YAML from "yaml";
import { World, artefacts, end, start } from "./world.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const legs = [
  { suite: "0.1", args: [], name: "0.1.16" },
  { suite: "0.2", args: ["--spec-version", "2025-03-26"], name: "0.2 at 2025-03-26" },
  { suite: "0.2", args: ["--spec-version", "2025-06-18"], name: "0.2 at 2025-06-18" },
  { suite: "0.2", args: ["--spec-version", "2025-11-25"], name: "0.2 at 2025-11-25" },
  { suite: "0.2", args: ["--spec-version", "2026-07-28"], name: "0.2 at 2026-07-28" },
];

/** Runs all scenarios of one suite; what each of them found, by scenario. */
function conformance({ suite, args, name }, server, { url, token }, expected) {
  const cwd = join(artefacts, `${server} ${name}`.replaceAll(" ", "-"));
  rmSync(cwd, { recursive: true, force: true });
  mkdirSync(cwd, { recursive: true });
  const all = ["--import", join(here, "bearer.mjs"), join(here, `node_modules/conformance-${suite}/dist/index.js`)];
  all.push("server", "--url", url, "--suite", "all", ...args);
  if (expected) all.push("--expected-failures", join(here, "expected", expected));
  const env = { PATH: process.env.PATH, MCP_TEST_TOKEN: token };
  const ended = spawnSync(process.execPath, all, { cwd, env, encoding: "utf8", timeout: 60_000 });
  const output = `${ended.stdout}\n${ended.stderr}`;
  const scenarios = new Map();
  const results = suite === "0.1" ? join(cwd, "results") : join(cwd, "results");
  for (const entry of readdirSync(results)) {
    const scenario = entry.match(/^server-(.*)-\d{4}-\d\d-\d\dT/)[1];
    scenarios.set(scenario, JSON.parse(readFileSync(join(results, entry, "checks.json"), "utf8")));
  }
  return { status: ended.status, output, scenarios };
}
