// One world for one client: a simulated GitHub, a home of its own, the program, nothing else.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const target = process.env.CARGO_TARGET_DIR;
export const program = join(target, "debug/ipfs-accelerate");
export const artefacts = join(target, "mcp");

/** Starts a program; resolves with it and the first lines of its output. */
export async function start(command, args, { env, lines = 1 } = {}) {
  const child = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (data) => (errors += data));
  const said = [];
  for await (const line of createInterface(child.stdout)) {
    said.push(line);
    if (said.length === lines) break;
  }
  if (said.length < lines) throw new Error(`${command} ended early: ${errors}`);
  child.stdout.resume();
  return { child, said, errors: () => errors };
}

/** Ends it as a person would, and waits. */
export async function end({ child }) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

let count = 0;

export class World {
  /** A world whose runners are the simulated ones of the image that `run` made. */
  static async create(name) {
    const world = new World();
    const home = (world.home = mkdtempSync(join(tmpdir(), "mcp-test-")));
    world.github = await start(join(target, "debug/examples/simulator"), [], { lines: 3 });
    const github = Object.fromEntries(world.github.said.map((line) => line.split(/=(.*)/s)));
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
    this.server ??= await start(program, ["mcp", "start", "--http", "127.0.0.1:0"], { env: this.env });
    const url = this.server.said[0].match(/http:\S+/)?.[0];
    if (!url) throw new Error(`no address in: ${this.server.said}`);
    const token = readFileSync(join(this.env.XDG_STATE_HOME, "ipfs-accelerate/http-token"), "utf8").trim();
    return { url, token };
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
