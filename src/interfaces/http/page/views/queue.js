// The queue by repository; a row opens to show why each of its jobs waits.

import { at, explain, h, link, moment, put, setMoment, show, sync } from "../dom.js";
import { count, many } from "../format.js";
import { Pages } from "../pages.js";

const COLUMNS = 6;

export function queue({ mcp, can, current, act }) {
  const pages = new Pages(mcp, "runner_list_workflows");
  const open = new Map();
  let asked = false;

  const row = (entry) => {
    const body = h("tbody", {});
    const toggle = h("button", { class: "row-toggle", "aria-expanded": "false", on: { click: () => flip(body, entry.repo) } }, entry.repo);
    const stuck = h("span", { class: "chip stuck", hidden: true });
    const waits = h("b", { class: "number" });
    const since = moment(null);
    const running = h("td", { class: "number wide" });
    const failed = h("td", { class: "number wide" });
    const go = h("button", { class: "small", on: { click: () => act.provision(entry.repo) } }, "Provision");
    go.setAttribute("aria-label", `Provision a runner for ${entry.repo}`);
    const actions = h("td", { class: "actions wide" }, can("runner_provision_for_workflow") ? go : "");
    body.append(h("tr", {}, h("th", { scope: "row" }, toggle), h("td", { class: "number" }, waits, " ", stuck),
      h("td", { class: "number" }, since), running, failed, actions));
    body.parts = { waits, stuck, since, running, failed, toggle };
    return body;
  };

  const change = (body, entry) => {
    const { waits, stuck, since, running, failed } = body.parts;
    put(waits, count(entry.queued_jobs));
    waits.dataset.some = entry.queued_jobs > 0;
    const unserved = entry.unmatched.reduce((sum, group) => sum + group.jobs, 0);
    show(stuck, unserved);
    put(stuck, `+${count(unserved)} stuck`);
    stuck.title = entry.unmatched.map((group) => group.reason).join("\n");
    setMoment(since, entry.waiting_since);
    put(running, count(entry.running));
    put(failed, count(entry.failed));
    failed.dataset.some = entry.failed > 0;
  };

  // Opens or closes the row of `repo`.
  function flip(body, repo) {
    const detail = open.get(repo);
    body.parts.toggle.setAttribute("aria-expanded", String(!detail));
    if (detail) {
      open.delete(repo);
      return detail.remove();
    }
    const inside = h("div", { class: "detail" }, h("p", { class: "quiet" }, "Reading…"));
    const added = h("tr", { class: "opened" }, h("td", { colspan: COLUMNS }, inside));
    added.inside = inside;
    open.set(repo, added);
    body.append(added);
    return read(repo, added);
  }

  async function read(repo, row) {
    try {
      draw(row.inside, await mcp.readResource(`runner://queues/${repo}`));
    } catch (error) {
      const note = h("p", { class: "error", role: "alert" });
      explain(note, error);
      row.inside.replaceChildren(note);
      delete row.inside.lists;
    }
  }

  function redraw() {
    const wanted = at("queue-find").value.trim().toLowerCase();
    const found = pages.items.filter((entry) => entry.repo.toLowerCase().includes(wanted));
    sync(at("queue-table"), found, (entry) => entry.repo, row, change);
    for (const [repo, detail] of open) if (!detail.isConnected) open.delete(repo);
    show(at("queue-wrap"), found.length);
    show(at("queue-more"), pages.hasMore);
    const running = current()?.running;
    show(at("queue-look"), !running && !asked);
    const empty = wanted ? "No repository is called so." : running || asked
      ? "No workflow runs, waits or has failed." : "While the autoscaler is stopped, a look at the queue costs API budget.";
    put(at("queue-note"), found.length ? `${many(found.length, "repository", "repositories")}${pages.hasMore ? " and more" : ""}` : empty);
  }

  async function look(again = () => pages.refresh()) {
    try {
      await again();
      explain(at("queue-error"));
    } catch (error) {
      explain(at("queue-error"), error);
      throw error;
    } finally {
      redraw();
    }
  }

  const quietly = (again) => look(again).catch(() => {});
  at("queue-more").addEventListener("click", () => quietly(() => pages.more()));
  at("queue-find").addEventListener("input", () => quietly(() => pages.all()));
  at("queue-look").addEventListener("click", () => {
    asked = true;
    quietly();
  });

  return async function refresh() {
    // GitHub is asked only where that is free, or was wished for.
    if (!current()?.running) return redraw();
    asked = false;
    await look();
    await Promise.all([...open].map(([repo, row]) => read(repo, row)));
  };
}

function draw(inside, { waiting, running, more, queue }) {
  if (!inside.lists) {
    inside.lists = { waiting: h("ul", { class: "jobs" }), running: h("ul", { class: "jobs" }), note: h("p", { class: "quiet" }) };
    inside.replaceChildren(inside.lists.waiting, inside.lists.running, inside.lists.note);
  }
  const { lists } = inside;
  sync(lists.waiting, waiting, ({ job }) => `${job.id}`, waitingJob, (item, { reason }) => put(item.reason, reason));
  sync(lists.running, running, ({ job }) => `${job.id}`, runningJob, () => {});
  show(lists.waiting, waiting.length);
  show(lists.running, running.length);
  const rest = more ? `${count(more)} more wait.` : "";
  const none = waiting.length + running.length ? "" : `No job waits for a runner here. ${many(queue.failed, "run")} failed lately.`;
  put(lists.note, rest || none);
  show(lists.note, rest || none);
}

function waitingJob({ job, labels, queued_at }) {
  const reason = h("span", { class: "reason" });
  const chips = labels.map((label) => h("span", { class: "chip" }, label));
  const item = h("li", {}, h("span", { class: "chip waiting" }, "waits ", moment(queued_at)), " ",
    link(job.url, job.name), " ", h("span", { class: "chips" }, ...chips), reason);
  item.reason = reason;
  return item;
}

function runningJob({ job, runner_name, started_at }) {
  return h("li", {}, h("span", { class: "chip busy" }, "runs ", moment(started_at)), " ",
    link(job.url, job.name), " ", h("span", { class: "reason" }, `on ${runner_name}`));
}
