// What every client does with the program, whatever it is written in: all seven tools, from the
// first look to a runner that is stopped in the middle of its job.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { World } from "./world.mjs";

export const TOOLS = [
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
export const REPO = "acme/api";

/** Tests `name`, which `open(transport, world)` connects, over both transports, each in a new world. */
export function overBothTransports(name, open) {
  describe(name, () => {
    for (const transport of ["stdio", "http"]) {
      test(`operates the program over ${transport}`, async () => {
        const world = await World.create(transport);
        try {
          const client = await open(transport, world);
          await operate(client).finally(() => client.close());
        } finally {
          await world.end();
        }
      });
    }
  });
}

/**
 * Operates the program through `client`: `tools()` lists them, `call(name, arguments)` is the result
 * as the client has it, `refusal(name)` the code of the error for a tool that there isn't.
 */
async function operate(client) {
  const tools = await client.tools();
  assert.deepEqual(tools.map((tool) => tool.name).sort(), TOOLS);
  const ajv = addFormats(new Ajv2020({ strict: true, allowUnionTypes: true }));
  const valid = new Map(tools.map((tool) => [tool.name, ajv.compile(tool.outputSchema)]));
  for (const { name, title, annotations } of tools) {
    assert.ok(title, name);
    const hints = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];
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
  const done = async (name, args) => {
    const content = await call(name, args);
    assert.ok(content.success, JSON.stringify(content));
    assert.match(content.message, /^[A-Z0-9].*\.$/s);
    return content;
  };
  const refused = async (name, args, code) => {
    const content = await call(name, args);
    assert.equal(content.error?.code, code, JSON.stringify(content));
    assert.ok(content.error.remedy);
    return content.error.message;
  };

  assert.equal((await done("runner_get_status")).data.running, false);
  const queues = await done("runner_list_workflows");
  assert.ok(queues.data.find(({ repo }) => repo === REPO).queued_jobs >= 12);
  assert.equal(queues.count, queues.data.length);

  const [{ container_id: container }] = (await done("runner_provision_for_workflow", { repo: REPO })).data;
  const phase = async () => {
    const listed = (await done("runner_list_containers", { repo: REPO })).data;
    return listed.find((one) => one.container_id === container)?.phase;
  };
  const patience = Date.now() + 20_000;
  while ((await phase()) !== "busy") {
    assert.ok(Date.now() < patience, "the runner does not get its job");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await refused("runner_stop_container", { container }, "confirmation_required");
  assert.equal(await phase(), "busy");
  const { data: stopped } = await done("runner_stop_container", { container, force: true });
  assert.deepEqual([stopped.stopped, stopped.changed, stopped.was], [true, true, "busy"]);
  assert.equal((await done("runner_stop_container", { container })).data.changed, false);

  assert.equal((await done("runner_start_autoscaler", { max_runners: 0 })).data.changed, true);
  assert.equal((await done("runner_start_autoscaler", { max_runners: 0 })).data.changed, false);
  assert.equal((await done("runner_get_status")).data.running, true);
  assert.equal((await done("runner_stop_autoscaler")).data.changed, true);

  assert.match(await refused("runner_list_workflows", { limit: 0 }, "invalid_argument"), /`limit`/);
  assert.match(await refused("runner_list_containers", { limit: "many" }, "invalid_argument"), /`limit`/);
  assert.match(await refused("runner_stop_container", {}, "invalid_argument"), /`container`/);
  assert.match(await refused("runner_start_autoscaler", { max_runners: 1e5 }, "invalid_argument"), /`max_runners`/);
  await refused("runner_stop_container", { container: "feedfacefeed" }, "not_found");
  assert.equal(await client.refusal("runner_dance"), UNKNOWN_TOOL);
}
