//! What messages do to a set's level of work. No IO.
//!
//! The statistics say how many jobs there are, the messages which: a message has 50 at most. Known
//! to be wrong at times are statistics that say nothing while jobs are assigned
//! (actions-runner-controller#3420, #3204); so a job that a message names counts until the service
//! itself, asked once more, does not know it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::wire::{Event, Message, Statistics};
use crate::demand::Assigned;
use crate::model::{Ending, Job, Labels, Repo, RunningJob, Scope, clean_text};

/// The service numbers requests, not jobs. Added to it, a number is not taken for GitHub's id of another
/// job, which are far below, and is exact in JavaScript.
const OWN_IDS: u64 = 1 << 52;
/// Messages that are remembered, so that one that is told again changes nothing.
const REMEMBERED: usize = 256;
/// Characters of a job's name, as everywhere.
const NAME: usize = 100;

/// A set's work, as far as it was told.
#[derive(Debug, Clone)]
pub(super) struct Level {
    scope: Scope,
    server_url: String,
    labels: Labels,
    statistics: Statistics,
    /// By request.
    jobs: BTreeMap<u64, Tracked>,
    applied: BTreeSet<u64>,
    /// Numbers assignments, so that the latest are known.
    next: u64,
    /// Assignments from here on were told by the last message.
    latest: u64,
}

#[derive(Debug, Clone)]
struct Tracked {
    order: u64,
    job: Job,
    running: Option<Running>,
}

#[derive(Debug, Clone)]
struct Running {
    runner: String,
    since: Option<DateTime<Utc>>,
}

/// What is to be done about a message, beyond telling the level.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// Jobs that can be acquired.
    pub(super) offered: Vec<u64>,
    /// Jobs that have ended.
    pub(super) ended: Vec<Ending>,
    /// Its jobs and its numbers contradict each other.
    pub(super) doubtful: bool,
}

impl Level {
    pub(super) fn new(scope: Scope, server_url: &str, labels: Labels) -> Self {
        Self {
            scope,
            server_url: server_url.to_owned(),
            labels,
            statistics: Statistics::default(),
            jobs: BTreeMap::new(),
            applied: BTreeSet::new(),
            next: 0,
            latest: 0,
        }
    }

    /// Takes in a message; one that was taken in before changes nothing.
    pub(super) fn apply(&mut self, message: &Message, now: DateTime<Utc>) -> Applied {
        let mut applied = Applied::default();
        if self.applied.insert(message.id) {
            if self.applied.len() > REMEMBERED {
                self.applied.pop_first();
            }
            self.latest = self.next;
            for event in &message.events {
                self.happened(event, &mut applied, now);
            }
            self.statistics = message.statistics.unwrap_or(self.statistics);
        }
        applied.doubtful = self.waiting() > self.statistics.waiting();
        applied
    }

    fn happened(&mut self, event: &Event, applied: &mut Applied, now: DateTime<Utc>) {
        let request = event.runner_request_id;
        match event.message_type.as_str() {
            "JobAvailable" => applied.offered.push(request),
            "JobAssigned" => {
                if let Some(tracked) = self.track(event, now).filter(|one| one.running.is_none()) {
                    self.jobs.insert(request, tracked);
                }
            }
            "JobStarted" => {
                if let Some(tracked) = self.track(event, now) {
                    let runner = clean_text(&event.runner_name, NAME);
                    let running = Some(Running { runner, since: event.runner_assign_time });
                    self.jobs.insert(request, Tracked { running, ..tracked });
                }
            }
            // Cancelled ones may be assigned again later, and are then told of anew.
            "JobCompleted" => {
                self.jobs.remove(&request);
                let runner = clean_text(&event.runner_name, NAME);
                applied.ended.extend(Ending::told(&runner, Some(&event.result)));
            }
            other => tracing::debug!(kind = other, "an unknown event of a job was left alone"),
        }
    }

    /// The job of an event as it is tracked, or as it will be.
    fn track(&mut self, event: &Event, now: DateTime<Utc>) -> Option<Tracked> {
        if let Some(tracked) = self.jobs.get(&event.runner_request_id) {
            return Some(tracked.clone());
        }
        let repo = format!("{}/{}", event.owner_name, event.repository_name);
        // Without its repository it is one of those that are known by number only.
        let repo: Repo = repo.parse().ok()?;
        self.next += 1;
        let run = event.workflow_run_id;
        let job = Job {
            id: OWN_IDS | (event.runner_request_id % OWN_IDS),
            run_id: run,
            scope: self.scope.clone(),
            name: clean_text(&event.job_display_name, NAME),
            url: format!("{}/{repo}/actions/runs/{run}", self.server_url),
            labels: Labels::of_strangers(&event.request_labels),
            queued_at: event.queue_time.unwrap_or(now),
            seen_at: now,
            beside_sets: false,
            repo,
        };
        Some(Tracked { order: self.next, job, running: None })
    }

    /// Takes in what the service says when it is asked for the set itself. Jobs that it does not
    /// know are forgotten; those of the last message not yet where `just_told`.
    pub(super) fn confirm(&mut self, statistics: Statistics, just_told: bool, now: DateTime<Utc>) {
        self.statistics = statistics;
        let kept = if just_told { self.latest } else { u64::MAX };
        self.forget(statistics.waiting(), kept, |tracked| tracked.running.is_none());
        self.forget(statistics.total_running_jobs, kept, |tracked| tracked.running.is_some());
        self.jobs.values_mut().for_each(|tracked| tracked.job.seen_at = now);
    }

    /// Forgets the oldest of those that are `such`, beyond `most` and not later than `kept`.
    fn forget(&mut self, most: u32, kept: u64, such: impl Fn(&Tracked) -> bool) {
        let mut all: Vec<_> = self.jobs.iter().filter(|(_, tracked)| such(tracked)).collect();
        all.sort_by_key(|(_, tracked)| tracked.order);
        let beyond = all.len().saturating_sub(most as usize);
        let old = all.into_iter().take(beyond).filter(|(_, tracked)| tracked.order <= kept);
        let old: Vec<u64> = old.map(|(request, _)| *request).collect();
        for request in old {
            self.jobs.remove(&request);
        }
    }

    /// The level as it is now, where there is room for so many jobs.
    pub(super) fn assigned(&self, room: usize, now: DateTime<Utc>) -> Assigned {
        let waiting = self.jobs.values().filter(|tracked| tracked.running.is_none());
        let queued: Vec<_> = waiting.map(|tracked| tracked.job.clone()).collect();
        let in_progress = self.jobs.values().filter_map(|tracked| {
            let Running { runner, since } = tracked.running.clone()?;
            let running =
                RunningJob { job: tracked.job.named(), runner_name: runner, started_at: since };
            Some((tracked.job.repo.clone(), running))
        });
        Assigned {
            labels: self.labels.clone(),
            more: self.statistics.waiting().saturating_sub(self.waiting()) as usize,
            in_progress: in_progress.collect(),
            queued,
            is_full: self.jobs() >= room,
            at: now,
        }
    }

    /// Whether there may be jobs that can be acquired.
    pub(super) fn has_offers(&self) -> bool {
        self.statistics.total_available_jobs > 0
    }

    /// How many jobs the set has, those that run included.
    pub(super) fn jobs(&self) -> usize {
        let waiting = self.statistics.waiting().max(self.waiting());
        self.statistics.total_running_jobs.saturating_add(waiting) as usize
    }

    fn waiting(&self) -> u32 {
        let waiting = self.jobs.values().filter(|tracked| tracked.running.is_none()).count();
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
