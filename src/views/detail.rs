//! What is told of one thing: a repository's queue job by job, a container with all that is known.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RunnerContainer, WorkflowQueue};
use crate::model::{Inspection, JobRef, Labels, Origin, Usage};

/// The queue of one repository, job by job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueDetail {
    /// The queue as lists show it.
    pub queue: WorkflowQueue,
    /// When this was seen.
    pub seen_at: Option<DateTime<Utc>>,
    /// The jobs that wait for a self-hosted runner, the oldest first.
    pub waiting: Vec<WaitingJob>,
    /// Waiting jobs that are left out of `waiting` because there are too many.
    pub more: usize,
    /// The jobs at work that name their runner.
    pub running: Vec<WorkingJob>,
}

/// A job that waits, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingJob {
    /// Which job; its name is a stranger's text.
    pub job: JobRef,
    /// What it asks for.
    pub labels: Labels,
    /// Since when it waits.
    pub queued_at: DateTime<Utc>,
    /// Why it has no runner yet.
    pub reason: String,
}

/// A job at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkingJob {
    /// Which job; its name is a stranger's text.
    pub job: JobRef,
    /// The runner that has it, of ours or not.
    pub runner_name: String,
    /// Since when it runs.
    pub started_at: Option<DateTime<Utc>>,
}

/// All that is known of one runner container, alive or remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerDetail {
    /// The container as lists show it.
    pub container: RunnerContainer,
    /// Why it was launched; none for one that is only remembered.
    pub origin: Option<Origin>,
    /// Since when it is in its phase.
    pub since: DateTime<Utc>,
    /// What the engine says; none for one that is only remembered.
    pub inspection: Option<Inspection>,
    /// What it uses now; none when it has ended, or could not be measured.
    pub usage: Option<Usage>,
    /// How it ended, when it has.
    pub end: Option<End>,
}

/// What one of the live containers uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerUsage {
    /// The engine's id, its first twelve digits.
    pub container_id: String,
    /// Of one processor: 100 is a whole one.
    pub cpu_percent: f64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// The end of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// When it was cleaned up; none while that is to come.
    pub at: Option<DateTime<Utc>>,
    /// Why it was removed.
    pub why: Option<String>,
    /// The exit code of its process, when it had one.
    pub exit_code: Option<i64>,
}

/// The oldest job that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongestWait {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, in words of our own.
    pub reason: String,
}
