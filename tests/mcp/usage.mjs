// What every client does with the program, whatever it is written in.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { World } from "./world.mjs";

const TOOLS = [
  "runner_get_status",
  "runner_list_containers",
  "runner_list_workflows",
  "runner_provision_for_workflow",
  "runner_start_autoscaler",
  "runner_stop_autoscaler",
  "runner_stop_container",
];
export const UNKNOWN_TOOL = -32602;
/** Its jobs take a minute. */
const REPO = "acme/api";
const QUEUE = "runner://queues/{owner}/{repo}";

/**
 * Tests `name` over both transports, each in a new world. `open(transport, world, ask)` connects it:
 * `ask(message)` is what the user answers when the program asks.
 */
export function overBothTransports(name, open) {
  describe(name, () => {
    for (const transport of ["stdio", "http"]) {
      const session = async (body) => {
        const world = await World.create(transport);
        const user = { asked: [], answer: undefined };
        const ask = (message) => {
          user.asked.push(message);
          return user.answer;
        };
        try {
          const client = await open(transport, world, ask);
          await body(client, user).finally(() => client.close());
        } finally {
          await world.end();
        }
      };
      test(`calls all seven tools over ${transport}`, () => session(operate));
      test(`reads, completes, watches and confirms over ${transport}`, () => session(explore));
    }
  });
}

// A client has: `tools()`, `call(name, arguments)`, `refusal(name)` (the code of the error for a tool
// that there isn't), `resources()` (with the templates), `read(uri)`, `prompts()`, `prompt(name,
// arguments)`, `complete(reference, argument, value)`, `watch(uri)`, `change()` (waits for one), `close()`.

/** All seven tools, from the first look to a runner that is stopped in the middle of its job. */
async function operate(client, user) {
  const { done, refused } = await callers(client);
  user.answer = { action: "decline" };

  assert.equal((await done("runner_get_status")).data.running, false);
  const queues = await done("runner_list_workflows");
  assert.ok(queues.data.find(({ repo }) => repo === REPO).queued_jobs >= 12);
  assert.equal(queues.count, queues.data.length);

  const container = await busyRunner(done);
  await refused("runner_stop_container", { container }, "confirmation_required");
  const { data: stopped } = await done("runner_stop_container", { container, force: true });
  assert.deepEqual([stopped.stopped, stopped.changed, stopped.was], [true, true, "busy"]);
  assert.equal((await done("runner_stop_container", { container })).data.changed, false);

  assert.equal((await done("runner_start_autoscaler", { max_runners: 0 })).data.changed, true);
  assert.equal((await done("runner_start_autoscaler", { max_runners: 0 })).data.changed, false);
  assert.equal((await done("runner_get_status")).data.running, true);
  assert.equal((await done("runner_stop_autoscaler")).data.changed, true);

  const wrong = [
    ["runner_list_workflows", { limit: 0 }, /`limit`/],
    ["runner_list_containers", { limit: true }, /`limit`/],
    ["runner_stop_container", {}, /`container`/],
    ["runner_start_autoscaler", { max_runners: 1e5 }, /`max_runners`/],
  ];
  for (const [name, args, field] of wrong) assert.match(await refused(name, args, "invalid_argument"), field);
  await refused("runner_stop_container", { container: "feedfacefeed" }, "not_found");
  assert.equal(await client.refusal("runner_dance"), UNKNOWN_TOOL);
}

/** What is beside the tools: resources, prompts, completions, changes, and a question to the user. */
async function explore(client, user) {
  const { done, refused } = await callers(client);
  const { resources, resourceTemplates } = await client.resources();
  for (const { uri, mimeType } of resources) {
    const [content] = await client.read(uri);
    assert.deepEqual([content.uri, content.mimeType], [uri, mimeType]);
    if (mimeType === "application/json") assert.ok(JSON.parse(content.text));
    else assert.ok(content.text.length > 100, uri);
  }
  const uris = [...resources.map(({ uri }) => uri), ...resourceTemplates.map(({ uriTemplate }) => uriTemplate)];
  for (const one of ["runner://status", "runner://config", "runner://events", "runner://help", QUEUE]) {
    assert.ok(uris.includes(one), `${one} of ${uris}`);
  }
  const [queue] = await client.read(QUEUE.replace("{owner}/{repo}", REPO));
  assert.match(queue.text, /"reason"/);

  const prompts = (await client.prompts()).map(({ name }) => name).sort();
  assert.deepEqual(prompts, ["diagnose_stuck_queue", "right_size_runners", "triage_failed_runner"]);
  const messages = await client.prompt("diagnose_stuck_queue", { repo: REPO });
  const embedded = messages.filter(({ content }) => content.type === "resource");
  assert.ok(embedded.some(({ content }) => content.resource.uri === queue.uri), JSON.stringify(messages));

  if (client.commandLine) return; // It has a session for each call, and nobody to ask.

  const container = await busyRunner(done);
  const template = { type: "ref/resource", uri: "runner://containers/{container}" };
  const [name] = await client.complete(template, "container", "ipfs-");
  const [detail] = await client.read(`runner://containers/${name}`);
  assert.ok(detail.text.includes(container));

  user.answer = { action: "decline" };
  await refused("runner_stop_container", { container }, "confirmation_required");
  user.answer = { action: "accept", content: { stop: false } };
  await refused("runner_stop_container", { container }, "confirmation_required");
  assert.equal(user.asked.length, 2);
  user.answer = { action: "accept", content: { stop: true } };
  const { data: stopped } = await done("runner_stop_container", { container });
  assert.deepEqual([stopped.stopped, stopped.was], [true, "busy"]);
  for (const message of user.asked) assert.match(message, /\?$/);
  assert.equal(user.asked.length, 3);

  await client.watch("runner://status");
  await done("runner_start_autoscaler", { max_runners: 0 });
  await client.change();
  await done("runner_list_workflows");
  const prompt = { type: "ref/prompt", name: "diagnose_stuck_queue" };
  assert.ok((await client.complete(prompt, "repo", "acme/a")).includes(REPO));
  await done("runner_stop_autoscaler");
}

/** A runner of `REPO` that has got a job. */
async function busyRunner(done) {
  const [{ container_id }] = (await done("runner_provision_for_workflow", { repo: REPO })).data;
  const patience = Date.now() + 20_000;
  for (;;) {
    const listed = (await done("runner_list_containers", { repo: REPO })).data;
    if (listed.find((one) => one.container_id === container_id)?.phase === "busy") return container_id;
    assert.ok(Date.now() < patience, "the runner does not get its job");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Calls whose results are checked: `done` what must succeed, `refused` what must fail in band. */
async function callers(client) {
  const tools = await client.tools();
  assert.deepEqual(tools.map((tool) => tool.name).sort(), TOOLS);
  const ajv = addFormats(new Ajv2020({ strict: true, allowUnionTypes: true }));
  const valid = new Map(tools.map((tool) => [tool.name, ajv.compile(tool.outputSchema)]));
  const hints = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];
  for (const { name, title, annotations } of tools) {
    assert.ok(title, name);
    for (const hint of hints) assert.equal(typeof annotations[hint], "boolean", `${name} ${hint}`);
  }
  const call = async (name, args = {}) => {
    const result = await client.call(name, args);
    const content = result.structuredContent;
    assert.ok(valid.get(name)(content), `${name}: ${ajv.errorsText(valid.get(name).errors)}`);
    const mirror = result.content.find(({ type }) => type === "text");
    assert.deepEqual(JSON.parse(mirror.text), content, "the text says the same");
    assert.equal(result.isError === true, !content.success);
    return content;
  };
  return {
    done: async (name, args) => {
      const content = await call(name, args);
      assert.ok(content.success, JSON.stringify(content));
      assert.match(content.message, /^[A-Z0-9].*\.$/s);
      return content;
    },
    refused: async (name, args, code) => {
      const { error } = await call(name, args);
      assert.equal(error?.code, code, JSON.stringify(error));
      assert.ok(error.remedy);
      return error.message;
    },
  };
}
