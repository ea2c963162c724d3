// Numbers and times as people say them.

const UNITS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];

// How far from now, in the largest unit, and the next one where that is a rough one.
export function since(when, now = Date.now()) {
  const seconds = Math.round((now - new Date(when)) / 1_000);
  // Clocks differ a little.
  return seconds < -5 ? `in ${span(-seconds)}` : span(Math.max(0, seconds));
}

export function span(seconds) {
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  if (at < 0) return "now";
  const [unit, size] = UNITS[at];
  const whole = Math.floor(seconds / size);
  const next = UNITS[at + 1];
  const rest = next && whole < 10 ? Math.floor((seconds % size) / next[1]) : 0;
  return rest && unit !== "min" ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
}

export const absolute = (when) =>
  new Date(when).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const clock = (when) => new Date(when).toLocaleTimeString(undefined, { timeStyle: "medium" });

export const count = (number) => Number(number ?? 0).toLocaleString();

export const many = (number, one, several = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : several}`;

export function bytes(size) {
  if (!Number.isFinite(size)) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(size || 1) / 10)));
  const value = size / 1024 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

export const percent = (value) =>
  Number.isFinite(value) ? `${value < 10 ? value.toFixed(1) : Math.round(value)} %` : "–";
