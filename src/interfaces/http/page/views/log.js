// What a runner prints, while it prints it.

import { at, explain, put, show } from "../dom.js";

const LINES = 500;
const POLL = 3_000;
// Somebody who has scrolled up further than this is reading.
const SLACK = 24;

export function log({ mcp, can, act }) {
  const panel = at("log");
  const text = at("log-text");
  let ending;
  let shown;
  let opener;

  const reading = () => text.scrollHeight - text.scrollTop - text.clientHeight > SLACK;

  function open(entry) {
    close();
    ending = new AbortController();
    shown = entry;
    opener = document.activeElement;
    show(panel, true);
    put(at("log-title"), `Log of ${entry.repo}`);
    put(at("log-name"), `${entry.runner_name} · ${entry.container_id}`);
    show(at("log-stop"), can("runner_stop_container"));
    put(text, "");
    explain(at("log-error"));
    put(at("log-state"), "Reading…");
    at("log-close").focus();
    follow(`runner://containers/${entry.container_id}/log?lines=${LINES}`, ending.signal);
  }

  function follow(uri, signal) {
    let streaming = false;
    let going;
    let again = false;
    async function read() {
      if (going) {
        again = true;
        return;
      }
      going = true;
      try {
        const content = await mcp.readResource(uri);
        if (signal.aborted) return;
        const stay = reading();
        put(text, content || "Nothing was printed yet.");
        if (!stay) text.scrollTop = text.scrollHeight;
        explain(at("log-error"));
      } catch (error) {
        if (!signal.aborted) explain(at("log-error"), error);
      } finally {
        going = false;
        if (again && !signal.aborted) {
          again = false;
          read();
        }
      }
    }
    mcp.subscribe([uri], read, {
      signal,
      onState(state) {
        streaming = state === "live";
        put(at("log-state"), streaming ? "Live" : "Reconnecting…");
        at("log-state").dataset.state = state;
      },
    }).catch(() => {
      // It is asked for by the clock then.
      streaming = false;
    });
    const poll = setInterval(() => streaming || read(), POLL);
    signal.addEventListener("abort", () => clearInterval(poll));
    read();
  }

  function close() {
    if (!shown) return;
    ending.abort();
    shown = undefined;
    show(panel, false);
    if (opener?.isConnected) opener.focus();
  }

  at("log-close").addEventListener("click", close);
  at("log-stop").addEventListener("click", () => act.stopContainer(shown.container_id));
  panel.addEventListener("keydown", (event) => event.key === "Escape" && close());
  return { open, close };
}
