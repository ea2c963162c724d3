// What happened, and who had what done.

import { at, explain, h, moment, put, show, sync } from "../dom.js";

export function events({ mcp }) {
  return async function refresh() {
    try {
      const all = await mcp.readResource("runner://events");
      // The same sentence may come twice in a second.
      const seen = new Map();
      const numbered = all.slice().reverse().map((event) => {
        const name = `${event.at} ${event.message} ${event.subject}`;
        seen.set(name, (seen.get(name) ?? 0) + 1);
        return { ...event, name: `${name} ${seen.get(name)}` };
      });
      sync(at("events-list"), numbered.reverse(), (event) => event.name, line, () => {});
      show(at("events-note"), !all.length);
      explain(at("events-error"));
    } catch (error) {
      explain(at("events-error"), error);
      throw error;
    }
  };
}

function line({ at: when, kind, subject, message }) {
  return h("li", { "data-kind": kind }, moment(when, "ago"), h("span", { class: "what" }, h("b", {}, subject), ` ${message}`));
}

// Read only while it is open: who watches runners seldom asks who pressed what.
export function audit({ mcp }) {
  const panel = at("audit");
  async function refresh() {
    if (!panel.open) return;
    try {
      const records = await mcp.readResource("runner://audit");
      const name = ({ at: when, tool, arguments: given }) => `${when} ${tool} ${JSON.stringify(given)}`;
      sync(at("audit-table"), records, name, record, () => {});
      show(at("audit-wrap"), records.length);
      show(at("audit-note"), !records.length);
      put(at("audit-note"), "Nobody has had anything changed yet.");
      explain(at("audit-error"));
    } catch (error) {
      explain(at("audit-error"), error);
      throw error;
    }
  }
  panel.addEventListener("toggle", () => refresh().catch(() => {}));
  return refresh;
}

function record({ at: when, caller, tool, arguments: given, outcome }) {
  const words = Object.entries(given).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(" ");
  const who = [caller.name, caller.version].filter(Boolean).join(" ");
  return h("tr", {},
    h("td", {}, moment(when, "ago")),
    h("th", { scope: "row" }, who, h("span", { class: "job" }, caller.transport)),
    h("td", {}, h("code", {}, tool.replace("runner_", "")), h("span", { class: "job" }, words)),
    h("td", {}, h("span", { class: outcome.ok ? "chip idle" : "chip failure" }, outcome.ok ? "done" : outcome.code ?? "failed"),
      h("span", { class: "job" }, outcome.message)));
}
