//! Which runners go, and which registrations.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Action, Planner, Removal, name_of};
use crate::model::{Origin, Phase, Registered, Runner, Scope};

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

impl<'a> Planner<'a> {
    /// Runners that are of no use to anybody, by what engine and GitHub both say.
    pub(super) fn remove_the_useless(&mut self) {
        for runner in self.view.runners {
            let name = name_of(runner);
            if self.view.removing.contains(name) {
                self.doomed.insert(name);
            } else if let Some(why) = self.useless(runner) {
                self.doomed.insert(name);
                self.remove(name, why);
            }
        }
    }

    /// Why `runner` is of no use; `None` when it may be of some.
    fn useless(&self, runner: &Runner) -> Option<Removal> {
        let view = self.view;
        let waited = |since: DateTime<Utc>| view.now - since;
        if runner.phase == Phase::Exited {
            // GitHub drops a one-job runner after its job, mostly: a request for it would cost five points.
            let was_there = |found: &Registered| found.online || found.busy;
            let is_going = runner.certain && runner.registered.as_ref().is_some_and(was_there);
            return (!is_going || waited(runner.since) >= DROPPED).then_some(Removal::Finished);
        }
        if !runner.certain || self.launching.contains(name_of(runner)) {
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
                let is_deaf = self.waiting.has_one_for(runner, view.now - LOST_TIMEOUT);
                is_deaf.then_some(Removal::Deaf)
            }
            _ => None,
        }
    }

    /// Idle runners that no job waits for. Of the warm ones the longest idle go first. Those that are
    /// kept for jobs that may come make room for jobs that wait.
    pub(super) fn retire_the_surplus(&mut self) {
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
        let warm: BTreeSet<&Scope> = limits.warm.iter().collect();
        let mut kept: BTreeMap<&Scope, usize> = BTreeMap::new();
        for runner in idle {
            let scope = &runner.container.scope;
            let kept = kept.entry(scope).or_default();
            let is_kept = *kept < limits.min_idle && warm.contains(scope);
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
    pub(super) fn forget_the_dead(&mut self) {
        let view = self.view;
        if view.unclaimed.is_empty() {
            return;
        }
        let there: BTreeSet<&str> = view.runners.iter().map(name_of).collect();
        for ((scope, id), unclaimed) in view.unclaimed {
            let listed = view.registered.get(scope).into_iter().flatten();
            let Some(dead) = listed.into_iter().find(|runner| runner.id == *id) else { continue };
            let name = dead.name.as_str();
            let is_known = there.contains(name)
                || self.launching.contains(name)
                || view.removing.contains(name);
            if unclaimed.lasted() >= UNCLAIMED && !is_known {
                let (scope, id, name) = (scope.clone(), dead.id, dead.name.clone());
                self.actions.push(Action::Forget { scope, id, name });
            }
        }
    }

    fn remove(&mut self, name: &str, why: Removal) {
        self.actions.push(Action::Remove { name: name.to_owned(), why });
    }
}
