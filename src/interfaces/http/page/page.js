// Signs in with the code of a link, and shows the status as long as somebody looks.

const VERSION = "2026-07-28";
const PAUSE = 5_000;
const KEY = "session";

const at = (id) => document.getElementById(id);
const show = (id, shown) => { at(id).hidden = !shown; };

class SignedOut extends Error {}

async function post(path, body, headers = {}) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
    credentials: "omit",
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const { message, remedy } = answer.error ?? { message: `The server answered ${response.status}.` };
  throw new (response.status === 401 ? SignedOut : Error)([message, remedy].filter(Boolean).join(" "));
}

// A tool's result, in the stateless form of the protocol.
async function call(tool) {
  const meta = "io.modelcontextprotocol";
  const answer = await post("/mcp", {
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: {
      name: tool,
      arguments: {},
      _meta: {
        [`${meta}/protocolVersion`]: VERSION,
        [`${meta}/clientInfo`]: { name: "page", version: "1" },
        [`${meta}/clientCapabilities`]: {},
      },
    },
  }, {
    accept: "application/json, text/event-stream",
    authorization: `Bearer ${sessionStorage.getItem(KEY)}`,
    "mcp-protocol-version": VERSION,
    "mcp-method": "tools/call",
    "mcp-name": tool,
  });
  const content = answer.result?.structuredContent;
  if (content?.success) return content;
  throw new Error(content?.error?.message ?? answer.error?.message ?? "The answer has a strange shape.");
}

// Everything is set as text: names come from strangers.
function draw({ data, message }) {
  const { capacity = {} } = data;
  const facts = {
    "Autoscaler": data.running ? "running" : "stopped",
    "Runners": `${data.active_runners} of ${capacity.max ?? "?"}`,
    "Waiting jobs": data.queued_jobs,
    "Repositories": data.repositories_monitored,
    "Launched": data.provisioned_runners,
    "Last look": data.last_check ? new Date(data.last_check).toLocaleTimeString() : "none yet",
  };
  at("message").textContent = message;
  at("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => {
    const pair = [document.createElement("dt"), document.createElement("dd")];
    pair[0].textContent = name;
    pair[1].textContent = value;
    return pair;
  }));
  at("trouble").textContent = data.last_error?.message ?? "";
  show("trouble", data.last_error);
  at("seen").textContent = new Date().toLocaleTimeString();
}

function say(text) {
  at("note").textContent = text;
  show("note", text);
}

function signedIn(yes) {
  for (const [id, shown] of [["status", yes], ["leave", yes], ["enter", !yes]]) show(id, shown);
}

async function look() {
  if (document.hidden || !sessionStorage.getItem(KEY)) return;
  try {
    draw(await call("runner_get_status"));
    signedIn(true);
    say("");
  } catch (error) {
    say(error.message);
    if (error instanceof SignedOut) leave();
  }
}

function leave() {
  sessionStorage.removeItem(KEY);
  signedIn(false);
}

async function enter() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  // Gone from the address bar and the history, used or not.
  if (location.hash) history.replaceState(null, "", location.pathname);
  if (code) {
    try {
      sessionStorage.setItem(KEY, (await post("/session", { code })).token);
    } catch (error) {
      say(error.message);
      // An old link does not end a session that is still good.
      if (!sessionStorage.getItem(KEY)) return leave();
    }
  } else if (!sessionStorage.getItem(KEY)) {
    say("You are not signed in.");
    return leave();
  }
  await look();
}

at("leave").addEventListener("click", () => { leave(); say("You are signed out."); });
at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("token").value.trim());
  at("token").value = "";
  look();
});
addEventListener("hashchange", enter);
document.addEventListener("visibilitychange", look);

await enter();
setInterval(look, PAUSE);
