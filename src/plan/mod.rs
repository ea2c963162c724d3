//! Every scaling decision, pure and synchronous: what to launch, what to remove, why a job waits.
//!
//! The bound holds by construction: a launch is only ever decided in `Planner::launch`, which
//! takes it from the free capacity. What was not seen is not acted upon.
//!
//! What is known of jobs and of runners was not seen at the same moment. A runner that was spent
//! after a job was last seen waiting may have taken that job, so it covers it until somebody sees the
//! job wait again: no job is launched for twice on the strength of one sighting.
//!
//! Repositories share the room by max-min fairness: whoever has the fewest runners comes first, so
//! that each that wants as many has as many, however long its queue is, and what some do not want the
//! others share in the same way. Among those with as many runners the one comes first whose last turn
//! is the longest ago, also where there are more repositories than room: none waits for more turns
//! than there are others. Within a repository the oldest job comes first.

mod actions;
mod cover;
mod doubt;
mod removal;
mod turns;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

pub use actions::{Action, Ask, Held, Order, Removal};
pub use doubt::doubtful;
pub use removal::{DROPPED, LOST_TIMEOUT, START_TIMEOUT, SURPLUS_GRACE, UNCLAIMED};
pub use turns::Turns;
pub use view::{Limits, View, counted, used};

use self::cover::{Need, Pool, Ready, Supply, Waiting};

use crate::model::{Container, Demand, Origin, Phase, Repo, Runner, Scope, is_hosted, served_by};
use crate::supply::Spent;

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
    share: HashMap<Option<&'a Repo>, usize>,
    /// The last turn of each, where it had one.
    turns: HashMap<Option<&'a Repo>, u64>,
    /// Launches under way, by the runner's name.
    launching: BTreeSet<&'a str>,
    /// Runners that are to go, and so serve nothing.
    doomed: BTreeSet<&'a str>,
    /// Runners that will take a job.
    spoken_for: BTreeSet<&'a str>,
    /// Jobs that have no runner since there are as many as are allowed.
    crowded_out: usize,
    waiting: Waiting<'a>,
}

/// Needs of one repository that no runner covers, the oldest last.
type Queues<'a> = BTreeMap<Option<&'a Repo>, Vec<Need<'a>>>;

/// A repository's turn: by its runners, then by its last turn, then by its oldest need.
type Turn<'a> = (usize, u64, DateTime<Utc>, Option<u64>, Option<&'a Repo>);

impl<'a> Planner<'a> {
    fn new(view: &'a View<'a>) -> Self {
        let mut share = HashMap::new();
        let born = view.runners.iter().filter(is_live).map(|r| r.container.repo.as_ref());
        for repo in born.chain(view.unborn().map(|r| r.repo.as_ref())) {
            *share.entry(repo).or_default() += 1;
        }
        Self {
            view,
            actions: Vec::new(),
            free: view.limits.max_runners.saturating_sub(view.used()),
            share,
            turns: view.turns.iter().collect(),
            launching: view.launching.iter().map(|runner| runner.name.as_str()).collect(),
            doomed: BTreeSet::new(),
            spoken_for: BTreeSet::new(),
            crowded_out: 0,
            waiting: Waiting::of(view.demand),
        }
    }

    fn serve_the_asked(&mut self) {
        for ask in self.view.asked {
            match self.obstacle(Some(&ask.repo)) {
                // Who asks by hand has seen the failure and wants another try.
                None | Some(Held::Backoff { .. } | Held::Paused(_)) => self.launch(
                    Some(&ask.repo),
                    Order {
                        scope: ask.scope.clone(),
                        repo: Some(ask.repo.clone()),
                        labels: self.view.limits.labels.clone(),
                        origin: Origin::Manual,
                        job: None,
                        beside_sets: false,
                    },
                ),
                Some(why) => self.actions.push(Action::Refuse { ask: ask.clone(), why }),
            }
        }
    }

    /// Each in its turn, as long as there is room; within a repository, the oldest job first.
    fn serve_the_jobs(&mut self) {
        let Some(demand) = self.view.demand else { return };
        let mut queues = self.uncovered(demand);
        let turns = queues.iter().filter_map(|(repo, queue)| self.turn(*repo, queue));
        let mut turns: BTreeSet<Turn<'_>> = turns.collect();
        while self.free > 0
            && let Some((.., repo)) = turns.pop_first()
        {
            let Some(queue) = queues.get_mut(&repo) else { continue };
            let Some(need) = queue.pop() else { continue };
            match self.obstacle(need.repo) {
                Some(why) => self.hold(need, why),
                None => self.launch(
                    need.repo,
                    Order {
                        scope: need.scope.clone(),
                        repo: need.repo.cloned(),
                        labels: self.view.limits.labels.union(need.labels),
                        origin: Origin::Queue,
                        job: need.job,
                        beside_sets: need.beside_sets,
                    },
                ),
            }
            turns.extend(self.turn(repo, queue));
        }
        let max = self.view.limits.max_runners;
        for need in queues.into_values().flatten() {
            self.crowded_out += 1;
            self.hold(need, Held::AtCapacity { max });
        }
    }

    /// Holds the jobs that can't be served or have a runner already; returns the others.
    fn uncovered(&mut self, demand: &'a Demand) -> Queues<'a> {
        let mut needs: Vec<Need<'_>> = demand.jobs().map(Need::of).collect();
        needs.retain(|need| !is_hosted(need.labels));
        needs.extend(demand.counted.iter().flat_map(Need::of_number));
        needs.sort_by_key(|need| (need.queued_at, need.job));
        let limits = self.view.limits;
        let mut pool = Pool::of(self.supply().chain(self.spent()));
        let mut queues = Queues::new();
        for need in needs {
            // A scale set is given nothing that its runners could not do.
            let served =
                need.job.map(|_| served_by(need.labels, &limits.labels, limits.filter_by_arch));
            if let Some(Err(missing)) = served {
                self.hold(need, Held::Unmatched { missing });
            } else if let Some(runner) = pool.take(need) {
                self.spoken_for.insert(runner);
                self.hold(need, Held::Covered { runner: runner.to_owned() });
            } else {
                queues.entry(need.repo).or_default().push(need);
            }
        }
        queues.values_mut().for_each(|queue| queue.reverse());
        queues
    }

    /// When it is the turn of `repo`, unless it needs nothing. One whose job is bound to a runner that is no more,
    /// and that GitHub gives to none (actions/runner#4598), does not come before the others again: it had its turn.
    fn turn(&self, repo: Option<&'a Repo>, queue: &[Need<'a>]) -> Option<Turn<'a>> {
        let oldest = queue.last()?;
        let share = self.share.get(&repo).copied().unwrap_or_default();
        let last = self.turns.get(&repo).copied().unwrap_or_default();
        Some((share, last, oldest.queued_at, oldest.job, repo))
    }

    fn keep_warm(&mut self) {
        let limits = self.view.limits;
        if limits.min_idle == 0 {
            return;
        }
        let mut ready: HashMap<&Scope, usize> = HashMap::new();
        for one in self.supply().filter(|one| !self.spoken_for.contains(one.name)) {
            *ready.entry(one.scope).or_default() += 1;
        }
        for scope in &limits.warm {
            let repo = match scope {
                Scope::Repo(repo) => Some(repo),
                Scope::Org(_) => None,
            };
            for _ in ready.get(scope).copied().unwrap_or_default()..limits.min_idle {
                if self.obstacle(repo).is_some() {
                    break;
                }
                self.launch(
                    repo,
                    Order {
                        scope: scope.clone(),
                        repo: repo.cloned(),
                        labels: limits.labels.clone(),
                        origin: Origin::Warm,
                        job: None,
                        beside_sets: false,
                    },
                );
            }
        }
    }

    /// Runners that are starting or idle. One that GitHub could not tell of counts too: it may be.
    fn supply(&self) -> impl Iterator<Item = Supply<'a>> {
        let may_serve = |r: &&'a Runner| {
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
        existing.chain(coming)
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
        let share = self.share.get(&repo).copied().unwrap_or_default();
        if let Some(max) = limits.max_per_repo.filter(|max| repo.is_some() && share >= *max) {
            return Some(Held::RepoAtCapacity { max });
        }
        if let Some(why) = view.paused {
            return Some(Held::Paused(why.to_owned()));
        }
        let until = view.backoff.get(repo?).copied().filter(|until| *until > view.now)?;
        Some(Held::Backoff { until })
    }

    /// The only place where a launch is decided; its turn has `whose`.
    fn launch(&mut self, whose: Option<&'a Repo>, order: Order) {
        let Some(free) = self.free.checked_sub(1) else { return };
        self.free = free;
        *self.share.entry(whose).or_default() += 1;
        self.actions.push(Action::Launch(order));
    }

    fn hold(&mut self, need: Need<'_>, why: Held) {
        // Of one of a number there is nothing that could be told.
        self.actions.extend(need.job.map(|job| Action::Hold { job, why }));
    }
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
