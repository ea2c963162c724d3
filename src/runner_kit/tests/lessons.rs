//! Failures that people reported of other autoscalers, as `tests/all/lessons.md` lists them, where the
//! loop is what must not have them.

use tokio::time::Instant;

use super::heard::{polling, set};
use super::races::settle;
use super::world::{World, repo};
use crate::config::{OperatorOptions, StartInput};
use crate::demand::JobState;
use crate::error::Code;
use crate::model::{Origin, Registered, Scope};

/// No pass comes in between, unless the loop wants one.
const HOUR: i64 = 3_600;

/// That a runner with this name has the job.
fn taken_by(runner: &str) -> JobState {
    JobState::InProgress { runner_name: runner.to_owned(), started_at: None }
}

/// ARC#3649, ARC#3420, ARC#3204: jobs waited for ever while the statistics of their set said zero.
#[tokio::test(start_paused = true)]
async fn a_job_of_which_its_scale_set_says_nothing_gets_a_runner_all_the_same() {
    let (world, source, _kit) = polling(4, 30).await;
    source.board.assign(&Scope::Repo(repo("a")), Some(set(0, 1)));
    world.github.queue("a", 1, 5);
    world.pass(120).await;
    assert_eq!((world.github.done(), world.engine.launched().len()), (1, 1));
}

/// ARC#3953, ARC#3704, ARC#3534: 20 seconds to an hour went by between queued and started.
#[tokio::test(start_paused = true)]
async fn whoever_tells_of_jobs_runners_are_launched_for_them_in_that_instant() {
    let (world, source, _kit) = polling(300, HOUR).await;
    let launched = || world.engine.launched().len();
    world.github.queue("a", 100, 600);
    world.github.change(|state| state.gated = true);
    let heard = Instant::now();
    (1..=100).for_each(|job| source.hear(job, JobState::Queued));
    settle().await;
    assert_eq!((launched(), heard.elapsed().as_nanos()), (100, 0), "by webhook");
    source.board.assign(&Scope::Repo(repo("b")), Some(set(50, 1)));
    settle().await;
    assert_eq!((launched(), heard.elapsed().as_nanos()), (150, 0), "by scale set");
    world.until("a pass is under way", |world| world.github.running() == 100).await;
    world.pass(10).await;
    world.github.queue("a", 20, 600);
    let answered = Instant::now();
    world.github.gate.notify_one();
    settle().await;
    assert_eq!((launched(), answered.elapsed().as_nanos()), (170, 0), "by a poll's answer");
}

/// A world whose first runner is of this origin, idle, and one more than is wanted.
async fn with_a_surplus(origin: Origin) -> World {
    let input = match origin {
        Origin::Warm => StartInput {
            min_idle: Some(1),
            repos: Some(vec!["o/a".to_owned()]),
            ..StartInput::default()
        },
        Origin::Queue | Origin::Manual => StartInput::default(),
    };
    let world = World::with(input);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(10).await;
    match origin {
        Origin::Manual => drop(world.kit.provision(Some(&repo("a"))).await.unwrap()),
        Origin::Queue => {
            world.github.queue("a", 1, 60);
            world.until("a runner starts", |world| world.engine.launched().len() == 1).await;
            world.github.cancel_queued();
        }
        // One is kept; of two the longest idle goes.
        Origin::Warm => drop(world.kit.provision(Some(&repo("a"))).await.unwrap()),
    }
    world.until("it is there", |world| world.github.change(|s| s.runners.len()) > 0).await;
    world
}

/// ARC#4000: an idle runner was killed 5 seconds before its job arrived. GitHub is asked first to forget
/// it, and refuses when it has given it a job.
#[tokio::test(start_paused = true)]
async fn a_runner_whose_job_arrives_as_it_is_to_go_is_kept_and_does_it() {
    let times = [(Origin::Queue, 10..=30), (Origin::Manual, 295..=320), (Origin::Warm, 295..=320)];
    for (origin, expected) in times {
        let world = with_a_surplus(origin).await;
        world.github.change(|state| state.late_job = Some(100));
        let begun = Instant::now();
        let tried = |world: &World| world.github.change(|state| state.late_job.is_none());
        world.until("it is to go", tried).await;
        let waited = begun.elapsed().as_secs();
        assert!(expected.contains(&waited), "{origin:?} after {waited} s");
        let done = world.github.done();
        world.until("it is done", |world| world.github.done() == done + 1).await;
        assert_eq!(world.github.workers(), world.engine.launched()[..1], "{origin:?}");
    }
}

/// ARC#4000: a runner that GitHub still knows may be given a job at any time.
#[tokio::test(start_paused = true)]
async fn a_runner_that_github_does_not_forget_is_not_ended() {
    let world = with_a_surplus(Origin::Queue).await;
    world.github.change(|state| state.keeps_registrations = true);
    world.pass(120).await;
    assert_eq!(world.live().await, 1);
    world.github.queue("a", 1, 5);
    world.pass(10).await;
    assert_eq!((world.github.workers().len(), world.engine.launched().len()), (1, 1));
}

/// terraform-aws-github-runner#4262, terraform-aws-github-runner#3130: one job took the runner of
/// another, which waited for up to 11 hours.
#[tokio::test(start_paused = true)]
async fn by_events_alone_a_job_whose_runner_another_one_took_gets_one_in_that_instant() {
    for scope in [None, Some(Scope::org("o"))] {
        let (world, source, _kit) = polling(4, HOUR).await;
        world.github.change(|state| {
            (state.gated, state.newest_first, state.scope) = (true, true, scope);
        });
        world.github.queue("a", 1, 60);
        source.hear(1, JobState::Queued);
        settle().await;
        // Nobody told that the other one waited.
        world.github.queue("a", 1, 600);
        world.until("one is at work", |world| world.github.running() == 1).await;
        let before = world.engine.launched();
        assert_eq!((before.len(), world.github.workers()), (1, before.clone()));
        source.hear(2, taken_by(&before[0]));
        settle().await;
        assert_eq!(world.engine.launched().len(), 2);
        world.pass(5).await;
        assert_eq!((world.github.running(), world.engine.launched().len()), (2, 2));
    }
}

/// terraform-aws-github-runner#4262, terraform-aws-github-runner#3130, where the events of the other job
/// are lost and passes are an hour apart.
#[tokio::test(start_paused = true)]
async fn a_job_whose_runner_was_taken_by_one_that_nobody_told_of_gets_one_soon() {
    let (world, source, _kit) = polling(4, HOUR).await;
    world.github.change(|state| state.newest_first = true);
    world.github.queue("a", 1, 60);
    source.hear(1, JobState::Queued);
    world.pass(2).await;
    world.github.queue("a", 1, 600);
    world.until("one is at work", |world| world.github.running() == 1).await;
    assert_eq!(world.github.workers(), world.engine.launched(), "the wrong one");
    let taken = Instant::now();
    world.until("both are", |world| world.github.running() == 2).await;
    assert!(taken.elapsed().as_secs() <= 15, "{:?}", taken.elapsed());
    assert_eq!(world.engine.launched().len(), 2, "and none too many");
}

/// terraform-aws-github-runner#4262, terraform-aws-github-runner#3130, without any event.
#[tokio::test(start_paused = true)]
async fn by_polls_alone_a_job_whose_runner_another_one_took_gets_one_soon() {
    for scope in [None, Some(Scope::org("o"))] {
        let world = World::new(4);
        let other = if scope.is_some() { "b" } else { "a" };
        world.github.change(|state| (state.newest_first, state.scope) = (true, scope));
        world.kit.start_autoscaler().await.unwrap();
        world.github.queue("a", 1, 60);
        world.until("a runner starts", |world| world.engine.launched().len() == 1).await;
        world.pass(2).await;
        world.github.queue(other, 1, 600);
        world.until("one is at work", |world| world.github.running() == 1).await;
        assert_eq!(world.github.workers(), world.engine.launched(), "the wrong one");
        let taken = Instant::now();
        world.until("both are", |world| world.github.running() == 2).await;
        assert!(taken.elapsed().as_secs() <= 15, "{:?}", taken.elapsed());
        assert_eq!(world.engine.launched().len(), 2, "and none too many");
    }
}

/// terraform-aws-github-runner#1853: cancelled jobs left a fleet of idle runners.
#[tokio::test(start_paused = true)]
async fn by_polls_alone_a_fleet_whose_jobs_were_cancelled_is_gone_after_its_grace() {
    let world = World::new(40);
    world.kit.start_autoscaler().await.unwrap();
    world.github.queue("a", 40, 60);
    world.until("runners start", |world| world.engine.launched().len() == 40).await;
    world.github.cancel_queued();
    world.pass(30).await;
    assert_eq!((world.containers().await, world.github.change(|s| s.runners.len())), (0, 0));
    assert_eq!(world.engine.launched().len(), 40);
}

/// terraform-aws-github-runner#1853, without any poll.
#[tokio::test(start_paused = true)]
async fn by_events_alone_a_fleet_whose_jobs_were_cancelled_is_gone_after_its_grace() {
    let (world, source, _kit) = polling(40, HOUR).await;
    world.github.change(|state| state.gated = true);
    (1..=40).for_each(|job| source.hear(job, JobState::Queued));
    settle().await;
    assert_eq!(world.engine.launched().len(), 40);
    (1..=40).for_each(|job| source.hear(job, JobState::Completed));
    world.pass(30).await;
    assert_eq!((world.containers().await, world.github.change(|s| s.runners.len())), (0, 0));
}

/// llama.cpp#7893: registrations that nobody used were left, until GitHub took no more.
#[tokio::test(start_paused = true)]
async fn hundreds_of_registrations_that_were_left_are_removed_and_those_of_others_are_not() {
    let world = World::new(2);
    world.github.change(|state| {
        let named = |id, name| Registered { id, name, online: false, busy: false };
        let ours = |id| named(id, format!("ipfs-default-memory-{id}"));
        state.runners = (1_000..1_400).map(ours).collect();
        state.runners.push(named(90, "ipfs-other-memory-1".to_owned()));
        state.runners.push(named(91, "somebody-elses".to_owned()));
        // Of an instance whose name begins with ours.
        state.runners.push(named(92, "ipfs-default-memory-engine-1".to_owned()));
    });
    world.github.queue("a", 1, 5);
    world.kit.start_autoscaler().await.unwrap();
    world.until("the job is done", |world| world.github.done() == 1).await;
    world.pass(30).await;
    let left: Vec<_> = world.github.change(|state| state.runners.iter().map(|r| r.id).collect());
    assert_eq!(left, [90, 91, 92]);
}

/// actions/runner#1364: runners that died offline piled up on GitHub's list.
#[tokio::test(start_paused = true)]
async fn of_runners_that_die_before_they_are_online_no_registration_is_left() {
    let world = World::new(10);
    world.github.change(|state| state.crash = Some(137));
    world.github.queue("a", 10, 60);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(600).await;
    let launched = world.engine.launched().len();
    let left = || world.github.change(|state| state.runners.len());
    assert!(launched > 10 && left() <= 10, "{} of {launched}", left());
    world.github.cancel_queued();
    world.pass(1_000).await;
    assert_eq!((world.containers().await, left()), (0, 0));
}

/// pytorch#140958: runners were ended in mid-job because the budget was used up.
/// terraform-aws-github-runner#3199, ARC#206: and jobs that waited meanwhile were lost.
#[tokio::test(start_paused = true)]
async fn while_the_budget_is_used_up_no_runner_is_ended_and_what_waited_is_served_afterwards() {
    for timeout in [None, Some(7_200)] {
        let operator = OperatorOptions { job_timeout: timeout, ..OperatorOptions::default() };
        let world = World::bounded(StartInput::default(), operator);
        world.kit.start_autoscaler().await.unwrap();
        world.github.queue("a", 3, 1_800);
        world.until("they are at work", |world| world.github.running() == 3).await;
        // One that is idle, and would have to go.
        world.kit.provision(Some(&repo("b"))).await.unwrap();
        world.pass(10).await;
        world.github.change(|state| state.limited = true);
        world.github.queue("a", 2, 60);
        world.pass(1_700).await;
        let status = world.kit.get_status().await.unwrap();
        assert_eq!(status.last_error.unwrap().code, Code::RateLimited);
        assert_eq!((world.live().await, world.engine.launched().len()), (4, 4));
        world.until("they have done it", |world| world.github.done() >= 3).await;
        let of_them = world.engine.launched()[..3].to_vec();
        assert!(of_them.iter().all(|name| world.github.workers().contains(name)));
        world.github.change(|state| state.limited = false);
        let renewed = Instant::now();
        world.until("the others are done, too", |world| world.github.done() == 5).await;
        assert!(renewed.elapsed().as_secs() <= 1_000, "{:?}", renewed.elapsed());
    }
}

/// ARC#2736: there was no bound for one repository, which took all runners.
#[tokio::test(start_paused = true)]
async fn one_repository_never_has_more_runners_than_its_bound_and_holds_up_no_other() {
    for scope in [None, Some(Scope::org("o"))] {
        let input = StartInput { max_runners: Some(6), ..StartInput::default() };
        let operator = OperatorOptions { max_per_repo: Some(3), ..OperatorOptions::default() };
        let world = World::bounded(input, operator);
        world.github.change(|state| state.scope = scope);
        world.github.queue("a", 20, 30);
        world.kit.start_autoscaler().await.unwrap();
        world.until("a has its three", |world| world.github.running_of("a") == 3).await;
        world.pass(1).await;
        world.github.queue("b", 2, 30);
        let queued = Instant::now();
        let served = |world: &World| world.github.running() >= 5;
        world.until("b is served beside it", served).await;
        assert!(queued.elapsed().as_secs() <= 30, "{:?}", queued.elapsed());
        let mut most = 0;
        while world.github.done() < 22 {
            let containers = world.parts.engine.containers().await.unwrap();
            let live = containers.iter().filter(|one| !one.ended && one.repo == Some(repo("a")));
            most = most.max(live.count());
            world.pass(1).await;
        }
        assert_eq!((most, world.engine.launched().len()), (3, 22));
    }
}
