//! Ten thousand messages that are wrong in every way that we could think of: each is refused in
//! its own protocol, and nothing happens.
//!
//! They are the same at each run. Many of them would launch a runner if they were taken for right.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Instant;

use futures::StreamExt;
use http::Method;
use runner_kit::simulator::RepoSpec;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::http::{Ask, Reply, Site};
use crate::support::world::World;

/// How many of them, by each way in.
const BY_HTTP: usize = 5_000;
const BY_STDIO: usize = 5_000;
/// How many are on the way at a time.
const AT_ONCE: usize = 16;
/// How much a process may have grown in the end, in KiB; bodies of 256 KiB were on the way.
const GROWTH: usize = 24 << 10;

const TOOLS: [&str; 7] = [
    "runner_start_autoscaler",
    "runner_stop_autoscaler",
    "runner_get_status",
    "runner_list_workflows",
    "runner_provision_for_workflow",
    "runner_list_containers",
    "runner_stop_container",
];

/// A generator of numbers that are the same at each run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn text(&mut self, length: usize) -> String {
        let letters: Vec<char> =
            "aZ09 _-/\\\"'{}[]<>%$;\u{0}\u{7}\u{1b}\u{202e}é漢".chars().collect();
        let word: String = (0..length.min(100)).map(|_| self.one(&letters)).collect();
        word.repeat(length.div_ceil(100))
    }

    /// A value of any kind that is no text and no object.
    fn odd(&mut self) -> Value {
        self.one(&[json!(5), json!(-1.5), json!(true), json!([]), json!([{}]), json!(u64::MAX)])
    }
}

/// What is wrong with a message that both ways in can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// It is no JSON.
    Syntax,
    /// It is JSON and no request.
    Shape,
    /// It is a request that nobody knows.
    Unknown,
    /// It calls a tool with arguments that the tool does not take.
    Arguments,
}

struct Message {
    wrong: Wrong,
    /// What the head of an HTTP request says it is.
    method: String,
    name: Option<&'static str>,
    body: Vec<u8>,
}

/// A call that would be done if nothing were wrong with it.
fn call(id: usize, tool: &str, arguments: Value) -> Value {
    json!({
        "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {
            "name": tool, "arguments": arguments,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "hostile", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    })
}

/// What launches a runner.
fn provision(id: usize) -> Value {
    call(id, "runner_provision_for_workflow", json!({ "repo": "octo-org/a" }))
}

fn message(dice: &mut Dice, id: usize) -> Message {
    let made = |wrong, body: Vec<u8>| Message {
        wrong,
        method: "tools/call".to_owned(),
        name: Some("runner_provision_for_workflow"),
        body,
    };
    match dice.below(8) {
        // Broken off.
        0 => {
            let mut body = provision(id).to_string().into_bytes();
            body.truncate(1 + dice.below(body.len() - 1));
            made(Wrong::Syntax, body)
        }
        // Noise, without the end of a line.
        1 => {
            let length = 1 + dice.below(200);
            let noise = std::iter::repeat_with(|| dice.roll() as u8 | 0x80);
            made(Wrong::Syntax, noise.take(length).collect())
        }
        // Deeper than anybody goes.
        2 => {
            let depth = 200 + dice.below(3_000);
            let (open, close) = dice.one(&[("[", "]"), ("{\"a\":", "}")]);
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let body = call(id, TOOLS[4], json!("deep")).to_string().replace("\"deep\"", &deep);
            made(Wrong::Syntax, body.into_bytes())
        }
        // A part that is something else.
        3 => {
            let mut message = provision(id);
            let place = dice.one(&["", "/jsonrpc", "/method", "/params", "/id"]);
            let value = match place {
                "/id" => dice.one(&[json!([]), json!({}), json!(1.5), json!(true), Value::Null]),
                "/jsonrpc" => dice.one(&[json!("1.0"), json!(2), Value::Null, json!("")]),
                _ => dice.odd(),
            };
            *message.pointer_mut(place).unwrap() = value;
            made(Wrong::Shape, message.to_string().into_bytes())
        }
        // A method or a tool that is none; a name of any length.
        4 => {
            let length = 1 + dice.below(2_000);
            let name = format!("x{}", dice.text(length));
            let mut message = provision(id);
            let place = dice.one(&["/method", "/params/name"]);
            *message.pointer_mut(place).unwrap() = json!(name);
            made(Wrong::Unknown, message.to_string().into_bytes())
        }
        _ => {
            let (tool, arguments) = arguments(dice);
            let body = call(id, tool, arguments).to_string().into_bytes();
            Message { name: Some(tool), ..made(Wrong::Arguments, body) }
        }
    }
}

/// Arguments that a tool does not take.
fn arguments(dice: &mut Dice) -> (&'static str, Value) {
    let length = if dice.below(40) == 0 { 60_000 } else { dice.one(&[1, 10, 90, 300, 3_000]) };
    let text = format!("\u{1b}[2J{}", dice.text(length));
    let odd = dice.odd();
    match dice.below(7) {
        0 => ("runner_provision_for_workflow", json!({ "repo": dice.one(&[odd, json!(text)]) })),
        1 => {
            let near =
                ["noslash", "a/b/c", "../..", "octo-org/", "octo-org/a b", "octo-org/a\u{0}"];
            ("runner_provision_for_workflow", json!({ "repo": dice.one(&near) }))
        }
        2 => {
            let limit = dice.one(&[json!(-1), json!(0), json!(1e9), json!("10"), json!(text)]);
            (
                dice.one(&["runner_list_containers", "runner_list_workflows"]),
                json!({ "limit": limit }),
            )
        }
        3 => {
            let field =
                dice.one(&["max_runners", "poll_interval", "runner_image", "labels", "owner"]);
            ("runner_start_autoscaler", json!({ field: { "a": text } }))
        }
        4 => {
            let field = dice.one(&["docker_access", "network_mode", "token_file", "state_dir"]);
            ("runner_start_autoscaler", json!({ field: "host" }))
        }
        5 => ("runner_stop_container", dice.one(&[json!({}), json!({ "container": odd })])),
        _ => (dice.one(&TOOLS), json!({ "no_such_argument": text })),
    }
}

/// A call that is right but for how it is sent.
fn missent(dice: &mut Dice, site: &Site, token: &str, id: usize) -> (String, Ask) {
    let tool = "runner_provision_for_workflow";
    let ask = site.as_modern(provision(id).to_string(), "tools/call", Some(tool)).bearer(token);
    let length = dice.one(&[0, 1, 64, 4_000]);
    let word: String = (0..length).map(|_| dice.one(&['a', '.', '9', '-'])).collect();
    let mut what = String::new();
    let mut with = |ask: Ask, name: &'static str, value: &str| {
        let _ = write!(what, "{name}: {value:.80}");
        ask.with(name, value)
    };
    let ask = match dice.below(12) {
        0 => with(ask, "host", dice.one(&["evil.example", "localhost", "127.0.0.1:1", "[::1]"])),
        1 => with(ask, "origin", dice.one(&["null", "http://evil.example", "file://", &word])),
        2 => with(ask, "authorization", &format!("Bearer {word}")),
        3 => with(ask, "authorization", &format!("Basic {token}")),
        4 => with(ask, "authorization", &format!("Bearer operate.9999999999.{word}")),
        5 => with(ask, "mcp-method", dice.one(&["tools/list", "initialize", &word])),
        6 => with(ask, "mcp-name", dice.one(&["runner_get_status", &word])),
        7 => with(ask, "mcp-protocol-version", dice.one(&["1999-01-01", "2025-11-25", &word])),
        8 => with(ask, "content-type", dice.one(&["text/plain", "application/xml", &word])),
        9 => with(ask, "accept", dice.one(&["text/html", "image/*", &word])),
        10 => {
            let name = dice.one(&["authorization", "mcp-method", "mcp-name", "accept"]);
            let _ = write!(what, "no {name}");
            ask.without(name)
        }
        _ => {
            let path =
                dice.one(&["/session", "/session/code", "/", "/metrics", "/mcp/", "/healthz"]);
            let body = dice.one(&[json!({ "code": word }), json!({ "role": word }), json!([word])]);
            let _ = write!(what, "{path} {:.80}", body.to_string());
            let ask = site.post(path, body.to_string());
            if path == "/session/code" { ask.bearer(token) } else { ask }
        }
    };
    (what, ask)
}

/// Whether `answer` to a request says that it failed, in JSON-RPC's way or in a tool's.
fn says_so(answer: &Value) -> bool {
    let failed = &answer["result"];
    let in_band = failed["isError"] == true && failed["structuredContent"]["success"] == false;
    answer["error"]["code"].is_i64() || in_band
}

fn refused(what: &str, reply: &Reply) {
    let client = reply.status.is_client_error();
    let in_band = || says_so(&serde_json::from_str(&reply.body).unwrap_or_default());
    assert!(client || (reply.status.is_success() && in_band()), "{what}: {reply:?}");
    assert!(reply.body.len() < 8 << 10, "{what}: {} bytes", reply.body.len());
    assert!(!reply.body.contains('\u{1b}'), "{what}: {reply:?}");
}

/// Resident memory of the process `pid`, in KiB.
fn memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// What must not have changed: all of the status but the looks that go on.
async fn state(world: &World) -> Value {
    let mut status = world.home.run("runner status").await.data();
    for passing in ["iterations", "last_check", "rate_limit", "repositories_monitored"] {
        status[passing].take();
    }
    status
}

#[tokio::test]
async fn ten_thousand_wrong_messages_are_refused_one_by_one_and_do_nothing() {
    let world = World::new("hostile", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let mut service =
        world.home.serve(&format!("{} --http 127.0.0.1:0", world.start_line(3))).await;
    let before = state(&world).await;
    assert_eq!((&before["running"], &before["provisioned_runners"]), (&json!(true), &json!(0)));

    let begin = Instant::now();
    let site = Site::said(&world.home.service_log());
    let token = world.home.path().join("state/ipfs-accelerate/http-token");
    let token = std::fs::read_to_string(token).unwrap();
    let pid = service.id().unwrap();
    let mut dice = Dice(1);
    // What it has after some of them is what it needs.
    by_http(&site, &token, &mut dice, BY_HTTP / 4).await;
    let usual = memory(pid);
    by_http(&site, &token, &mut dice, BY_HTTP - BY_HTTP / 4).await;
    let grown = memory(pid).saturating_sub(usual);
    assert!(grown < GROWTH, "the service has grown by {grown} KiB");
    by_stdio(&world, &mut dice).await;
    println!("{} messages in {:?}, {grown} KiB", BY_HTTP + BY_STDIO, begin.elapsed());

    assert!(service.try_wait().unwrap().is_none(), "{}", world.home.service_log());
    assert_eq!(state(&world).await, before);
    assert_eq!(world.home.run("runner list-containers").await.data(), json!([]));
    assert_eq!(world.leftovers().await, [""; 0]);
    let log = world.home.service_log();
    assert!(!log.contains("panicked"), "{log}");
    service.kill().await.unwrap();
}

async fn by_http(site: &Site, token: &str, dice: &mut Dice, count: usize) {
    let asks: Vec<_> = (0..count)
        .map(|id| {
            if dice.below(2) == 0 {
                return missent(dice, site, token, id);
            }
            if dice.below(50) == 0 {
                let long = format!("{{\"jsonrpc\": \"{}\"}}", dice.text(300_000));
                return ("long".to_owned(), site.post("/mcp", long).bearer(token));
            }
            if dice.below(50) == 0 {
                let method = dice.one(&[Method::PUT, Method::PATCH, Method::HEAD, Method::DELETE]);
                return (method.to_string(), site.ask(method, "/mcp").bearer(token));
            }
            let Message { wrong, method, name, body } = message(dice, id);
            let what = format!("{wrong:?} {:.200}", String::from_utf8_lossy(&body));
            (what, site.as_modern(body, &method, name).bearer(token))
        })
        .collect();
    futures::stream::iter(asks)
        .for_each_concurrent(AT_ONCE, async |(what, ask)| refused(&what, &ask.send().await))
        .await;
}

async fn by_stdio(world: &World, dice: &mut Dice) {
    let mut command = world.home.command("mcp start");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let mut input = server.stdin.take().unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut usual = 0;
    // In small batches: what is answered is read before more is said.
    for batch in 0..BY_STDIO / 100 {
        let messages: Vec<_> = (0..100).map(|at| message(dice, batch * 100 + at)).collect();
        // What is right is still answered.
        let mut last = call(0, "runner_get_status", json!({}));
        last["id"] = json!("last");
        let mut text: Vec<u8> = Vec::new();
        for message in &messages {
            text.extend(&message.body);
            text.push(b'\n');
        }
        text.extend(format!("{last}\n").as_bytes());
        let saying = async {
            input.write_all(&text).await.unwrap();
            input.flush().await.unwrap();
        };
        // A line that is no JSON has nobody to be answered, and is passed over.
        let expected = messages.iter().filter(|message| message.wrong != Wrong::Syntax).count();
        let hearing = async {
            let mut answers = Vec::new();
            while answers.len() <= expected {
                let line = output.next_line().await.unwrap().expect("it goes on");
                assert!(line.len() < 16 << 10 && !line.contains('\u{1b}'), "{line:.300}");
                answers.push(serde_json::from_str::<Value>(&line).unwrap());
            }
            answers
        };
        let (_, answers) = futures::join!(saying, hearing);
        let (good, bad): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer["id"] == "last");
        assert_eq!(good[0]["result"]["structuredContent"]["data"]["running"], true);
        for answer in &bad {
            assert!(says_so(answer), "{answer}");
        }
        if batch == 10 {
            usual = memory(server.id().unwrap());
        }
    }
    let grown = memory(server.id().unwrap()).saturating_sub(usual);
    assert!(grown < GROWTH, "the server on stdio has grown by {grown} KiB");
    drop(input);
    let done = server.wait_with_output().await.unwrap();
    let log = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !log.contains("panicked"), "{log}");
}
