//! Demand, joined from all who tell of it: polls, webhooks and scale sets, each of which may be
//! late, repeat itself, or fall silent.
//!
//! A poll shows a whole repository as it was when it was asked; an event tells of one job; a scale
//! set tells all about the jobs of its scope. Events and polls are joined by job id. A job only goes
//! forward (waiting, queued, in progress, completed), so that order and repetition of events do no
//! harm, and a poll that began well after an event knows better. While a scale set has a session,
//! GitHub gives it the jobs of its scope, and what it says of them counts.
//!
//! Pure but for the bell that [`Board::changed`] waits for. Times are the callers'.

mod events;
mod known;
mod looked;
mod results;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use self::known::Known;
use self::results::Results;
use crate::error::Error;
use crate::model::{
    Allowance, Demand, Ending, Job, JobResult, Labels, RateLimit, Repo, RepoDemand, RunningJob,
    Scope,
};

/// How long a poll may not show yet what an event has told: GitHub's lists follow its events, and
/// not at once.
pub const LAG: TimeDelta = TimeDelta::seconds(20);

/// Where a job stands. It only ever goes forward.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// Somebody has to agree first: an environment's gate.
    Waiting,
    /// It needs a runner.
    Queued,
    /// A runner has it.
    InProgress {
        /// That runner.
        runner_name: String,
        /// Since when.
        started_at: Option<DateTime<Utc>>,
    },
    /// It is over.
    Completed,
}

impl JobState {
    fn rank(&self) -> u8 {
        match self {
            Self::Waiting => 0,
            Self::Queued => 1,
            Self::InProgress { .. } => 2,
            Self::Completed => 3,
        }
    }
}

/// What an event tells of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The job.
    pub job: Job,
    /// Where it stands.
    pub state: JobState,
    /// How it ended, where that is told.
    pub ending: Option<Ending>,
    /// When we heard of it.
    pub at: DateTime<Utc>,
}

/// What a scale set with a live session says of its scope's jobs: a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The labels that its runners have.
    pub labels: Labels,
    /// Jobs that were given to it and wait for a runner.
    pub queued: Vec<Job>,
    /// Jobs that its runners have.
    pub in_progress: Vec<(Repo, RunningJob)>,
    /// Jobs that wait too, and of which only the number is known.
    pub more: usize,
    /// Whether it has as many jobs as there is room for: then GitHub gives it no others.
    pub is_full: bool,
    /// When it said so.
    pub at: DateTime<Utc>,
}

/// What there is to watch.
#[derive(Debug, Default)]
pub struct Watched {
    /// The repositories.
    pub repos: BTreeSet<Repo>,
    /// Those that are named one by one, and cannot be seen.
    pub lost: BTreeMap<Repo, Error>,
    /// Accounts, in small letters, whose repositories could not be listed, while others' could.
    pub unlisted: BTreeMap<String, Error>,
    /// When they were asked for.
    pub at: DateTime<Utc>,
}

/// Where polls stand with GitHub's limits.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The hourly budget.
    pub rate_limit: Option<RateLimit>,
    /// The part of it that looks may use.
    pub allowance: Option<Allowance>,
    /// When a pass can go on with what limits made it leave.
    pub go_on_at: Option<DateTime<Utc>>,
}

/// Where all who tell of jobs put what they know, and where the loop reads it.
#[derive(Debug, Default)]
pub struct Board {
    known: Mutex<Known>,
    results: Results,
    bell: Notify,
}

impl Board {
    /// There is this to watch; nothing else is remembered.
    pub fn watch(&self, watched: Watched) {
        self.change(|known| known.watch(watched));
    }

    /// A poll that began at `began` saw this of `repo`.
    pub fn saw(&self, repo: &Repo, seen: Result<RepoDemand, Error>, began: DateTime<Utc>) {
        self.change(|known| known.saw(repo, seen, began));
    }

    /// Polls see nothing at all just now, or do again: what they saw before is no longer believed.
    pub fn blind(&self, why: Option<Error>) {
        self.change(|known| known.blind(why));
    }

    /// An event told this.
    pub fn hear(&self, heard: Heard) {
        if let Some(ending) = &heard.ending {
            self.ended(ending.clone());
        }
        self.change(|known| known.hear(heard));
    }

    /// A job ended so. Nobody is woken for it.
    pub fn ended(&self, ending: Ending) {
        self.results.tell(ending);
    }

    /// How the job of the runner `name` ended, where that was told lately.
    pub fn result_of(&self, name: &str) -> Option<JobResult> {
        self.results.of(name)
    }

    /// The scale set of `scope` says this; `None`: it has no session, and others are believed. The
    /// answer is a [revision](Demand::revision) that has it.
    pub fn assign(&self, scope: &Scope, assigned: Option<Assigned>) -> u64 {
        self.change(|known| known.assign(scope, assigned));
        self.known().revision
    }

    /// What the scale set of `scope` said last.
    #[cfg(test)]
    pub(crate) fn assigned(&self, scope: &Scope) -> Option<Assigned> {
        self.known().sets.get(scope).cloned()
    }

    /// Polls stand like this with GitHub's limits. Nobody is woken for it.
    pub fn stand(&self, standing: Standing) {
        self.known().standing = standing;
    }

    /// The whole demand as it is known now.
    pub fn demand(&self, now: DateTime<Utc>) -> Demand {
        self.known().demand(now)
    }

    /// Repositories of which events have told more than polls have seen.
    pub fn restless(&self) -> BTreeSet<Repo> {
        self.known().restless()
    }

    /// Whether something was put there since this was last waited for; waits for it. For one waiter.
    pub async fn changed(&self) {
        self.bell.notified().await;
    }

    /// Rings only when there is news: most polls show what was known.
    fn change(&self, change: impl FnOnce(&mut Known) -> bool) {
        if change(&mut self.known()) {
            self.bell.notify_one();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
