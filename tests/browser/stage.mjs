// The real program with a simulated GitHub and the real Docker engine, and a browser to look at it.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
const PROGRAM = process.env.RUNNER_KIT_PROGRAM ?? join(TARGET, "debug/ipfs-accelerate");
const WORLD = join(TARGET, "debug/examples/browser_world");
export const SHOTS = join(ROOT, "target/screenshots");
// Nothing takes this long unless it hangs.
const PATIENCE = 20_000;

// A GitHub that wishes can be told to, and the image of its runners.
async function world(tag) {
  const child = spawn(WORLD, [PROGRAM, tag], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    assert(!done, "the simulated GitHub ended");
    return JSON.parse(value);
  };
  return {
    env: await next(),
    async wish(wish) {
      child.stdin.write(`${JSON.stringify(wish)}\n`);
      return next();
    },
    async end() {
      const ended = new Promise((resolve) => child.on("exit", resolve));
      child.stdin.end();
      await ended;
    },
  };
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// Sets the stage for an instance of this run's own, whose name begins with `kind`.
export async function stage(kind, { maxRunners = 3, interval = 1, samples = [], more = {} } = {}) {
  const name = `${kind}-${process.pid}`;
  const github = await world(name);
  const home = await mkdtemp(join(tmpdir(), "dashboard-"));
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const env = {
    ...github.env,
    HOME: join(home, "home"),
    XDG_STATE_HOME: join(home, "state"),
    XDG_RUNTIME_DIR: join(home, "run"),
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    RUNNER_KIT_PULL: "never",
    RUNNER_KIT_INSTANCE: name,
    RUNNER_KIT_DOCKER_ACCESS: "none",
    RUNNER_KIT_POLL_INTERVAL: String(interval),
    RUNNER_KIT_MAX_RUNNERS: String(maxRunners),
    RUNNER_KIT_RUNNER_WORK_DIR: join(home, "work"),
    RUNNER_KIT_MEMORY_LIMIT: "256m",
    ...more,
  };
  // What an earlier service would have left.
  const state = join(home, "state/ipfs-accelerate");
  await mkdir(state, { recursive: true, mode: 0o700 });
  if (samples.length) {
    await writeFile(join(state, `${name}.samples.jsonl`), samples.map((row) => `${JSON.stringify(row)}\n`).join(""));
  }
  let server;
  let said = "";
  const told = (args) => run(PROGRAM, args, { env }).then(({ stdout }) => stdout);

  async function serve() {
    server = spawn(PROGRAM, ["mcp", "start", "--http", address], { env, stdio: ["pipe", "ignore", "pipe"] });
    server.stderr.on("data", (data) => { said += data; });
    await until(`the server answers at ${address}`, () =>
      fetch(`http://${address}/healthz`).then(({ ok }) => ok, () => false), () => said);
  }

  async function halt() {
    if (server.exitCode !== null) return;
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.kill("SIGTERM");
    await ended;
  }

  await serve();
  return {
    github,
    url: `http://${address}/`,
    serve,
    halt,
    // A link that signs in; with "look" it only looks.
    link: async (role) => JSON.parse(await told(["mcp", "link", ...(role === "look" ? ["--read-only"] : [])])).link,
    command: (line) => told(line.split(" ")),
    async end() {
      await told(["runner", "stop"]).catch(() => {});
      await halt();
      const label = `label=io.ipfs-accelerate.runner.instance=${name}`;
      await until("no container is left", async () => {
        const { stdout } = await run("docker", ["ps", "-aq", "--filter", label]);
        const left = stdout.split("\n").filter(Boolean);
        // The engine may be about to remove one by itself.
        if (left.length) await run("docker", ["rm", "-f", "-v", ...left]).catch(() => {});
        return !left.length;
      });
      await github.end();
      await rm(home, { recursive: true, force: true });
    },
  };
}

// A browser; with LIVE_PAGE the page's files come from the sources, without a build between.
export async function browser() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
}

export async function open(chrome, options = {}) {
  const context = await chrome.newContext({ viewport: { width: 1440, height: 1000 }, ...options });
  if (process.env.LIVE_PAGE) await context.route(/\.(js|css|svg)$|\/$/, fromSources);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.wrong = [];
  page.on("pageerror", (error) => page.wrong.push(String(error)));
  // What a policy forbids is told here.
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) page.wrong.push(message.text());
  });
  return page;
}

async function fromSources(route) {
  const { pathname } = new URL(route.request().url());
  const file = pathname === "/sdk.js" ? "sdk-js/src/index.mjs"
    : `src/interfaces/http/page/${pathname === "/" ? "index.html" : pathname}`;
  const response = await route.fetch();
  const body = await readFile(join(ROOT, file));
  const type = { js: "text/javascript", css: "text/css", svg: "image/svg+xml" }[pathname.split(".").pop()] ?? "text/html";
  await route.fulfill({ status: 200, headers: { ...response.headers(), "content-type": type }, body });
}

// Waits until `is` answers something true.
export async function until(what, is, more = () => "") {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const seen = await is();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`It never came about: ${what}. ${more()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// Answers the lists with so many entries, a page at a time, as the server would, and something new each time.
export async function crowded(page, repos, runners) {
  const at = new Date(Date.now() - 60_000).toISOString();
  const lists = {
    runner_list_workflows: Array.from({ length: repos }, (_, i) => ({
      repo: `team-${i % 40}/service-${i}`, total_workflows: 3, running: 1, failed: 1, pending: 1,
      queued_jobs: i % 7, waiting_since: at, unmatched: [],
    })),
    runner_list_containers: Array.from({ length: runners }, (_, i) => ({
      container_id: i.toString(16).padStart(12, "0"), repo: `team-${i % 40}/service-${i}`, status: "running", created_at: at,
      runner_name: `ipfs-browser-${i}`, labels: ["self-hosted"], phase: "busy", job: { id: i, run_id: i, name: `build ${i}`, url: "https://github.com/" },
    })),
  };
  let turn = 0;
  await page.route("**/mcp", async (route) => {
    const { id, params } = route.request().postDataJSON();
    const all = lists[params.name];
    if (!all) return route.continue();
    const { cursor = "0" } = params.arguments;
    const from = Number(cursor);
    const data = all.slice(from, from + 40).map((entry) => ({ ...entry, running: turn++ % 3, phase: turn % 2 ? "busy" : "idle" }));
    const next = from + 40 < all.length ? { next_cursor: String(from + 40) } : {};
    await route.fulfill({ json: { jsonrpc: "2.0", id, result: { structuredContent: { success: true, data, message: "", ...next } } } });
  });
}

// Looks for what all have in their names, which reads the lists to their end.
export async function findAll(page, repos, runners) {
  for (const [find, rows, all] of [["#queue-find", "#queue-table tbody", repos], ["#runners-find", "#runners-table tr", runners]]) {
    await page.locator(find).fill("team");
    await until(`all ${all} are listed`, async () => (await page.locator(rows).count()) === all);
  }
}
