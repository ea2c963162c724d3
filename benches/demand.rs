//! How long a queued job waits for its runner, and what finding it costs.
//!
//! `cargo bench --bench demand -- ROW [NUMBER]` measures one row of the table that `benches/demand`
//! prints, and prints it as one line of JSON. It needs a Docker engine and Debian's busybox-static.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

// Beside this file, each would be taken for a benchmark of its own.
#[path = "rows/mod.rs"]
mod rows;

use std::time::Duration;

use rows::asking::is_client;
use rows::budget::budget;
use rows::burst::{burst, jit};
use rows::growth::{growth, is_simulator};
use rows::overload::overload;
use rows::pickup::{Way, pickup, warm};

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let number = |otherwise: usize| word(1).parse().unwrap_or(otherwise);
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if runtime.block_on(async { is_simulator().await || is_client().await }) {
        return;
    }
    let minutes = word(1).parse().unwrap_or(10.0);
    let row = runtime.block_on(async {
        match word(0) {
            "webhook" => pickup(Way::Webhook, number(50)).await,
            "scaleset" => pickup(Way::ScaleSet, number(50)).await,
            "poll" => pickup(Way::Poll, number(50)).await,
            "warm" => warm(number(50)).await,
            "burst" => burst(number(200), word(2).parse().unwrap_or(3)).await,
            "jit" => jit(number(360), Duration::from_secs(180)).await,
            "sustained" => jit(number(360), Duration::from_secs(2)).await,
            "idle" => budget(1_000, 0, 120, minutes).await,
            "active" => budget(500, 50, 15, minutes).await,
            "growth" => growth(number(1_000)).await,
            "overload" => overload(number(120) as u64).await,
            other => panic!("no such row: {other}"),
        }
    });
    println!("{row}");
}
