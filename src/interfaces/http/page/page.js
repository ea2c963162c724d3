// The dashboard: signs in, puts the views together and keeps them true.

import MCP from "./sdk.js";
import { at, explain, put, show } from "./dom.js";
import { live } from "./live.js";
import { expired, guard, leave, token } from "./session.js";
import { theme } from "./theme.js";
import { actions, elicit } from "./views/actions.js";
import { charts } from "./views/charts.js";
import { audit, events } from "./views/history.js";
import { log } from "./views/log.js";
import { queue } from "./views/queue.js";
import { runners } from "./views/runners.js";
import { status } from "./views/status.js";

const WORDS = { live: "Live", polling: "Polling every 5 s", reconnecting: "Reconnecting…" };

const mcp = new MCP({
  url: location.origin,
  token,
  onElicit: elicit,
  // What fails is asked again by the next look, and told at once.
  retries: 0,
  clientInfo: { name: "dashboard", version: "1" },
});
let offered = new Set();
let latest;
let session;
let soon = () => {};
let views;

const can = (tool) => offered.has(tool);
const current = () => latest;

// Ends the session where the server no longer takes it.
function ended(error) {
  if (error?.status !== 401) return false;
  close();
  expired();
  return true;
}

function close() {
  session?.abort();
  session = undefined;
  views?.log.close();
  latest = undefined;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

function connection(state) {
  at("connection").dataset.state = state;
  put(at("connection"), WORDS[state]);
}

// Reads all there is; whether the server was reached.
async function look(mine) {
  if (mine.aborted) return false;
  const { first, rest } = views;
  // The others need to know whether it runs.
  const one = await Promise.allSettled([first()]);
  const all = one.concat(await Promise.allSettled(rest.map((refresh) => refresh())));
  if (mine.aborted) return false;
  const failures = all.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
  if (failures.some(ended)) return false;
  explain(at("failure"), failures[0]);
  return one[0].status === "fulfilled";
}

function make() {
  const act = actions({ mcp, current, changed: () => soon(), expired: ended });
  const publish = (part) => { latest = { ...latest, ...part }; };
  const context = { mcp, can, current, act, publish };
  const panel = log(context);
  return {
    log: panel,
    first: status(context),
    rest: [
      queue(context),
      runners({ ...context, openLog: panel.open }),
      charts(context),
      events(context),
      audit(context),
    ],
  };
}

async function begin() {
  // What another session has seen, or could do, goes with its page.
  if (views) return location.reload();
  const mine = new AbortController();
  session = mine;
  connection("reconnecting");
  views = make();
  try {
    await learn(mine.signal);
  } catch (error) {
    return void ended(error);
  }
  if (mine.signal.aborted) return;
  document.body.dataset.reads = !can("runner_stop_autoscaler");
  show(at("reads-only"), !can("runner_stop_autoscaler"));
  show(at("provision-open"), can("runner_provision_for_workflow"));
  soon = live(mcp, { look: () => look(mine.signal), tell: connection, signal: mine.signal });
}

// Which tools there are for this session; asked again until the server answers.
async function learn(signal) {
  for (let wait = 500; !signal.aborted; wait = Math.min(5_000, wait * 2)) {
    try {
      offered = new Set((await mcp.listTools()).map(({ name }) => name));
      explain(at("failure"));
      return;
    } catch (error) {
      if (error.status === 401) throw error;
      explain(at("failure"), error);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

theme();
at("leave").addEventListener("click", () => {
  close();
  leave();
});
at("complaint-close").addEventListener("click", () => show(at("complaint"), false));
await guard(begin);
