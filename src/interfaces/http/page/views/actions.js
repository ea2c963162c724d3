// What a person does: start, stop, provision, stop a container.

import { at, explain, put, show } from "../dom.js";
import { provisioning, start } from "./dialogs.js";

// Whether the last question of a tool was answered with no.
let declined = false;

export function actions({ mcp, changed, expired, current }) {
  // Does one thing; tells what came of it, and answers whether it worked.
  async function act(work) {
    declined = false;
    try {
      tell((await work()).message);
      changed();
      return true;
    } catch (error) {
      // Who says no need not be told of a failure.
      if (declined) tell("Nothing was stopped.");
      else if (!expired(error)) complain(error);
      return false;
    }
  }

  async function stop() {
    const yes = await ask("Stop the autoscaler?",
      "No more runners are launched. Those that have a job go on until it is done.", "Stop the autoscaler");
    if (yes) await act(() => mcp.callTool("runner_stop_autoscaler", {}));
  }

  const stopContainer = (container) => act(() => mcp.callTool("runner_stop_container", { container }));

  start({ mcp, changed, expired, tell });
  const provision = provisioning({ mcp, changed, expired });
  at("stop").addEventListener("click", stop);
  at("provision-open").addEventListener("click", () => provision(""));
  return { provision, stopContainer, current };
}

// The question of a tool; the answer in the protocol's form (elicitation).
export async function elicit({ message, requestedSchema }) {
  const yes = await ask("Are you sure?", message, "Stop it");
  declined = !yes;
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
