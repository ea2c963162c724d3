//! Those who ask for the status, many times a second: a process of their own, so that their work is not
//! counted as the service's.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{percentile, round};

/// Set for the child that asks: where, and for how many seconds.
pub(super) const CLIENT: &str = "OVERLOAD_BENCH_CLIENT";
pub(super) const HTTP_TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Calls a second, and the connections that they are spread over.
const CALLS: u32 = 1_000;
const CONNECTIONS: u32 = 20;

/// Whether this process is the child that asks; then it has asked.
pub(crate) async fn is_client() -> bool {
    let Ok(given) = std::env::var(CLIENT) else { return false };
    let (address, seconds) = given.split_once(' ').unwrap();
    let calls = CALLS / CONNECTIONS * seconds.parse::<u32>().unwrap();
    let spacing = Duration::from_secs(1) * CONNECTIONS / CALLS;
    let begin = tokio::time::Instant::now();
    let ask = |number: u32| {
        let begin = begin + spacing * number / CONNECTIONS;
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let request = request(address);
            let mut times = Vec::new();
            for call in 0..calls {
                // From when it was to be asked: a slow answer delays the next question too.
                let due = begin + spacing * call;
                tokio::time::sleep_until(due).await;
                stream.write_all(&request).await.unwrap();
                answer(&mut stream).await;
                times.push(due.elapsed().as_secs_f64() * 1e3);
            }
            times
        }
    };
    let times: Vec<f64> = join_all((0..CONNECTIONS).map(ask)).await.concat();
    let took = begin.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "calls": times.len(), "a_second": round(times.len() as f64 / took, 0),
            "p50_ms": round(percentile(&times, 0.5), 2), "p99_ms": round(percentile(&times, 0.99), 2),
            "max_ms": round(percentile(&times, 1.0), 1),
        })
    );
    true
}

fn request(address: &str) -> Vec<u8> {
    const REVISION: &str = "2026-07-28";
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "runner_get_status", "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }},
    })
    .to_string();
    let length = body.len();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nAccept: application/json, text/event-stream\r\n\
         Authorization: Bearer {HTTP_TOKEN}\r\nMCP-Protocol-Version: {REVISION}\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: runner_get_status\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Reads an answer to its end: a status.
async fn answer(stream: &mut TcpStream) {
    let mut all = Vec::new();
    loop {
        assert!(stream.read_buf(&mut all).await.unwrap() > 0, "the server hung up");
        let text = String::from_utf8_lossy(&all);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{text}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        if body.len() >= length.unwrap_or(usize::MAX) {
            assert!(body.contains("\"queued_jobs\""), "{body}");
            return;
        }
    }
}
