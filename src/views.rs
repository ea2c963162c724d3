//! What the operations return: the `data` of every interface, field by field as users rely on it.

mod detail;

use chrono::{DateTime, SubsecRound, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::detail::{
    ContainerDetail, ContainerUsage, End, LongestWait, QueueDetail, WaitingJob, WorkingJob,
};
use crate::error::{Error, Result};
use crate::model::{JobRef, Labels, Origin, Phase, RateLimit, Repo};

/// The state of the autoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Whether the loop runs.
    pub running: bool,
    /// Since when.
    pub start_time: Option<DateTime<Utc>>,
    /// Looks at the demand since then.
    pub iterations: u64,
    /// Runner containers that have not ended.
    pub active_runners: usize,
    /// Workflow runs with at least one queued job that runners here can serve.
    pub queued_workflows: usize,
    /// Those jobs.
    pub queued_jobs: usize,
    /// Repositories that are watched.
    pub repositories_monitored: usize,
    /// When the demand was last looked at.
    pub last_check: Option<DateTime<Utc>>,
    /// Runners launched since the start.
    pub provisioned_runners: u64,
    /// How many runners may be, and are.
    pub capacity: Capacity,
    /// Whether a service or this very process does the work.
    pub mode: Mode,
    /// The last failure, while it lasts.
    pub last_error: Option<LastError>,
    /// Sentences worth knowing.
    pub warnings: Vec<String>,
    /// GitHub's hourly budget.
    pub rate_limit: Option<RateLimit>,
}

/// Room for runners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capacity {
    /// `max_runners`.
    pub max: usize,
    /// Runners that exist or are being launched.
    pub used: usize,
    /// What is left.
    pub free: usize,
}

/// Where the loop lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In a service that outlives its callers.
    Service,
    /// In the process that was asked.
    InProcess,
}

/// A failure and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastError {
    /// The error's code.
    pub code: crate::error::Code,
    /// What failed and what to do.
    pub message: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl LastError {
    /// `error` as seen at `at`.
    pub fn new(error: &Error, at: DateTime<Utc>) -> Self {
        let message = format!("{} {}", error.message, error.remedy);
        Self { code: error.code, message: message.trim_end().to_owned(), at: at.trunc_subsecs(0) }
    }
}

/// The answer to a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// Whether this call started it.
    pub changed: bool,
    /// The state after it.
    #[serde(flatten)]
    pub status: Status,
}

/// The answer to a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    /// Always false.
    pub running: bool,
    /// Whether this call stopped it.
    pub changed: bool,
    /// Runners that go on until their job is done.
    pub runners_left: usize,
}

/// The workflow runs of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowQueue {
    /// The repository.
    pub repo: Repo,
    /// running + failed + pending.
    pub total_workflows: u32,
    /// Runs in progress that wait for nothing.
    pub running: u32,
    /// Runs that failed within `since_days`.
    pub failed: u32,
    /// Runs that wait.
    pub pending: u32,
    /// Queued jobs that runners here can serve.
    pub queued_jobs: usize,
    /// Since when the oldest of them waits.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Queued jobs that no runner here can serve.
    pub unmatched: Vec<Unmatched>,
}

impl WorkflowQueue {
    /// Whether a job waits for a self-hosted runner, servable or not.
    pub fn waits(&self) -> bool {
        self.queued_jobs > 0 || !self.unmatched.is_empty()
    }
}

/// Jobs that ask for labels nobody here has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unmatched {
    /// What they ask for.
    pub labels: Labels,
    /// How many they are.
    pub jobs: usize,
    /// What is missing.
    pub reason: String,
}

/// A runner container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerContainer {
    /// The engine's id, its first twelve digits.
    pub container_id: String,
    /// The repository that it is for, or the organisation.
    pub repo: String,
    /// The engine's word: created, running, exited.
    pub status: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Its name, in Docker and on GitHub.
    pub runner_name: String,
    /// What it can serve.
    pub labels: Labels,
    /// What it is doing.
    pub phase: Phase,
    /// The job it works on.
    pub job: Option<JobRef>,
}

/// A runner that was launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProvisionedRunner {
    /// The repository that it is for, or the organisation.
    pub repo: String,
    /// The engine's id, its first twelve digits.
    pub container_id: String,
    /// Its name, in Docker and on GitHub.
    pub runner_name: String,
    /// What it can serve.
    pub labels: Labels,
    /// What it is doing: `starting`.
    pub status: Phase,
    /// Why it was launched.
    pub origin: Origin,
}

/// The answer to a request to stop a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoppedContainer {
    /// The engine's id, its first twelve digits.
    pub container_id: String,
    /// The repository that it was for, or the organisation.
    pub repo: String,
    /// Whether it is stopped now.
    pub stopped: bool,
    /// What it was doing.
    pub was: Phase,
    /// Whether this call stopped it.
    pub changed: bool,
}

/// The first twelve digits of a container's id, as Docker itself shows it.
pub fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A part of a list, and how to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins; none when this was the last.
    pub next_cursor: Option<String>,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paging {
    /// At most this many.
    pub limit: Option<usize>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// At most this many bytes of JSON, but one entry at least.
    pub bytes: Option<usize>,
}

impl Paging {
    /// Refuses a cursor that is no key: the list would seem to end.
    pub(crate) fn check(&self, is_key: impl Fn(&str) -> bool) -> Result<()> {
        if self.cursor.as_deref().is_none_or(is_key) {
            return Ok(());
        }
        let remedy = "Give the next_cursor of the page before, or none.";
        Err(Error::invalid("cursor", "it is none that a page ended with", remedy))
    }

    /// Cuts `items`, sorted by `key`, to the page. A cursor is the key of the last entry shown, so
    /// that it holds when entries come and go.
    pub fn cut<T: Serialize>(
        &self,
        items: Vec<T>,
        default: usize,
        key: impl Fn(&T) -> String,
    ) -> Page<T> {
        let after = |item: &T| self.cursor.as_ref().is_none_or(|cursor| key(item) > *cursor);
        let mut rest: Vec<T> = items.into_iter().filter(after).collect();
        let limit = self.limit.unwrap_or(default).max(1);
        let limit = self.bytes.map_or(limit, |bytes| limit.min(fitting(&rest, bytes).max(1)));
        let more = rest.len() > limit;
        rest.truncate(limit);
        let next_cursor = rest.last().filter(|_| more).map(key);
        Page { items: rest, next_cursor }
    }
}

/// How many of `items` are at most `bytes` long as JSON.
pub fn fitting<T: Serialize>(items: &[T], bytes: usize) -> usize {
    let size = |item: &T| serde_json::to_vec(item).map_or(bytes, |json| json.len() + 1);
    let sums = items.iter().scan(0, |sum, item| {
        *sum += size(item);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= bytes).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap_even_when_an_entry_goes() {
        let page = |limit, cursor: Option<&str>, items: &[&str]| {
            let paging =
                Paging { limit: Some(limit), cursor: cursor.map(str::to_owned), bytes: None };
            paging.cut(items.iter().map(ToString::to_string).collect(), 9, Clone::clone)
        };
        let first = page(2, None, &["a", "b", "c", "d"]);
        assert_eq!((first.items.len(), first.next_cursor.as_deref()), (2, Some("b")));
        let second = page(2, Some("b"), &["a", "c", "d"]);
        assert_eq!((second.items, second.next_cursor), (vec!["c".to_owned(), "d".into()], None));
    }
}
