// The forms: starting the autoscaler, and launching runners at once.

import { at, explain, h, put, show } from "../dom.js";

const FIELDS = ["owner", "poll_interval", "max_runners", "runner_image"];

// Starts with what was typed; an error stands at the field that it is about.
export function start({ mcp, changed, expired, tell }) {
  const dialog = at("start-dialog");
  const form = at("start-form");
  const field = (name) => form.elements[name];

  async function open() {
    clear();
    dialog.showModal();
    // What is in force is shown where nothing is typed.
    const rows = await mcp.readResource("runner://config").catch(() => "[]");
    for (const { option, value } of rows) {
      if (FIELDS.includes(option)) field(option).placeholder = String(value ?? "");
    }
  }

  function clear() {
    explain(at("start-error"));
    for (const name of FIELDS) wrong(name);
  }

  function wrong(name, error) {
    explain(at(`${name}-error`), error);
    if (error) field(name).setAttribute("aria-invalid", "true");
    else field(name).removeAttribute("aria-invalid");
  }

  async function submit(event) {
    event.preventDefault();
    clear();
    const given = {};
    for (const name of FIELDS) {
      const text = field(name).value.trim();
      if (text) given[name] = field(name).inputMode === "numeric" && /^-?\d+$/.test(text) ? Number(text) : text;
    }
    at("start-go").disabled = true;
    put(at("start-go"), "Starting…");
    try {
      tell((await mcp.callTool("runner_start_autoscaler", { ...given, background: true })).message);
      dialog.close();
      changed();
    } catch (error) {
      if (expired(error)) return dialog.close();
      // The message names the argument that is wrong.
      const named = /`(\w+)`/.exec(error.code === "invalid_argument" ? error.message : "")?.[1];
      if (FIELDS.includes(named)) {
        wrong(named, error);
        field(named).focus();
      } else {
        explain(at("start-error"), error);
      }
    } finally {
      at("start-go").disabled = false;
      put(at("start-go"), "Start");
    }
  }

  at("start").addEventListener("click", open);
  at("start-cancel").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", submit);
}

// Launches runners and shows each step; answers what opens the form for a repository.
export function provisioning({ mcp, changed, expired }) {
  const dialog = at("provision-dialog");
  const progress = at("provision-progress");
  const steps = at("provision-steps");
  let going;

  function step(text) {
    steps.append(h("li", {}, text));
    progress.scrollTop = progress.scrollHeight;
  }

  async function submit(event) {
    event.preventDefault();
    const repo = at("provision-repo").value.trim();
    const mine = new AbortController();
    going = mine;
    explain(at("provision-error"));
    put(at("provision-done"), "");
    steps.replaceChildren();
    show(progress, true);
    at("provision-go").disabled = true;
    put(at("provision-close"), "Cancel");
    try {
      const answer = await mcp.callTool("runner_provision_for_workflow", repo ? { repo } : {}, {
        signal: mine.signal,
        onprogress: ({ message }) => message && step(message),
      });
      put(at("provision-done"), answer.message);
    } catch (error) {
      if (!mine.signal.aborted && !expired(error)) explain(at("provision-error"), error);
    } finally {
      changed();
      if (going === mine) {
        going = undefined;
        at("provision-go").disabled = false;
        put(at("provision-close"), "Close");
      }
    }
  }

  at("provision-form").addEventListener("submit", submit);
  at("provision-close").addEventListener("click", () => dialog.close());
  // A launch that nobody waits for any more is taken back.
  dialog.addEventListener("close", () => going?.abort());
  return (repo) => {
    at("provision-repo").value = repo;
    explain(at("provision-error"));
    put(at("provision-done"), "");
    steps.replaceChildren();
    show(progress, false);
    dialog.showModal();
    at(repo ? "provision-go" : "provision-repo").focus();
  };
}
