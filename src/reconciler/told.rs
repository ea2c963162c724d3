//! What the loop tells of what it does: a line in the log for each decision and each outcome, always
//! with the same fields, and an event for those who watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Reconciler;
use crate::metrics::Failing;
use crate::model::Repo;
use crate::plan::{Held, Limits};
use crate::snapshot::{Event, EventKind, Queued, Snapshot};

/// What was decided, or has come about: the member `event` of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Start,
    Stop,
    Launch,
    Launched,
    LaunchFailed,
    Hold,
    Refuse,
    Remove,
    Removed,
    RemoveFailed,
    Forget,
    Forgotten,
    ForgetFailed,
    LookFailed,
    Tidied,
}

impl Told {
    /// Its name: programs know it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Launch => "launch",
            Self::Launched => "launched",
            Self::LaunchFailed => "launch_failed",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
            Self::Remove => "remove",
            Self::Removed => "removed",
            Self::RemoveFailed => "remove_failed",
            Self::Forget => "forget",
            Self::Forgotten => "forgotten",
            Self::ForgetFailed => "forget_failed",
            Self::LookFailed => "look_failed",
            Self::Tidied => "tidied",
        }
    }

    fn kind(self) -> EventKind {
        match self {
            Self::Start | Self::Stop | Self::Hold => EventKind::Loop,
            Self::Launch | Self::Launched | Self::Refuse => EventKind::Launch,
            Self::Tidied => EventKind::Image,
            Self::Remove | Self::Removed | Self::Forget | Self::Forgotten => EventKind::Remove,
            Self::LaunchFailed | Self::RemoveFailed | Self::ForgetFailed | Self::LookFailed => {
                EventKind::Failure
            }
        }
    }
}

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
    pub(super) fn log(what: Told, subject: &str, message: &str, about: &About<'_>) {
        let (kind, what) = (what.kind(), what.as_str());
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
    pub(super) fn tell(&self, what: Told, subject: &str, message: String, about: &About<'_>) {
        Self::log(what, subject, &message, about);
        let kind = what.kind();
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
            Failing::Look => Told::LookFailed,
            Failing::Launch => Told::LaunchFailed,
            Failing::Remove => Told::RemoveFailed,
        };
        self.tell(name, subject, message, about);
    }

    /// Publishes a change of the state, and what changes with everything.
    pub(super) fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let used = self.used();
        self.published.send_modify(|snapshot| {
            change(snapshot);
            snapshot.used = used;
            snapshot.runners = self.runners.clone();
            snapshot.last_error = self.troubles.last();
        });
    }

    /// Publishes what is known, and why jobs wait.
    pub(super) fn publish_all(&self) {
        // An outage is not shown as an empty queue.
        let whole = self.demand.clone().filter(|demand| !self.blind && !demand.is_partial);
        let warnings = self.all_warnings();
        let before = self.published.borrow().demand.clone();
        // Nobody who reads has to wait while thousands of jobs are counted, or freed.
        let news = whole.map(|demand| {
            let is_same = before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &demand));
            let Limits { labels, filter_by_arch, .. } = &self.limits;
            let queued = (!is_same).then(|| Queued::of(&demand, labels, *filter_by_arch));
            (demand, queued, self.held.clone())
        });
        self.publish(|snapshot| {
            snapshot.warnings = warnings;
            if let Some((demand, queued, held)) = news {
                snapshot.demand = Some(demand);
                snapshot.queued = queued.unwrap_or(snapshot.queued);
                snapshot.held = held;
            }
        });
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
            Self::log(Told::Hold, &subject, &message, &about);
        }
        self.held = Arc::new(held);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    /// Each of them, so that a new one is not forgotten.
    fn next(told: Told) -> Option<Told> {
        Some(match told {
            Told::Start => Told::Stop,
            Told::Stop => Told::Launch,
            Told::Launch => Told::Launched,
            Told::Launched => Told::LaunchFailed,
            Told::LaunchFailed => Told::Hold,
            Told::Hold => Told::Refuse,
            Told::Refuse => Told::Remove,
            Told::Remove => Told::Removed,
            Told::Removed => Told::RemoveFailed,
            Told::RemoveFailed => Told::Forget,
            Told::Forget => Told::Forgotten,
            Told::Forgotten => Told::ForgetFailed,
            Told::ForgetFailed => Told::LookFailed,
            Told::LookFailed => Told::Tidied,
            Told::Tidied => return None,
        })
    }

    #[test]
    fn the_readme_names_every_event_of_the_log_and_no_other() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
        let readme = readme.unwrap();
        let row = readme.lines().find(|line| line.starts_with("| `event` |")).unwrap();
        let mut named: Vec<&str> = row.split('`').skip(3).step_by(2).collect();
        let mut all: Vec<&str> = std::iter::successors(Some(Told::Start), |told| next(*told))
            .map(Told::as_str)
            .collect();
        named.sort_unstable();
        all.sort_unstable();
        assert_eq!(named, all);
    }

    /// A log that can be read.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, words: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(words)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_fails_is_a_warning_and_all_else_is_information() {
        let paper = Paper::default();
        let to = paper.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone());
        tracing::subscriber::with_default(log.finish(), || {
            for told in std::iter::successors(Some(Told::Start), |told| next(*told)) {
                Reconciler::log(told, "o/r", told.as_str(), &About::runner("ipfs-1"));
            }
        });
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 15);
        for line in text.lines() {
            assert_eq!(line.contains(" WARN "), line.contains("failed"), "{line}");
            assert!(line.contains("runner=\"ipfs-1\""), "{line}");
        }
    }
}
