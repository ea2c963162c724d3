//! What the loop publishes after every change: the state that status, lists and screens show.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Demand, Labels, Runner, served_by};
use crate::plan::Held;
use crate::views::LastError;

/// How many events are remembered: an afternoon of ordinary work.
const MOST_EVENTS: usize = 200;

/// The state after the last change. What may be large is shared, not copied, with whoever reads it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Whether the loop runs.
    pub running: bool,
    /// Since when.
    pub started_at: Option<DateTime<Utc>>,
    /// Looks at the demand since then.
    pub iterations: u64,
    /// Runners launched since then.
    pub provisioned: u64,
    /// When the runners were last seen.
    pub seen_at: Option<DateTime<Utc>>,
    /// When the demand was last seen.
    pub last_check: Option<DateTime<Utc>>,
    /// The last failure, while it lasts.
    pub last_error: Option<LastError>,
    /// What was seen then; none before the first look.
    pub demand: Option<Arc<Demand>>,
    /// What of it can be served here.
    pub queued: Queued,
    /// The runners that have a container.
    pub runners: Arc<Vec<Runner>>,
    /// Runners that exist or are being launched.
    pub used: usize,
    /// Why each queued job that has no runner yet waits, by its id.
    pub held: Arc<BTreeMap<u64, Held>>,
    /// What the engine's host has to say.
    pub warnings: Vec<String>,
    /// What was done lately, the latest last.
    pub events: VecDeque<Event>,
}

/// How much waits that runners here can serve: counted once, however often it is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued {
    /// Jobs.
    pub jobs: usize,
    /// Workflow runs with at least one of them.
    pub workflows: usize,
    /// The job that waits longest, and since when.
    pub oldest: Option<(u64, DateTime<Utc>)>,
}

impl Queued {
    /// What of `demand` runners with `labels` can serve.
    pub fn of(demand: &Demand, labels: &Labels, filter_by_arch: bool) -> Self {
        let mut runs = HashSet::new();
        let mut queued = Self::default();
        let servable = |labels_of: &Labels| served_by(labels_of, labels, filter_by_arch).is_ok();
        for job in demand.jobs().filter(|job| servable(&job.labels)) {
            runs.insert(job.run_id);
            queued.jobs += 1;
            if queued.oldest.is_none_or(|(_, since)| job.queued_at < since) {
                queued.oldest = Some((job.id, job.queued_at));
            }
        }
        Self { workflows: runs.len(), ..queued }
    }
}

/// Something that was done, or that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// What kind of thing.
    pub kind: EventKind,
    /// The repository, organisation or runner that it is about.
    pub subject: String,
    /// One sentence.
    pub message: String,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The loop began or ended.
    Loop,
    /// The image is being made ready.
    Image,
    /// A runner is being launched, or was.
    Launch,
    /// A runner, or its registration, was removed.
    Remove,
    /// Something failed.
    Failure,
}

impl Snapshot {
    /// Remembers `event`, forgetting the oldest.
    pub fn push(&mut self, event: Event) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
