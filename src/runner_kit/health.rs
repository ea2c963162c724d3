//! Whether the loop lives, whether it sees what it needs, and how much there is to do: told from
//! memory alone, whatever GitHub and the engine do.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::RunnerKit;
use crate::error::Result;
use crate::metrics::Reading;
use crate::model::Phase;
use crate::reconciler::Command;
use crate::snapshot::Snapshot;

/// What looks and passes may take beyond their interval: a pass over many repositories, a retry.
const LATE: Duration = Duration::from_secs(120);

/// Why nothing can be served just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    /// Nobody has started the autoscaler, or it was stopped.
    Off,
    /// It has just begun.
    FirstLook,
    /// The engine was not seen for longer than it should be.
    Engine,
    /// GitHub was not seen for longer than it should be.
    Github,
    /// The loop no longer goes round.
    Stuck,
}

impl Unready {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "not_running",
            Self::FirstLook => "first_look",
            Self::Engine => "engine_not_seen",
            Self::Github => "github_not_seen",
            Self::Stuck => "loop_stuck",
        }
    }

    /// One sentence. It tells nothing that only some may know, for it is told to everybody.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Off => "The autoscaler is not running.",
            Self::FirstLook => "The first look at the runners and the queue is not over.",
            Self::Engine => "The container engine was not seen for too long.",
            Self::Github => "GitHub was not seen for too long.",
            Self::Stuck => "The loop does not answer.",
        }
    }
}

/// How many there are of what the loop last saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Queued jobs that runners here can serve.
    pub queued: usize,
    /// Jobs that runners of ours have.
    pub running: usize,
    /// Runners that are launched and not yet listening.
    pub starting: usize,
    /// Runners that listen for a job.
    pub idle: usize,
    /// Runners at work.
    pub busy: usize,
    /// Runners whose process has ended and that are not removed yet.
    pub exited: usize,
    /// Runners that GitHub lists.
    pub registered: usize,
}

impl RunnerKit {
    /// Whether the loop still goes round: resolves when it answers, which it does between any two
    /// things that it does.
    pub async fn pulse(&self) -> Result<()> {
        let remembered = self.ask(Command::Pulse).await?;
        tracing::debug!(?remembered, "the loop goes round");
        Ok(())
    }

    /// Why nothing can be served just now; nothing when all is well.
    pub fn unready(&self) -> Vec<Unready> {
        let patience = 2 * self.config.poll_interval + LATE;
        unready(&self.published.borrow(), patience, (self.parts.clock)())
    }

    /// How many there are of what the loop last saw.
    pub fn census(&self) -> Census {
        let snapshot = self.published.borrow();
        let phase = |phase| snapshot.runners.iter().filter(|one| one.phase == phase).count();
        let registered = |one: &&crate::model::Runner| one.registered.is_some();
        Census {
            queued: snapshot.queued.jobs,
            running: phase(Phase::Busy),
            starting: phase(Phase::Starting),
            idle: phase(Phase::Idle),
            busy: phase(Phase::Busy),
            exited: phase(Phase::Exited),
            registered: snapshot.runners.iter().filter(registered).count(),
        }
    }

    /// How long steps took, and what became of jobs, since this process began.
    pub fn measured(&self) -> Reading {
        self.parts.metrics.read()
    }
}

fn unready(snapshot: &Snapshot, patience: Duration, now: DateTime<Utc>) -> Vec<Unready> {
    let Some(began) = snapshot.started_at.filter(|_| snapshot.running) else {
        return vec![Unready::Off];
    };
    let patience = TimeDelta::from_std(patience).unwrap_or(TimeDelta::MAX);
    let is_old = |seen: Option<DateTime<Utc>>| now - seen.unwrap_or(began) > patience;
    let mut why = Vec::new();
    if is_old(snapshot.seen_at) {
        why.push(Unready::Engine);
    }
    if is_old(snapshot.last_check) {
        why.push(Unready::Github);
    }
    if why.is_empty() && (snapshot.seen_at.is_none() || snapshot.last_check.is_none()) {
        why.push(Unready::FirstLook);
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(100);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn seen(engine: Option<i64>, github: Option<i64>, now: i64) -> Vec<Unready> {
        let snapshot = Snapshot {
            running: true,
            started_at: Some(at(0)),
            seen_at: engine.map(at),
            last_check: github.map(at),
            ..Snapshot::default()
        };
        unready(&snapshot, PATIENCE, at(now))
    }

    #[test]
    fn it_is_ready_from_the_first_look_at_both_sides_on() {
        assert_eq!(unready(&Snapshot::default(), PATIENCE, at(1)), [Unready::Off]);
        assert_eq!(seen(None, None, 1), [Unready::FirstLook]);
        assert_eq!(seen(Some(1), None, 1), [Unready::FirstLook]);
        assert_eq!(seen(Some(1), Some(2), 2), []);
    }

    #[test]
    fn what_was_not_seen_for_longer_than_it_should_is_named() {
        assert_eq!(seen(Some(1), Some(1), 101), []);
        assert_eq!(seen(Some(1), Some(50), 102), [Unready::Engine]);
        assert_eq!(seen(Some(50), Some(1), 102), [Unready::Github]);
        assert_eq!(seen(None, None, 101), [Unready::Engine, Unready::Github]);
    }
}
