//! What the loop tells of what it does: a line in the log for each decision and each outcome, always
//! with the same fields, and an event for those who watch.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reconciler;
use crate::metrics::Failing;
use crate::model::Repo;
use crate::plan::Held;
use crate::snapshot::{Event, EventKind};

/// What a line is about.
#[derive(Debug, Default)]
pub(super) struct About<'a> {
    /// The runner's name.
    pub(super) runner: Option<&'a str>,
    /// GitHub's id of the job.
    pub(super) job: Option<u64>,
    /// Why it was decided, or why it failed.
    pub(super) reason: Option<String>,
    /// How long it took.
    pub(super) took: Option<Duration>,
}

impl<'a> About<'a> {
    /// About the runner `name`.
    pub(super) fn runner(name: &'a str) -> Self {
        Self { runner: Some(name), ..Self::default() }
    }

    pub(super) fn because(self, reason: impl ToString) -> Self {
        Self { reason: Some(reason.to_string()), ..self }
    }

    pub(super) fn after(self, took: Option<Duration>) -> Self {
        Self { took, ..self }
    }
}

impl Reconciler {
    /// Tells the log that `what` was decided or has come about. `subject` is a repository or an
    /// organisation, or what is about neither.
    pub(super) fn log(
        kind: EventKind,
        what: &str,
        subject: &str,
        message: &str,
        about: &About<'_>,
    ) {
        let About { runner, job, reason, took } = about;
        let reason = reason.as_deref();
        let duration_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        // The names are documented in the README and belong together: `event` marks such a line.
        match kind {
            EventKind::Failure => {
                tracing::warn!(
                    event = what,
                    subject,
                    runner,
                    job,
                    reason,
                    duration_ms,
                    "{message}"
                );
            }
            _ => {
                tracing::info!(
                    event = what,
                    subject,
                    runner,
                    job,
                    reason,
                    duration_ms,
                    "{message}"
                );
            }
        }
    }

    /// Tells the log and those who watch.
    pub(super) fn tell(
        &self,
        kind: EventKind,
        what: &str,
        subject: &str,
        message: String,
        about: &About<'_>,
    ) {
        Self::log(kind, what, subject, &message, about);
        let event = Event { at: (self.parts.clock)(), kind, subject: subject.to_owned(), message };
        self.published.send_modify(|snapshot| snapshot.push(event));
    }

    /// Tells of a failure, and counts it.
    pub(super) fn tell_failure(
        &self,
        what: Failing,
        subject: &str,
        message: String,
        about: &About<'_>,
    ) {
        self.parts.metrics.failed(what);
        let name = match what {
            Failing::Look => "look_failed",
            Failing::Launch => "launch_failed",
            Failing::Remove => "remove_failed",
        };
        self.tell(EventKind::Failure, name, subject, message, about);
    }

    /// These jobs wait, by the last decision: told of each once, and again when the reason is
    /// another. One that a runner is about to take needs no telling.
    pub(super) fn hold(&mut self, held: BTreeMap<u64, Held>) {
        let is_new = |(job, why): &(&u64, &Held)| {
            let before = self.held.get(job).map(std::mem::discriminant);
            !matches!(why, Held::Covered { .. }) && before != Some(std::mem::discriminant(*why))
        };
        let new: Vec<_> = held.iter().filter(is_new).collect();
        // Thousands may wait, and mostly none of them is new.
        let jobs = self.demand.iter().filter(|_| !new.is_empty()).flat_map(|demand| demand.jobs());
        let homes: BTreeMap<u64, &Repo> = jobs.map(|job| (job.id, &job.repo)).collect();
        for (job, why) in new {
            let about = About { job: Some(*job), ..About::default() }.because(why);
            let message = format!("job {job} waits: {why}");
            let subject = homes.get(job).map(ToString::to_string).unwrap_or_default();
            Self::log(EventKind::Loop, "hold", &subject, &message, &about);
        }
        self.held = held;
    }
}
