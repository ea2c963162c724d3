//! Which runner a job may count on.

use chrono::{DateTime, Utc};

use crate::model::{Counted, Job, Labels, Repo, Scope};

/// A runner that a queued job may count on.
pub(super) struct Supply<'a> {
    pub(super) name: &'a str,
    pub(super) scope: &'a Scope,
    pub(super) labels: &'a Labels,
    pub(super) ready: Ready,
}

/// How far a runner is. The first serves a job first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ready {
    /// It took a job then, and it is not known which.
    Spent(DateTime<Utc>),
    Idle,
    Starting,
}

/// A job that needs a runner: a queued one, or one of a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need<'a> {
    pub(super) job: Option<u64>,
    pub(super) repo: Option<&'a Repo>,
    pub(super) scope: &'a Scope,
    pub(super) labels: &'a Labels,
    pub(super) queued_at: DateTime<Utc>,
    pub(super) seen_at: DateTime<Utc>,
    pub(super) beside_sets: bool,
}

impl<'a> Need<'a> {
    pub(super) fn of(job: &'a Job) -> Self {
        let Job { id, repo, scope, labels, queued_at, seen_at, beside_sets, .. } = job;
        let (queued_at, seen_at, beside_sets) = (*queued_at, *seen_at, *beside_sets);
        Self { job: Some(*id), repo: Some(repo), scope, labels, queued_at, seen_at, beside_sets }
    }

    pub(super) fn of_number(counted: &'a Counted) -> impl Iterator<Item = Self> + use<'a> {
        let Counted { scope, labels, jobs, seen_at, .. } = counted;
        let repo = match scope {
            Scope::Repo(repo) => Some(repo),
            Scope::Org(_) => None,
        };
        let (queued_at, seen_at, beside_sets) = (*seen_at, *seen_at, false);
        let need = Self { job: None, repo, scope, labels, queued_at, seen_at, beside_sets };
        std::iter::repeat_n(need, *jobs)
    }
}

/// Takes from `supply` the runner that fits `need`: one that may have it already, or the one that
/// fits most tightly, an idle one before a starting one.
pub(super) fn take<'a>(supply: &mut Vec<Supply<'a>>, need: Need<'_>) -> Option<&'a str> {
    let in_time = |s: &Supply<'_>| match s.ready {
        Ready::Spent(at) => need.seen_at <= at,
        Ready::Idle | Ready::Starting => true,
    };
    let fitting = supply.iter().enumerate();
    let fitting = fitting.filter(|(_, s)| in_time(s) && fits(need, s.scope, s.labels));
    let order = |s: &Supply<'a>| {
        let is_there = !matches!(s.ready, Ready::Spent(_));
        (is_there, s.labels.len(), s.ready, s.name)
    };
    let (index, _) = fitting.min_by_key(|(_, s)| order(s))?;
    Some(supply.swap_remove(index).name)
}

/// Whether GitHub may give what is needed to a runner registered in `scope` with `labels`. A scale
/// set gives what it was assigned to any of its runners.
pub(super) fn fits(need: Need<'_>, scope: &Scope, labels: &Labels) -> bool {
    let is_able = || !need.labels.is_empty() && need.labels.is_subset(labels);
    need.scope == scope && (need.job.is_none() || is_able())
}
