//! A simulated GitHub with work, an engine that can be harmed, and the real program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runner_kit::interfaces::demo::image;
use runner_kit::simulator::{
    Conclusion, Job, JobSpec, JobStatus, Options, RepoSpec, RunSpec, Simulator, TOKEN,
};
use serde_json::Value;
use tokio::process::Child;

use super::daemon::{Containers, Daemon};
use super::report::Row;
use crate::support::program::{EXECUTABLE, Home};
use crate::support::remains_on;

/// Nothing takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(180);
/// Each world has an engine of its own.
const INSTANCE: &str = "chaos";
const REPOS: u64 = 8;
/// The most runners at a time.
const RUNNERS: usize = 6;
/// So many jobs at least are unfinished when a fault strikes.
const LOAD: usize = 10;

/// Chance that a seed repeats (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both included.
    pub(crate) fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.within(least, most))
    }
}

pub(crate) struct World {
    pub(crate) github: Simulator,
    pub(crate) engine: Daemon,
    pub(crate) home: Home,
    pub(crate) dice: Dice,
    pub(crate) row: Row,
    image: String,
    pub(crate) max_runners: usize,
    /// Work comes in so many repositories,
    pub(crate) repos: u64,
    /// and its jobs want this label.
    pub(crate) label: &'static str,
    /// What else the service is told when it starts.
    pub(crate) flags: String,
    service: Option<Child>,
}

impl World {
    /// A world for the scenario `name`; further environment of the service is `env`.
    pub(crate) async fn new(
        name: &'static str,
        seed: u64,
        containers: Containers,
        options: Options,
        env: &[(&'static str, &str)],
    ) -> Self {
        let engine = Daemon::start(containers).await;
        let made = image::make(&engine.client(), Path::new(EXECUTABLE), "chaos").await;
        let image = made.expect("the runner image is made");
        let github = Simulator::start(Options { seed, ..options }).await.expect("it starts");
        github.add_org("octo-org");
        (0..REPOS).for_each(|repo| github.add_repo(RepoSpec::new(format!("octo-org/{repo}"))));
        let own = [
            ("DOCKER_HOST", engine.address()),
            ("GITHUB_TOKEN", TOKEN.to_owned()),
            ("GITHUB_API_URL", github.api_url()),
            ("GITHUB_SERVER_URL", github.url()),
            ("RUNNER_KIT_RUNNER_IMAGE", image.clone()),
            ("RUNNER_KIT_PULL", "never".to_owned()),
            ("RUNNER_KIT_INSTANCE", INSTANCE.to_owned()),
            ("RUNNER_KIT_DOCKER_ACCESS", "none".to_owned()),
            ("RUNNER_KIT_NETWORK_MODE", "host".to_owned()),
            ("RUNNER_KIT_POLL_INTERVAL", "1".to_owned()),
        ];
        let given = env.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let home = Home::new(own.into_iter().chain(given));
        let (dice, mut row) = (Dice::new(seed), Row::new(name));
        // Whatever is under way when a fault strikes.
        row.wasted = RUNNERS;
        let (max_runners, service) = (RUNNERS, None);
        let (repos, label, flags) = (REPOS, "self-hosted", String::new());
        Self { github, engine, home, dice, row, image, max_runners, repos, label, flags, service }
    }

    /// Queues one run of so many jobs that take this long.
    pub(crate) fn queue(&self, jobs: u32, takes: Duration) -> u64 {
        let run = RunSpec::new("ci").matrix("build", jobs, |job: JobSpec| job.takes(takes));
        self.github.queue_run("octo-org/0", run).expect("the repository is there")
    }

    /// Where the runners' work directories are.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.home.path().join("work")
    }

    /// Starts the service, without waiting for it.
    pub(crate) fn start(&mut self) {
        let work = self.work_dir();
        let max = self.max_runners;
        let line = format!("runner start --max-runners {max} --runner-work-dir {}", work.display());
        self.service = Some(self.home.spawn(&format!("{line} {}", self.flags)));
    }

    /// Kills the service as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            let ended = service.try_wait().expect("a child");
            assert_eq!(ended, None, "the service ended by itself: {}", self.home.service_log());
            service.kill().await.expect("the service is killed");
        }
    }

    /// Lets time pass, in which work comes in: when a fault strikes is what chance decides.
    pub(crate) async fn live(&mut self, least: u64, most: u64) {
        let mut left = self.dice.millis(least, most);
        while !left.is_zero() {
            self.load();
            let slice = left.min(Duration::from_millis(100));
            tokio::time::sleep(slice).await;
            left -= slice;
        }
    }

    /// Queues bursts and matrices until there is enough to do.
    fn load(&mut self) {
        while self.github.look(|state| state.jobs().count() - state.count(JobStatus::Completed))
            < LOAD
        {
            let repo = format!("octo-org/{}", self.dice.within(0, self.repos - 1));
            let legs = u32::try_from(self.dice.within(1, 5)).unwrap_or(1);
            let takes = self.dice.millis(50, 700);
            let leg = |job: JobSpec| job.labels([self.label]).takes(takes);
            let run = RunSpec::new("ci").matrix("build", legs, leg);
            self.github.queue_run(&repo, run).expect("the repository is there");
        }
    }

    /// The service's status; null when it does not answer.
    pub(crate) async fn status(&self) -> Value {
        let done = self.home.run("runner status").await;
        serde_json::from_str(&done.stdout).unwrap_or_default()
    }

    /// Waits until the status is such.
    pub(crate) async fn until_status(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) {
        if let Some(ended) = self.service.as_mut().and_then(|child| child.try_wait().ok()?) {
            panic!("the service ended with {ended}: {}", self.home.service_log());
        }
        let reached = async { while !is_so(&self.status().await) {} };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            let log = self.home.service_log();
            panic!("never came about: {what}; {}\n{log}", self.status().await);
        }
    }

    /// Measures from now on how long it takes until the service has looked again and has no
    /// trouble.
    pub(crate) async fn recover(&mut self, looks: u64) {
        let since = Instant::now();
        self.until_status("it recovers", |status| {
            status["running"] == true
                && status["last_error"].is_null()
                && status["iterations"].as_u64().is_some_and(|now| now > looks)
        })
        .await;
        self.row.recovered.push(since.elapsed());
    }

    /// How often the service has looked.
    pub(crate) async fn looks(&self) -> u64 {
        self.status().await["iterations"].as_u64().unwrap_or_default()
    }

    pub(crate) async fn make_image(&self) {
        let tag = self.image.rsplit(':').next().unwrap_or_default();
        let made = image::make(&self.engine.client(), Path::new(EXECUTABLE), tag).await;
        made.expect("the runner image is made");
    }

    pub(crate) async fn remove_image(&self) {
        image::remove(&self.engine.client(), &self.image).await.expect("the image is removed");
    }

    /// Waits until all is done and nothing is left, and counts.
    pub(crate) async fn end(mut self) -> Row {
        let since = Instant::now();
        let done = self.github.wait_until(|state| state.is_all_done());
        let all_done = tokio::time::timeout(PATIENCE, done).await.is_ok();
        let mut left = self.leftovers().await;
        while all_done && !left.is_empty() && since.elapsed() < 2 * PATIENCE {
            left = self.leftovers().await;
        }
        self.row.settled = since.elapsed();
        let jobs = self.github.jobs();
        let failed = |job: &&Job| job.conclusion == Some(Conclusion::Failure);
        let mut runs = BTreeMap::<u64, u32>::new();
        let deeds = self.github.deeds();
        deeds.iter().filter_map(|deed| deed.job).for_each(|job| *runs.entry(job).or_default() += 1);
        let runs = |job: &&Job| runs.get(&job.id).copied().unwrap_or_default();
        let is_lost = |job: &&Job| match job.conclusion {
            Some(Conclusion::Success) => runs(job) == 0,
            conclusion => conclusion.is_none(),
        };
        self.row.queued = jobs.len();
        self.row.run = jobs.iter().filter(|job| runs(job) > 0).count();
        self.row.lost = jobs.iter().filter(is_lost).count();
        self.row.ended = jobs.iter().filter(failed).count();
        self.row.twice = jobs.iter().filter(|job| job.begun.max(runs(job)) > 1).count();
        self.row.runners = deeds.iter().filter(|deed| deed.job.is_none()).count();
        let waits = jobs.iter().filter_map(|job| (job.started_at? - job.queued_at).to_std().ok());
        self.row.waited = waits.max().unwrap_or_default();
        self.row.leaked = left.len();
        if self.row.lost + self.row.twice + self.row.leaked > 0
            || self.row.ended > self.row.may_end
            || self.row.patience.is_some_and(|most| self.row.waited > most)
        {
            let status = self.status().await;
            let failed: Vec<_> = jobs.iter().filter(failed).collect();
            println!(
                "{}\n{failed:#?}\nleft: {left:#?}\n{status:#}\n{}",
                self.row.name,
                self.home.service_log()
            );
        }
        self.kill().await;
        self.row
    }

    /// What is left of ours on the engine, on the disk and on GitHub.
    async fn leftovers(&self) -> Vec<String> {
        let mut left = remains_on(&self.engine.client(), INSTANCE).await;
        let directories = std::fs::read_dir(self.work_dir()).into_iter().flatten().flatten();
        left.extend(directories.map(|entry| entry.path().display().to_string()));
        left.extend(
            self.github.runners().into_iter().map(|runner| format!("GitHub: {}", runner.name)),
        );
        left
    }
}
