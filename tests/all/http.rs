//! HTTP over real sockets: who is let in, as what, from where, and how much at a time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::http::{Reply, Server};
use crate::support::program::Home;

mod names;
mod signing_in;
mod webhooks;

fn home(instance: &str, env: &[(&'static str, &str)]) -> Home {
    let own = ("RUNNER_KIT_INSTANCE", instance.to_owned());
    Home::new(env.iter().map(|(name, value)| (*name, (*value).to_owned())).chain([own]))
}

/// A token that was made at the first start.
fn token(home: &Home, name: &str) -> String {
    std::fs::read_to_string(home.path().join("state/ipfs-accelerate").join(name)).unwrap()
}

/// How many tools `token` is offered; none where it is not let in.
async fn tools(server: &Server, token: &str) -> Option<usize> {
    let reply = server.modern("tools/list", json!({})).bearer(token).send().await;
    if reply.status == StatusCode::UNAUTHORIZED {
        assert_eq!(reply.refused().1, "not_authenticated");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
        return None;
    }
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    Some(reply.json()["result"]["tools"].as_array().unwrap().len())
}

#[tokio::test]
async fn without_a_token_only_health_the_page_and_signing_in_are_served() {
    let home = home("http-open", &[]);
    let server = Server::start(&home, "").await;
    for (path, status) in [("/", 200), ("/page.css", 200), ("/page.js", 200), ("/healthz", 200)] {
        assert_eq!(server.ask(Method::GET, path).send().await.status, status, "{path}");
    }
    let reply = server.ask(Method::GET, "/readyz").send().await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{reply:?}");
    for path in ["/mcp", "/metrics", "/session/code", "/no-such-thing", "/page.css/..", "//"] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
            let reply = server.ask(method.clone(), path).send().await;
            assert_eq!(reply.refused(), (401, "not_authenticated".into()), "{method} {path}");
        }
    }
    let operate = token(&home, "http-token");
    let reply = server.ask(Method::GET, "/no-such-thing").bearer(&operate).send().await;
    assert_eq!(reply.refused(), (404, "not_found".into()));
    // A token in the address is no token.
    let reply = server.ask(Method::GET, &format!("/metrics?token={operate}")).send().await;
    assert_eq!(reply.refused().0, 401);
}

#[tokio::test]
async fn the_page_is_kept_to_its_own_files_and_out_of_frames() {
    let home = home("http-page", &[]);
    let server = Server::start(&home, "").await;
    for (path, kind) in
        [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]
    {
        let reply = server.ask(Method::GET, path).send().await;
        assert!(reply.header("content-type").starts_with(kind), "{reply:?}");
        let policy = reply.header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn chosen_tokens_are_the_only_ones_and_the_one_to_look_only_looks() {
    let (operate, look) = ("chosen-to-operate-1", "chosen-to-look-12345");
    let alone = home("http-chosen", &[("RUNNER_KIT_HTTP_TOKEN", operate)]);
    let server = Server::start(&alone, "").await;
    assert_eq!((tools(&server, operate).await, tools(&server, look).await), (Some(7), None));
    assert!(!alone.path().join("state/ipfs-accelerate/http-token-read").exists());
    let link = alone.run("mcp link --read-only").await;
    assert_eq!((link.code, &link.error()["code"]), (2, &json!("invalid_argument")));

    let file = alone.path().join("look");
    std::fs::write(&file, look).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let flag = format!("--http-read-token-file {}", file.display());
    let server = Server::start(&alone, &flag).await;
    assert_eq!((tools(&server, operate).await, tools(&server, look).await), (Some(7), Some(3)));

    let both = [("RUNNER_KIT_HTTP_TOKEN", operate), ("RUNNER_KIT_HTTP_READ_TOKEN", operate)];
    let done = home("http-same", &both).run("mcp start --http 127.0.0.1:0").await;
    assert_eq!((done.code, &done.error()["code"]), (2, &json!("invalid_argument")));
}

#[tokio::test]
async fn a_public_address_is_refused_without_a_token_that_was_chosen() {
    let done = home("http-public", &[]).run("mcp start --http 0.0.0.0:0").await;
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("can be reached from other machines"), "{done:?}");
    let look = [("RUNNER_KIT_HTTP_READ_TOKEN", "chosen-to-look-12345")];
    let done = home("http-public", &look).run("mcp start --http 0.0.0.0:0").await;
    assert_eq!(done.code, 2, "{done:?}");
}

#[tokio::test]
async fn sessions_of_older_clients_are_bounded_for_each_role() {
    let home = home("http-sessions", &[]);
    let server = Server::start(&home, "").await;
    let (operate, look) = (token(&home, "http-token"), token(&home, "http-token-read"));
    let open = |token: &str| server.initialize().bearer(token);
    // All at once: two must not share the last place.
    let replies: Vec<Reply> = futures::future::join_all((0..80).map(|_| open(&look).send())).await;
    let (opened, full): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|reply| reply.status == StatusCode::OK);
    let names: BTreeSet<_> = opened.iter().map(|reply| reply.header("mcp-session-id")).collect();
    assert_eq!((names.len(), opened.len(), full.len()), (64, 64, 16));
    for reply in &full {
        assert_eq!(reply.refused(), (503, "rate_limited".into()));
        assert!(reply.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    // Those who operate are not shut out, a session is no use to another role, and clients of the
    // current revision need none.
    assert_eq!(open(&operate).send().await.status, StatusCode::OK);
    assert_eq!(tools(&server, &look).await, Some(3));
    let id = opened[0].header("mcp-session-id");
    let end =
        |token: &str| server.ask(Method::DELETE, "/mcp").bearer(token).with("mcp-session-id", id);
    let listed = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }).to_string();
    let borrowed = server.post("/mcp", listed).bearer(&operate).with("mcp-session-id", id);
    let borrowed = borrowed.with("accept", "application/json, text/event-stream").send().await;
    assert_eq!(borrowed.status, StatusCode::NOT_FOUND);
    // To end what is not there is no failure, and ends nothing of others.
    assert!(end(&operate).send().await.status.is_success());
    assert_eq!(open(&look).send().await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(end(&look).send().await.status.is_success());
    assert_eq!(open(&look).send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn new_sessions_are_bounded_in_time_too() {
    let home = home("http-openings", &[]);
    let server = Server::start(&home, "").await;
    let look = token(&home, "http-token-read");
    let reply = loop {
        let asked = (0..50).map(|_| server.initialize().bearer(&look).send());
        let replies = futures::future::join_all(asked).await;
        let limited = |reply: &Reply| reply.status == StatusCode::TOO_MANY_REQUESTS;
        if let Some(reply) = replies.into_iter().find(limited) {
            break reply;
        }
    };
    assert_eq!(reply.refused().1, "rate_limited");
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test]
async fn a_long_body_is_refused_wherever_it_goes() {
    let home = home("http-body", &[]);
    let server = Server::start(&home, "").await;
    let operate = token(&home, "http-token");
    let long = format!("{{\"code\": \"{}\"}}", "x".repeat(300 << 10));
    for path in ["/mcp", "/session", "/session/code"] {
        let reply = server.post(path, long.clone()).bearer(&operate).send().await;
        assert_eq!(reply.refused(), (413, "invalid_argument".into()), "{path}");
    }
    // Without a length, in pieces.
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let head = format!("POST /session HTTP/1.1\r\nHost: {}\r\n", server.address);
    let head = head + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..5 {
        // The answer may come before all is sent.
        let _ = stream.write_all(piece.as_bytes()).await;
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn it_ends_soon_with_streams_open_and_requests_half_sent() {
    let home = home("http-end", &[]);
    let server = Server::start(&home, "").await;
    let operate = token(&home, "http-token");
    let session = server.initialize().bearer(&operate).send().await;
    let stream = server
        .ask(Method::GET, "/mcp")
        .with("accept", "text/event-stream")
        .with("mcp-session-id", session.header("mcp-session-id"))
        .bearer(&operate)
        .begin()
        .await;
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let reading = tokio::spawn(stream.into_body().collect());
    let mut half = TcpStream::connect(&server.address).await.unwrap();
    half.write_all(b"POST /mcp HTTP/1.1\r\nHost: loc").await.unwrap();
    let begin = Instant::now();
    let status = server.end().await;
    assert!(status.success(), "{status}");
    // Two seconds are for what does not end by itself.
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    // The stream was ended, not cut off.
    assert!(reading.await.unwrap().is_ok());
}

/// The time in `text`, which must be one of RFC 3339 that ends with Z.
fn time(text: &serde_json::Value) -> DateTime<Utc> {
    let text = text.as_str().unwrap();
    assert!(text.ends_with('Z'), "{text}");
    text.parse().unwrap()
}
