// At a glance: whether it runs, how full it is, what waits and why, what is wrong.

import { at, explain, h, put, setMoment, show, sync } from "../dom.js";
import { count, many } from "../format.js";

const meter = (element, value, most) => {
  element.max = Math.max(1, most);
  element.value = value;
};

export function status({ mcp, can, publish }) {
  return async function refresh() {
    const { data, message } = await mcp.callTool("runner_get_status", {});
    draw(data, message, can);
    publish(data);
  };
}

function draw(data, message, can) {
  const { running, capacity, rate_limit: budget } = data;
  at("state").dataset.state = running ? "running" : "stopped";
  put(at("state-word"), running ? "Running" : "Stopped");
  show(at("state-since"), running && data.start_time);
  setMoment(at("started"), data.start_time);
  setMoment(at("seen"), data.last_check);
  put(at("mode"), `${many(data.repositories_monitored, "repository", "repositories")} watched`);
  show(at("start"), !running && can("runner_start_autoscaler"));
  show(at("stop"), running && can("runner_stop_autoscaler"));

  put(at("active"), count(data.active_runners));
  put(at("max"), count(capacity.max));
  meter(at("capacity"), capacity.used, capacity.max);
  put(at("launched"), `${count(capacity.free)} free · ${count(data.provisioned_runners)} launched since the start`);

  put(at("waiting"), count(data.queued_jobs));
  at("waiting").dataset.some = data.queued_jobs > 0;
  put(at("runs"), data.queued_jobs ? `in ${many(data.queued_workflows, "workflow run")}` : "nothing waits");
  put(at("message"), running ? message : "No jobs are looked for, and no runners are launched.");

  show(at("budget-known"), budget);
  put(at("remaining"), budget ? count(budget.remaining) : "–");
  put(at("limit"), budget ? `of ${count(budget.limit)}` : "not known yet");
  if (budget) {
    meter(at("budget"), budget.remaining, budget.limit);
    put(at("forecast"), budget.forecast);
    setMoment(at("reset"), budget.reset_at);
  }

  const error = data.last_error;
  show(at("trouble"), error);
  if (error) {
    explain(at("trouble-text"), error);
    put(at("trouble-code"), error.code);
    setMoment(at("trouble-at"), error.at);
  }
  show(at("warnings"), data.warnings.length);
  const warnings = data.warnings.map((text) => ({ text }));
  sync(at("warning-list"), warnings, (warning) => warning.text, ({ text }) => h("li", {}, text), () => {});

  const waits = data.queued_jobs ? `${count(data.queued_jobs)} waiting` : "nothing waits";
  document.title = running
    ? `${data.active_runners}/${capacity.max} · ${waits} · Runners`
    : "Stopped · Runners";
}
