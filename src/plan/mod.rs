//! Every scaling decision, pure and synchronous: what to launch, what to remove, why a job waits.
//!
//! The bound holds by construction: a launch is only ever decided in `Planner::launch`, which
//! takes it from the free capacity. What was not seen is not acted upon.
//!
//! What is known of jobs and of runners was not seen at the same moment. A runner that was spent
//! after a job was last seen waiting may have taken that job, so it covers it until somebody sees the
//! job wait again: no job is launched for twice on the strength of one sighting.

mod actions;
mod cover;
mod doubt;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

pub use actions::{Action, Ask, Held, Order, Removal};
pub use doubt::doubtful;
pub use view::{Limits, View, used};

use self::cover::{Need, Ready, Supply, fits, take};

use crate::model::{
    Container, Counted, Demand, Job, Origin, Phase, Registered, Repo, Runner, Scope, is_hosted,
    served_by,
};
use crate::supply::Spent;

/// A runner that is not online by then never will be: images configure themselves in seconds.
pub const START_TIMEOUT: TimeDelta = TimeDelta::seconds(180);
/// How long a surplus runner stays idle before it goes: its job may be on the way.
pub const SURPLUS_GRACE: TimeDelta = TimeDelta::seconds(10);
/// How long GitHub may list a runner whose process has ended, before it is told to drop it.
pub const DROPPED: TimeDelta = TimeDelta::seconds(5);
/// A runner that GitHub dropped, or that lets its jobs wait, is replaced after this long.
pub const LOST_TIMEOUT: TimeDelta = TimeDelta::seconds(60);
/// How long a registration of ours stays that is offline and has no container. Just-in-time runners
/// are registered before they have one, and it may be a neighbour's: another process of this
/// instance, or a host that was cloned with its engine's id.
pub const UNCLAIMED: TimeDelta = TimeDelta::seconds(30);

/// Decides everything once. Every queued job that is ours to serve is either launched for or held.
pub fn plan(view: &View<'_>) -> Vec<Action> {
    let mut planner = Planner::new(view);
    planner.remove_the_useless();
    planner.serve_the_asked();
    planner.serve_the_jobs();
    planner.keep_warm();
    planner.retire_the_surplus();
    planner.forget_the_dead();
    planner.actions
}

struct Planner<'a> {
    view: &'a View<'a>,
    actions: Vec<Action>,
    /// Launches that may still be decided.
    free: usize,
    /// Runners, existing and decided, by repository; `None`: of no certain one.
    share: BTreeMap<Option<Repo>, usize>,
    /// Runners that are to go, and so serve nothing.
    doomed: BTreeSet<&'a str>,
    /// Runners that will take a job.
    spoken_for: BTreeSet<&'a str>,
    /// Jobs that have no runner since there are as many as are allowed.
    crowded_out: usize,
}

/// Needs of one repository that no runner covers, the oldest last.
type Queues<'a> = BTreeMap<Option<&'a Repo>, Vec<Need<'a>>>;

/// A repository's turn: by its runners, then by its oldest need.
type Turn<'a> = (usize, DateTime<Utc>, Option<u64>, Option<&'a Repo>);

impl<'a> Planner<'a> {
    fn new(view: &'a View<'a>) -> Self {
        let mut share = BTreeMap::new();
        let born = view.runners.iter().filter(is_live).map(|r| r.container.repo.as_ref());
        for repo in born.chain(view.unborn().map(|r| r.repo.as_ref())) {
            *share.entry(repo.cloned()).or_default() += 1;
        }
        Self {
            view,
            actions: Vec::new(),
            free: view.limits.max_runners.saturating_sub(view.used()),
            share,
            doomed: BTreeSet::new(),
            spoken_for: BTreeSet::new(),
            crowded_out: 0,
        }
    }

    /// Runners that are of no use to anybody, by what engine and GitHub both say.
    fn remove_the_useless(&mut self) {
        for runner in self.view.runners {
            let name = name_of(runner);
            if self.view.removing.contains(name) {
                self.doomed.insert(name);
            } else if let Some(why) = useless(runner, self.view) {
                self.doomed.insert(name);
                self.remove(name, why);
            }
        }
    }

    fn serve_the_asked(&mut self) {
        for ask in self.view.asked {
            match self.obstacle(Some(&ask.repo)) {
                // Who asks by hand has seen the failure and wants another try.
                None | Some(Held::Backoff { .. } | Held::Paused(_)) => self.launch(Order {
                    scope: ask.scope.clone(),
                    repo: Some(ask.repo.clone()),
                    labels: self.view.limits.labels.clone(),
                    origin: Origin::Manual,
                    job: None,
                    beside_sets: false,
                }),
                Some(why) => self.actions.push(Action::Refuse { ask: ask.clone(), why }),
            }
        }
    }

    /// Among repositories the one with the fewest runners first; within one, the oldest job.
    fn serve_the_jobs(&mut self) {
        let Some(demand) = self.view.demand else { return };
        let mut queues = self.uncovered(demand);
        let turns = queues.iter().filter_map(|(repo, queue)| self.turn(*repo, queue));
        let mut turns: BTreeSet<Turn<'_>> = turns.collect();
        while let Some((.., repo)) = turns.pop_first() {
            let Some(queue) = queues.get_mut(&repo) else { continue };
            let Some(need) = queue.pop() else { continue };
            match self.obstacle(need.repo) {
                Some(why) => {
                    self.crowded_out += usize::from(matches!(why, Held::AtCapacity { .. }));
                    self.hold(need, why);
                }
                None => self.launch(Order {
                    scope: need.scope.clone(),
                    repo: need.repo.cloned(),
                    labels: self.view.limits.labels.union(need.labels),
                    origin: Origin::Queue,
                    job: need.job,
                    beside_sets: need.beside_sets,
                }),
            }
            turns.extend(self.turn(repo, queue));
        }
    }

    /// Holds the jobs that can't be served or have a runner already; returns the others.
    fn uncovered(&mut self, demand: &'a Demand) -> Queues<'a> {
        let mut needs: Vec<Need<'_>> = demand.jobs().map(Need::of).collect();
        needs.retain(|need| !is_hosted(need.labels));
        needs.extend(demand.counted.iter().flat_map(Need::of_number));
        needs.sort_by_cached_key(|need| (self.waits_since(need), need.job));
        let limits = self.view.limits;
        let mut supply = self.supply();
        supply.extend(self.spent());
        let mut queues = Queues::new();
        for need in needs {
            // A scale set is given nothing that its runners could not do.
            let served =
                need.job.map(|_| served_by(need.labels, &limits.labels, limits.filter_by_arch));
            if let Some(Err(missing)) = served {
                self.hold(need, Held::Unmatched { missing });
            } else if let Some(runner) = take(&mut supply, need) {
                self.spoken_for.insert(runner);
                self.hold(need, Held::Covered { runner: runner.to_owned() });
            } else {
                queues.entry(need.repo).or_default().push(need);
            }
        }
        queues.values_mut().for_each(|queue| queue.reverse());
        queues
    }

    /// When it is the turn of `repo`, unless it needs nothing.
    fn turn(&self, repo: Option<&'a Repo>, queue: &[Need<'a>]) -> Option<Turn<'a>> {
        let oldest = queue.last()?;
        let share = self.share.get(&repo.cloned()).copied().unwrap_or_default();
        Some((share, self.waits_since(oldest), oldest.job, repo))
    }

    /// Since when it is its turn. GitHub may have given it to none of the runners that waited for it, since it
    /// is bound to one that is no more (actions/runner#4598): it goes to the end of the queue then.
    fn waits_since(&self, need: &Need<'_>) -> DateTime<Utc> {
        let passed = self.view.deaf.iter().filter(|deaf| {
            need.queued_at <= deaf.at - LOST_TIMEOUT && fits(*need, &deaf.scope, &deaf.labels)
        });
        passed.map(|deaf| deaf.at).max().unwrap_or(need.queued_at)
    }

    fn keep_warm(&mut self) {
        let limits = self.view.limits;
        if limits.min_idle == 0 {
            return;
        }
        for scope in &limits.warm {
            let repo = match scope {
                Scope::Repo(repo) => Some(repo.clone()),
                Scope::Org(_) => None,
            };
            let ready = |s: &&Supply<'_>| s.scope == scope && !self.spoken_for.contains(s.name);
            let ready = self.supply().iter().filter(ready).count();
            for _ in ready..limits.min_idle {
                if self.obstacle(repo.as_ref()).is_some() {
                    break;
                }
                self.launch(Order {
                    scope: scope.clone(),
                    repo: repo.clone(),
                    labels: limits.labels.clone(),
                    origin: Origin::Warm,
                    job: None,
                    beside_sets: false,
                });
            }
        }
    }

    /// Idle runners that no job waits for. Of the warm ones the longest idle go first. Those that are
    /// kept for jobs that may come make room for jobs that wait.
    fn retire_the_surplus(&mut self) {
        let (Some(demand), limits) = (self.view.demand, self.view.limits) else { return };
        let mut idle: Vec<&'a Runner> = self
            .view
            .runners
            .iter()
            .filter(|r| r.phase == Phase::Idle && r.certain && demand.has_seen(&r.container.scope))
            .filter(|r| !self.doomed.contains(name_of(r)))
            .filter(|r| !self.spoken_for.contains(name_of(r)))
            .collect();
        idle.sort_by_key(|runner| std::cmp::Reverse(runner.since));
        let mut kept: BTreeMap<&Scope, usize> = BTreeMap::new();
        for runner in idle {
            let scope = &runner.container.scope;
            let kept = kept.entry(scope).or_default();
            let is_kept = *kept < limits.min_idle && limits.warm.contains(scope);
            if is_kept && self.crowded_out == 0 {
                *kept += 1;
                continue;
            }
            let patience = match runner.container.origin {
                Origin::Manual => limits.idle_timeout,
                Origin::Warm if !is_kept => limits.idle_timeout,
                Origin::Warm | Origin::Queue => SURPLUS_GRACE.min(limits.idle_timeout),
            };
            if self.view.now - runner.since >= patience {
                self.crowded_out -= usize::from(is_kept);
                self.remove(name_of(runner), Removal::Surplus);
            }
        }
    }

    /// Registrations that a killed service or a crashed runner left: ours, offline, no container, and
    /// so for a while.
    fn forget_the_dead(&mut self) {
        let view = self.view;
        let known = |name: &str| {
            view.runners.iter().any(|runner| name_of(runner) == name)
                || view.launching.iter().any(|runner| runner.name == name)
                || view.removing.contains(name)
        };
        for ((scope, id), unclaimed) in view.unclaimed {
            let listed = view.registered.get(scope).into_iter().flatten();
            let Some(dead) = listed.into_iter().find(|runner| runner.id == *id) else { continue };
            if unclaimed.lasted() >= UNCLAIMED && !known(&dead.name) {
                let (scope, id, name) = (scope.clone(), dead.id, dead.name.clone());
                self.actions.push(Action::Forget { scope, id, name });
            }
        }
    }

    /// Runners that are starting or idle. One that GitHub could not tell of counts too: it may be.
    fn supply(&self) -> Vec<Supply<'a>> {
        let may_serve = |r: &&Runner| {
            let ready = matches!(r.phase, Phase::Starting | Phase::Idle) || !r.certain;
            ready && is_live(r) && r.lost_since.is_none() && !self.doomed.contains(name_of(r))
        };
        let existing = self.view.runners.iter().filter(may_serve).map(|r| Supply {
            name: name_of(r),
            scope: &r.container.scope,
            labels: &r.container.labels,
            ready: if r.phase == Phase::Idle { Ready::Idle } else { Ready::Starting },
        });
        let coming = self.view.unborn().map(|r| Supply {
            name: &r.name,
            scope: &r.scope,
            labels: &r.labels,
            ready: Ready::Starting,
        });
        existing.chain(coming).collect()
    }

    /// Runners that have taken a job, not known which.
    fn spent(&self) -> impl Iterator<Item = Supply<'a>> + use<'a> {
        let there = self.view.runners.iter().filter(|r| r.certain || !is_live(r));
        let there = there.filter_map(|r| {
            let ready = Ready::Spent(r.spent_at?);
            let Container { scope, labels, .. } = &r.container;
            Some(Supply { name: name_of(r), scope, labels, ready })
        });
        let gone = self.view.spent.iter().map(|spent| {
            let Spent { name, scope, labels, at } = spent;
            Supply { name, scope, labels, ready: Ready::Spent(*at) }
        });
        there.chain(gone)
    }

    /// Why no runner may be launched for `repo` now.
    fn obstacle(&self, repo: Option<&Repo>) -> Option<Held> {
        let (view, limits) = (self.view, self.view.limits);
        if self.free == 0 {
            return Some(Held::AtCapacity { max: limits.max_runners });
        }
        let share = self.share.get(&repo.cloned()).copied().unwrap_or_default();
        if let Some(max) = limits.max_per_repo.filter(|max| repo.is_some() && share >= *max) {
            return Some(Held::RepoAtCapacity { max });
        }
        if let Some(why) = view.paused {
            return Some(Held::Paused(why.to_owned()));
        }
        let until = view.backoff.get(repo?).copied().filter(|until| *until > view.now)?;
        Some(Held::Backoff { until })
    }

    /// The only place where a launch is decided.
    fn launch(&mut self, order: Order) {
        let Some(free) = self.free.checked_sub(1) else { return };
        self.free = free;
        *self.share.entry(order.repo.clone()).or_default() += 1;
        self.actions.push(Action::Launch(order));
    }

    fn remove(&mut self, name: &str, why: Removal) {
        self.actions.push(Action::Remove { name: name.to_owned(), why });
    }

    fn hold(&mut self, need: Need<'_>, why: Held) {
        // Of one of a number there is nothing that could be told.
        self.actions.extend(need.job.map(|job| Action::Hold { job, why }));
    }
}

/// Why `runner` is of no use; `None` when it may be of some.
fn useless(runner: &Runner, view: &View<'_>) -> Option<Removal> {
    let waited = |since: DateTime<Utc>| view.now - since;
    if runner.phase == Phase::Exited {
        // GitHub drops a one-job runner after its job, mostly: a request for it would cost five points.
        let was_there = |found: &Registered| found.online || found.busy;
        let is_going = runner.certain && runner.registered.as_ref().is_some_and(was_there);
        return (!is_going || waited(runner.since) >= DROPPED).then_some(Removal::Finished);
    }
    let launching = view.launching.iter().any(|launch| launch.name == name_of(runner));
    if !runner.certain || launching {
        return None;
    }
    if runner.registered.as_ref().is_some_and(|registered| registered.busy) {
        let started = runner.job.as_ref().and_then(|job| job.started_at)?;
        return (waited(started) > view.limits.job_timeout?).then_some(Removal::Overtime);
    }
    if runner.lost_since.is_some_and(|since| waited(since) >= LOST_TIMEOUT) {
        let is_late = |most: TimeDelta| waited(runner.since) > most;
        let is_at_work = runner.at_work_until.is_some_and(|until| view.now < until)
            && !view.limits.job_timeout.is_some_and(is_late);
        return (!is_at_work).then_some(Removal::Lost);
    }
    match runner.phase {
        Phase::Starting if waited(runner.since) >= START_TIMEOUT => Some(Removal::NeverOnline),
        Phase::Idle if waited(runner.since) >= LOST_TIMEOUT => {
            is_waited_for(runner, view.demand?, view.now - LOST_TIMEOUT).then_some(Removal::Deaf)
        }
        _ => None,
    }
}

/// Whether a job that `runner` could serve waits since `since`.
fn is_waited_for(runner: &Runner, demand: &Demand, since: DateTime<Utc>) -> bool {
    let Container { scope, labels, .. } = &runner.container;
    let waits = |job: &Job| job.queued_at <= since && fits(Need::of(job), scope, labels);
    let some_wait = |counted: &Counted| counted.since <= since && counted.scope == *scope;
    demand.jobs().any(waits) || demand.counted.iter().any(some_wait)
}

/// Whether the runner counts: its process has not ended.
pub(crate) fn is_live(runner: &&Runner) -> bool {
    runner.phase != Phase::Exited
}

fn name_of(runner: &Runner) -> &str {
    &runner.container.name
}

#[cfg(test)]
mod tests;
