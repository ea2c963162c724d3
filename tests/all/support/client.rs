//! An MCP client of revision 2026-07-28 on a program's stdin and stdout, without a library: what
//! it sends and hears is what is on the wire.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;

use rmcp::model::ClientConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// What an older client says of itself whose user can be asked.
pub(crate) fn can_be_asked() -> ClientConfig {
    let mut info = ClientConfig::default();
    info.capabilities.elicitation = Some(Default::default());
    info
}

/// Nothing is waited for this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    capabilities: Value,
    next: u64,
    /// Notifications that came before they were asked for.
    heard: VecDeque<Value>,
}

impl Client {
    /// Starts `command` and speaks to it as a client with these `capabilities`.
    pub(crate) fn start(mut command: Command, capabilities: Value) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output, capabilities, next: 0, heard: VecDeque::new() }
    }

    /// Sends a request and does not wait; its id.
    pub(crate) async fn send(&mut self, method: &str, mut params: Value) -> u64 {
        self.next += 1;
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "assistant", "version": "7" },
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
        });
        for (key, value) in meta.as_object().unwrap() {
            params["_meta"][key] = value.clone();
        }
        let request =
            json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params });
        self.write(&request).await;
        self.next
    }

    /// Tells the program that the request `id` is no longer wanted.
    pub(crate) async fn cancel(&mut self, id: u64) {
        let method = "notifications/cancelled";
        let cancelled =
            json!({ "jsonrpc": "2.0", "method": method, "params": { "requestId": id } });
        self.write(&cancelled).await;
    }

    async fn write(&mut self, message: &Value) {
        self.input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
    }

    async fn read(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
        let line = line.expect("an answer in time").unwrap().expect("the program goes on");
        serde_json::from_str(&line).unwrap()
    }

    /// The answer to the request `id`: its result or error.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.read().await;
            if message["id"] == id {
                return message;
            }
            self.heard.push_back(message);
        }
    }

    /// The next notification.
    pub(crate) async fn heard(&mut self) -> Value {
        match self.heard.pop_front() {
            Some(message) => message,
            None => self.read().await,
        }
    }

    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.answer(id).await
    }

    /// The result of a tool.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        answer["result"].clone()
    }

    /// The text of a resource.
    pub(crate) async fn read_resource(&mut self, uri: &str) -> String {
        let answer = self.ask("resources/read", json!({ "uri": uri })).await;
        let text = answer["result"]["contents"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("{uri}: {answer}")).to_owned()
    }

    /// Tells the program to end; how it did.
    pub(crate) async fn terminate(mut self) -> std::process::ExitStatus {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let process = id.and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap()
    }

    /// Hangs up; how the program ended.
    pub(crate) async fn hang_up(mut self) -> std::process::ExitStatus {
        drop(self.input);
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap()
    }
}
