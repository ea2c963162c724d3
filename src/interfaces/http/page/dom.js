// Elements from data. Texts are only ever set as text: names come from strangers.

import { absolute, since } from "./format.js";

export const at = (id) => document.getElementById(id);

// An element: `h("td", { class: "number", on: { click } }, "text", other)`.
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value != null) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// Sets what differs, so that a selection survives and nothing is read out twice.
export function put(element, text) {
  text = String(text ?? "");
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, shown) {
  if (element.hidden === Boolean(shown)) element.hidden = !shown;
}

// A link where strangers can't choose a scheme that runs code; otherwise the words alone.
export function link(url, text) {
  if (!/^https?:\/\//.test(url ?? "")) return document.createTextNode(text);
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text);
}

// A time that goes on by itself; `ago` says which side of now it is on.
export function moment(when, ago = "") {
  const element = h("time", { "data-ago": ago });
  setMoment(element, when);
  return element;
}

export function setMoment(element, when) {
  if (!when) {
    element.removeAttribute("datetime");
    element.removeAttribute("title");
    return put(element, "–");
  }
  if (element.getAttribute("datetime") !== when) {
    element.setAttribute("datetime", when);
    element.title = absolute(when);
  }
  const text = since(when);
  put(element, element.dataset.ago && text !== "now" ? `${text} ${element.dataset.ago}` : text);
}

setInterval(() => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("time[datetime][data-ago]")) {
    setMoment(element, element.getAttribute("datetime"));
  }
}, 1_000);

const kept = new WeakMap();

// Makes the children of `parent` those of `items`: what was there is changed, not made again, so
// that focus, selection and what is open stay.
export function sync(parent, items, key, make, change) {
  const before = kept.get(parent) ?? new Map();
  const now = new Map();
  // A table's head stays where it is.
  let place = parent.tHead ? parent.tHead.nextElementSibling : parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    if (now.has(name)) continue;
    const element = before.get(name) ?? make(item);
    before.delete(name);
    now.set(name, element);
    change(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const gone of before.values()) gone.remove();
  kept.set(parent, now);
}

const told = new WeakMap();

// Whether `value` differs from what was last asked about `element`.
export function differs(element, value) {
  const text = JSON.stringify(value);
  if (told.get(element) === text) return false;
  told.set(element, text);
  return true;
}

// An error as people need it: what happened, and what to do.
export function explain(element, error) {
  show(element, error);
  if (!error || !differs(element, [error.message, error.remedy])) return;
  element.replaceChildren(h("strong", {}, error.message), error.remedy ? ` ${error.remedy}` : "");
}
