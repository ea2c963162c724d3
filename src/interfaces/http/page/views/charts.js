// The last hours: what waits, who works, and what is left of the API budget.

/* global uPlot */
import { at, h, put, show } from "../dom.js";
import { clock, count } from "../format.js";
import { onTheme } from "../theme.js";

const HEIGHT = 132;
const AXIS = "11px system-ui, sans-serif";
const HOURS = 3_600;
const SHORTEST = 600;

const CHARTS = [
  { id: "chart-queue", series: [{ name: "queued_jobs", label: "waiting", colour: "--waiting", fill: true }] },
  {
    id: "chart-runners",
    series: [
      { name: "active_runners", label: "active", colour: "--idle", fill: true },
      { name: "busy_runners", label: "busy", colour: "--busy" },
      { name: "capacity", label: "capacity", colour: "--soft", dash: [4, 4] },
    ],
  },
  { id: "chart-budget", series: [{ name: "api_remaining", label: "requests left", colour: "--accent", fill: true }] },
];

// The colour that a variable stands for in the theme of now: a canvas knows no variables.
function colour(name) {
  const probe = at("charts-empty");
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.style.color = "";
  return found;
}

export function charts({ mcp, current }) {
  const drawn = new Map();
  let samples = { columns: [], rows: [], interval_s: 60 };
  let read = 0;

  for (const element of document.querySelectorAll("[name=hours]")) {
    element.addEventListener("change", () => redraw());
  }
  onTheme(() => {
    for (const chart of drawn.values()) chart.destroy();
    drawn.clear();
    redraw();
  });
  const resized = new ResizeObserver(() => {
    for (const [{ id }, chart] of drawn) {
      const width = at(id).clientWidth;
      if (width && width !== chart.width) chart.setSize({ width, height: HEIGHT });
    }
  });
  for (const { id } of CHARTS) resized.observe(at(id));

  function redraw() {
    const hours = Number(document.querySelector("[name=hours]:checked").value);
    const now = Math.floor(Date.now() / 1_000);
    const rows = samples.rows.filter(([when]) => when >= now - hours * HOURS);
    // As long as there is little to show, that is shown large.
    const from = Math.max(now - hours * HOURS, Math.min(rows[0]?.[0] ?? now, now - SHORTEST));
    show(at("charts-empty"), rows.length < 2);
    for (const chart of CHARTS) draw(chart, gaps(rows.concat(latest(now, rows))), from, now);
  }

  // Where nothing was sampled for long there is no line.
  function gaps(rows) {
    const longest = samples.interval_s * 2.5;
    return rows.flatMap((row, index) => {
      const before = rows[index - 1]?.[0] ?? row[0];
      return row[0] - before > longest ? [[before + 1], row] : [row];
    });
  }

  // The end of each line is now, not the last minute.
  function latest(now, rows) {
    const status = current();
    const before = rows.at(-1);
    if (!status || (before && before[0] >= now)) return [];
    const values = {
      at: now,
      queued_jobs: status.queued_jobs,
      active_runners: status.active_runners,
      capacity: status.capacity.max,
      api_remaining: status.rate_limit?.remaining ?? null,
      busy_runners: status.busy,
    };
    return [samples.columns.map((name) => values[name] ?? null)];
  }

  function draw(chart, rows, from, to) {
    const column = (name) => {
      const index = samples.columns.indexOf(name);
      return rows.map((row) => row[index] ?? null);
    };
    const data = [column("at"), ...chart.series.map(({ name }) => column(name))];
    describe(chart, data);
    const before = drawn.get(chart);
    if (before) {
      before.window = [from, to];
      return before.setData(data);
    }
    const width = at(chart.id).clientWidth;
    if (!width) return;
    const made = new uPlot(options(chart, width), data, at(chart.id));
    made.window = [from, to];
    drawn.set(chart, made);
    made.setData(data);
  }

  // What the picture shows, for who can't see it; and the values beside it.
  function describe(chart, data) {
    const words = chart.series.map(({ label }, index) => {
      const values = data[index + 1].filter((value) => value !== null);
      return values.length ? `${label}: ${count(values.at(-1))} now, ${count(Math.max(...values))} at most` : `${label}: not known`;
    });
    at(chart.id).setAttribute("aria-label", words.join("; "));
    key(chart, data, data[0].length - 1);
  }

  return async function refresh() {
    // The server takes one sample a minute.
    if (Date.now() - read > (samples.interval_s * 1_000) / 2) {
      samples = await mcp.readResource("runner://samples");
      read = Date.now();
    }
    redraw();
  };
}

// The values at one point, above the picture.
function key(chart, data, index) {
  const list = at(`${chart.id}-key`);
  if (!list.children.length) {
    list.append(...chart.series.map(({ colour, label }) =>
      h("li", {}, h("span", { class: `swatch ${colour.slice(2)}` }), h("b", {}), ` ${label}`)));
    list.append(h("li", { class: "when" }));
  }
  chart.series.forEach((_, series) => {
    const value = data[series + 1][index];
    put(list.children[series].querySelector("b"), value == null ? "–" : count(value));
  });
  const last = index === data[0].length - 1 || index < 0;
  put(list.lastElementChild, last ? "" : clock(data[0][index] * 1_000));
}

function options(chart, width) {
  const axis = {
    stroke: colour("--soft"),
    font: AXIS,
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  const whole = (_, values) => values.map((value) => (Number.isInteger(value) ? compact(value) : ""));
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 8, 0, 0],
    cursor: { y: false, points: { size: 6 }, drag: { setScale: false, x: false, y: false } },
    scales: {
      x: { range: (plot, from, to) => plot.window ?? [from, to] },
      y: { range: (_plot, _from, to) => [0, Math.max(4, Math.ceil((to ?? 0) * 1.1))] },
    },
    axes: [
      { ...axis, size: 24, space: 64, values: "{HH}:{mm}", grid: { show: false } },
      { ...axis, size: 40, space: 28, values: whole },
    ],
    series: [
      {},
      ...chart.series.map(({ colour: name, fill, dash }) => ({
        stroke: colour(name),
        width: 1.5,
        dash,
        fill: fill && `color-mix(in srgb, ${colour(name)} 16%, transparent)`,
        points: { show: false },
        spanGaps: false,
      })),
    ],
    hooks: {
      setCursor: [(plot) => key(chart, plot.data, plot.cursor.idx ?? plot.data[0].length - 1)],
    },
  };
}

const compact = (value) => (value >= 10_000 ? `${value / 1_000}k` : String(value));
