//! Services that are broken on purpose: each must be caught, or what is checked would not bite.

use crate::model::Phase;
use crate::plan::{Action, Held, Limits, Removal, View, plan};
use crate::reconciler::Planner;

use super::drive::Guise;
use super::world::Invariant;
use crate::snapshot::Snapshot;

/// A service with a broken planner or a status that lies, and the invariants by which it may be caught.
pub(super) struct Mutant {
    pub(super) name: &'static str,
    pub(super) guise: Guise,
    pub(super) breaks: &'static [Invariant],
}

const fn plans(name: &'static str, planner: Planner, breaks: &'static [Invariant]) -> Mutant {
    Mutant { name, guise: Guise { planner, tells: None }, breaks }
}

const fn tells(name: &'static str, lie: fn(&mut Snapshot)) -> Mutant {
    Mutant { name, guise: Guise { planner: plan, tells: Some(lie) }, breaks: &[Truth] }
}

use Invariant::{Bound, Clean, Explained, Justified, Served, Spared, Truth};

pub(super) const MUTANTS: [Mutant; 19] = [
    plans("ignores max_runners", unbounded, &[Bound]),
    plans("ignores max_per_repo", unbounded_by_repo, &[Bound]),
    plans("ignores launches under way", forgetful, &[Bound, Justified]),
    plans("forgets runners it cannot see", blind, &[Bound, Justified]),
    plans("ignores runners that are spent", hasty, &[Justified]),
    plans("launches twice for a job", lavish, &[Justified]),
    plans("never serves one repository", unfair, &[Served]),
    plans("takes backoff for the end", despairing, &[Served]),
    plans("does not say why jobs wait", silent, &[Explained]),
    plans("removes busy runners", ruthless, &[Spared]),
    plans("removes runners with a short job_timeout", impatient, &[Spared]),
    plans("forgets registrations", |v| without(v, is_forget), &[Clean]),
    plans("never retires", |v| spares(v, Removal::Surplus), &[Clean, Served]),
    plans("never cleans up", |v| spares(v, Removal::Finished), &[Clean]),
    plans("waits for ever for a start", |v| spares(v, Removal::NeverOnline), &[Clean, Served]),
    plans("believes in the lost", |v| spares(v, Removal::Lost), &[Clean, Served]),
    plans("believes in the deaf", |v| spares(v, Removal::Deaf), &[Clean, Served]),
    tells("tells of one runner less", |told| told.used = told.used.saturating_sub(1)),
    tells("counts a runner that is none", |told| told.used += 1),
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
