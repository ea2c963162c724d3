//! The clients' configurations under `examples/mcp`, in each client's documented format.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{SECRET, file, is_known, json_of, serves, tools, words};
use crate::support::program::Home;

const FOLDER: &str = "examples/mcp";

/// How a client writes its file. Sources: modelcontextprotocol.io "Connect to local MCP servers";
/// code.claude.com "MCP"; code.visualstudio.com "MCP configuration reference"; cursor.com "MCP";
/// the inspector's `--config`.
struct Client {
    name: &'static str,
    root: &'static str,
    /// What it wants as `type`, of stdio and of HTTP; none where it tells them apart itself.
    kinds: Option<[&'static str; 2]>,
    /// What it puts the token for, and the variable that it comes from.
    token: Option<(&'static str, Option<&'static str>)>,
}

const CLIENTS: [Client; 5] = [
    Client { name: "claude_desktop_config", root: "mcpServers", kinds: None, token: None },
    Client {
        name: "claude_code_mcp",
        root: "mcpServers",
        kinds: Some(["stdio", "http"]),
        token: Some(("${RUNNER_KIT_HTTP_TOKEN}", Some("RUNNER_KIT_HTTP_TOKEN"))),
    },
    Client {
        name: "vscode_mcp",
        root: "servers",
        kinds: Some(["stdio", "http"]),
        token: Some(("${input:runners-token}", None)),
    },
    Client {
        name: "cursor_mcp",
        root: "mcpServers",
        kinds: None,
        token: Some(("${env:RUNNER_KIT_HTTP_TOKEN}", Some("RUNNER_KIT_HTTP_TOKEN"))),
    },
    Client {
        name: "inspector",
        root: "mcpServers",
        kinds: Some(["stdio", "streamable-http"]),
        token: None,
    },
];

/// The one server of `client`'s file `name`, whose members are all of `allowed`.
fn server(client: &Client, name: &str, kind: usize, allowed: &[&str]) -> Map<String, Value> {
    let whole = json_of(&format!("{FOLDER}/{name}.json"));
    assert!(whole.as_object().unwrap().keys().all(|key| key == client.root || key == "inputs"));
    let servers = whole[client.root].as_object().unwrap();
    assert_eq!(servers.keys().collect::<Vec<_>>(), ["runners"], "{name}");
    let mut server = servers["runners"].as_object().unwrap().clone();
    let said = server.remove("type");
    assert_eq!(said.as_ref().and_then(Value::as_str), client.kinds.map(|kinds| kinds[kind]));
    assert!(server.keys().all(|key| allowed.contains(&key.as_str())), "{name}: {server:?}");
    server
}

#[tokio::test]
async fn every_client_starts_the_program_as_its_file_says() {
    for client in &CLIENTS {
        for (ending, looking_only) in [("", false), ("_read_only", true)] {
            let name = format!("{}{ending}", client.name);
            let server = server(client, &name, 0, &["command", "args"]);
            assert_eq!(server["command"], "ipfs-accelerate", "{name}");
            let args = words(&server["args"]);
            assert_eq!(args.iter().any(|word| word == "--read-only"), looking_only, "{name}");
            serves("dist-clients", &args).await;
        }
    }
}

#[tokio::test]
async fn every_client_gets_in_over_http_with_a_token_that_its_file_does_not_hold() {
    let usual = Home::new([]).run("runner start --print-config --http").await.data();
    let usual = usual.as_array().unwrap().iter().find(|row| row["option"] == "http").unwrap();
    let url = format!("http://{}/mcp", usual["value"].as_str().unwrap());
    let service = Serving::start().await;
    for client in &CLIENTS {
        let Some((placeholder, variable)) = client.token else { continue };
        let name = format!("{}_http", client.name);
        let server = server(client, &name, 1, &["url", "headers"]);
        assert_eq!(server["url"], url, "{name}: where `--http` serves when no address is named");
        let headers = server["headers"].as_object().unwrap();
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["Authorization"], "{name}");
        let header = headers["Authorization"].as_str().unwrap();
        assert_eq!(header, format!("Bearer {placeholder}"), "{name}");
        match variable {
            Some(variable) => is_known(variable).await,
            None => {
                let inputs = &json_of(&format!("{FOLDER}/{name}.json"))["inputs"];
                let asked = &inputs.as_array().unwrap()[0];
                assert_eq!(
                    (&asked["type"], &asked["password"]),
                    (&"promptString".into(), &true.into())
                );
                assert_eq!(placeholder, format!("${{input:{}}}", asked["id"].as_str().unwrap()));
            }
        }
        service.lets_in(&url, &header.replace(placeholder, SECRET)).await;
    }
}

#[tokio::test]
async fn the_script_for_claude_code_adds_a_command_line_that_runs() {
    for more in [&[][..], &["--read-only"]] {
        let (line, _) = scripted("claude_code.sh", "claude", more).await;
        let at = line.iter().position(|word| word == "--").unwrap();
        assert_eq!(line[..at], ["mcp", "add", "--scope", "user", "runners"]);
        assert_eq!(line[at + 1], "ipfs-accelerate");
        assert!(more.iter().all(|word| line[at..].iter().any(|there| there == word)));
        serves("dist-script", &line[at + 2..]).await;
    }
}

#[tokio::test]
async fn the_script_for_the_inspector_hands_the_token_on_where_nobody_sees_it() {
    let more = ["--cli", "--method", "tools/list"];
    let (line, stdin) = scripted("inspector_http.sh", "npx", &more).await;
    let expected = ["@modelcontextprotocol/inspector", "--cli", "--method", "tools/list"];
    assert_eq!(line[..4], expected);
    assert_eq!(line[4..], ["--config", "/dev/stdin", "--server", "runners"]);
    let config: Value = serde_json::from_str(&stdin).unwrap();
    let server = &config["mcpServers"]["runners"];
    assert_eq!(server["type"], "streamable-http");
    let header = server["headers"]["Authorization"].as_str().unwrap();
    assert_eq!(header, format!("Bearer {SECRET}"));
    Serving::start().await.lets_in(server["url"].as_str().unwrap(), header).await;
}

#[test]
fn no_configuration_is_there_that_is_not_tried() {
    let mut known = vec!["README.md".to_owned()];
    known.extend(["claude_code.sh", "inspector_http.sh"].map(str::to_owned));
    for client in &CLIENTS {
        let http = client.token.map(|_| "_http");
        let endings = [Some(""), Some("_read_only"), http].into_iter().flatten();
        known.extend(endings.map(|ending| format!("{}{ending}.json", client.name)));
    }
    let there = std::fs::read_dir(file(FOLDER)).unwrap();
    let mut there: Vec<String> =
        there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    known.sort();
    there.sort();
    assert_eq!(there, known);
    let readme = std::fs::read_to_string(file(&format!("{FOLDER}/README.md"))).unwrap();
    for name in known.iter().filter(|name| *name != "README.md") {
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in {FOLDER}/README.md");
    }
}

/// Runs a script of ours where `program` only notes how it was called: its words, and its input.
async fn scripted(script: &str, program: &str, more: &[&str]) -> (Vec<String>, String) {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = directory.path().join(program);
    std::fs::write(&stand_in, "#!/bin/sh\nprintf '%s\\n' \"$@\"\necho ======\ncat\n").unwrap();
    std::fs::set_permissions(&stand_in, PermissionsExt::from_mode(0o755)).unwrap();
    let mut shell = Command::new("sh");
    shell.arg(file(FOLDER).join(script)).args(more).stdin(Stdio::null()).env_clear();
    shell.env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()));
    shell.env("HOME", directory.path()).env("RUNNER_KIT_HTTP_TOKEN", SECRET);
    let done = shell.output().await.unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    let (line, stdin) = text.split_once("======\n").unwrap();
    (line.lines().map(str::to_owned).collect(), stdin.to_owned())
}

/// The program serving HTTP with the token that its environment holds.
struct Serving {
    address: String,
    _home: Home,
    _child: tokio::process::Child,
}

impl Serving {
    async fn start() -> Self {
        let home = Home::new([
            ("RUNNER_KIT_HTTP_TOKEN", SECRET.to_owned()),
            ("RUNNER_KIT_INSTANCE", "dist-http".to_owned()),
        ]);
        let mut command = home.command("mcp start --http 127.0.0.1:0");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let url = line.strip_prefix("Serving MCP at http://").unwrap();
        let address = url.split('/').next().unwrap().to_owned();
        Self { address, _home: home, _child: child }
    }

    /// Asks for the tools at the path of `url` with the header `authorization`, and without it.
    async fn lets_in(&self, url: &str, authorization: &str) {
        let path = url.splitn(4, '/').nth(3).unwrap();
        let url = format!("http://{}/{path}", self.address);
        let params = json!({ "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        } });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params });
        let ask = async |authorization: &str| {
            let request = http::Request::post(&url)
                .header("content-type", "application/json")
                .header("accept", "application/json, text/event-stream")
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", "tools/list")
                .header("authorization", authorization);
            crate::support::answer(request, body.to_string()).await
        };
        let (status, answer) = ask(authorization).await;
        assert_eq!(status, 200, "{answer}");
        let listed = answer["result"]["tools"].as_array().unwrap().iter();
        let listed = listed.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(tools(false), listed);
        assert_eq!(ask("Bearer no").await.0, 401);
    }
}
