//! Which runner a job may count on.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use crate::model::{Container, Counted, Demand, Job, Labels, Repo, Runner, Scope};

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

/// All runners that jobs may count on, by what decides whom they fit: thousands of jobs wait, and
/// thousands of runners may be spent.
pub(super) struct Pool<'a>(HashMap<&'a Scope, BTreeMap<&'a Labels, Shelf<'a>>>);

/// Runners that differ in nothing else, the first to serve first.
type Shelf<'a> = BTreeSet<(Ready, &'a str)>;

impl<'a> Pool<'a> {
    pub(super) fn of(supply: impl Iterator<Item = Supply<'a>>) -> Self {
        let mut pool = HashMap::<_, BTreeMap<_, Shelf<'a>>>::new();
        for Supply { name, scope, labels, ready } in supply {
            pool.entry(scope).or_default().entry(labels).or_default().insert((ready, name));
        }
        Self(pool)
    }

    /// Takes the runner that fits `need`: one that may have it already, or the one that fits most
    /// tightly, an idle one before a starting one.
    pub(super) fn take(&mut self, need: Need<'_>) -> Option<&'a str> {
        let shelves = self.0.get_mut(need.scope)?;
        let able = shelves.iter_mut().filter(|(labels, _)| is_able(need, labels));
        // One that was spent before the job was seen to wait has taken another.
        let in_time = (Ready::Spent(need.seen_at), "");
        let first = able.filter_map(|(labels, shelf)| {
            let (ready, name) = *shelf.range(in_time..).next()?;
            let is_there = !matches!(ready, Ready::Spent(_));
            Some(((is_there, labels.len(), ready, name), shelf))
        });
        let ((_, _, ready, name), shelf) = first.min_by_key(|(order, _)| *order)?;
        shelf.remove(&(ready, name));
        Some(name)
    }
}

/// Queued jobs by where a runner for them is registered, made when it is first asked for: thousands
/// wait, and hundreds of runners may be idle.
pub(super) struct Waiting<'a> {
    demand: Option<&'a Demand>,
    by_scope: OnceCell<HashMap<&'a Scope, Vec<&'a Job>>>,
}

impl<'a> Waiting<'a> {
    pub(super) fn of(demand: Option<&'a Demand>) -> Self {
        Self { demand, by_scope: OnceCell::new() }
    }

    /// Whether a job that `runner` could serve waits since `since`.
    pub(super) fn has_one_for(&self, runner: &Runner, since: DateTime<Utc>) -> bool {
        let Container { scope, labels, .. } = &runner.container;
        let by_scope = self.by_scope.get_or_init(|| {
            let mut by_scope: HashMap<_, Vec<_>> = HashMap::new();
            for job in self.demand.into_iter().flat_map(Demand::jobs) {
                by_scope.entry(&job.scope).or_default().push(job);
            }
            by_scope
        });
        let could = |job: &&Job| job.queued_at <= since && is_able(Need::of(job), labels);
        let some_wait = |counted: &Counted| counted.since <= since && counted.scope == *scope;
        by_scope.get(scope).is_some_and(|jobs| jobs.iter().any(could))
            || self.demand.is_some_and(|demand| demand.counted.iter().any(some_wait))
    }
}

/// Whether a runner with `labels` may be given what is needed, where it is registered for it. A scale
/// set gives what it was assigned to any of its runners.
fn is_able(need: Need<'_>, labels: &Labels) -> bool {
    need.job.is_none() || !need.labels.is_empty() && need.labels.is_subset(labels)
}
