// Light or dark: as the system has it, unless somebody chose.

import { at, put } from "./dom.js";

const KEY = "theme";
const CHOICES = ["auto", "light", "dark"];
const changed = new EventTarget();

export const onTheme = (listener) => changed.addEventListener("change", listener);

function apply(choice) {
  document.documentElement.dataset.theme = choice;
  put(at("theme"), choice);
  at("theme").setAttribute("aria-label", `Theme: ${choice}`);
  changed.dispatchEvent(new Event("change"));
}

export function theme() {
  const chosen = localStorage.getItem(KEY);
  apply(CHOICES.includes(chosen) ? chosen : "auto");
  at("theme").addEventListener("click", () => {
    const before = CHOICES.indexOf(document.documentElement.dataset.theme);
    const choice = CHOICES[(before + 1) % CHOICES.length];
    localStorage.setItem(KEY, choice);
    apply(choice);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    changed.dispatchEvent(new Event("change")));
}
