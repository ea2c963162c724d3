// One world for one client: a simulated GitHub, a home of its own, the program, nothing else.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const target = process.env.CARGO_TARGET_DIR;
const program = join(target, "debug/ipfs-accelerate");
export const artefacts = join(target, "mcp");

/** Starts a program; resolves with it and what it has said once that has `pattern` in it. */
export function start(command, args, env, pattern) {
  const child = spawn(command, args, { env });
  return new Promise((resolve, reject) => {
    let said = "";
    const hear = (data) => {
      said += data;
      const match = said.match(pattern);
      if (match) resolve({ child, match });
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`${command} ended early: ${said}`)));
  });
}

/** Ends it as a person would, and waits. */
export async function end({ child }) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

const ADDRESS = /http:\S+\/mcp(?=\s)/;
let count = 0;

export class World {
  /** A world whose runners are the simulated ones of the image that `run` made. */
  static async create(name) {
    const world = new World();
    const home = (world.home = mkdtempSync(join(tmpdir(), "mcp-test-")));
    const variables = /^(GITHUB_SERVER_URL)=(.*)\n(GITHUB_API_URL)=(.*)\n(GITHUB_TOKEN)=(.*)\n/;
    world.github = await start(join(target, "debug/examples/simulator"), [], {}, variables);
    const [, ...pairs] = world.github.match;
    const github = Object.fromEntries([0, 2, 4].map((at) => [pairs[at], pairs[at + 1]]));
    world.instance = `mcp-${name}-${process.pid}-${++count}`.slice(0, 20);
    world.env = {
      ...github,
      PATH: process.env.PATH,
      HOME: home,
      XDG_STATE_HOME: join(home, "state"),
      XDG_RUNTIME_DIR: join(home, "run"),
      XDG_CONFIG_HOME: join(home, "config"),
      ...(process.env.DOCKER_HOST && { DOCKER_HOST: process.env.DOCKER_HOST }),
      RUNNER_KIT_INSTANCE: world.instance,
      RUNNER_KIT_RUNNER_IMAGE: process.env.MCP_TEST_IMAGE,
      RUNNER_KIT_PULL: "never",
      RUNNER_KIT_DOCKER_ACCESS: "none",
      RUNNER_KIT_RUNNER_WORK_DIR: join(home, "work"),
    };
    return world;
  }

  /** The command line of the server on stdio. */
  get stdio() {
    return { command: program, args: ["mcp", "start"], env: this.env };
  }

  /** The address of the server on HTTP and what its clients must send; started at first use. */
  async http() {
    this.server ??= await start(program, ["mcp", "start", "--http", "127.0.0.1:0"], this.env, ADDRESS);
    return { url: this.server.match[0], token: this.token() };
  }

  /** Ends the server on HTTP, and starts another one at its address. */
  async restart() {
    await end(this.server);
    const address = new URL(this.server.match[0]).host;
    this.server = await start(program, ["mcp", "start", "--http", address], this.env, ADDRESS);
  }

  /** The same for the fixture server of the conformance suites. */
  async fixtures() {
    this.server = await start(join(target, "debug/examples/conformance"), [], this.env, ADDRESS);
    return { url: this.server.match[0], token: this.token() };
  }

  /** The token that was made at the first start. */
  token() {
    return readFileSync(join(this.env.XDG_STATE_HOME, "ipfs-accelerate/http-token"), "utf8").trim();
  }

  /** Runs a command of the program. */
  run(...args) {
    return spawnSync(program, args, { env: this.env, encoding: "utf8", timeout: 30_000 });
  }

  /** Ends all that was started and removes what is left of it. */
  async end() {
    this.run("runner", "stop");
    if (this.server) await end(this.server);
    const label = `label=io.ipfs-accelerate.runner.instance=${this.instance}`;
    const docker = (...args) => spawnSync("docker", args, { encoding: "utf8" }).stdout.split("\n").filter(Boolean);
    const left = docker("ps", "-aq", "--filter", label);
    if (left.length) docker("rm", "-fv", ...left);
    await end(this.github);
    rmSync(this.home, { recursive: true, force: true });
  }
}
