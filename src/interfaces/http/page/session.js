// Signing in: a one-time code from a link, or a bearer token, for as long as the tab is open.

import { at, explain, show } from "./dom.js";

const KEY = "session";
const HOW = "Get another link with `ipfs-accelerate mcp link`.";

export const token = () => sessionStorage.getItem(KEY);

// What the page shows to who is not signed in; `entered` is called when somebody is.
export function guard(entered) {
  at("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, at("token").value.trim());
    at("token").value = "";
    admit(entered);
  });
  addEventListener("hashchange", () => code() && enter(entered));
  return enter(entered);
}

// Ends the session; `why` is an error, or nothing where it was meant.
export function leave(why) {
  sessionStorage.removeItem(KEY);
  document.body.dataset.signedIn = "false";
  show(at("sign-in"), true);
  explain(at("why"), why);
  at("sign-in-title").focus();
}

// The server no longer takes the token: it has expired, or was never one.
export const expired = () =>
  leave({ message: "Your session has ended, or the token is not the server's.", remedy: HOW });

const code = () => new URLSearchParams(location.hash.slice(1)).get("code");

async function enter(entered) {
  const given = code();
  // Gone from the address bar and the history, used or not.
  if (location.hash) history.replaceState(null, "", location.pathname);
  if (given) {
    try {
      sessionStorage.setItem(KEY, await exchange(given));
    } catch (error) {
      // An old link does not end a session that is still good.
      if (!token()) return leave(error);
    }
  }
  if (token()) admit(entered);
  else leave();
}

function admit(entered) {
  document.body.dataset.signedIn = "true";
  show(at("sign-in"), false);
  entered();
}

async function exchange(code) {
  const response = await fetch("/session", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ code }),
    credentials: "omit",
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer.token;
  throw answer.error ?? { message: `The server answered ${response.status}.`, remedy: HOW };
}
