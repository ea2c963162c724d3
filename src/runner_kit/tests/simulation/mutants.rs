//! Planners that are broken on purpose: each must be caught, or what is checked would not bite.

use crate::model::Phase;
use crate::plan::{Action, Held, Limits, Removal, View, plan};
use crate::reconciler::Planner;

use super::world::Invariant;

/// A broken planner, and the invariants by which it may be caught.
pub(super) struct Mutant {
    pub(super) name: &'static str,
    pub(super) planner: Planner,
    pub(super) breaks: &'static [Invariant],
}

use Invariant::{Bound, Clean, Explained, Justified, Served, Spared, Truth};

pub(super) const MUTANTS: [Mutant; 17] = [
    Mutant { name: "ignores max_runners", planner: unbounded, breaks: &[Bound] },
    Mutant { name: "ignores max_per_repo", planner: unbounded_by_repo, breaks: &[Bound] },
    Mutant { name: "ignores launches under way", planner: forgetful, breaks: &[Bound, Justified] },
    Mutant { name: "ignores runners that are spent", planner: hasty, breaks: &[Justified] },
    Mutant { name: "launches twice for a job", planner: lavish, breaks: &[Justified] },
    Mutant { name: "never serves one repository", planner: unfair, breaks: &[Served] },
    Mutant { name: "takes backoff for the end", planner: despairing, breaks: &[Served] },
    Mutant { name: "does not say why jobs wait", planner: silent, breaks: &[Explained] },
    Mutant { name: "removes busy runners", planner: ruthless, breaks: &[Spared] },
    Mutant {
        name: "removes runners with a short job_timeout",
        planner: impatient,
        breaks: &[Spared],
    },
    Mutant { name: "forgets registrations", planner: |v| without(v, is_forget), breaks: &[Clean] },
    Mutant {
        name: "never retires",
        planner: |v| spares(v, Removal::Surplus),
        breaks: &[Clean, Served],
    },
    Mutant {
        name: "never cleans up",
        planner: |v| spares(v, Removal::Finished),
        breaks: &[Clean, Truth],
    },
    Mutant {
        name: "waits for ever for a start",
        planner: |v| spares(v, Removal::NeverOnline),
        breaks: &[Clean, Served],
    },
    Mutant {
        name: "believes in the lost",
        planner: |v| spares(v, Removal::Lost),
        breaks: &[Clean, Served],
    },
    Mutant {
        name: "believes in the deaf",
        planner: |v| spares(v, Removal::Deaf),
        breaks: &[Clean, Served],
    },
    Mutant { name: "forgets runners it cannot see", planner: blind, breaks: &[Bound, Justified] },
];

fn limited(view: &View<'_>, change: impl FnOnce(&mut Limits)) -> Vec<Action> {
    let mut limits = view.limits.clone();
    change(&mut limits);
    plan(&View { limits: &limits, ..*view })
}

fn unbounded(view: &View<'_>) -> Vec<Action> {
    limited(view, |limits| limits.max_runners += 1)
}

fn unbounded_by_repo(view: &View<'_>) -> Vec<Action> {
    limited(view, |limits| limits.max_per_repo = None)
}

fn impatient(view: &View<'_>) -> Vec<Action> {
    limited(view, |limits| limits.job_timeout = limits.job_timeout.map(|limit| limit / 2))
}

fn forgetful(view: &View<'_>) -> Vec<Action> {
    plan(&View { launching: &[], ..*view })
}

fn hasty(view: &View<'_>) -> Vec<Action> {
    let mut runners = view.runners.to_vec();
    runners.iter_mut().for_each(|runner| runner.spent_at = None);
    plan(&View { runners: &runners, spent: &[], ..*view })
}

fn blind(view: &View<'_>) -> Vec<Action> {
    let mut runners = view.runners.to_vec();
    runners.retain(|runner| runner.certain);
    plan(&View { runners: &runners, ..*view })
}

fn lavish(view: &View<'_>) -> Vec<Action> {
    let mut actions = plan(view);
    let launches = actions.iter().filter(|one| matches!(one, Action::Launch(_)));
    let used = view.used() + launches.count();
    if used < view.limits.max_runners && view.limits.max_per_repo.is_none() {
        let again =
            actions.iter().find(|one| matches!(one, Action::Launch(order) if order.job.is_some()));
        actions.extend(again.cloned());
    }
    actions
}

fn unfair(view: &View<'_>) -> Vec<Action> {
    let mut actions = plan(view);
    for action in &mut actions {
        if let Action::Launch(order) = action
            && let (Some(job), Some(repo)) = (order.job, &order.repo)
            && repo.name() == "b"
        {
            *action = Action::Hold { job, why: Held::Paused("not you".into()) };
        }
    }
    actions
}

fn despairing(view: &View<'_>) -> Vec<Action> {
    let far = view.now + chrono::TimeDelta::days(1);
    let backoff = view.backoff.keys().map(|repo| (repo.clone(), far)).collect();
    plan(&View { backoff: &backoff, ..*view })
}

fn silent(view: &View<'_>) -> Vec<Action> {
    without(view, |action| matches!(action, Action::Hold { .. }))
}

fn ruthless(view: &View<'_>) -> Vec<Action> {
    let mut actions = plan(view);
    let busy =
        view.runners.iter().find(|runner| runner.phase == Phase::Busy && runner.job.is_some());
    actions.extend(busy.map(|runner| Action::Remove {
        name: runner.container.name.clone(),
        why: Removal::Overtime,
    }));
    actions
}

fn is_forget(action: &Action) -> bool {
    matches!(action, Action::Forget { .. })
}

fn without(view: &View<'_>, unwanted: fn(&Action) -> bool) -> Vec<Action> {
    let mut actions = plan(view);
    actions.retain(|action| !unwanted(action));
    actions
}

fn spares(view: &View<'_>, reason: Removal) -> Vec<Action> {
    let mut actions = plan(view);
    actions.retain(|action| !matches!(action, Action::Remove { why, .. } if *why == reason));
    actions
}
