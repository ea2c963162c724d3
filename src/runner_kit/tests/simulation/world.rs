//! The world that a run takes place in: GitHub's jobs and runners, the engine's containers, the time.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::port::Port;
use super::setting::{Fault, Setting};
use crate::demand::JobState;
use crate::model::{Container, Job, Labels, Registered, Scope};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Invariant {
    /// Never more live runners than `max_runners`, nor than `max_per_repo` in a repository.
    Bound,
    /// Every servable job is served in the end.
    Served,
    /// Of every job that is shown it is told why it waits, or something is being done.
    Explained,
    /// No runner is removed while it has a job, unless for `job_timeout`.
    Spared,
    /// No more runners are launched than jobs, faults and `min_idle` explain.
    Justified,
    /// After quiet time there is nothing without a purpose.
    Clean,
    /// The status tells the truth.
    Truth,
}

impl Invariant {
    pub(super) const ALL: [Self; 7] = [
        Self::Bound,
        Self::Served,
        Self::Explained,
        Self::Spared,
        Self::Justified,
        Self::Clean,
        Self::Truth,
    ];
}

pub(super) struct World {
    begin: Instant,
    state: Mutex<State>,
    /// Rung when jobs or runners at GitHub changed.
    pub(super) changed: Notify,
}

pub(super) struct State {
    pub(super) now: Duration,
    pub(super) rng: Rng,
    pub(super) setting: Setting,
    /// Whether nothing goes wrong any more.
    pub(super) calm: bool,
    pub(super) faults: BTreeMap<Fault, u64>,
    pub(super) violations: Vec<(Invariant, String)>,
    trace: DefaultHasher,
    /// The trace in words, where somebody wants to read it.
    lines: Option<Vec<String>>,
    pub(super) jobs: BTreeMap<u64, SimJob>,
    pub(super) registrations: BTreeMap<u64, Registration>,
    pub(super) containers: BTreeMap<String, SimContainer>,
    pub(super) last_registration: u64,
    /// The service that is alive.
    pub(super) port: Option<Arc<Port>>,
    pub(super) services: u64,
    pub(super) clock_is_off_by: TimeDelta,
    pub(super) github_down_until: Duration,
    pub(super) engine_down_until: Duration,
    /// An hour, and what requests were charged in it.
    pub(super) spent: (u64, u32),
    pub(super) deliveries: u64,
    pub(super) tally: Tally,
}

/// What is counted to judge launches by.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    pub(super) launched: usize,
    pub(super) excused: usize,
    pub(super) cancelled: usize,
    /// When a job was last taken or ended.
    pub(super) progress: Duration,
}

pub(super) struct SimJob {
    pub(super) job: Job,
    pub(super) takes: Duration,
    pub(super) is_servable: bool,
    pub(super) set: Share,
    pub(super) states: Vec<(Duration, JobState)>,
}

/// What a scale set has to do with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// It was not given it yet.
    Open,
    /// It was given it.
    Given,
    /// It will never be given it.
    Never,
}

/// A runner as GitHub knows it.
pub(super) struct Registration {
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) labels: Labels,
    pub(super) is_deaf: bool,
    /// It is a runner of the scale set, and gets what that was given.
    pub(super) is_of_set: bool,
    /// Online and busy, or no more.
    pub(super) states: Vec<(Duration, Option<(bool, bool)>)>,
}

pub(super) struct SimContainer {
    pub(super) container: Container,
    pub(super) made: Duration,
    pub(super) exit_code: Option<i64>,
    pub(super) process: Option<AbortHandle>,
    /// What its runner printed.
    pub(super) log: Vec<String>,
    /// It took a job at some time.
    pub(super) worked: bool,
    /// Something was wrong with it.
    pub(super) is_faulty: bool,
    /// Since when the service that is alive could know of it.
    pub(super) known: Option<(u64, Duration)>,
}

/// What was so at `at`, by what was so from when on.
pub(super) fn as_of<T>(states: &[(Duration, T)], at: Duration) -> Option<&T> {
    states.iter().rev().find(|(since, _)| *since <= at).map(|(_, state)| state)
}

impl World {
    pub(super) fn new(seed: u64, setting: Setting, traced: bool) -> Self {
        let state = State {
            now: Duration::ZERO,
            // Not the stream that the setting was drawn from.
            rng: Rng::with_seed(seed ^ 0x9E37_79B9_7F4A_7C15),
            setting,
            calm: false,
            faults: BTreeMap::new(),
            violations: Vec::new(),
            trace: DefaultHasher::new(),
            lines: traced.then(Vec::new),
            jobs: BTreeMap::new(),
            registrations: BTreeMap::new(),
            containers: BTreeMap::new(),
            last_registration: 0,
            port: None,
            services: 0,
            clock_is_off_by: TimeDelta::zero(),
            github_down_until: Duration::ZERO,
            engine_down_until: Duration::ZERO,
            spent: (0, 0),
            deliveries: 0,
            tally: Tally::default(),
        };
        Self { begin: Instant::now(), state: Mutex::new(state), changed: Notify::new() }
    }

    /// The state as it is now.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        state.now = self.begin.elapsed();
        state
    }

    /// Changes something that runners may wait for.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.notify_waiters();
        result
    }

    /// What the service takes for the time.
    pub(super) fn clock(&self) -> DateTime<Utc> {
        let state = self.state();
        state.date() + state.clock_is_off_by
    }

    /// Lets a time between `least` and `most` go by.
    pub(super) async fn wait(&self, least: u64, most: u64) {
        let millis = self.state().rng.u64(least..=most);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

impl State {
    /// The true time.
    pub(super) fn date(&self) -> DateTime<Utc> {
        let epoch = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        epoch + TimeDelta::from_std(self.now).unwrap()
    }

    /// Whether `fault` occurs this time.
    pub(super) fn happens(&mut self, fault: Fault) -> bool {
        let chance = self.setting.chance(fault);
        // Drawn in any case, or one fault more would make another run of all that follows.
        let happens = self.rng.f64() < chance && !self.calm;
        if happens {
            *self.faults.entry(fault).or_default() += 1;
            self.note(format_args!("fault: {fault:?}"));
        }
        happens
    }

    /// The runner `name` prints `words`, with the time.
    pub(super) fn print(&mut self, name: &str, words: &str) {
        let line = self.stamped(words);
        self.containers.get_mut(name).into_iter().for_each(|one| one.log.push(line.clone()));
    }

    /// `words` as a runner prints them, with the time of its host.
    pub(super) fn stamped(&self, words: &str) -> String {
        let at = self.date() + self.clock_is_off_by;
        format!("{}: {words}", at.format("%Y-%m-%d %H:%M:%SZ"))
    }

    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = format!("{:>10.3} {what}", self.now.as_secs_f64());
        line.hash(&mut self.trace);
        self.lines.iter_mut().for_each(|lines| lines.push(line.clone()));
    }

    pub(super) fn violated(&mut self, invariant: Invariant, what: impl fmt::Display) {
        self.note(format_args!("VIOLATED {invariant:?}: {what}"));
        let at = self.now.as_secs();
        self.violations.push((invariant, format!("at {at} s: {what}")));
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.trace.finish()
    }

    pub(super) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// A time in the past: what a list shows that is stale.
    pub(super) fn moment(&mut self) -> Duration {
        let lag = if self.happens(Fault::StaleList) { self.rng.u64(..15_000) } else { 0 };
        self.now.saturating_sub(Duration::from_millis(lag))
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &SimContainer> {
        self.containers.values().filter(|one| !one.listed(self.now).ended)
    }

    pub(super) fn registration_of(&self, name: &str) -> Option<u64> {
        let mut all = self.registrations.iter();
        all.find(|(_, one)| one.name == name && one.state().is_some()).map(|(id, _)| *id)
    }

    /// The job that the runner `name` has.
    pub(super) fn job_of(&self, name: &str) -> Option<&SimJob> {
        self.jobs.values().find(|job| {
            matches!(job.state(), JobState::InProgress { runner_name, .. } if runner_name == name)
        })
    }
}

impl SimJob {
    pub(super) fn state(&self) -> &JobState {
        &self.states.last().unwrap().1
    }
}

impl Registration {
    pub(super) fn state(&self) -> Option<(bool, bool)> {
        self.states.last().and_then(|(_, state)| *state)
    }

    pub(super) fn set(&mut self, now: Duration, state: Option<(bool, bool)>) {
        self.states.push((now, state));
    }

    pub(super) fn listed(&self, id: u64, at: Duration) -> Option<Registered> {
        let (online, busy) = (*as_of(&self.states, at)?)?;
        Some(Registered { id, name: self.name.clone(), online, busy })
    }
}
