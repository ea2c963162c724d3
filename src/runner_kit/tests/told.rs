//! What callers are told, and what becomes of what they no longer wait for.

use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use super::races::{LateEngine, settle};
use super::world::{World, repo};
use crate::model::Phase;
use crate::resource::LOG_LINES;
use crate::runner_kit::{ContainerFilter, QueueFilter};
use crate::views::Paging;

#[tokio::test(start_paused = true)]
async fn who_watches_a_launch_is_told_its_steps_until_the_runner_is_online() {
    let world = World::new(2);
    let (steps, mut told) = unbounded_channel();
    let launched = world.kit.provision_watched(Some(&repo("a")), &steps).await.unwrap();
    drop(steps);
    let mut heard = Vec::new();
    while let Some(step) = told.recv().await {
        heard.push(step.split_once(": ").unwrap().1.to_owned());
    }
    let expected = ["registering with GitHub", "starting the container", "started", "online"];
    assert_eq!(heard, expected);
    assert_eq!(launched[0].status, Phase::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_ends_before_it_is_online_is_told_to_have_ended() {
    let world = World::new(1);
    world.github.change(|state| state.crash = Some(1));
    let (steps, _told) = unbounded_channel();
    let launched = world.kit.provision_watched(Some(&repo("a")), &steps).await.unwrap();
    assert_eq!(launched[0].status, Phase::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_nobody_waits_for_any_more_leaves_nothing() {
    let world = World::new(1);
    let (late, kit) = LateEngine::beside(&world);
    late.hold_launch();
    let asking = kit.clone();
    let asked = tokio::spawn(async move { asking.provision(Some(&repo("a"))).await });
    settle().await;
    assert_eq!(world.github.change(|state| state.runners.len()), 1, "it is registered");
    asked.abort();
    settle().await;
    late.release.notify_one();
    world.pass(1).await;
    assert_eq!(world.containers().await, 0);
    assert_eq!(world.github.change(|state| state.runners.len()), 0);
    // The place is free again.
    assert_eq!(kit.provision(Some(&repo("b"))).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_nobody_waits_for_any_more_launches_nothing_while_the_autoscaler_is_off() {
    let world = World::new(2);
    world.github.queue("a", 2, 5);
    world.github.change(|state| state.gated = true);
    let kit = world.kit.clone();
    let asked = tokio::spawn(async move { kit.provision(None).await });
    settle().await;
    asked.abort();
    settle().await;
    world.github.gate.notify_one();
    world.pass(5).await;
    assert_eq!(world.engine.launched().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_loop_wants_too_is_launched_whoever_stops_waiting() {
    let world = World::new(2);
    let (late, kit) = LateEngine::beside(&world);
    kit.start_autoscaler().await.unwrap();
    world.pass(1).await;
    late.hold_launch();
    world.github.queue("a", 1, 5);
    let asking = kit.clone();
    let asked = tokio::spawn(async move { asking.provision(None).await });
    world.until("a launch is held", |_| late.is_holding()).await;
    asked.abort();
    settle().await;
    late.release.notify_one();
    world.until("the job is done", |world| world.github.done() == 1).await;
    assert_eq!(world.engine.launched().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_waiting_job_is_told_with_the_reason_why_it_waits() {
    let world = World::new(1);
    world.github.queue("a", 2, 600);
    let before = world.kit.queue(&repo("a")).await.unwrap();
    assert!(before.waiting.iter().all(|job| job.reason == "the autoscaler is not running"));
    world.kit.start_autoscaler().await.unwrap();
    world.until("one is at work", |world| world.github.running() == 1).await;
    world.pass(10).await;
    let queue = world.kit.queue(&repo("a")).await.unwrap();
    let [waiting] = queue.waiting.as_slice() else { panic!("{queue:?}") };
    assert_eq!(waiting.reason, "max_runners is 1 and no more may run");
    assert_eq!((queue.running.len(), queue.more), (1, 0));
    let wait = world.kit.longest_wait().unwrap();
    assert_eq!(wait.reason, waiting.reason);
    assert_eq!(world.kit.known_repos(), [repo("a")]);
    assert!(world.kit.queue(&repo("other")).await.unwrap_err().message.contains("o/other"));
}

#[tokio::test(start_paused = true)]
async fn runners_that_are_adopted_are_told_before_the_first_look_is_over() {
    let world = World::new(2);
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    let next = world.restarted();
    world.github.change(|state| state.gated = true);
    let started = next.start_autoscaler().await.unwrap();
    assert_eq!((started.status.active_runners, started.status.capacity.free), (1, 1));
    world.engine.set_hanging(true);
    let begun = Instant::now();
    next.get_status().await.unwrap();
    assert!(begun.elapsed().as_secs() <= 2, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_is_none_is_refused_and_not_the_end_of_the_list() {
    let world = World::new(2);
    world.github.queue("a", 2, 600);
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    for cursor in ["2", "garbage", ""] {
        let paging = Paging { cursor: Some(cursor.into()), ..Paging::default() };
        let filter = ContainerFilter { paging: paging.clone(), ..ContainerFilter::default() };
        let refused = world.kit.list_runner_containers(&filter).await.unwrap_err();
        assert!(refused.message.contains("cursor"), "{refused}");
        let filter = QueueFilter { paging, ..QueueFilter::default() };
        let refused = world.kit.get_workflow_queues(&filter).await.unwrap_err();
        assert!(refused.message.contains("cursor"), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_is_told_while_it_is_there_and_when_it_is_gone() {
    let world = World::new(1);
    let launched = world.kit.provision(Some(&repo("a"))).await.unwrap();
    world.pass(5).await;
    let name = &launched[0].runner_name;
    let there = world.kit.container(name).await.unwrap();
    assert_eq!((there.container.phase, there.end), (Phase::Idle, None));
    assert!(there.inspection.is_some() && there.usage.is_some());
    world.kit.stop_runner_container(name, false).await.unwrap();
    let gone = world.kit.container(name).await.unwrap();
    assert_eq!(gone.container.container_id, launched[0].container_id);
    assert_eq!(gone.usage, None);
    assert_eq!(gone.end.unwrap().why.unwrap(), "it was stopped by hand");
    assert!(world.kit.container_log(name, LOG_LINES).await.unwrap().contains("exited"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_nobody_waits_for_any_more_is_finished_all_the_same() {
    let world = World::new(1);
    let (late, kit) = LateEngine::beside(&world);
    let name = kit.provision(Some(&repo("a"))).await.unwrap().remove(0).runner_name;
    world.pass(5).await;
    late.hold_stop();
    let asked = tokio::spawn(async move { kit.stop_runner_container(&name, false).await });
    settle().await;
    assert!(late.is_holding(), "its registration is removed, and it would listen for ever");
    asked.abort();
    settle().await;
    late.release.notify_one();
    world.pass(1).await;
    assert_eq!(world.containers().await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_watches_a_launch_is_answered_in_time_also_when_the_engine_hangs() {
    let world = World::new(1);
    let (steps, mut told) = unbounded_channel();
    let (kit, begun) = (world.kit.clone(), Instant::now());
    let asked =
        tokio::spawn(async move { kit.provision_watched(Some(&repo("a")), &steps).await.unwrap() });
    while told.recv().await.is_some_and(|step| !step.ends_with(": started")) {}
    world.engine.set_hanging(true);
    assert_eq!(asked.await.unwrap()[0].status, Phase::Starting);
    assert!(begun.elapsed().as_secs() <= 46, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn while_the_engine_is_away_that_is_why_jobs_wait() {
    let world = World::new(2);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(10).await;
    world.engine.set_reachable(false);
    world.pass(200).await;
    world.github.queue("a", 1, 5);
    world.pass(200).await;
    let why = world.kit.longest_wait().unwrap().reason;
    assert!(why.starts_with("Docker is not accessible"), "{why}");
    world.engine.set_reachable(true);
    world.until("it is done", |world| world.github.done() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_tells_since_when_it_runs_and_keeps_the_events_of_before() {
    let world = World::new(1);
    let start = async || world.kit.start_autoscaler().await.unwrap().status.start_time.unwrap();
    let first = start().await;
    world.pass(10).await;
    world.kit.stop_autoscaler().await.unwrap();
    assert!(start().await > first);
    let events = world.kit.subscribe().borrow().events.clone();
    let told: Vec<&str> = events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0] == "started" && told[1].starts_with("stopped") && told[2] == "started");
}
