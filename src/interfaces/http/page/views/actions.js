// What a person does: start, stop, provision, stop a container.

import { at, explain, h, put, show } from "../dom.js";

const FIELDS = ["owner", "poll_interval", "max_runners", "runner_image"];

export function actions({ mcp, changed, expired, current }) {
  // Does one thing; tells what came of it, and answers whether it worked.
  async function act(work) {
    try {
      tell((await work()).message);
      changed();
      return true;
    } catch (error) {
      if (!expired(error)) complain(error);
      return false;
    }
  }

  async function stop() {
    const yes = await ask("Stop the autoscaler?",
      "No more runners are launched. Those that have a job go on until it is done.", "Stop the autoscaler");
    if (yes) await act(() => mcp.callTool("runner_stop_autoscaler", {}));
  }

  const stopContainer = (container) => act(() => mcp.callTool("runner_stop_container", { container }));

  start({ mcp, changed, expired });
  const provision = provisioning({ mcp, changed, expired });
  at("stop").addEventListener("click", stop);
  at("provision-open").addEventListener("click", () => provision(""));
  return { provision, stopContainer, current };
}

// The question of a tool; the answer in the protocol's form (elicitation).
export async function elicit({ message, requestedSchema }) {
  const yes = await ask("Are you sure?", message, "Stop it");
  if (!yes) return { action: "decline" };
  // The one question there is, is a yes or no.
  const names = Object.keys(requestedSchema?.properties ?? {});
  return { action: "accept", content: Object.fromEntries(names.map((name) => [name, true])) };
}

// Asks by a dialog; whether the answer was yes.
function ask(title, message, yes) {
  const dialog = at("ask");
  put(at("ask-title"), title);
  put(at("ask-message"), message);
  put(at("ask-yes"), yes);
  dialog.returnValue = "";
  dialog.showModal();
  at("ask-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function start({ mcp, changed, expired }) {
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

function provisioning({ mcp, changed, expired }) {
  const dialog = at("provision-dialog");
  const steps = at("provision-steps");
  let going;

  function step(text) {
    steps.append(h("li", {}, text));
    steps.scrollTop = steps.scrollHeight;
  }

  async function submit(event) {
    event.preventDefault();
    const repo = at("provision-repo").value.trim();
    const mine = new AbortController();
    going = mine;
    explain(at("provision-error"));
    put(at("provision-done"), "");
    steps.replaceChildren();
    show(steps, true);
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
    show(steps, false);
    dialog.showModal();
    at(repo ? "provision-go" : "provision-repo").focus();
  };
}

let fading;

function tell(message) {
  put(at("toast"), message);
  show(at("toast"), true);
  clearTimeout(fading);
  fading = setTimeout(() => show(at("toast"), false), 8_000);
}

function complain(error) {
  explain(at("complaint-text"), error);
  show(at("complaint"), true);
}
