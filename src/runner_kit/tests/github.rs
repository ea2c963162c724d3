//! A GitHub that keeps jobs and runners, and what can go wrong with each.

mod api;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use super::world::repo;
use crate::adapters::memory::MemoryEngine;
use crate::error::{Code, Error, Result};
use crate::model::{Demand, Job, JobRef, Labels, Registered, Repo, RepoDemand, RunningJob, Scope};
use crate::ports::{
    Clock, DemandSource, Deregistered, Launch, NewRunner, Registrar, Registration,
    RegistrationToken,
};

/// How long a runner takes until it is online.
const BOOT: Duration = Duration::from_secs(3);
/// How long GitHub waits for a runner that has accepted a job (actions/runner#4668, actions/runner#4703).
const GIVEN_UP: Duration = Duration::from_secs(600);
/// How long it waits for one that has ended (actions/runner#4598).
const UNBOUND: Duration = Duration::from_secs(660);

#[derive(Default)]
pub(super) struct Github {
    state: Mutex<State>,
    changed: Notify,
    /// Lets a look at the demand go on that `State::gated` holds.
    pub(super) gate: Notify,
    pub(super) clock: Option<Clock>,
    engine: OnceLock<Weak<MemoryEngine>>,
}

/// What goes wrong with the runner that takes the next job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The job is given to it and taken back, its registration is gone, and it listens for ever.
    Ghost,
    /// It accepts the job and hangs; GitHub gives the job up after ten minutes, and drops the runner.
    Hangs,
    /// It does its job and stays, dropped by GitHub.
    Stays,
    /// It does its job and stays, and GitHub lists it as idle.
    StaysListed,
    /// GitHub has its result and drops it, and it says that it still works.
    StaysAtWork,
    /// It ends well without a word, and GitHub waits for it for eleven minutes.
    Deserts,
    /// It does its job, and its program ends with an error.
    EndsBadly,
}

#[derive(Default)]
pub(super) struct State {
    jobs: BTreeMap<u64, FakeJob>,
    pub(super) runners: Vec<Registered>,
    pub(super) down: bool,
    /// Whether the hourly budget is used up.
    pub(super) limited: bool,
    /// Where runners register: with the organisation instead of the jobs' repositories.
    pub(super) scope: Option<Scope>,
    /// Whether the job that came last is given to a runner first.
    pub(super) newest_first: bool,
    /// Whether the next runner that is to be removed has just been given a job of so many seconds.
    pub(super) late_job: Option<u64>,
    pub(super) gated: bool,
    /// Whether the next look at the demand ends in a bug.
    pub(super) breaks: bool,
    /// Whether a removal of a registration fails.
    pub(super) keeps_registrations: bool,
    /// Whether runners end at once, with this exit code.
    pub(super) crash: Option<i64>,
    pub(super) blind: Vec<Repo>,
    pub(super) refused: Option<Error>,
    /// Registering is broken, not refused.
    pub(super) broken: bool,
    registrations: u64,
    pub(super) looks: u64,
    /// Scopes that are no more.
    pub(super) closed: Vec<Scope>,
    /// Scopes whose runners GitHub cannot list now.
    pub(super) hidden: Vec<Scope>,
    /// Where runners were listed, each time.
    pub(super) listings: Vec<Scope>,
    pub(super) fate: Option<Fate>,
    /// Whether runners print nothing.
    pub(super) mute: bool,
}

struct FakeJob {
    job: Job,
    takes: Duration,
    runner: Option<String>,
    started_at: Option<DateTime<Utc>>,
    /// Whether GitHub shows it as queued although it was given to a runner.
    is_bound: bool,
    done: bool,
}

impl Github {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock: Some(clock), ..Self::default() }
    }

    /// What runners print is in the logs of `engine`.
    pub(super) fn print_on(&self, engine: &Arc<MemoryEngine>) {
        self.engine.set(Arc::downgrade(engine)).unwrap();
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.clock.as_ref().unwrap())()
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
        result
    }

    pub(super) fn queue(&self, name: &str, count: u64, takes: u64) {
        let now = self.now();
        self.change(|state| {
            let scope = state.scope.clone().unwrap_or(Scope::Repo(repo(name)));
            for _ in 0..count {
                state.add(&scope, repo(name), takes, now);
            }
        });
    }

    pub(super) fn cancel_queued(&self) {
        self.change(|state| {
            state
                .jobs
                .values_mut()
                .filter(|job| job.runner.is_none())
                .for_each(|job| job.done = true)
        });
    }

    pub(super) fn done(&self) -> usize {
        self.change(|state| state.jobs.values().filter(|job| job.done).count())
    }

    pub(super) fn running(&self) -> usize {
        self.change(|state| {
            state.jobs.values().filter(|job| job.runner.is_some() && !job.done).count()
        })
    }

    /// How many jobs of this repository runners have.
    pub(super) fn running_of(&self, name: &str) -> usize {
        let is_its =
            |job: &&FakeJob| job.runner.is_some() && !job.done && job.job.repo == repo(name);
        self.change(|state| state.jobs.values().filter(is_its).count())
    }

    /// Names of runners that ever had a job, once for each job.
    pub(super) fn workers(&self) -> Vec<String> {
        self.change(|state| state.jobs.values().filter_map(|job| job.runner.clone()).collect())
    }

    pub(super) async fn be_runner(self: Arc<Self>, launch: Launch) -> i64 {
        let name = launch.runner.name.clone();
        if let Some(code) = self.change(|state| state.crash) {
            return code;
        }
        tokio::time::sleep(BOOT).await;
        self.change(|state| {
            if !state.runners.iter().any(|runner| runner.name == name) {
                state.registrations += 1;
                let id = state.registrations;
                state.runners.push(Registered {
                    id,
                    name: name.clone(),
                    online: false,
                    busy: false,
                });
            }
            state.runner(&name).unwrap().online = true;
        });
        self.print(&name, "Listening for Jobs");
        let takes = loop {
            let changed = self.changed.notified();
            // Not `change`: a runner that finds nothing must not wake itself.
            let now = self.now();
            let taken = self.state.lock().unwrap().take(&name, &launch.runner.scope, now);
            match taken {
                Some(takes) => break takes,
                None => changed.await,
            }
        };
        let fate = self.change(|state| state.fate.take());
        match fate {
            Some(Fate::Ghost) => {
                self.change(|state| {
                    state.job_of(&name).runner = None;
                    state.runners.retain(|runner| runner.name != name);
                });
                return std::future::pending().await;
            }
            Some(Fate::Hangs) => {
                tokio::time::sleep(GIVEN_UP).await;
                self.finish(&name);
                return std::future::pending().await;
            }
            Some(Fate::Deserts) => {
                self.change(|state| {
                    state.job_of(&name).is_bound = true;
                    state.runner(&name).unwrap().online = false;
                });
                self.print(&name, "Running job: build");
                tokio::spawn(async move {
                    tokio::time::sleep(UNBOUND).await;
                    self.change(|state| {
                        let job = state.job_of(&name);
                        (job.runner, job.is_bound) = (None, false);
                        state.runners.retain(|runner| runner.name != name);
                    });
                });
                return 0;
            }
            _ => {}
        }
        self.print(&name, "Running job: build");
        tokio::time::sleep(takes).await;
        if fate != Some(Fate::StaysAtWork) {
            self.print(&name, "Job build completed with result: Succeeded");
        }
        let listed = self.change(|state| state.runner(&name).cloned());
        self.finish(&name);
        match fate {
            Some(Fate::StaysListed) => self.change(|state| {
                state.runners.extend(listed.map(|one| Registered { busy: false, ..one }));
            }),
            Some(Fate::EndsBadly) => return 1,
            None => return 0,
            Some(_) => {}
        }
        std::future::pending().await
    }

    /// GitHub knows that the job of the runner `name` is over, and drops the runner.
    fn finish(&self, name: &str) {
        self.change(|state| {
            state.job_of(name).done = true;
            state.runners.retain(|runner| runner.name != name);
        });
    }

    /// The runner `name` prints `words`, with the time.
    pub(super) fn print(&self, name: &str, words: &str) {
        let engine = self.engine.get().and_then(Weak::upgrade);
        if let Some(engine) = engine.filter(|_| !self.change(|state| state.mute)) {
            engine.print(name, &format!("{}: {words}", self.now().format("%Y-%m-%d %H:%M:%SZ")));
        }
    }

    fn answers(&self) -> Result<()> {
        let down = self.change(|state| state.down);
        if down {
            return Err(Error::new(Code::GithubUnreachable, "GitHub does not answer.", "Wait."));
        }
        if self.change(|state| state.limited) {
            let error = Error::new(Code::RateLimited, "The budget is used up.", "Wait.");
            return Err(error.retry_after(Duration::from_secs(600)));
        }
        Ok(())
    }
}

impl State {
    fn runner(&mut self, name: &str) -> Option<&mut Registered> {
        self.runners.iter_mut().find(|runner| runner.name == name)
    }

    /// Whether a job is queued that GitHub gives to nobody.
    pub(super) fn has_bound(&self) -> bool {
        self.jobs.values().any(|job| job.is_bound)
    }

    /// The job that the runner `name` has.
    fn job_of(&mut self, name: &str) -> &mut FakeJob {
        let mine = |job: &&mut FakeJob| job.runner.as_deref() == Some(name) && !job.done;
        self.jobs.values_mut().find(mine).unwrap()
    }

    fn add(&mut self, scope: &Scope, repo: Repo, takes: u64, now: DateTime<Utc>) -> &mut FakeJob {
        let id = self.jobs.len() as u64 + 1;
        let job = Job {
            id,
            run_id: id,
            repo,
            scope: scope.clone(),
            name: "build".into(),
            url: String::new(),
            labels: Labels::new(["self-hosted"]),
            queued_at: now,
            seen_at: now,
            beside_sets: false,
        };
        let takes = Duration::from_secs(takes);
        self.jobs.entry(id).or_insert(FakeJob {
            job,
            takes,
            runner: None,
            started_at: None,
            is_bound: false,
            done: false,
        })
    }

    fn take(&mut self, name: &str, scope: &Scope, now: DateTime<Utc>) -> Option<Duration> {
        let is_free = |job: &FakeJob| job.runner.as_deref().is_none_or(|runner| runner == name);
        let fits = |job: &&mut FakeJob| is_free(job) && !job.done && job.job.scope == *scope;
        let job = match self.newest_first {
            true => self.jobs.values_mut().rfind(fits)?,
            false => self.jobs.values_mut().find(fits)?,
        };
        (job.runner, job.started_at) = (Some(name.to_owned()), Some(now));
        let takes = job.takes;
        self.runner(name)?.busy = true;
        Some(takes)
    }
}
