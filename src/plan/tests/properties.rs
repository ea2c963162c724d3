//! What holds for every world.

use proptest::prelude::*;

use super::world::*;
use crate::error::Error;
use crate::plan::*;
use crate::ports::NewRunner;

prop_compose! {
    fn any_runner()(
        id in 0u32..40, home in 0usize..4, phase in 0usize..4, certain: bool, age in 0i64..400,
        idle in 0i64..400, lost in proptest::option::of(0i64..400), origin in 0usize..3,
    ) -> (u32, usize, Phase, bool, i64, i64, Option<i64>, Origin) {
        let phase = [Phase::Starting, Phase::Idle, Phase::Busy, Phase::Exited][phase];
        let origin = [Origin::Queue, Origin::Manual, Origin::Warm][origin];
        (id, home, phase, certain, age, idle, lost, origin)
    }
}

prop_compose! {
    fn any_world()(
        max in 0usize..8, per_repo in proptest::option::of(0usize..4), min_idle in 0usize..3,
        jobs in proptest::collection::vec((0usize..4, 0i64..3600, 0usize..4), 0..30),
        runners in proptest::collection::vec(any_runner(), 0..12),
        launching in 0usize..4, asked in 0usize..4, blind: bool, unseen: bool,
    ) -> World {
        const REPOS: [&str; 4] = ["a", "b", "c", "d"];
        const LABELS: [&[&str]; 4] = [&["self-hosted"], &["self-hosted", "x64"], &["gpu"], &["ubuntu-latest"]];
        let mut world = world().max(max);
        world.limits.max_per_repo = per_repo;
        world.limits.min_idle = min_idle;
        world.limits.warm = vec![Scope::Repo(repo("a"))];
        for (index, (home, queued, labels)) in jobs.into_iter().enumerate() {
            world = world.job_for(REPOS[home], index as u64, queued, LABELS[labels]);
        }
        for (id, home, phase, certain, age, idle, lost, origin) in runners {
            let name = format!("ipfs-{id}");
            if world.runners.iter().any(|runner| runner.container.name == name) {
                continue;
            }
            world = world.runner(&name, REPOS[home], phase).last(|r| {
                r.certain = certain;
                r.container.created_at = at(3600 - age);
                r.since = at(3600 - idle);
                r.lost_since = lost.map(|second| at(3600 - second));
                r.container.origin = origin;
            });
        }
        for index in 0..launching {
            world.launching.push(new_runner(&world, &format!("ipfs-{index}"), "a"));
        }
        world.asked = (0..asked).map(|_| Ask { scope: Scope::Repo(repo("b")), repo: repo("b") }).collect();
        if unseen {
            world.demand.as_mut().unwrap().repos.retain(|demand| demand.repo != repo("a"));
            world.demand.as_mut().unwrap().unseen.insert(repo("a"), Error::internal("x", "y"));
        }
        if blind {
            world.demand = None;
        }
        world
    }
}

fn new_runner(world: &World, name: &str, home: &str) -> NewRunner {
    NewRunner {
        name: name.into(),
        scope: Scope::Repo(repo(home)),
        repo: Some(repo(home)),
        labels: world.limits.labels.clone(),
        origin: Origin::Queue,
        beside_sets: false,
    }
}

proptest! {
    #[test]
    fn the_bound_is_never_exceeded_whatever_the_input(world in any_world()) {
        let actions = world.plan();
        let launches = launched(&actions);
        let used = world.view().used();
        prop_assert!(launches.is_empty() || used + launches.len() <= world.limits.max_runners);
        if let Some(max) = world.limits.max_per_repo {
            for name in ["a", "b", "c", "d"] {
                let new = launches.iter().filter(|order| order.repo == Some(repo(name))).count();
                let live = world.runners.iter().filter(|r| r.phase != Phase::Exited && r.container.repo == Some(repo(name))).count();
                prop_assert!(new == 0 || new + live <= max);
            }
        }
    }

    #[test]
    fn planning_again_after_the_launches_were_accepted_launches_nothing_more(mut world in any_world()) {
        let orders: Vec<Order> = launched(&world.plan()).into_iter().cloned().collect();
        for (index, order) in orders.into_iter().enumerate() {
            let Order { scope, repo, labels, origin, beside_sets, .. } = order;
            let name = format!("new-{index}");
            world.launching.push(NewRunner { name, scope, repo, labels, origin, beside_sets });
        }
        world.asked.clear();
        prop_assert!(launched(&world.plan()).is_empty());
    }

    #[test]
    fn a_busy_runner_is_never_retired(world in any_world()) {
        for (name, _) in world.removals() {
            let runner = world.runners.iter().find(|runner| runner.container.name == name).unwrap();
            let busy = runner.registered.as_ref().is_some_and(|registered| registered.busy);
            prop_assert!(runner.phase == Phase::Exited || !busy);
        }
    }

    #[test]
    fn what_was_not_seen_is_not_acted_upon(world in any_world()) {
        let actions = world.plan();
        if world.demand.is_none() {
            prop_assert!(launched(&actions).iter().all(|order| order.job.is_none()));
        }
        for (name, why) in removals(&actions) {
            let runner = world.runners.iter().find(|runner| runner.container.name == name).unwrap();
            prop_assert!(why == Removal::Finished || runner.certain);
            let seen = world.demand.as_ref().is_some_and(|demand| demand.has_seen(&runner.container.scope));
            prop_assert!(seen || !matches!(why, Removal::Surplus | Removal::Deaf));
        }
    }

    #[test]
    fn every_job_that_is_ours_to_serve_is_launched_for_or_told_why_not_exactly_once(world in any_world()) {
        let actions = world.plan();
        let Some(demand) = &world.demand else { return Ok(()) };
        for job in demand.jobs().filter(|job| !is_hosted(&job.labels)) {
            let named = |action: &&Action| match action {
                Action::Launch(order) => order.job == Some(job.id),
                Action::Hold { job: id, .. } => *id == job.id,
                _ => false,
            };
            prop_assert_eq!(actions.iter().filter(named).count(), 1);
        }
    }
}
