// Keeps the page true: by a subscription where that works, by asking now and then where not.

// How often is asked while nothing is told, and while it is.
const POLL = 5_000;
const CHECK = 15_000;
// Changes closer together than this are shown together.
const SPACING = 250;
// The server takes its first look just after it has agreed to tell: what changes between our look
// and that one is told by nobody, so it is looked at once more.
const SETTLED = 1_000;

const WATCHED = ["runner://status", "runner://events"];

// Calls `look` (which must not overlap itself) whenever something may have changed, and `tell`
// with "live", "polling" or "reconnecting", until `signal` is aborted.
export function live(mcp, { look, tell, signal }) {
  let streaming = false;
  let reached = true;
  let looking = false;
  let again = false;
  let last = 0;
  let timer;

  const report = () => tell(streaming ? "live" : reached ? "polling" : "reconnecting");
  const later = (wait) => {
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(now, wait);
  };

  async function now() {
    if (signal.aborted) return;
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    again = false;
    last = Date.now();
    reached = await look();
    looking = false;
    report();
    later(again ? Math.max(0, last + SPACING - Date.now()) : streaming ? CHECK : POLL);
  }

  const soon = () => {
    if (looking) again = true;
    else later(Math.max(0, last + SPACING - Date.now()));
  };

  mcp.subscribe(WATCHED, soon, {
    signal,
    onState(state) {
      const before = streaming;
      streaming = state === "live";
      report();
      // After a gap everything is read again.
      if (streaming) {
        soon();
        setTimeout(soon, SETTLED);
      } else if (before) later(0);
    },
  });
  document.addEventListener("visibilitychange", () => document.hidden || soon(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  now();
  return soon;
}
