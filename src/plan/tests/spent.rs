//! Jobs and runners that were not seen at the same moment, and jobs that are only counted.

use proptest::prelude::*;

use super::world::*;
use crate::model::{Counted, Labels};
use crate::plan::*;

fn spent(name: &str, home: &str, second: i64) -> Spent {
    let labels = Labels::new(["self-hosted", "linux", "x64", "docker"]);
    Spent { name: name.into(), scope: Scope::Repo(repo(home)), labels, at: at(second) }
}

/// A job that was seen waiting at `seen`.
fn seen(world: World, id: u64, seen: i64) -> World {
    let mut world = world.job("a", id, 0);
    let job = world.demand.as_mut().unwrap().repos[0].queued.last_mut().unwrap();
    job.seen_at = at(seen);
    world
}

fn counted(mut world: World, scope: Scope, jobs: usize, seen: i64) -> World {
    let labels = Labels::new(["self-hosted", "set"]);
    world.demand.as_mut().unwrap().counted =
        vec![Counted { scope, labels, jobs, since: at(seen), seen_at: at(seen) }];
    world
}

#[test]
fn a_runner_that_was_spent_after_a_job_was_seen_may_have_taken_it() {
    let mut world = seen(world(), 1, 100);
    world.spent = vec![spent("ipfs-1", "a", 101)];
    assert!(world.launched_jobs().is_empty());
    assert!(world.why_held(1).contains("ipfs-1"));
}

#[test]
fn it_has_not_when_the_job_was_seen_waiting_after_that_or_is_elsewhere() {
    let mut later = seen(world(), 1, 102);
    later.spent = vec![spent("ipfs-1", "a", 101)];
    assert_eq!(later.launched_jobs(), [1]);
    let mut elsewhere = seen(world(), 1, 100);
    elsewhere.spent = vec![spent("ipfs-1", "b", 101)];
    assert_eq!(elsewhere.launched_jobs(), [1]);
}

#[test]
fn one_spent_runner_stands_for_one_job_and_a_busy_one_with_a_known_job_for_none() {
    let mut world = seen(seen(world(), 1, 100), 2, 100);
    world.spent = vec![spent("ipfs-1", "a", 101)];
    assert_eq!(world.launched_jobs(), [2]);
    let busy = seen(self::world(), 1, 100).runner("ipfs-2", "a", Phase::Busy);
    assert_eq!(busy.launched_jobs(), [1], "its job is known");
    let unknown = busy.last(|runner| runner.spent_at = Some(at(101)));
    assert!(unknown.launched_jobs().is_empty());
}

#[test]
fn a_job_that_may_be_taken_leaves_the_idle_runner_to_a_newer_one() {
    let mut world = seen(seen(world(), 1, 100), 2, 200).runner("ipfs-9", "a", Phase::Idle);
    world.spent = vec![spent("ipfs-1", "a", 150)];
    assert!(world.launched_jobs().is_empty());
    assert!(world.why_held(1).contains("ipfs-1") && world.why_held(2).contains("ipfs-9"));
}

#[test]
fn a_runner_whose_scope_cannot_be_listed_counts_once_however_it_looks() {
    let world = seen(seen(world(), 1, 100), 2, 100).runner("ipfs-1", "a", Phase::Busy);
    let world = world.last(|r| (r.certain, r.spent_at) = (false, Some(at(200))));
    assert_eq!(world.launched_jobs(), [2]);
}

#[test]
fn jobs_that_are_only_counted_are_launched_for_beside_those_with_a_name() {
    let world = counted(seen(world(), 1, 3600), Scope::Repo(repo("a")), 2, 3600);
    let actions = world.plan();
    let orders = launched(&actions);
    assert_eq!(orders.len(), 3);
    assert!(orders.iter().all(|order| order.repo == Some(repo("a"))));
    assert_eq!(orders.iter().filter(|order| order.job.is_none()).count(), 2);
}

#[test]
fn what_an_organisations_set_counts_is_for_no_certain_repository_and_is_covered_by_its_runners() {
    let org = Scope::org("o");
    let mut world = counted(world(), org.clone(), 3, 3600).runner("ipfs-1", "a", Phase::Starting);
    world = world.last(|r| (r.container.scope, r.container.repo) = (Scope::org("o"), None));
    let actions = world.plan();
    let orders = launched(&actions);
    assert_eq!(orders.len(), 2);
    assert!(orders.iter().all(|order| order.repo.is_none() && order.scope == org));
    world.limits.max_per_repo = Some(1);
    assert_eq!(launched(&world.plan()).len(), 2, "a bound of repositories binds none of these");
}

proptest! {
    #[test]
    fn a_spent_runner_never_makes_for_more_launches(
        jobs in proptest::collection::vec(0i64..300, 0..8),
        before in proptest::collection::vec(0i64..300, 0..5),
        another in 0i64..300, idle in 0usize..3,
    ) {
        let mut world = world().max(20);
        for (id, second) in jobs.iter().enumerate() {
            world = seen(world, id as u64 + 1, *second);
        }
        for index in 0..idle {
            world = world.runner(&format!("ipfs-idle{index}"), "a", Phase::Idle);
        }
        let named = |(index, second): (usize, &i64)| spent(&format!("ipfs-s{index}"), "a", *second);
        world.spent = before.iter().enumerate().map(named).collect();
        let launches = world.launched_jobs().len();
        prop_assert!(launches + idle + before.len() >= jobs.len(), "no job is forgotten");
        world.spent.push(spent("ipfs-another", "a", another));
        prop_assert!(world.launched_jobs().len() <= launches);
        prop_assert!(world.launched_jobs().len() + 1 >= launches);
    }
}

#[test]
fn a_runner_that_stays_idle_while_counted_jobs_wait_is_replaced() {
    let idle = |seen| {
        let world = counted(world(), Scope::Repo(repo("a")), 1, seen);
        world.runner("r1", "a", Phase::Idle).last(|r| r.since = at(3500))
    };
    assert_eq!(idle(3590).removals(), [], "they may have come just now");
    let removals = idle(3500).removals();
    assert_eq!(removals, [("r1".to_owned(), Removal::Deaf)]);
}

#[test]
fn one_that_may_have_the_job_stands_for_it_before_an_idle_one_that_can_do_less() {
    let world = seen(world(), 1, 100).runner("r1", "a", Phase::Idle);
    let mut world = world.last(|runner| runner.container.labels = Labels::new(["self-hosted"]));
    world.spent = vec![spent("r0", "a", 101)];
    assert!(world.why_held(1).contains("r0"), "{}", world.why_held(1));
}
