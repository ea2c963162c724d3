//! Decisions compared as values.

mod doubt;
mod fair;
mod properties;
mod spent;
mod words;
mod world;

use chrono::TimeDelta;

use self::world::*;
use super::*;
use crate::error::{Code, Error};
use crate::model::{JobRef, Registered, RunningJob};
use crate::ports::NewRunner;
use crate::supply::Unclaimed;

#[test]
fn nothing_waits_and_nothing_happens() {
    assert_eq!(world().plan(), vec![]);
}

#[test]
fn each_queued_job_gets_a_runner_with_our_labels_in_its_repository() {
    let actions = world().job_for("a", 1, 0, &["Self-Hosted", "X64"]).plan();
    let order = Order {
        scope: Scope::Repo(repo("a")),
        repo: Some(repo("a")),
        labels: world().limits.labels,
        origin: Origin::Queue,
        job: Some(1),
        beside_sets: false,
    };
    assert_eq!(actions, vec![Action::Launch(order)]);
}

#[test]
fn the_oldest_jobs_are_served_first_when_there_is_not_room_for_all() {
    let world = world().max(2).job("a", 1, 30).job("a", 2, 10).job("a", 3, 20);
    assert_eq!(world.launched_jobs(), [2, 3]);
    assert_eq!(world.why_held(1), "max_runners is 2 and no more may run");
}

#[test]
fn repositories_share_the_room_fairly_however_long_their_queues_are() {
    let mut world = world().max(4).job("small", 100, 50);
    for id in 0..10 {
        world = world.job("big", id, id as i64);
    }
    assert_eq!(world.launched_jobs(), [0, 100, 1, 2]);
    let crowded = world.runner("r1", "big", Phase::Busy).runner("r2", "big", Phase::Busy);
    assert_eq!(crowded.launched_jobs(), [100, 0]);
}

#[test]
fn starting_and_idle_runners_take_jobs_before_new_ones_are_launched() {
    let world = world().job("a", 1, 0).job("a", 2, 1).job("a", 3, 2);
    let world = world.runner("r1", "a", Phase::Starting).runner("r2", "a", Phase::Idle);
    assert_eq!(world.launched_jobs(), [3]);
    assert_eq!(world.why_held(1), "runner r2 is about to take it");
}

#[test]
fn a_runner_of_another_repository_or_a_busy_one_covers_nothing() {
    let world =
        world().job("a", 1, 0).runner("r1", "b", Phase::Starting).runner("r2", "a", Phase::Busy);
    assert_eq!(world.launched_jobs(), [1]);
}

#[test]
fn a_job_that_no_set_was_given_gets_a_runner_of_no_set() {
    let mut world = world().job("a", 1, 0).job("a", 2, 1);
    world.demand.as_mut().unwrap().repos[0].queued[1].beside_sets = true;
    let orders = world.plan();
    let beside: Vec<_> =
        launched(&orders).iter().map(|order| (order.job, order.beside_sets)).collect();
    assert_eq!(beside, [(Some(1), false), (Some(2), true)]);
}

#[test]
fn a_launch_that_is_under_way_counts_as_a_runner_once() {
    let mut world = world().job("a", 1, 0).runner("r1", "a", Phase::Starting);
    world.launching = ["r1", "r2"]
        .map(|name| NewRunner {
            name: name.into(),
            scope: Scope::Repo(repo("a")),
            repo: Some(repo("a")),
            labels: world.limits.labels.clone(),
            origin: Origin::Queue,
            beside_sets: false,
        })
        .into();
    assert_eq!(world.view().used(), 2);
    assert_eq!(world.job("a", 2, 1).job("a", 3, 2).launched_jobs(), [3]);
}

#[test]
fn a_runner_that_has_ended_takes_no_room_and_is_cleaned_up() {
    let world = world().max(1).job("a", 1, 0).runner("r1", "a", Phase::Exited);
    assert_eq!(world.launched_jobs(), [1]);
    let world = world.last(|r| r.registered = None);
    assert_eq!(world.removals(), [("r1".into(), Removal::Finished)]);
}

#[test]
fn github_has_a_moment_to_drop_a_runner_that_has_ended_before_it_is_told_to() {
    let ended = |change: fn(&mut Runner)| {
        world().runner("r1", "a", Phase::Exited).last(change).removals().len()
    };
    assert_eq!(ended(|r| r.since = at(3_596)), 0, "it was online");
    assert_eq!(ended(|r| r.since = at(3_595)), 1);
    assert_eq!(ended(|r| r.certain = false), 1, "who knows when GitHub can be asked");
    assert_eq!(ended(|r| r.registered.as_mut().unwrap().online = false), 1, "it never was online");
}

/// ARC#2736: there was no bound for one repository, which took all runners.
#[test]
fn max_per_repo_bounds_one_repository_and_says_so() {
    let mut world = world().job("a", 1, 0).job("a", 2, 1).job("b", 3, 2);
    world.limits.max_per_repo = Some(1);
    assert_eq!(world.launched_jobs(), [1, 3]);
    assert_eq!(world.why_held(2), "max_per_repo is 1 and its repository has as many runners");
}

#[test]
fn with_no_room_at_all_every_job_is_told_why() {
    let world = world().max(0).job("a", 1, 0);
    assert_eq!(world.launched_jobs(), [0u64; 0]);
    assert!(world.why_held(1).contains("max_runners"));
}

#[test]
fn a_job_that_asks_for_more_than_we_have_is_held_with_the_missing_labels() {
    let world = world().job_for("a", 1, 0, &["self-hosted", "gpu"]);
    assert_eq!(world.launched_jobs(), [0u64; 0]);
    assert_eq!(world.why_held(1), "no runner here has the labels gpu");
}

#[test]
fn a_hosted_job_is_none_of_our_business() {
    assert_eq!(world().job_for("a", 1, 0, &["ubuntu-latest"]).plan(), vec![]);
}

#[test]
fn another_architecture_is_served_only_when_the_filter_is_off_and_then_by_a_runner_with_its_label()
{
    let mut world = world().job_for("a", 1, 0, &["self-hosted", "arm64"]);
    assert_eq!(world.why_held(1), "no runner here has the labels arm64");
    world.limits.filter_by_arch = false;
    let actions = world.plan();
    assert!(launched(&actions)[0].labels.contains("arm64"));
    // An ordinary runner is no cover for it.
    assert_eq!(world.runner("r1", "a", Phase::Idle).launched_jobs(), [1]);
}

#[test]
fn a_repository_whose_launches_failed_is_left_alone_until_its_time() {
    let mut world = world().job("a", 1, 0).job("b", 2, 0);
    world.backoff.insert(repo("a"), at(3660));
    assert_eq!(world.launched_jobs(), [2]);
    assert_eq!(world.why_held(1), "launches for its repository failed; next try at 01:01:00Z");
    assert_eq!(world.at(3660).launched_jobs(), [1, 2]);
}

#[test]
fn nothing_is_launched_while_launches_are_paused() {
    let mut world = world().job("a", 1, 0);
    world.paused = Some("the image is missing");
    assert_eq!(world.why_held(1), "the image is missing");
}

/// terraform-aws-github-runner#1853: cancelled jobs left a fleet of idle runners.
#[test]
fn an_idle_runner_goes_when_its_job_was_cancelled_but_not_at_once() {
    let world = world().runner("r1", "a", Phase::Idle).last(|r| r.since = at(3595));
    assert_eq!(world.removals(), []);
    assert_eq!(world.at(3605).removals(), [("r1".into(), Removal::Surplus)]);
}

#[test]
fn a_runner_provisioned_by_hand_stays_until_idle_timeout() {
    let by_hand = |since| {
        world()
            .runner("r1", "a", Phase::Idle)
            .last(|r| (r.container.origin, r.since) = (Origin::Manual, at(since)))
    };
    assert_eq!(by_hand(3301).removals(), []);
    assert_eq!(by_hand(3300).removals(), [("r1".into(), Removal::Surplus)]);
}

#[test]
fn no_runner_is_retired_when_the_demand_of_its_repository_was_not_seen() {
    let mut world = world().runner("r1", "a", Phase::Idle).last(|r| r.since = at(0));
    let outage = Error::new(Code::GithubUnreachable, "down", "wait");
    world.demand.as_mut().unwrap().unseen.insert(repo("a"), outage);
    assert_eq!(world.removals(), []);
    world.demand = None;
    assert_eq!(world.removals(), []);
}

#[test]
fn a_runner_that_never_came_online_is_removed_and_one_that_still_may_is_not() {
    let started =
        |second| world().runner("r1", "a", Phase::Starting).last(|r| r.since = at(second));
    assert_eq!(started(3421).removals(), []);
    assert_eq!(started(3420).removals(), [("r1".into(), Removal::NeverOnline)]);
}

#[test]
fn a_runner_that_github_dropped_stops_counting_and_is_replaced() {
    let lost = |second| {
        world()
            .job("a", 1, 0)
            .runner("r1", "a", Phase::Idle)
            .last(|r| r.lost_since = Some(at(second)))
    };
    assert_eq!((lost(3590).removals(), lost(3590).launched_jobs()), (vec![], vec![1]));
    assert_eq!(lost(3540).removals(), [("r1".into(), Removal::Lost)]);
}

#[test]
fn a_runner_that_stays_idle_while_its_jobs_wait_is_replaced() {
    let deaf = world().job("a", 1, 0).runner("r1", "a", Phase::Idle).last(|r| r.since = at(3500));
    assert_eq!(
        (deaf.removals(), deaf.launched_jobs()),
        (vec![("r1".into(), Removal::Deaf)], vec![1])
    );
    let fresh_job =
        world().job("a", 1, 3590).runner("r1", "a", Phase::Idle).last(|r| r.since = at(3500));
    assert_eq!(fresh_job.removals(), []);
}

#[test]
fn a_busy_runner_is_removed_only_beyond_job_timeout() {
    let job = JobRef { id: 1, run_id: 1, name: "b".into(), url: String::new() };
    let running = RunningJob { job, runner_name: "r1".into(), started_at: Some(at(0)) };
    let mut world = world().runner("r1", "a", Phase::Busy).last(|r| r.job = Some(running));
    assert_eq!(world.removals(), []);
    world.limits.job_timeout = Some(TimeDelta::seconds(3599));
    assert_eq!(world.removals(), [("r1".into(), Removal::Overtime)]);
}

#[test]
fn registrations_that_nobody_claims_are_forgotten_after_a_while_and_no_others() {
    let mut world = world().runner("ipfs-alive", "a", Phase::Starting);
    let scope = Scope::Repo(repo("a"));
    let named = |id, name: &str| Registered { id, name: name.into(), online: false, busy: false };
    let listed = [
        named(1, "ipfs-dead"),
        named(2, "ipfs-alive"),
        named(3, "ipfs-removing"),
        named(4, "ipfs-neighbour"),
        named(5, "somebody-elses"),
    ];
    world.registered.insert(scope.clone(), listed.into());
    let mut saw = |id, seconds| {
        let since = world.now - TimeDelta::seconds(seconds);
        world.unclaimed.insert((scope.clone(), id), Unclaimed { since, seen: world.now });
    };
    [1, 2, 3].into_iter().for_each(|id| saw(id, 30));
    // It may get its container any moment; and one that is listed no more is gone.
    saw(4, 29);
    saw(6, 60);
    world.removing.insert("ipfs-removing".into());
    let forget = Action::Forget { scope, id: 1, name: "ipfs-dead".into() };
    assert_eq!(world.plan(), vec![forget]);
}

#[test]
fn what_is_asked_by_hand_is_launched_within_the_bound_and_refused_beyond_it() {
    let mut world = world().max(1);
    let ask = Ask { scope: Scope::Repo(repo("a")), repo: repo("a") };
    world.asked = vec![ask.clone(), ask.clone()];
    let actions = world.plan();
    assert_eq!(launched(&actions)[0].origin, Origin::Manual);
    assert_eq!(actions[1], Action::Refuse { ask, why: Held::AtCapacity { max: 1 } });
}

#[test]
fn warm_runners_are_kept_ready_beside_those_that_jobs_will_take() {
    let mut world = world().job("a", 1, 0).runner("r1", "a", Phase::Idle);
    world.limits.min_idle = 2;
    world.limits.warm = vec![Scope::Repo(repo("a"))];
    let actions = world.plan();
    assert_eq!(
        launched(&actions).iter().map(|o| o.origin).collect::<Vec<_>>(),
        [Origin::Warm, Origin::Warm]
    );
    let ready = world.runner("r2", "a", Phase::Idle).runner("r3", "a", Phase::Idle);
    assert!(launched(&ready.plan()).is_empty());
}

#[test]
fn a_warm_runner_makes_room_for_a_job_that_it_cannot_serve() {
    let idle = |world: World, name: &str| {
        world.runner(name, "a", Phase::Idle).last(|r| {
            r.container.origin = Origin::Warm;
            r.since = at(3580);
        })
    };
    let mut world = idle(idle(world().max(2), "r1"), "r2");
    world.limits.min_idle = 2;
    world.limits.warm = vec![Scope::Repo(repo("a"))];
    assert!(world.removals().is_empty());
    let world = world.job("b", 1, 3570);
    assert_eq!(world.removals(), [("r1".into(), Removal::Surplus)], "one for each job");
}

#[test]
fn of_more_warm_runners_than_needed_the_longest_idle_goes() {
    let mut world = world().runner("r1", "a", Phase::Idle).last(|r| r.since = at(3590));
    world = world.runner("r2", "a", Phase::Idle).last(|r| r.since = at(3580));
    world.limits.min_idle = 1;
    world.limits.warm = vec![Scope::Repo(repo("a"))];
    assert_eq!(world.removals(), [("r2".into(), Removal::Surplus)]);
}
