// Keeps the page true: by a subscription where that works, by asking now and then where not.

// How often is asked while nothing is told, and while it is.
const POLL = 5_000;
const CHECK = 15_000;
// Changes closer together than this are shown together.
const SPACING = 250;
// A stream that comes back by then was not worth a word.
const GRACE = 3_000;
// The server takes its first look just after it has agreed to tell: what changes between our look
// and that one is told by nobody, so it is looked at once more.
const SETTLED = 1_000;
// How long a server that refuses to tell is left alone.
const REST = 30_000;

const WATCHED = ["runner://status", "runner://events"];

// Calls `look`, which answers whether the server was reached, whenever something may have changed,
// and `tell` with "live", "polling" or "reconnecting", until `signal` is aborted. The answer is a
// function for who knows of a change.
export function live(mcp, { look, tell, signal }) {
  let streaming = false;
  let reached = false;
  let lost = Date.now();
  let looking = false;
  let again = false;
  let last = 0;
  let timer;

  const report = () => {
    const polls = reached && Date.now() - lost > GRACE;
    tell(streaming ? "live" : polls ? "polling" : "reconnecting");
  };
  const later = (wait) => {
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(now, Math.max(0, wait));
  };

  async function now() {
    if (looking || signal.aborted) return;
    looking = true;
    again = false;
    last = Date.now();
    reached = await look();
    looking = false;
    if (signal.aborted) return;
    report();
    later(again ? last + SPACING - Date.now() : streaming ? CHECK : POLL);
  }

  function soon() {
    if (looking) again = true;
    else later(last + SPACING - Date.now());
  }

  function onState(state) {
    if (state === "live") {
      setTimeout(soon, SETTLED);
    } else if (streaming) {
      lost = Date.now();
      reached = false;
      soon();
    }
    streaming = state === "live";
    report();
  }

  // At first, and when it is back, the subscription tells of each address: all is read again.
  const listen = () => mcp.subscribe(WATCHED, soon, { signal, onState }).catch(() => {
    onState("refused");
    if (!signal.aborted) setTimeout(listen, REST);
  });

  document.addEventListener("visibilitychange", () => document.hidden || soon(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  listen();
  now();
  return soon;
}
