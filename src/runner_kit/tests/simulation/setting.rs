//! What a run is made of, all of it drawn from the seed.

use std::time::Duration;

use fastrand::Rng;

use crate::model::{Repo, Scope};

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A request to GitHub is lost on its way there.
    RequestLost,
    /// GitHub does what is asked, and its answer is lost.
    AnswerLost,
    /// GitHub answers with a server error.
    ServerError,
    /// GitHub asks to wait.
    RateLimited,
    /// GitHub refuses.
    Denied,
    /// GitHub takes many seconds.
    SlowAnswer,
    /// A list is some seconds old.
    StaleList,
    /// A repository alone cannot be seen.
    Unseen,
    /// GitHub is away for minutes.
    GithubOutage,
    HookLost,
    HookTwice,
    /// A delivery comes late, and so after others.
    HookLate,
    /// The engine refuses a call.
    EngineError,
    /// The engine does not answer for half a minute and more.
    EngineHang,
    EngineSlow,
    /// The engine does what is asked, and its answer is lost.
    EngineAnswerLost,
    /// A container is created and never started.
    HalfMade,
    EngineOutage,
    /// Nobody is told that a container started or ended.
    EventLost,
    /// A container ends at once.
    Crash,
    /// The kernel ends a container during its job.
    OutOfMemory,
    NeverRegisters,
    /// A runner is online and takes no job.
    Deaf,
    /// GitHub forgets an idle runner whose process goes on.
    Dropped,
    /// A runner is given a job and ends well without doing it.
    ExitsWithoutJob,
    /// A process goes on after its job.
    Stays,
    /// A runner takes minutes until it is online.
    SlowBoot,
    ClockJump,
    /// The service is killed.
    Kill,
    /// The service is stopped and started.
    Restart,
    /// The session of the scale set breaks off.
    SessionLost,
    /// A log says what is not so.
    LogLies,
    /// GitHub gives a job to no scale set, whatever room one has.
    Unassigned,
}

impl Fault {
    /// All of them in their order, each with the greatest chance that a run may give it.
    pub(super) const ALL: [(Self, f64); 33] = [
        (Self::RequestLost, 0.1),
        (Self::AnswerLost, 0.1),
        (Self::ServerError, 0.2),
        (Self::RateLimited, 0.1),
        (Self::Denied, 0.05),
        (Self::SlowAnswer, 0.1),
        (Self::StaleList, 0.5),
        (Self::Unseen, 0.2),
        (Self::GithubOutage, 0.5),
        (Self::HookLost, 0.5),
        (Self::HookTwice, 0.3),
        (Self::HookLate, 0.3),
        (Self::EngineError, 0.1),
        (Self::EngineHang, 0.03),
        (Self::EngineSlow, 0.1),
        (Self::EngineAnswerLost, 0.05),
        (Self::HalfMade, 0.1),
        (Self::EngineOutage, 0.5),
        (Self::EventLost, 0.5),
        (Self::Crash, 0.3),
        (Self::OutOfMemory, 0.3),
        (Self::NeverRegisters, 0.2),
        (Self::Deaf, 0.2),
        (Self::Dropped, 0.2),
        (Self::ExitsWithoutJob, 0.2),
        (Self::Stays, 0.3),
        (Self::SlowBoot, 0.3),
        (Self::ClockJump, 0.3),
        (Self::Kill, 0.7),
        (Self::Restart, 0.4),
        (Self::SessionLost, 0.1),
        (Self::LogLies, 0.5),
        (Self::Unassigned, 0.3),
    ];
}

/// What is drawn once for a run.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) max_runners: usize,
    pub(super) max_per_repo: Option<usize>,
    pub(super) min_idle: usize,
    pub(super) job_timeout: Option<Duration>,
    pub(super) idle_timeout: Duration,
    pub(super) poll_interval: Duration,
    /// Whether runners are registered ahead.
    pub(super) jit: bool,
    /// Whether GitHub tells of jobs.
    pub(super) hooks: bool,
    /// Whether the organisation has a scale set.
    pub(super) scale_set: bool,
    /// Whether that tells the number of its jobs alone.
    pub(super) counts_only: bool,
    /// Whether the real client, poller and registrar are played, over a network that fails.
    pub(super) rest: bool,
    /// Requests that GitHub answers in an hour, where it tells so.
    pub(super) budget: Option<u32>,
    /// Whether somebody starts and stops runners by hand.
    pub(super) meddler: bool,
    pub(super) repos: Vec<(Repo, Scope)>,
    /// How long things go wrong.
    pub(super) storm: Duration,
    /// In the order of [`Fault::ALL`].
    chances: [f64; Fault::ALL.len()],
}

impl Setting {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        // Some runs are fair, or nothing would show what goes wrong without any fault.
        let wildness = [0.0, 0.2, 0.6, 1.0][rng.usize(..4)];
        let chance = |rng: &mut Rng, most: f64| match rng.f64() < wildness {
            true => rng.f64() * most,
            false => 0.0,
        };
        let chances = Fault::ALL.map(|(_, most)| chance(rng, most));
        let repos = ["o/a", "o/b", "o/c", "acme/x", "acme/y"];
        let count = rng.usize(1..=repos.len());
        let mut repos = repos.to_vec();
        rng.shuffle(&mut repos);
        let home = |name: &str| {
            let repo: Repo = name.parse().unwrap();
            let scope = match repo.owner() {
                "acme" => Scope::org("acme"),
                _ => Scope::Repo(repo.clone()),
            };
            (repo, scope)
        };
        Self {
            max_runners: rng.usize(1..=8),
            max_per_repo: rng.bool().then(|| rng.usize(1..=4)),
            min_idle: if rng.u8(..3) == 0 { rng.usize(1..=2) } else { 0 },
            job_timeout: (rng.u8(..3) == 0).then(|| Duration::from_secs(rng.u64(60..900))),
            idle_timeout: Duration::from_secs(rng.u64(5..600)),
            poll_interval: Duration::from_secs([5, 30, 120, 600][rng.usize(..4)]),
            jit: rng.bool(),
            hooks: rng.bool(),
            scale_set: rng.u8(..3) == 0,
            counts_only: rng.bool(),
            rest: rng.u8(..8) == 0,
            budget: rng.bool().then_some(5_000),
            meddler: rng.u8(..3) == 0,
            repos: repos.into_iter().take(count).map(home).collect(),
            storm: Duration::from_secs(rng.u64(120..900)),
            chances,
        }
    }

    pub(super) fn chance(&self, fault: Fault) -> f64 {
        self.chances[fault as usize]
    }
}
