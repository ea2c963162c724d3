//! The loop under more than it can serve: 10,000 jobs that wait in 1,000 repositories, 500 runners in
//! memory, and 1,000 status calls a second over HTTP at once. Each job that ends makes room for
//! another of its repository, so that there are always as many; some repositories have ten times as
//! many as others. Those who ask are a process of their own, so that their work is not counted as ours.

use std::collections::{BTreeMap, VecDeque};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use futures::FutureExt;
use runner_kit::RunnerKit;
use runner_kit::adapters::memory::MemoryEngine;
use runner_kit::config::{Environment, Sources, StartInput, load};
use runner_kit::demand::{Board, Heard, JobState, Watched};
use runner_kit::error::Result;
use runner_kit::history::History;
use runner_kit::lifecycle::Parts;
use runner_kit::metrics::{Histogram, Part};
use runner_kit::model::{Demand, Job, Labels, Registered, Repo, RepoDemand, RunningJob, Scope};
use runner_kit::ports::{
    DemandSource, Deregistered, Launch, NewRunner, Registrar, Registration, RegistrationToken,
};
use runner_kit::views::Mode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::asking::{CLIENT, HTTP_TOKEN};
use super::growth::{cpu_ms, memory_mib};
use super::round;
use super::world::serve;

/// Repositories with twenty jobs that wait, and with two: 9,992 jobs in 1,000 repositories.
const BUSY: usize = 444;
const QUIET: usize = 556;
const DEPTHS: [usize; 2] = [20, 2];
const RUNNERS: usize = 500;
/// How long a runner takes until it is online, and how long its job.
const BOOT: Duration = Duration::from_millis(200);
const TAKES: Duration = Duration::from_secs(5);
/// What the first rounds do is not counted: everything begins at once.
const WARM_UP: Duration = Duration::from_secs(15);

/// A GitHub in this process.
struct Github {
    board: Arc<Board>,
    state: Mutex<BTreeMap<Repo, State>>,
    numbers: Mutex<u64>,
}

#[derive(Default)]
struct State {
    queued: VecDeque<Job>,
    running: BTreeMap<u64, RunningJob>,
    registered: Vec<Registered>,
    begun: u64,
    last: Option<Instant>,
    longest_gap: Duration,
    longest_wait: TimeDelta,
}

impl Github {
    fn new(board: Arc<Board>) -> Self {
        let github = Self { board, state: Mutex::default(), numbers: Mutex::default() };
        for number in 0..BUSY + QUIET {
            let repo: Repo = format!("octo-org/r{number:04}").parse().unwrap();
            let jobs = (0..depth(number)).map(|_| github.job(&repo)).collect();
            let state = State { queued: jobs, ..State::default() };
            github.state.lock().unwrap().insert(repo, state);
        }
        let repos = github.state.lock().unwrap().keys().cloned().collect();
        github.board.watch(Watched { repos, at: Utc::now(), ..Watched::default() });
        github
    }

    fn number(&self) -> u64 {
        let mut numbers = self.numbers.lock().unwrap();
        *numbers += 1;
        *numbers
    }

    fn job(&self, repo: &Repo) -> Job {
        let (id, now) = (self.number(), Utc::now());
        Job {
            id,
            run_id: id,
            repo: repo.clone(),
            scope: Scope::Repo(repo.clone()),
            name: format!("build (linux, {id})"),
            url: format!("https://github.com/{repo}/actions/runs/{id}/job/{id}"),
            labels: Labels::new(["self-hosted", "linux"]),
            queued_at: now,
            seen_at: now,
            beside_sets: false,
        }
    }

    fn of<T>(&self, repo: &Repo, change: impl FnOnce(&mut State) -> T) -> T {
        change(self.state.lock().unwrap().get_mut(repo).unwrap())
    }

    fn tell(&self, job: Job, state: JobState) {
        self.board.hear(Heard { job, state, ending: None, at: Utc::now() });
    }

    /// One job, told as webhooks would.
    async fn be_runner(self: Arc<Self>, launch: Launch) -> i64 {
        let NewRunner { name, repo, .. } = launch.runner;
        let repo = repo.unwrap();
        let is_it = |one: &Registered| one.name == name;
        tokio::time::sleep(BOOT).await;
        let job = loop {
            let begin = |state: &mut State| {
                let job = state.queued.pop_front();
                let runner = state.registered.iter_mut().find(|one| is_it(one)).unwrap();
                (runner.online, runner.busy) = (true, job.is_some());
                let job = job?;
                state.begun += 1;
                let now = Instant::now();
                let gap = state.last.replace(now).map_or(Duration::ZERO, |last| now - last);
                state.longest_gap = state.longest_gap.max(gap);
                state.longest_wait = state.longest_wait.max(Utc::now() - job.queued_at);
                let (job_ref, started_at) = (job.named(), Some(Utc::now()));
                let running = RunningJob { job: job_ref, runner_name: name.clone(), started_at };
                state.running.insert(job.id, running);
                Some(job)
            };
            match self.of(&repo, begin) {
                Some(job) => break job,
                None => tokio::time::sleep(BOOT).await,
            }
        };
        let (runner_name, started_at) = (name.clone(), Some(Utc::now()));
        self.tell(job.clone(), JobState::InProgress { runner_name, started_at });
        tokio::time::sleep(TAKES).await;
        let next = self.job(&repo);
        self.of(&repo, |state| {
            state.running.remove(&job.id);
            state.registered.retain(|one| !is_it(one));
            state.queued.push_back(next.clone());
        });
        self.tell(job, JobState::Completed);
        self.tell(next, JobState::Queued);
        0
    }

    /// From now on it counts.
    fn begin(&self) {
        for state in self.state.lock().unwrap().values_mut() {
            (state.begun, state.longest_gap, state.longest_wait) =
                (0, Duration::ZERO, TimeDelta::zero());
        }
    }
}

fn depth(number: usize) -> usize {
    DEPTHS[usize::from(number >= BUSY)]
}

#[async_trait]
impl DemandSource for Github {
    async fn demand(&self) -> Result<Demand> {
        let began = Utc::now();
        let repos: Vec<Repo> = self.state.lock().unwrap().keys().cloned().collect();
        for repo in repos {
            let seen = self.of(&repo, |state| RepoDemand {
                repo: repo.clone(),
                running: state.running.len() as u32,
                failed: 0,
                pending: state.queued.len() as u32,
                queued: state
                    .queued
                    .iter()
                    .map(|job| Job { seen_at: began, ..job.clone() })
                    .collect(),
                in_progress: state.running.values().cloned().collect(),
            });
            self.board.saw(&repo, Ok(seen), began);
            // As a poll over the network does.
            tokio::task::yield_now().await;
        }
        Ok(self.board.demand(Utc::now()))
    }

    fn known(&self) -> Option<Demand> {
        Some(self.board.demand(Utc::now()))
    }

    async fn changed(&self) {
        self.board.changed().await;
    }
}

#[async_trait]
impl Registrar for Github {
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn register(&self, runner: &NewRunner) -> Result<Registration> {
        let (id, name) = (self.number(), runner.name.clone());
        let one = Registered { id, name, online: false, busy: false };
        self.of(runner.repo.as_ref().unwrap(), |state| state.registered.push(one));
        Ok(Registration::Jit { runner_id: id, config: "jit".into() })
    }

    async fn token(&self, _: &Scope) -> Result<RegistrationToken> {
        unreachable!("every runner has a configuration of its own")
    }

    async fn deregister(&self, scope: &Scope, id: u64) -> Result<Deregistered> {
        let Scope::Repo(repo) = scope else { unreachable!("repositories only") };
        Ok(self.of(repo, |state| {
            if state.registered.iter().any(|one| one.id == id && one.busy) {
                return Deregistered::Busy;
            }
            state.registered.retain(|one| one.id != id);
            Deregistered::Gone
        }))
    }

    async fn registered(&self, scope: &Scope) -> Result<Vec<Registered>> {
        let Scope::Repo(repo) = scope else { unreachable!("repositories only") };
        Ok(self.of(repo, |state| state.registered.clone()))
    }
}

/// Everything at once for so many seconds.
pub(crate) async fn overload(seconds: u64) -> Value {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    let env = [
        ("HOME", path("")),
        ("XDG_STATE_HOME", path("state")),
        ("RUNNER_KIT_HTTP_TOKEN", HTTP_TOKEN.to_owned()),
        ("RUNNER_KIT_MAX_RUNNERS", RUNNERS.to_string()),
        ("RUNNER_KIT_POLL_INTERVAL", "10".to_owned()),
    ];
    let env: Environment = env.into_iter().collect();
    let loaded = load(&Sources { env, ..Sources::default() }, &StartInput::default()).unwrap();
    let begin = memory_mib("VmRSS");
    let board = Arc::new(Board::default());
    let github = Arc::new(Github::new(board.clone()));
    let (hub, clock) = (github.clone(), Arc::new(Utc::now));
    let process = Arc::new(move |launch: Launch| hub.clone().be_runner(launch).boxed());
    let engine = Arc::new(MemoryEngine::new(process, clock.clone()));
    let history = Arc::new(History::open(&loaded.config.state_dir, Utc::now()).unwrap());
    let mut parts = Parts::new(github.clone(), github.clone(), engine.clone(), history, clock);
    parts.board = board;
    let kit = RunnerKit::from_parts(loaded.config.clone(), parts, Mode::Service);
    let stop = CancellationToken::new();
    let address = serve(&kit, &loaded, stop.clone()).await;
    let loaded_mib = memory_mib("VmRSS");
    kit.start_autoscaler().await.unwrap();
    tokio::time::sleep(WARM_UP).await;
    let client = tokio::process::Command::new(std::env::current_exe().unwrap())
        .env(CLIENT, format!("{address} {seconds}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    github.begin();
    let (before, cpu, from) = (kit.measured(), cpu_ms(), Instant::now());
    let client = tokio::spawn(client.wait_with_output());
    let mut sizes = Vec::new();
    while from.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        sizes.push(memory_mib("VmRSS"));
    }
    let took = from.elapsed().as_secs_f64();
    let cpu = (cpu_ms() - cpu) / 1e3 / took;
    let after = kit.measured();
    let told: Value =
        serde_json::from_slice(&client.await.unwrap().unwrap().stdout).expect("what it measured");
    let state = github.state.lock().unwrap().values().map(Served::of).collect::<Vec<_>>();
    let status = kit.get_status().await.unwrap();
    stop.cancel();
    let parts: serde_json::Map<_, _> = Part::ALL
        .into_iter()
        .map(|part| (part.as_str().to_owned(), times(&before.parts[&part], &after.parts[&part])))
        .collect();
    let half = sizes.len() / 2;
    let most = |sizes: &[f64]| round(sizes.iter().copied().fold(0.0, f64::max), 1);
    json!({
        "row": "overload", "seconds": round(took, 0), "queued": status.queued_jobs, "runners": engine.most_at_once(),
        "parts": parts, "status": told, "cpus": round(cpu, 2),
        "begin_mib": round(begin, 1), "loaded_mib": round(loaded_mib, 1), "first_half_mib": most(&sizes[..half]),
        "second_half_mib": most(&sizes[half..]), "end_mib": round(*sizes.last().unwrap(), 1),
        "served": state.iter().map(|one| one.begun).sum::<u64>(),
        "busy": Served::all(&state[..BUSY]), "quiet": Served::all(&state[BUSY..]),
    })
}

/// What a repository was given.
struct Served {
    begun: u64,
    gap: f64,
    wait: f64,
}

impl Served {
    fn of(state: &State) -> Self {
        let gap = state.longest_gap.max(state.last.map_or(Duration::MAX, |last| last.elapsed()));
        let waiting = state.queued.front().map(|job| Utc::now() - job.queued_at);
        let wait = waiting.unwrap_or_default().max(state.longest_wait);
        Self { begun: state.begun, gap: gap.as_secs_f64(), wait: wait.as_seconds_f64() }
    }

    fn all(all: &[Self]) -> Value {
        let most = |part: fn(&Self) -> f64| round(all.iter().map(part).fold(0.0, f64::max), 1);
        let begun = all.iter().map(|one| one.begun);
        json!({
            "mean": round(begun.clone().sum::<u64>() as f64 / all.len() as f64, 2), "min": begun.clone().min(),
            "max": begun.max(), "longest_gap_s": most(|one| one.gap), "oldest_s": most(|one| one.wait),
        })
    }
}

/// How long something took since `before`, as Prometheus' `histogram_quantile` has it.
fn times(before: &Histogram, after: &Histogram) -> Value {
    let counts: Vec<_> = before
        .buckets()
        .zip(after.buckets())
        .map(|((_, before), (bound, after))| (bound, after - before))
        .collect();
    let count: u64 = counts.iter().map(|(_, count)| count).sum();
    let quantile = |share: f64| {
        let (wanted, mut so_far, mut lower) = (share * count as f64, 0.0, 0.0);
        for (bound, count) in &counts {
            let Some(bound) = bound else { break };
            if so_far + *count as f64 >= wanted {
                let part = (wanted - so_far) / (*count as f64).max(1.0);
                return (lower + (bound - lower) * part) * 1e3;
            }
            (so_far, lower) = (so_far + *count as f64, *bound);
        }
        lower * 1e3
    };
    let (sum, count_f) = (after.sum() - before.sum(), (count as f64).max(1.0));
    json!({
        "count": count, "mean_ms": round(sum / count_f * 1e3, 2), "sum_s": round(sum, 1),
        "p50_ms": round(quantile(0.5), 1), "p99_ms": round(quantile(0.99), 1),
    })
}
