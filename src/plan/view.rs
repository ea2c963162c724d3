//! What a decision depends on, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Ask, Turns, is_live, name_of};
use crate::model::{Demand, Labels, Registered, Repo, Runner, Scope};
use crate::ports::NewRunner;
use crate::supply::{Spent, Unclaimed};

/// The bounds and habits that the configuration sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bound on runners, whatever they are doing.
    pub max_runners: usize,
    /// Bound on the runners of one repository.
    pub max_per_repo: Option<usize>,
    /// Runners kept ready in each scope of `warm`.
    pub min_idle: usize,
    /// Where runners are kept ready.
    pub warm: Vec<Scope>,
    /// After this long idle, a runner goes that was asked for by hand or is warm beyond need.
    pub idle_timeout: TimeDelta,
    /// After this long on one job a runner is removed.
    pub job_timeout: Option<TimeDelta>,
    /// What a runner can serve.
    pub labels: Labels,
    /// Whether a job that names another architecture is left alone.
    pub filter_by_arch: bool,
}

/// Everything that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The time of the decision.
    pub now: DateTime<Utc>,
    /// The bounds.
    pub limits: &'a Limits,
    /// The demand; `None` when it could not be seen.
    pub demand: Option<&'a Demand>,
    /// The runners that have a container.
    pub runners: &'a [Runner],
    /// GitHub's runners, by scope, where they could be listed.
    pub registered: &'a BTreeMap<Scope, Vec<Registered>>,
    /// Those of ours that are offline and have no container, by GitHub's id.
    pub unclaimed: &'a BTreeMap<(Scope, u64), Unclaimed>,
    /// Launches that were accepted and may not show in `runners` yet.
    pub launching: &'a [NewRunner],
    /// Runners that are no more, and may have taken a job.
    pub spent: &'a [Spent],
    /// Names of runners whose removal is under way, and may still show in `runners`.
    pub removing: &'a BTreeSet<String>,
    /// Repositories whose launches failed, and until when they are left alone.
    pub backoff: &'a BTreeMap<Repo, DateTime<Utc>>,
    /// Whose turn it was.
    pub turns: &'a Turns,
    /// Why nothing can be launched at all just now.
    pub paused: Option<&'a str>,
    /// Runners that somebody asked for by hand.
    pub asked: &'a [Ask],
}

impl<'a> View<'a> {
    /// Launches that have no container in `runners` yet.
    pub(super) fn unborn(&self) -> impl Iterator<Item = &'a NewRunner> + use<'a> {
        unborn(self.runners, self.launching)
    }

    /// What counts against `max_runners`.
    pub fn used(&self) -> usize {
        used(self.runners, self.launching)
    }
}

/// Runners that exist or are about to: what counts against `max_runners`.
pub fn used<'a>(
    runners: &'a [Runner],
    launching: impl IntoIterator<Item = &'a NewRunner>,
) -> usize {
    counted(runners, launching).count()
}

/// Where these are registered, each of them.
pub fn counted<'a>(
    runners: &'a [Runner],
    launching: impl IntoIterator<Item = &'a NewRunner>,
) -> impl Iterator<Item = &'a Scope> {
    let born = runners.iter().filter(is_live).map(|runner| &runner.container.scope);
    born.chain(unborn(runners, launching).map(|runner| &runner.scope))
}

fn unborn<'a>(
    runners: &'a [Runner],
    launching: impl IntoIterator<Item = &'a NewRunner>,
) -> impl Iterator<Item = &'a NewRunner> {
    let launching: Vec<&NewRunner> = launching.into_iter().collect();
    // Mostly there are few, among many runners.
    let mut unborn: BTreeSet<&str> = launching.iter().map(|one| one.name.as_str()).collect();
    for runner in runners.iter().take_while(|_| !launching.is_empty()) {
        unborn.remove(name_of(runner));
    }
    launching.into_iter().filter(move |one| unborn.contains(one.name.as_str()))
}
