//! What a pass over many repositories costs: the first, and one where nothing has changed. All were
//! pushed to lately, so that each pass looks at every one. The simulated GitHub is a process of its
//! own, so that its work is not counted as ours.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runner_kit::adapters::github::{GithubClient, credentials};
use runner_kit::adapters::poll::Poller;
use runner_kit::config::{Environment, Sources, StartInput, load};
use runner_kit::simulator::{Options, RepoSpec, Simulator, TOKEN};
use serde_json::{Value, json};

use super::{percentile, round};

/// Set for the child that is the simulated GitHub: how many repositories it has.
const SIMULATOR: &str = "DEMAND_BENCH_REPOSITORIES";
/// Passes where nothing has changed.
const PASSES: usize = 5;

/// Whether this process is that child; then it has been it until its parent was gone.
pub(crate) async fn is_simulator() -> bool {
    let Ok(count) = std::env::var(SIMULATOR) else { return false };
    let options = Options { rate_limit: 100_000_000, ..Options::default() };
    let github = Simulator::start(options).await.unwrap();
    github.add_org("octo-org");
    let count: usize = count.parse().unwrap();
    (0..count).for_each(|number| github.add_repo(RepoSpec::new(format!("octo-org/r{number:05}"))));
    println!("{}", github.url());
    let ended = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(ended).await.unwrap().unwrap();
    true
}

/// Passes over `count` repositories.
pub(crate) async fn growth(count: usize) -> Value {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(SIMULATOR, count.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let env = [("HOME", "/nowhere"), ("GITHUB_SERVER_URL", url.trim()), ("GITHUB_TOKEN", TOKEN)];
    let env: Environment = env.into_iter().collect();
    let sources = Sources { env: env.clone(), ..Sources::default() };
    let mut config = load(&sources, &StartInput::default()).unwrap().config;
    config.poll_interval = Duration::ZERO;
    let credential = credentials::credential(&config, &env).await.unwrap();
    let client = GithubClient::new(&config, credential).unwrap();
    let poller = Poller::new(client.clone(), Arc::default(), &config).unwrap();
    let idle = memory_mib("VmRSS");
    let (first_wall, first_cpu) = pass(&poller, count).await;
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..PASSES {
        let (wall, cpu) = pass(&poller, count).await;
        walls.push(wall);
        cpus.push(cpu);
    }
    let row = json!({
        "row": "growth", "repositories": count,
        "first_wall_ms": round(first_wall, 0), "first_cpu_ms": round(first_cpu, 0),
        "wall_ms": round(percentile(&walls, 0.5), 0), "cpu_ms": round(percentile(&cpus, 0.5), 0),
        "rss_mib": round(memory_mib("VmRSS"), 1), "peak_mib": round(memory_mib("VmHWM"), 1),
        "idle_mib": round(idle, 1),
    });
    drop(child.stdin.take());
    child.wait().unwrap();
    row
}

/// One pass: its wall and its CPU time.
async fn pass(poller: &Poller, count: usize) -> (f64, f64) {
    let (begin, cpu) = (Instant::now(), cpu_ms());
    assert_eq!(poller.demand().await.unwrap().repos.len(), count);
    (begin.elapsed().as_secs_f64() * 1e3, cpu_ms() - cpu)
}

/// CPU time of this process, in milliseconds: the clock ticks of /proc (100 a second).
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10.0
}

/// A line of /proc/self/status.
fn memory_mib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
