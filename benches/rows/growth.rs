//! What it costs to look at many repositories: the first time, and when nothing has changed. All were
//! pushed to lately, so that all are due in each pass, of which it takes some where one does not look
//! at all. The simulated GitHub is a process of its own, so that its work is not counted as ours.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
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
/// How often all are looked at when nothing has changed.
const TIMES: usize = 5;
/// Requests of a look at a repository where nothing goes on.
const READS: u64 = 2;

/// Whether this process is that child; then it has been it until its parent was gone.
pub(crate) async fn is_simulator() -> bool {
    let Ok(count) = std::env::var(SIMULATOR) else { return false };
    let options = Options { rate_limit: 100_000_000, ..Options::default() };
    let github = Simulator::start(options).await.unwrap();
    github.add_org("octo-org");
    let count: usize = count.parse().unwrap();
    (0..count).for_each(|number| github.add_repo(RepoSpec::new(format!("octo-org/r{number:05}"))));
    println!("{}", github.url());
    // Tells how many requests came whenever it is asked, until the parent is gone.
    let told = move || {
        for _ in std::io::stdin().lines() {
            println!("{}", github.counters().total);
        }
    };
    tokio::task::spawn_blocking(told).await.unwrap();
    true
}

/// That child, as its parent sees it.
struct Github {
    child: Child,
    ask: ChildStdin,
    told: BufReader<ChildStdout>,
}

impl Github {
    fn start(count: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(SIMULATOR, count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (ask, told) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, ask, told: BufReader::new(told) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn requests(&mut self) -> u64 {
        writeln!(self.ask).unwrap();
        self.line().parse().unwrap()
    }

    fn end(self) {
        let Self { mut child, ask, .. } = self;
        drop(ask);
        child.wait().unwrap();
    }
}

/// What it took to look at all repositories once.
struct Looked {
    wall: f64,
    cpu: f64,
    requests: u64,
    passes: u32,
}

/// Passes over `count` repositories.
pub(crate) async fn growth(count: usize) -> Value {
    let mut github = Github::start(count);
    let url = github.line();
    let env = [("HOME", "/nowhere"), ("GITHUB_SERVER_URL", &*url), ("GITHUB_TOKEN", TOKEN)];
    let env: Environment = env.into_iter().collect();
    let sources = Sources { env: env.clone(), ..Sources::default() };
    let mut config = load(&sources, &StartInput::default()).unwrap().config;
    config.poll_interval = Duration::ZERO;
    let credential = credentials::credential(&config, &env).await.unwrap();
    let client = GithubClient::new(&config, credential).unwrap();
    let poller = Poller::new(client.clone(), Arc::default(), &config).unwrap();
    let idle = memory_mib("VmRSS");
    let first = look_at_all(&poller, &mut github, count).await;
    let mut all = Vec::new();
    for _ in 0..TIMES {
        all.push(look_at_all(&poller, &mut github, count).await);
    }
    github.end();
    let median =
        |part: fn(&Looked) -> f64| percentile(&all.iter().map(part).collect::<Vec<_>>(), 0.5);
    json!({
        "row": "growth", "repositories": count,
        "first_wall_ms": round(first.wall, 0), "first_cpu_ms": round(first.cpu, 0),
        "first_requests": first.requests, "first_passes": first.passes,
        "wall_ms": round(median(|all| all.wall), 0), "cpu_ms": round(median(|all| all.cpu), 0),
        "requests": median(|all| all.requests as f64), "passes": median(|all| f64::from(all.passes)),
        "rss_mib": round(memory_mib("VmRSS"), 1), "peak_mib": round(memory_mib("VmHWM"), 1),
        "idle_mib": round(idle, 1),
    })
}

/// Passes until as many requests were made as looks at all repositories need.
async fn look_at_all(poller: &Poller, github: &mut Github, count: usize) -> Looked {
    let (begin, cpu, before) = (Instant::now(), cpu_ms(), github.requests());
    let (mut requests, mut passes) = (0, 0);
    while requests < READS * count as u64 {
        assert_eq!(poller.demand().await.unwrap().repos.len(), count);
        requests = github.requests() - before;
        passes += 1;
        assert!(passes < 10_000, "passes that look at nothing");
    }
    let wall = begin.elapsed().as_secs_f64() * 1e3;
    Looked { wall, cpu: cpu_ms() - cpu, requests, passes }
}

/// CPU time of this process, in milliseconds: the clock ticks of /proc (100 a second).
pub(crate) fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10.0
}

/// A line of /proc/self/status.
pub(crate) fn memory_mib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
