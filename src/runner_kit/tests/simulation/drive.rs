//! One run: a storm in which jobs come and things go wrong, then quiet until all is over.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::TimeDelta;
use fastrand::Rng;

use super::judge::is_settled;
use super::port::Port;
use super::setting::{Fault, Setting};
use super::world::{Invariant, World};
use crate::config::{RunnerConfig, Sources, StartInput, load};
use crate::demand::JobState;
use crate::hints::Hints;
use crate::history::History;
use crate::lifecycle::Parts;
use crate::model::Scope;
use crate::plan::plan;
use crate::reconciler::Planner;
use crate::runner_kit::RunnerKit;
use crate::snapshot::Snapshot;
use crate::views::Mode;

/// Without any progress for this long, a job that waits is not served.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// What a run came to.
pub(super) struct Outcome {
    pub(super) setting: Setting,
    pub(super) violations: Vec<(Invariant, String)>,
    pub(super) faults: BTreeMap<Fault, u64>,
    pub(super) simulated: Duration,
    pub(super) jobs: usize,
    pub(super) launched: usize,
    /// The same for the same seed.
    pub(super) fingerprint: u64,
    pub(super) lines: Vec<String>,
}

/// Plays the run that `seed` stands for.
pub(super) fn run(seed: u64, guise: Guise, traced: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // What waits before it tries again draws from this.
    fastrand::seed(seed);
    runtime.block_on(async {
        let setting = Setting::draw(&mut Rng::with_seed(seed));
        let world = Arc::new(World::new(seed, setting, traced));
        let mut run = Run { world, guise, kit: None, leftovers: Arc::default() };
        run.storm().await;
        run.quiet().await;
        let mut state = run.world.state();
        // The circle of world and port is broken, or it would stay.
        state.port = None;
        Outcome {
            setting: state.setting.clone(),
            violations: std::mem::take(&mut state.violations),
            faults: state.faults.clone(),
            simulated: state.now,
            jobs: state.jobs.len(),
            launched: state.tally.launched,
            fingerprint: state.fingerprint(),
            lines: state.lines().to_vec(),
        }
    })
}

/// What is played: the service, or one that is broken on purpose.
#[derive(Clone, Copy)]
pub(super) struct Guise {
    pub(super) planner: Planner,
    /// What becomes of what is told, where that is not left as it is.
    pub(super) tells: Option<fn(&mut Snapshot)>,
}

/// The service itself.
pub(super) const HONEST: Guise = Guise { planner: plan, tells: None };

struct Run {
    world: Arc<World>,
    guise: Guise,
    kit: Option<RunnerKit>,
    /// As the state directory keeps them from one life to the next.
    leftovers: Arc<Hints>,
}

impl Run {
    /// Starts the service anew on the world as it is.
    async fn begin(&mut self) {
        let world = self.world.clone();
        let (config, scale_set) = {
            let mut state = world.state();
            state.services += 1;
            (config(&state.setting), state.setting.scale_set)
        };
        let port = Arc::new(Port::new(&world, &config));
        {
            let mut state = world.state();
            state.port = Some(port.clone());
            let life = state.services;
            state.note(format_args!("life {life} of the service begins"));
        }
        let (clock, names) = (world.clone(), world.clone());
        let clock = Arc::new(move || clock.clock());
        let history = Arc::new(History::in_memory());
        let mut parts = Parts::new(port.clone(), port.clone(), port.clone(), history, clock);
        parts.board = port.board.clone();
        parts.leftovers = self.leftovers.clone();
        parts.suffix = Arc::new(move || {
            let mut state = names.state();
            Ok((0..8).map(|_| state.rng.lowercase()).collect())
        });
        if scale_set {
            tokio::spawn(port.clone().listen());
        }
        let kit = RunnerKit::planned(config, parts, Mode::InProcess, self.guise.planner);
        // It answers once the loop has begun; its status may wait for an engine that is away.
        let _ = tokio::time::timeout(Duration::from_secs(60), kit.start_unchecked()).await;
        self.kit = Some(kit);
    }

    /// Ends the service without a word, and starts it again.
    async fn kill(&mut self) {
        {
            let mut state = self.world.state();
            // Nothing that it began goes on from here.
            (state.services, state.port) = (state.services + 1, None);
            state.note(format_args!("the service is killed"));
        }
        self.kit = None;
        self.world.wait(100, 20_000).await;
        self.begin().await;
    }

    async fn restart(&mut self) {
        let Some(kit) = &self.kit else { return };
        self.world.state().note(format_args!("the service is stopped"));
        let _ = kit.stop_autoscaler().await;
        self.world.wait(100, 20_000).await;
        self.world.state().note(format_args!("the service is started"));
        let _ = tokio::time::timeout(Duration::from_secs(60), kit.start_unchecked()).await;
    }

    async fn storm(&mut self) {
        self.begin().await;
        let end = self.world.state().setting.storm;
        let mut next = Duration::ZERO;
        loop {
            let now = self.world.state().now;
            if now >= end || self.is_lost() {
                return;
            }
            if now >= next {
                self.stir().await;
                let mut state = self.world.state();
                next = state.now + Duration::from_millis(state.rng.u64(1_000..60_000));
            }
            self.step(100, 5_000).await;
        }
    }

    /// What follows a first violation tells nothing new.
    fn is_lost(&self) -> bool {
        !self.world.state().violations.is_empty()
    }

    /// Something happens: to the jobs, or to the service and what it lives on.
    async fn stir(&mut self) {
        let world = self.world.clone();
        self.work();
        self.meddle();
        let (kill, restart) = {
            let mut state = world.state();
            let kinds = [
                Fault::Kill,
                Fault::Restart,
                Fault::ClockJump,
                Fault::GithubOutage,
                Fault::EngineOutage,
            ];
            // One of the great ones at a time, and seldom.
            let kind = kinds[state.rng.usize(..kinds.len())];
            if state.rng.u8(..4) > 0 || !state.happens(kind) {
                return;
            }
            let until = state.now + Duration::from_secs(state.rng.u64(10..600));
            match kind {
                Fault::GithubOutage => state.github_down_until = until,
                Fault::EngineOutage => state.engine_down_until = until,
                Fault::ClockJump => {
                    let most = [2_i64, 60, 3_600][state.rng.usize(..3)];
                    state.clock_is_off_by = TimeDelta::seconds(state.rng.i64(-most..=most));
                }
                _ => {}
            }
            (kind == Fault::Kill, kind == Fault::Restart)
        };
        if kill {
            self.kill().await;
        }
        if restart {
            self.restart().await;
        }
    }

    /// Jobs are queued or cancelled.
    fn work(&self) {
        let world = &self.world;
        let (what, repo, run, count) = {
            let mut state = world.state();
            let (repos, run) = (state.setting.repos.len(), state.jobs.len() as u64 + 1_000);
            let what = state.rng.u8(..10);
            (what, state.rng.usize(..repos), run, state.rng.usize(1..=8))
        };
        let takes = || Duration::from_millis(world.state().rng.u64(1_000..240_000));
        match what {
            0..3 => world.queue(repo, run, takes(), &["self-hosted"]),
            3 => (0..count).for_each(|_| world.queue(repo, run, takes(), &["self-hosted"])),
            4 => world.queue(repo, run, takes(), &["self-hosted", "gpu"]),
            5 => {
                let waits = |state: &super::world::State| {
                    let waiting =
                        state.jobs.iter().filter(|(_, job)| *job.state() == JobState::Queued);
                    waiting.map(|(id, _)| *id).collect::<Vec<_>>()
                };
                let mut state = world.state();
                let waiting = waits(&state);
                let cancelled: Vec<u64> =
                    waiting.into_iter().filter(|_| state.rng.bool()).collect();
                state.tally.cancelled += cancelled.len();
                drop(state);
                cancelled.into_iter().for_each(|id| world.bring(id, JobState::Completed));
            }
            _ => {}
        }
    }

    /// Somebody starts or stops a runner by hand, and may not wait for it.
    fn meddle(&self) {
        let Some(kit) = self.kit.clone() else { return };
        let mut state = self.world.state();
        if !state.setting.meddler || state.rng.bool() {
            return;
        }
        let patience = Duration::from_millis(state.rng.u64(10..20_000));
        let names: Vec<_> = state.containers.keys().cloned().collect();
        let warm: Vec<_> = state.setting.warm().cloned().collect();
        if state.rng.bool() && !names.is_empty() {
            let name = names[state.rng.usize(..names.len())].clone();
            state.containers.get_mut(&name).unwrap().is_faulty = true;
            tokio::spawn(async move {
                let _ =
                    tokio::time::timeout(patience, kit.stop_runner_container(&name, false)).await;
            });
        } else if !warm.is_empty()
            && let Scope::Repo(repo) = warm[state.rng.usize(..warm.len())].clone()
        {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(patience, kit.provision(Some(&repo))).await;
            });
        }
    }

    /// Lets some time go by and judges what is told then.
    async fn step(&self, least: u64, most: u64) {
        self.world.wait(least, most).await;
        let Some(kit) = &self.kit else { return };
        self.told(kit, |snapshot| self.world.state().judge_snapshot(snapshot));
    }

    /// What `kit` tells now.
    fn told<T>(&self, kit: &RunnerKit, hear: impl FnOnce(&Snapshot) -> T) -> T {
        let snapshot = kit.published.borrow();
        let Some(tells) = self.guise.tells else { return hear(&snapshot) };
        let mut snapshot = snapshot.clone();
        tells(&mut snapshot);
        hear(&snapshot)
    }

    async fn quiet(&mut self) {
        if self.is_lost() {
            return;
        }
        let begun = {
            let mut state = self.world.state();
            state.calm = true;
            (state.github_down_until, state.engine_down_until) = (Duration::ZERO, Duration::ZERO);
            state.note(format_args!("quiet begins"));
            state.now
        };
        // Nothing is left for a minute: it is not only between two things.
        let mut clean_since = None;
        loop {
            self.step(2_000, 5_000).await;
            let Some(kit) = &self.kit else { return };
            let settled = is_settled(&kit.published.borrow());
            let (now, over, clean) = {
                let state = self.world.state();
                let progress = state.tally.progress.max(begun);
                (state.now, state.now - progress > PATIENCE, state.leftovers().is_empty())
            };
            clean_since =
                clean_since.filter(|_| clean && settled).or((clean && settled).then_some(now));
            let is_clean = clean_since.is_some_and(|since| now - since > Duration::from_secs(60));
            if over || is_clean || self.is_lost() {
                let status = self.told(kit, |snapshot| kit.status_of(snapshot));
                let mut state = self.world.state();
                state.judge_end(&status);
                return;
            }
        }
    }
}

impl Setting {
    /// Where runners are kept ready.
    pub(super) fn warm(&self) -> impl Iterator<Item = &Scope> {
        self.repos.iter().map(|(_, scope)| scope).filter(|scope| matches!(scope, Scope::Repo(_)))
    }
}

fn config(setting: &Setting) -> RunnerConfig {
    static CONFIG: OnceLock<RunnerConfig> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let env = [("HOME", "/nowhere")].into_iter().collect();
        let sources = Sources { env, ..Sources::default() };
        let input =
            StartInput { labels: Some(vec!["self-hosted".into()]), ..StartInput::default() };
        load(&sources, &input).unwrap().config
    });
    RunnerConfig {
        max_runners: setting.max_runners,
        max_per_repo: setting.max_per_repo,
        min_idle: setting.min_idle,
        job_timeout: setting.job_timeout,
        idle_timeout: setting.idle_timeout,
        poll_interval: setting.poll_interval,
        repos: setting.warm().map(ToString::to_string).collect(),
        ..config.clone()
    }
}
