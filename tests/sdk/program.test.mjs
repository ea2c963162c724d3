// The program itself over HTTP, with a simulated GitHub and a real Docker engine.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import MCP, { MCPError, MCPToolError } from "ipfs-accelerate-mcp-sdk";
import { end, start, World } from "../mcp/world.mjs";
import { failure } from "./double.mjs";

const REPO = "acme/api";
const LABEL = "io.ipfs-accelerate.runner";

/** A world and its server; both end with the tests around. */
function world(name) {
  const it = {};
  before(async () => {
    it.world = await World.create(name);
    ({ url: it.url, token: it.token } = await it.world.http());
    it.mcp = new MCP({ url: it.url, token: it.token });
  });
  after(() => it.world.end());
  return it;
}

describe("the guide's snippet", () => {
  const it = world("guide");
  // The guide says where the server is; ours is elsewhere, for others may be there.
  const really = globalThis.fetch;
  before(() => {
    globalThis.fetch = (url, init) => {
      assert.equal(String(url), "http://localhost:8080/mcp");
      return really(it.url, init);
    };
    process.env.XDG_STATE_HOME = it.world.env.XDG_STATE_HOME;
  });
  after(() => {
    globalThis.fetch = really;
    delete process.env.XDG_STATE_HOME;
  });

  test("runs word for word, and finds the user's own token", async () => {
    // The container that it names: its standard input keeps it open.
    const labels = { managed: true, instance: it.world.instance, name: "abc123def456", repo: "owner/repo", created: new Date().toISOString() };
    const options = Object.entries(labels).flatMap(([name, value]) => ["--label", `${LABEL}.${name}=${value}`]);
    const run = ["run", "--detach", "--interactive", ...options, "--entrypoint", "/ipfs-accelerate", process.env.MCP_TEST_IMAGE, "mcp", "start"];
    const { status, stderr } = spawnSync("docker", run, { encoding: "utf8" });
    assert.equal(status, 0, stderr);

    const [, snippet] = readFileSync("../../README.md", "utf8").match(/```javascript\n([^`]*)```/);
    const logged = [];
    const AsyncFunction = (async () => {}).constructor;
    await new AsyncFunction("require", "console", snippet)(createRequire(import.meta.url), { log: (...words) => logged.push(words) });
    const [[first, status_], [second, queues]] = logged;
    assert.deepEqual([first, second, logged.length], ["Autoscaler status:", "Workflow queues:", 2]);
    assert.deepEqual([status_.running, status_.active_runners >= 0], [true, true]);
    assert.ok(Array.isArray(queues));
  });
});

describe("the seven tools", () => {
  const it = world("seven");

  test("are methods, and do what they say", async () => {
    const { mcp } = it;
    assert.equal((await mcp.listTools()).length, 7);
    assert.equal((await mcp.getStatus()).data.running, false);
    const queues = await mcp.listWorkflows({ limit: 100 });
    assert.equal(queues.count, queues.data.length);
    assert.ok(queues.data.find(({ repo }) => repo === REPO).queued_jobs > 0);

    const busy = await busyRunner(mcp);
    const refused = await failure(mcp.stopContainer({ container: busy }));
    assert.ok(refused instanceof MCPToolError);
    assert.deepEqual([refused.code, refused.tool, refused.retryable], ["confirmation_required", "runner_stop_container", false]);
    assert.ok(refused.remedy);
    const { data: stopped, message } = await mcp.stopContainer({ container: busy, force: true });
    assert.deepEqual([stopped.was, stopped.changed], ["busy", true]);
    assert.match(message, /\.$/);

    const steps = [];
    const started = await mcp.startAutoscaler({ max_runners: 0 }, { onprogress: ({ message }) => steps.push(message) });
    assert.equal(started.data.changed, true);
    assert.ok(steps.length > 1, `${steps}`);
    assert.equal((await mcp.stopAutoscaler()).data.changed, true);
  });

  test("fail with what is wrong and what to do", async () => {
    const { mcp } = it;
    for (const [call, code, text] of [
      [() => mcp.listWorkflows({ limit: 0 }), "invalid_argument", /`limit`/],
      [() => mcp.call_tool("runner_stop_container"), "invalid_argument", /`container`/],
      [() => mcp.stopContainer({ container: "feedfacefeed" }), "not_found", /feedfacefeed/],
      [() => mcp.startAutoscaler({ owner: "nobody-there" }), "not_found", /nobody-there/],
    ]) {
      const error = await failure(call());
      assert.ok(error instanceof MCPToolError, error);
      assert.equal(error.code, code);
      assert.match(error.message, text);
      assert.ok(error.remedy);
    }
    const unknown = await failure(mcp.callTool("runner_dance"));
    assert.ok(unknown instanceof MCPError && !(unknown instanceof MCPToolError));
    assert.equal(unknown.code, -32602);
    const stranger = await failure(new MCP({ url: it.url, token: "0123456789abcdef" }).getStatus());
    assert.deepEqual([stranger.code, stranger.status], ["not_authenticated", 401]);
    assert.ok(stranger.remedy);
  });

  test("ask before a job fails, and take no other answer than yes", async () => {
    const { mcp } = it;
    const container = await busyRunner(mcp);
    const asked = [];
    const stop = (answer) => mcp.stopContainer({ container }, { onElicit: ({ message }) => (asked.push(message), answer) });
    for (const answer of [{ action: "decline" }, undefined, { action: "accept", content: { stop: false } }]) {
      assert.equal((await failure(stop(answer))).code, "confirmation_required");
    }
    const { data } = await stop({ action: "accept", content: { stop: true } });
    assert.deepEqual([data.stopped, data.was], [true, "busy"]);
    assert.equal(asked.length, 4);
    for (const message of asked) assert.match(message, /\?$/);
  });

  test("stop when their call is aborted", async () => {
    const { mcp } = it;
    const stop = new AbortController();
    // Stays until the loop is stopped, and tells when it runs.
    const call = mcp.startAutoscaler({ max_runners: 0, background: false }, { signal: stop.signal, onprogress: () => running() });
    let running;
    const runs = new Promise((resolve) => { running = resolve; });
    const ended = failure(call);
    await runs;
    stop.abort();
    assert.equal((await ended).name, "AbortError");
    await until(async () => !(await mcp.getStatus()).data.running);
  });
});

describe("what can be read", () => {
  const it = world("read");

  test("is JSON, text, a log, and a completion", async () => {
    const { mcp } = it;
    const resources = await mcp.listResources();
    assert.ok(resources.some(({ uri }) => uri === "runner://status"));
    assert.equal((await mcp.readResource("runner://status")).running, false);
    assert.match(await mcp.readResource("runner://help"), /^# /);
    const container = await busyRunner(mcp);
    await until(async () => (await mcp.readResource(`runner://containers/${container}/log?lines=5`)).length > 0);
    assert.equal((await mcp.readResource(`runner://containers/${container}`)).container.repo, REPO);
    const missing = await failure(mcp.readResource("runner://containers/feedfacefeed/log"));
    assert.deepEqual([missing.code, missing instanceof MCPToolError], ["not_found", false]);
    assert.ok(missing.remedy);
    assert.ok(await failure(mcp.readResource("runner://größe")) instanceof MCPError);
    const ref = { type: "ref/resource", uri: "runner://containers/{container}" };
    const { values } = await mcp.complete({ ref, argument: { name: "container", value: "ipfs-" } });
    assert.ok(values.length > 0);
  });
});

describe("a subscription", () => {
  const it = world("watch");

  test("tells of changes, and goes on when the server has been away", async () => {
    const { world, mcp } = it;
    const told = [];
    const stop = new AbortController();
    const ended = mcp.subscribe(["runner://status", "runner://containers/none/log"], (uri) => told.push(uri), {
      signal: stop.signal,
      onState: (state) => told.push(state),
    });
    const first = ["live", "runner://status", "runner://containers/none/log"];
    await until(() => told.length >= 3);
    assert.deepEqual(told.splice(0, 3), first);
    await mcp.startAutoscaler({ max_runners: 0 });
    await until(() => told.includes("runner://status"));

    await world.restart();
    await until(() => told.includes("live"));
    const again = told.slice(told.indexOf("reconnecting"));
    assert.equal(again[0], "reconnecting");
    assert.deepEqual(again.slice(again.indexOf("live"), again.indexOf("live") + 3), first);
    told.length = 0;
    await mcp.stopAutoscaler();
    await until(() => told.includes("runner://status"));
    stop.abort();
    await ended;
  });

  test("keeps the figures of the example up to date", async () => {
    const { PATH, XDG_STATE_HOME } = it.world.env;
    const env = { PATH, XDG_STATE_HOME, RUNNER_KIT_URL: it.url };
    const example = await start(process.execPath, ["../../examples/dashboard.mjs"], env, /^0 runners, \d+ workflows wait$/m);
    const more = new Promise((resolve) => example.child.stdout.on("data", (text) => String(text).match(/ [1-9]\d* workflows wait/) && resolve()));
    try {
      await it.mcp.startAutoscaler({ max_runners: 0 });
      await more;
    } finally {
      await end(example);
    }
    await it.mcp.stopAutoscaler();
  });

  test("of what there is not is refused", async () => {
    const error = await failure(it.mcp.subscribe(["runner://nonsense"], () => {}));
    assert.deepEqual([error.code, error.message], ["not_found", "The server does not watch runner://nonsense."]);
  });
});

/** A runner that has got a job. */
async function busyRunner(mcp) {
  const [{ container_id }] = (await mcp.provisionForWorkflow({ repo: REPO })).data;
  await until(async () => {
    const { data } = await mcp.listContainers({ repo: REPO });
    return data.find((one) => one.container_id === container_id)?.phase === "busy";
  });
  return container_id;
}

/** Waits until it holds. */
async function until(holds) {
  const patience = Date.now() + 20_000;
  while (!(await holds())) {
    assert.ok(Date.now() < patience, `it does not come true: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
