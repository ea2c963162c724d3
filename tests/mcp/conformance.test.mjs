// The official conformance suites: what any server must do against the program's own HTTP endpoint,
// and everything against the fixture server on the same HTTP (examples/conformance).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import YAML from "yaml";
import { World, artefacts } from "./world.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const legs = [
  { suite: "0.1", args: [] },
  { suite: "0.2", args: ["--spec-version", "2025-03-26"] },
  { suite: "0.2", args: ["--spec-version", "2025-06-18"] },
  { suite: "0.2", args: ["--spec-version", "2025-11-25"] },
  { suite: "0.2", args: ["--spec-version", "2026-07-28"] },
];

/** Runs all scenarios; how the suite ended and what it found, by scenario. */
function conformance({ suite, args }, { url, token }, expected, directory) {
  const results = join(artefacts, directory);
  rmSync(results, { recursive: true, force: true });
  mkdirSync(results, { recursive: true });
  const line = ["--import", join(here, "bearer.mjs"), join(here, `node_modules/conformance-${suite}/dist/index.js`)];
  line.push("server", "--url", url, "--suite", "all", ...args, "--expected-failures", expected, "-o", results);
  const env = { PATH: process.env.PATH, MCP_TEST_TOKEN: token };
  const { status, stdout, stderr } = spawnSync(process.execPath, line, { env, encoding: "utf8", timeout: 60_000 });
  const found = new Map();
  for (const entry of readdirSync(results)) {
    const scenario = entry.match(/^server-(.*)-\d{4}-\d\d-\d\dT/)[1];
    found.set(scenario, JSON.parse(readFileSync(join(results, entry, "checks.json"), "utf8")));
  }
  return { status, output: `${stdout}\n${stderr}`, found };
}

const bad = (checks) => checks.filter(({ status }) => status === "FAILURE" || status === "WARNING");

for (const server of ["program", "fixtures"]) {
  describe(`conformance of the ${server}`, () => {
    for (const leg of legs) {
      const name = `suite ${leg.suite}${leg.args.length ? ` at ${leg.args[1]}` : ""}`;
      test(name, async (t) => {
        // A server for each: they open sessions and leave them, of which there may be only so many.
        const world = await World.create("suite");
        // They call whatever tool comes first.
        world.env.RUNNER_KIT_MAX_RUNNERS = "0";
        try {
          const endpoint = server === "program" ? await world.http() : await world.fixtures();
          const file = server === "program" ? `program-${leg.suite}.yml` : "fixtures.yml";
          const expected = join(here, "expected", file);
          const directory = `${server} ${name}`.replaceAll(" ", "-");
          judge(t, conformance(leg, endpoint, expected, directory), YAML.parse(readFileSync(expected, "utf8")));
        } finally {
          await world.end();
        }
      });
    }
  });
}

/** Fails where the suite does, and where a generic scenario found nothing or found a fault. */
function judge(t, { status, output, found }, { generic = [], server: excused }) {
  assert.equal(status, 0, output.slice(output.search(/unexpected failures|stale/i)));
  for (const scenario of generic) {
    const checks = found.get(scenario);
    if (!checks) continue; // Not of this revision.
    assert.ok(checks.some(({ status }) => status === "SUCCESS"), `${scenario} checked nothing`);
    const failed = bad(checks).map(({ id }) => `${scenario}:${id}`);
    assert.deepEqual(failed.filter((one) => !excused.includes(one)), []);
  }
  const passed = [...found.values()].flat().filter(({ status }) => status === "SUCCESS").length;
  assert.ok(passed > 0, "nothing was checked");
  const judged = generic.length > 0 ? generic.filter((scenario) => found.has(scenario)) : [...found.keys()];
  t.diagnostic(`${judged.length} of ${found.size} scenarios must pass; ${passed} checks passed`);
}

test("the suites have every scenario that is called generic", () => {
  for (const suite of ["0.1", "0.2"]) {
    const line = [join(here, `node_modules/conformance-${suite}/dist/index.js`), "list", "--server"];
    const list = spawnSync(process.execPath, line, { encoding: "utf8" }).stdout;
    for (const scenario of YAML.parse(readFileSync(join(here, "expected", `program-${suite}.yml`), "utf8")).generic) {
      assert.match(list, new RegExp(`- ${scenario} `), scenario);
    }
  }
});
