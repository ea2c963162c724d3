//! The program as an HTTP server, and a client that says exactly what a test wants.

use std::ops::Deref;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::program::Home;

/// Where HTTP is served, and a client with connections of its own.
#[derive(Clone)]
pub(crate) struct Site {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// `mcp start --http` in a process of its own.
pub(crate) struct Server {
    site: Site,
    /// What it printed so far.
    pub(crate) log: Arc<Mutex<String>>,
    pub(crate) child: Child,
}

impl Deref for Server {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Server {
    /// Starts it and waits until it says where it is.
    pub(crate) async fn start(home: &Home, flags: &str) -> Self {
        let mut command = home.command(&format!("mcp start --http 127.0.0.1:0 {flags}"));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program runs");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        while let Some(line) = lines.next_line().await.expect("text") {
            *log.lock().expect("the log") += &format!("{line}\n");
            if line.starts_with("Dashboard: ") {
                break;
            }
        }
        let further = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *further.lock().expect("the log") += &format!("{line}\n");
            }
        });
        let printed = log.lock().expect("the log").clone();
        Self { site: Site::said(&printed), log, child }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// The link that it printed.
    pub(crate) fn link(&self) -> String {
        let log = self.log();
        log.lines().find_map(|line| line.strip_prefix("Dashboard: ")).expect("a link").to_owned()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn end(mut self) -> std::process::ExitStatus {
        terminate(&self.child);
        self.child.wait().await.expect("it ends")
    }
}

impl Site {
    /// The one that a server's `log` names.
    pub(crate) fn said(log: &str) -> Self {
        let at = log.lines().find_map(|line| line.strip_prefix("Serving MCP at http://"));
        let at = at.unwrap_or_else(|| panic!("{log}"));
        let address = at.trim_end_matches("/mcp").to_owned();
        Self { address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// A request for `path`, to be sent here.
    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri);
        Ask { client: self.client.clone(), request, body: Bytes::new() }
    }

    /// A POST of `body` for `path`.
    pub(crate) fn post(&self, path: &str, body: impl Into<Bytes>) -> Ask {
        let ask = self.ask(Method::POST, path).with("content-type", "application/json");
        Ask { body: body.into(), ..ask }
    }

    /// What a client of revision 2026-07-28 sends to call `method`.
    pub(crate) fn modern(&self, method: &str, mut params: Value) -> Ask {
        let name = params["name"].as_str().map(str::to_owned);
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.as_modern(body.to_string(), method, name.as_deref())
    }

    /// `body` with what goes with it in the head if it is such a message.
    pub(crate) fn as_modern(
        &self,
        body: impl Into<Bytes>,
        method: &str,
        name: Option<&str>,
    ) -> Ask {
        let ask = self
            .post("/mcp", body)
            .with("accept", "application/json, text/event-stream")
            .with("mcp-protocol-version", "2026-07-28")
            .with("mcp-method", method);
        match name {
            Some(name) => ask.with("mcp-name", name),
            None => ask,
        }
    }

    /// What a client of an older revision sends to begin.
    pub(crate) fn initialize(&self) -> Ask {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": { "name": "test", "version": "1" },
            },
        });
        let ask = self.post("/mcp", body.to_string());
        ask.with("accept", "application/json, text/event-stream")
    }
}

/// Sends SIGTERM.
pub(crate) fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be told");
}

/// A request that is being put together.
#[must_use]
pub(crate) struct Ask {
    client: Client<HttpConnector, Full<Bytes>>,
    request: http::request::Builder,
    body: Bytes,
}

impl Ask {
    /// With the header `name` in place of what it was.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        let headers = self.request.headers_mut().expect("nothing is wrong so far");
        headers.insert(name, value.parse().expect("a header's value"));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.request.headers_mut().expect("nothing is wrong so far").remove(name);
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    pub(crate) async fn send(self) -> Reply {
        let response = self.begin().await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    /// The head of the answer, whose body is still to come.
    pub(crate) async fn begin(self) -> http::Response<hyper::body::Incoming> {
        let request = self.request.body(Full::new(self.body)).expect("a request");
        let what = format!("{request:.600?}");
        let answer = self.client.request(request).await;
        answer.unwrap_or_else(|error| panic!("{error:?}: {what}"))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The text of the header `name`, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The code of an error in the shape that all of them have.
    pub(crate) fn refused(&self) -> (u16, String) {
        let whole = self.json();
        assert_eq!(whole["success"], false, "{self:?}");
        let text = |name: &str| whole["error"][name].as_str().expect("text").to_owned();
        assert!(text("message").ends_with('.') && !text("remedy").is_empty(), "{self:?}");
        (self.status.as_u16(), text("code"))
    }
}
