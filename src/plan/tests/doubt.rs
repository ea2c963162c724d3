//! Runners in doubt: who is asked, and what their word is good for.

use super::world::*;
use super::*;
use crate::plan::doubtful;

fn asked(world: &World) -> Vec<&str> {
    let asked = doubtful(&world.runners, world.demand.as_ref(), world.now);
    asked.map(|container| container.name.as_str()).collect()
}

#[test]
fn a_fleet_in_which_all_agree_is_not_asked() {
    let world = world().job("a", 1, 3590).job("b", 2, 0);
    let world = world.runner("r1", "a", Phase::Starting).last(|r| r.since = at(3586));
    let world = world.runner("r2", "a", Phase::Idle).last(|r| r.since = at(0));
    let world = world.runner("r3", "a", Phase::Busy).last(|r| r.since = at(0));
    let world = world.runner("r4", "a", Phase::Exited).last(|r| r.since = at(0));
    assert_eq!(asked(&world), [""; 0]);
}

#[test]
fn those_are_asked_that_github_does_not_see_or_that_are_waited_for_too_long() {
    let world = world().job("a", 1, 3585);
    let world = world.runner("late", "b", Phase::Starting).last(|r| r.since = at(3585));
    let world = world.runner("deaf", "a", Phase::Idle).last(|r| r.since = at(3585));
    let world = world.runner("lost", "c", Phase::Busy).last(|r| {
        (r.lost_since, r.registered) = (Some(at(3600)), None);
    });
    assert_eq!(asked(&world), ["late", "deaf", "lost"]);
    let later = world.at(3599);
    assert_eq!(asked(&later), ["lost"]);
}

#[test]
fn one_that_github_calls_busy_or_cannot_tell_of_is_not_asked() {
    let world = world().runner("busy", "a", Phase::Busy).last(|r| r.lost_since = Some(at(0)));
    let world = world.runner("unsure", "a", Phase::Starting).last(|r| {
        (r.certain, r.since) = (false, at(0));
    });
    assert_eq!(asked(&world), [""; 0]);
}

#[test]
fn a_lost_runner_that_says_that_it_works_covers_nothing_and_is_kept_until_its_lease_is_over() {
    let lost = |until| {
        world().job("a", 1, 0).runner("r1", "a", Phase::Busy).last(|r| {
            (r.registered, r.lost_since, r.since) = (None, Some(at(3_000)), at(2_000));
            r.at_work_until = Some(at(until));
        })
    };
    assert_eq!((lost(3_601).removals(), lost(3_601).launched_jobs()), (vec![], vec![1]));
    assert_eq!(lost(3_600).removals(), [("r1".into(), Removal::Lost)]);
    let mut overdue = lost(3_601);
    overdue.limits.job_timeout = Some(TimeDelta::seconds(1_600));
    assert_eq!(overdue.removals(), [], "it has its time");
    overdue.limits.job_timeout = Some(TimeDelta::seconds(1_599));
    assert_eq!(overdue.removals(), [("r1".into(), Removal::Lost)]);
}

#[test]
fn one_that_listens_and_that_github_does_not_show_is_replaced_before_its_time_to_start_is_over() {
    let lost = |second| {
        world().job("a", 1, 0).runner("r1", "a", Phase::Starting).last(|r| {
            (r.since, r.lost_since) = (at(second), Some(at(second)));
        })
    };
    assert_eq!((lost(3_541).removals(), lost(3_541).launched_jobs()), (vec![], vec![1]));
    assert_eq!(lost(3_540).removals(), [("r1".into(), Removal::Lost)]);
}
