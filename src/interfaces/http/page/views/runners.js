// The runner containers: what each is doing, for whom, and what it uses.

import { at, differs, explain, h, link, moment, put, setMoment, show, sync } from "../dom.js";
import { bytes, many, percent } from "../format.js";
import { Pages } from "../pages.js";

export function runners({ mcp, can, act, openLog, publish }) {
  const pages = new Pages(mcp, "runner_list_containers");
  let usage = new Map();
  let measuring = false;

  const row = (entry) => {
    const id = entry.container_id;
    const name = entry.runner_name;
    const phase = h("span", { class: "chip" });
    const job = h("span", { class: "job" });
    const age = moment(entry.created_at);
    const cpu = h("td", { class: "number wide" }, "–");
    const memory = h("td", { class: "number wide" }, "–");
    const log = h("button", { class: "small", "aria-label": `Log of ${name}`, on: { click: () => openLog(entry) } }, "Log");
    const stop = h("button", { class: "small danger", "aria-label": `Stop ${name}`, on: { click: () => act.stopContainer(id) } }, "Stop");
    const tr = h("tr", {}, h("td", {}, phase),
      h("th", { scope: "row" }, h("span", { class: "name", title: `${name} (${id})` }, entry.repo), job),
      h("td", { class: "number" }, age), cpu, memory,
      h("td", { class: "actions" }, log, can("runner_stop_container") ? stop : ""));
    tr.parts = { phase, job, age, cpu, memory, stop };
    return tr;
  };

  const change = (tr, entry) => {
    const { phase, job, age, cpu, memory, stop } = tr.parts;
    put(phase, entry.phase);
    phase.className = `chip ${entry.phase}`;
    if (differs(job, [entry.job, entry.phase])) {
      const word = { starting: "is being set up", idle: "waits for a job", exited: "has ended" }[entry.phase];
      job.replaceChildren(entry.job ? link(entry.job.url, entry.job.name) : word ?? "has a job");
    }
    setMoment(age, entry.created_at);
    const used = usage.get(entry.container_id);
    put(cpu, used ? percent(used.cpu_percent) : "–");
    put(memory, used ? bytes(used.memory_bytes) : "–");
    stop.disabled = entry.phase === "exited";
  };

  function redraw() {
    const wanted = at("runners-find").value.trim().toLowerCase();
    const words = (entry) => `${entry.repo} ${entry.runner_name} ${entry.container_id} ${entry.phase}`.toLowerCase();
    const found = pages.items.filter((entry) => words(entry).includes(wanted));
    sync(at("runners-table"), found, (entry) => entry.container_id, row, change);
    show(at("runners-wrap"), found.length);
    show(at("runners-more"), pages.hasMore);
    put(at("runners-note"), found.length ? `${many(found.length, "runner")}${pages.hasMore ? " and more" : ""}`
      : wanted ? "No runner is called so." : "No runner is there. They come when jobs wait.");
  }

  // Measuring takes the engine a while: nothing waits for it.
  async function measure() {
    if (measuring || !pages.items.length) return;
    measuring = true;
    try {
      const all = await mcp.readResource("runner://usage");
      usage = new Map(all.map((entry) => [entry.container_id, entry]));
      redraw();
    } catch {
      // The list is worth showing without it; the next look tries again.
    } finally {
      measuring = false;
    }
  }

  async function look(again = () => pages.refresh()) {
    try {
      await again();
      explain(at("runners-error"));
    } catch (error) {
      explain(at("runners-error"), error);
      throw error;
    } finally {
      redraw();
    }
  }

  const quietly = (again) => look(again).catch(() => {});
  at("runners-more").addEventListener("click", () => quietly(() => pages.more()));
  at("runners-find").addEventListener("input", () => quietly(() => pages.all()));

  return async function refresh() {
    await look();
    // Of a part of the list it can't be told.
    if (!pages.hasMore) publish({ busy: pages.items.filter(({ phase }) => phase === "busy").length });
    measure();
  };
}
