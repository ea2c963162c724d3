//! What the screen and the summary show, computed from the loop's state and the simulated GitHub.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::lifecycle::subject;
use crate::model::{Phase, is_hosted};
use crate::plan::Held;
use crate::simulator::{Job, JobStatus, Simulator};
use crate::snapshot::{Event, EventKind, Snapshot};

/// One moment of the demo.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) engine: String,
    pub(super) github: String,
    pub(super) dashboard: String,
    pub(super) elapsed: Duration,
    pub(super) used: usize,
    pub(super) max: usize,
    /// The most runners that were there at once.
    pub(super) most: usize,
    pub(super) tally: Tally,
    pub(super) requests: u64,
    pub(super) free: u64,
    pub(super) queues: Vec<Queue>,
    pub(super) runners: Vec<Line>,
    pub(super) actions: Vec<Action>,
}

/// The jobs by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) waiting: usize,
    pub(super) oldest: Option<Duration>,
    pub(super) running: usize,
    pub(super) served: usize,
    pub(super) failed: usize,
    /// Waiting for labels that nobody here has.
    pub(super) stuck: usize,
    /// From queued to started, of all that have started.
    pub(super) waits: Vec<Duration>,
}

/// Jobs of one repository that wait for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) repo: String,
    pub(super) jobs: usize,
    pub(super) oldest: Duration,
    pub(super) why: String,
}

/// A runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) repo: String,
    pub(super) phase: &'static str,
    pub(super) job: String,
    pub(super) age: Duration,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) at: DateTime<Utc>,
    pub(super) failed: bool,
    pub(super) text: String,
}

impl Tally {
    /// Counts `jobs`, GitHub's own left out.
    pub(super) fn of(jobs: &[Job], now: DateTime<Utc>) -> Self {
        let mut tally = Self::default();
        for job in jobs.iter().filter(|job| !job.is_hosted()) {
            let stuck = job.labels.iter().any(|label| label == "gpu");
            match job.status {
                JobStatus::Queued if stuck => tally.stuck += 1,
                JobStatus::Queued => {
                    tally.waiting += 1;
                    tally.oldest = tally.oldest.max(Some(span(now - job.queued_at)));
                }
                JobStatus::InProgress => tally.running += 1,
                JobStatus::Completed => {
                    let succeeded = job.conclusion.is_some_and(|end| end.as_str() == "success");
                    *(if succeeded { &mut tally.served } else { &mut tally.failed }) += 1;
                }
                _ => {}
            }
            tally.waits.extend(job.started_at.map(|started| span(started - job.queued_at)));
        }
        tally.waits.sort();
        tally
    }

    /// The wait that this part of the jobs did not exceed: 0.5 is the median.
    pub(super) fn quantile(&self, part: f64) -> Option<Duration> {
        let last = self.waits.len().checked_sub(1)?;
        self.waits.get((last as f64 * part).round() as usize).copied()
    }
}

impl View {
    /// Fills in what changes.
    pub(super) fn refresh(&mut self, snapshot: &Snapshot, github: &Simulator, now: DateTime<Utc>) {
        self.used = snapshot.used;
        self.tally = Tally::of(&github.jobs(), now);
        let counters = github.counters();
        (self.requests, self.free) = (counters.total, counters.total - counters.charged);
        self.queues = queues(snapshot, now);
        self.runners = snapshot
            .runners
            .iter()
            .filter(|runner| runner.phase != Phase::Exited)
            .map(|runner| Line {
                // The rest of the name is the same for all.
                name: runner.container.name.rsplit('-').next().unwrap_or_default().to_owned(),
                repo: subject(&runner.container),
                phase: runner.phase.as_str(),
                job: runner.job.as_ref().map(|job| job.job.name.clone()).unwrap_or_default(),
                age: span(now - runner.container.created_at),
            })
            .collect();
        self.actions = snapshot.events.iter().rev().map(action).collect();
    }
}

fn action(event: &Event) -> Action {
    let failed = event.kind == EventKind::Failure;
    Action { at: event.at, failed, text: format!("{}: {}", event.subject, event.message) }
}

fn queues(snapshot: &Snapshot, now: DateTime<Utc>) -> Vec<Queue> {
    let mut queues: Vec<Queue> = Vec::new();
    let jobs = snapshot.demand.iter().flat_map(|demand| demand.jobs());
    for job in jobs.filter(|job| !is_hosted(&job.labels)) {
        let why = match snapshot.held.get(&job.id) {
            Some(Held::Covered { .. }) => "a runner is about to take it".to_owned(),
            Some(why) => why.to_string(),
            None => "its runner is being launched".to_owned(),
        };
        let (repo, oldest) = (job.repo.to_string(), span(now - job.queued_at));
        match queues.iter_mut().find(|queue| queue.repo == repo && queue.why == why) {
            Some(queue) => {
                queue.jobs += 1;
                queue.oldest = queue.oldest.max(oldest);
            }
            None => queues.push(Queue { repo, jobs: 1, oldest, why }),
        }
    }
    queues.sort_by_key(|queue| std::cmp::Reverse(queue.oldest));
    queues
}

fn span(span: TimeDelta) -> Duration {
    span.to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_waits_are_waits_that_were_seen() {
        let waits = [1, 2, 3, 4, 100].map(Duration::from_secs).to_vec();
        let tally = Tally { waits, ..Tally::default() };
        assert_eq!(tally.quantile(0.5), Some(Duration::from_secs(3)));
        assert_eq!(tally.quantile(0.95), Some(Duration::from_secs(100)));
        assert_eq!(Tally::default().quantile(0.5), None);
    }
}
