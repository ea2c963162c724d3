//! A look at 1,000 repositories where nothing has changed: its wall time, CPU time and cost.
//!
//! `cargo bench --bench poll -- [REPOSITORIES] [LOOKS]` prints one line of JSON. The simulated
//! GitHub runs in a process of its own, so that its work is not counted as ours.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runner_kit::adapters::github::GithubClient;
use runner_kit::adapters::poll::Poller;
use runner_kit::config::{Sources, StartInput, load};

use runner_kit::simulator::{Options, RepoSpec, Simulator, TOKEN};

/// Set for the child that is the simulated GitHub: how many repositories it has.
const SIMULATOR: &str = "POLL_BENCH_REPOSITORIES";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match std::env::var(SIMULATOR) {
        Ok(count) => runtime.block_on(simulate(count.parse().unwrap())),
        Err(_) => runtime.block_on(measure()),
    }
}

async fn simulate(count: usize) {
    let options = Options { rate_limit: 1_000_000, ..Options::default() };
    let github = Simulator::start(options).await.unwrap();
    github.add_org("octo-org");
    (0..count).for_each(|number| github.add_repo(RepoSpec::new(format!("octo-org/r{number:05}"))));
    println!("{}", github.url());
    // Until the parent is gone.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .unwrap()
        .unwrap();
}

async fn measure() {
    let numbers: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let (count, looks) =
        (numbers.first().copied().unwrap_or(1_000), numbers.get(1).copied().unwrap_or(7));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(SIMULATOR, count.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let env = [("HOME", "/nowhere"), ("GITHUB_SERVER_URL", url.trim())];
    let sources = Sources { env: env.into_iter().collect(), ..Sources::default() };
    let mut config = load(&sources, &StartInput::default()).unwrap().config;
    config.poll_interval = Duration::ZERO;
    let client = GithubClient::new(&config, TOKEN.into()).unwrap();
    let poller = Poller::new(client.clone(), Arc::default(), &config).unwrap();

    assert_eq!(poller.demand().await.unwrap().repos.len(), count);
    let remaining = |client: &GithubClient| client.budget().unwrap().remaining;
    let (before, mut walls, mut cpus) = (remaining(&client), Vec::new(), Vec::new());
    for _ in 0..looks {
        let (begin, cpu) = (Instant::now(), cpu_ms());
        poller.demand().await.unwrap();
        walls.push(begin.elapsed().as_secs_f64() * 1e3);
        cpus.push(cpu_ms() - cpu);
    }
    let charged = before - remaining(&client);
    println!(
        "{{\"repositories\": {count}, \"looks\": {looks}, \"wall_ms\": {:.0}, \"cpu_ms\": {:.0}, \"charged\": {charged}}}",
        median(walls),
        median(cpus),
    );
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// CPU time of this process, in milliseconds: the clock ticks of /proc (100 a second).
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
