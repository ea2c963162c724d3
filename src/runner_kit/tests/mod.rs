//! The loop and the operations in virtual time.

mod alive;
mod bounds;
mod ends;
mod github;
mod heard;
mod leftovers;
mod lessons;
mod measured;
mod overload;
mod races;
mod simulation;
mod told;
mod world;
mod zombies;

use std::collections::BTreeSet;

use self::world::{World, repo};
use crate::config::StartInput;
use crate::error::{Code, Error};
use crate::model::{Phase, Registered};
use crate::runner_kit::{ContainerFilter, QueueFilter};
use crate::snapshot::EventKind;

#[tokio::test(start_paused = true)]
async fn every_queued_job_is_run_once_within_the_bound_and_nothing_is_left() {
    let world = World::new(4);
    for name in ["a", "b", "c", "d", "e"] {
        world.github.queue(name, 8, 20);
    }
    world.kit.start_autoscaler().await.unwrap();
    let mut state = world.kit.subscribe();
    let most = tokio::spawn(async move {
        let mut most = 0;
        while state.changed().await.is_ok() {
            most = most.max(state.borrow_and_update().used);
            if !state.borrow().running && most > 0 {
                break;
            }
        }
        most
    });
    world.until("all 40 jobs are done", |world| world.github.done() == 40).await;
    world.pass(60).await;
    let workers: BTreeSet<_> = world.github.workers().into_iter().collect();
    assert_eq!(workers.len(), 40, "one runner for each job");
    assert_eq!(world.kit.get_status().await.unwrap().provisioned_runners, 40, "and not one more");
    assert_eq!((world.containers().await, world.github.change(|s| s.runners.len())), (0, 0));
    world.kit.stop_autoscaler().await.unwrap();
    assert_eq!(most.await.unwrap(), 4);
    let engine = &world.engine;
    assert_eq!(
        (engine.most_at_once(), engine.launched().len()),
        (4, 40),
        "the engine says so, too"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_killed_is_continued_by_the_next_one_without_loss_or_doubles() {
    let world = World::new(4);
    world.github.queue("a", 12, 20);
    world.kit.start_autoscaler().await.unwrap();
    world.until("some are at work", |world| world.github.running() == 4).await;
    let World { kit, .. } = &world;
    let next = world.restarted();
    // A killed process says nothing: its loop just is no more.
    kit.stop_autoscaler().await.unwrap();
    next.start_autoscaler().await.unwrap();
    world.until("all 12 jobs are done", |world| world.github.done() == 12).await;
    world.pass(60).await;
    let workers: BTreeSet<_> = world.github.workers().into_iter().collect();
    assert_eq!((workers.len(), world.containers().await), (12, 0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_github_is_told_and_never_looks_like_an_empty_queue() {
    let world = World::new(2);
    world.github.queue("a", 1, 600);
    world.kit.start_autoscaler().await.unwrap();
    world.until("it is at work", |world| world.github.running() == 1).await;
    world.github.change(|state| state.down = true);
    world.pass(200).await;
    let status = world.kit.get_status().await.unwrap();
    assert_eq!(status.last_error.unwrap().code, Code::GithubUnreachable);
    assert_eq!((world.live().await, status.active_runners), (1, 1));
    world.github.change(|state| state.down = false);
    world
        .until("the error is over", |world| world.kit.subscribe().borrow().last_error.is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_engine_launches_nothing_and_ends_by_itself() {
    let world = World::new(2);
    world.kit.start_autoscaler().await.unwrap();
    world.engine.set_reachable(false);
    world.github.queue("a", 2, 5);
    world.pass(300).await;
    let error = world.kit.get_status().await.unwrap().last_error.unwrap();
    assert_eq!(error.code, Code::DockerUnreachable);
    world.engine.set_reachable(true);
    world.until("both are done", |world| world.github.done() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_is_told_of_and_every_job_is_run_once_afterwards() {
    let world = World::new(2);
    world.github.queue("a", 6, 20);
    world.kit.start_autoscaler().await.unwrap();
    world.until("two are at work", |world| world.github.running() == 2).await;
    world.engine.set_hanging(true);
    world.pass(300).await;
    let error = world.kit.get_status().await.unwrap().last_error.unwrap();
    assert_eq!(error.code, Code::DockerUnreachable);
    world.engine.set_hanging(false);
    world.until("all are done", |world| world.github.done() == 6).await;
    world.pass(60).await;
    assert_eq!((world.engine.most_at_once(), world.engine.launched().len()), (2, 6));
    assert_eq!((world.containers().await, world.github.change(|s| s.runners.len())), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn start_says_at_once_why_it_cannot_and_keep_trying_starts_all_the_same() {
    let world = World::new(2);
    world.github.change(|state| state.down = true);
    let error = world.kit.start_autoscaler().await.unwrap_err();
    assert_eq!(error.code, Code::GithubUnreachable);
    assert!(!world.kit.get_status().await.unwrap().running);
    assert!(world.kit.start_unchecked().await.unwrap().status.running);
}

#[tokio::test(start_paused = true)]
async fn failed_launches_back_off_are_told_and_are_not_counted() {
    let world = World::new(4);
    let refusal = Error::new(Code::TokenDenied, "Failed to generate runner token.", "Grant it.");
    world.github.change(|state| state.refused = Some(refusal));
    world.github.queue("a", 1, 5);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(120).await;
    let status = world.kit.get_status().await.unwrap();
    assert_eq!(
        (status.provisioned_runners, status.last_error.unwrap().code),
        (0, Code::TokenDenied)
    );
    let tries = world
        .kit
        .subscribe()
        .borrow()
        .events
        .iter()
        .filter(|e| e.kind == EventKind::Failure)
        .count();
    assert!((3..=6).contains(&tries), "{tries} tries in two minutes");
    world.github.change(|state| state.refused = None);
    world.until("it is done", |world| world.github.done() == 1).await;
    assert!(world.kit.get_status().await.unwrap().last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_ends_before_it_is_online_is_a_failed_launch_and_not_tried_without_end() {
    let world = World::new(4);
    // A runner that is at work says nothing of those that are started later.
    world.github.queue("a", 1, 3_000);
    world.kit.start_autoscaler().await.unwrap();
    world.until("it is at work", |world| world.github.running() == 1).await;
    world.github.change(|state| state.crash = Some(1));
    world.github.queue("a", 1, 5);
    world.pass(120).await;
    // A container that ended is replaced before it is known how it ended: two at each try.
    let launched = world.engine.launched().len() - 1;
    assert!((3..=12).contains(&launched), "{launched} launches in two minutes");
    let error = world.kit.get_status().await.unwrap().last_error.unwrap();
    assert_eq!(error.code, Code::ContainerFailed);
    world.github.change(|state| state.crash = None);
    world.until("it is done", |world| world.github.done() == 1).await;
    world.pass(30).await;
    assert!(world.kit.get_status().await.unwrap().last_error.is_none());
    assert_eq!(world.containers().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_takes_its_registration_back() {
    let world = World::new(1);
    let broken = Error::new(Code::ContainerFailed, "Container failed to start: no.", "Look.");
    world.engine.fail_next_launches(1, &broken);
    let error = world.kit.provision(Some(&repo("a"))).await.unwrap_err();
    assert_eq!(error, broken);
    assert_eq!(world.github.change(|state| state.runners.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_a_killed_service_left_is_removed_and_other_peoples_are_not() {
    let world = World::new(2);
    let dead = |id, name: &str| Registered { id, name: name.into(), online: false, busy: false };
    world.github.change(|state| {
        state.runners = vec![dead(90, "ipfs-default-memory-old"), dead(91, "somebody-elses")];
    });
    world.github.queue("a", 2, 5);
    world.kit.start_autoscaler().await.unwrap();
    world.until("both are done", |world| world.github.done() == 2).await;
    world.pass(60).await;
    let left: Vec<_> = world.github.change(|state| state.runners.iter().map(|r| r.id).collect());
    assert_eq!(left, [91]);
}

#[tokio::test(start_paused = true)]
async fn runners_go_when_their_jobs_were_cancelled() {
    let world = World::new(3);
    world.github.queue("a", 3, 5);
    world.kit.start_autoscaler().await.unwrap();
    world.until("runners start", |world| world.kit.subscribe().borrow().used == 3).await;
    world.github.cancel_queued();
    world.pass(60).await;
    assert_eq!((world.containers().await, world.github.change(|s| s.runners.len())), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn provisioning_by_hand_works_without_the_loop_and_keeps_the_bound() {
    let world = World::new(2);
    let launched = world.kit.provision(Some(&repo("a"))).await.unwrap();
    assert_eq!((launched.len(), launched[0].repo.as_str()), (1, "o/a"));
    world.kit.provision(Some(&repo("b"))).await.unwrap();
    let error = world.kit.provision(Some(&repo("c"))).await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::AtCapacity, "At capacity: 2/2 runners active.")
    );
    assert_eq!(world.live().await, 2);
    // Both take a job and end: there is room again, as often as one likes.
    for _ in 0..5 {
        world.github.queue("a", 1, 1);
        world.github.queue("b", 1, 1);
        let before = world.github.done();
        world.until("both are done", |world| world.github.done() == before + 2).await;
        world.kit.provision(Some(&repo("a"))).await.unwrap();
        world.kit.provision(Some(&repo("b"))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn provisioning_for_all_queues_launches_one_runner_for_each_job_that_fits() {
    let world = World::new(2);
    assert_eq!(world.kit.provision(None).await.unwrap(), []);
    world.github.queue("a", 3, 600);
    assert_eq!(world.kit.provision(None).await.unwrap().len(), 2);
    assert_eq!(world.kit.provision(None).await.unwrap_err().code, Code::AtCapacity);
}

#[tokio::test(start_paused = true)]
async fn many_who_provision_at_once_never_exceed_the_bound() {
    let world = World::new(3);
    let all = (0..20).map(|_| {
        let kit = world.kit.clone();
        tokio::spawn(async move { kit.provision(Some(&repo("a"))).await.is_ok() })
    });
    let done = futures::future::join_all(all).await;
    assert_eq!(done.into_iter().filter(|launched| *launched.as_ref().unwrap()).count(), 3);
    assert_eq!(world.live().await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_ones_own_launches_a_runner_with_it() {
    let world = World::new(1);
    let token = world.kit.generate_runner_token(&repo("a")).await.unwrap();
    let launched = world.kit.launch_runner_container(&repo("a"), &token).await.unwrap();
    assert_eq!(launched.status, Phase::Starting);
    assert_eq!(world.parts.engine.containers().await.unwrap()[0].runner_id, None);
}

#[tokio::test(start_paused = true)]
async fn a_busy_container_is_stopped_only_by_force_and_then_leaves_nothing() {
    let world = World::new(1);
    world.github.queue("a", 1, 600);
    world.kit.provision(None).await.unwrap();
    world.until("it is at work", |world| world.github.running() == 1).await;
    let page = world.kit.list_runner_containers(&ContainerFilter::default()).await.unwrap();
    let id = &page.items[0].container_id;
    assert_eq!(page.items[0].phase, Phase::Busy);
    let error = world.kit.stop_runner_container(id, false).await.unwrap_err();
    assert_eq!((error.code, world.live().await), (Code::ConfirmationRequired, 1));
    let stopped = world.kit.stop_runner_container(id, true).await.unwrap();
    assert!(stopped.changed && stopped.was == Phase::Busy);
    assert_eq!(world.containers().await, 0);
    let again = world.kit.stop_runner_container(id, false).await.unwrap();
    assert!(again.stopped && !again.changed && again.was == Phase::Exited);
    assert_eq!(
        world.kit.stop_runner_container("feed", false).await.unwrap_err().code,
        Code::NotFound
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_container_is_stopped_at_once_and_one_that_github_cannot_tell_of_is_not() {
    let world = World::new(2);
    let name = &world.kit.provision(Some(&repo("a"))).await.unwrap()[0].runner_name;
    world.pass(10).await;
    world.github.change(|state| state.down = true);
    let error = world.kit.stop_runner_container(name, false).await.unwrap_err();
    assert_eq!(error.code, Code::ConfirmationRequired);
    world.github.change(|state| state.down = false);
    let stopped = world.kit.stop_runner_container(name, false).await.unwrap();
    assert_eq!((stopped.was, stopped.changed), (Phase::Idle, true));
    assert_eq!(world.github.change(|state| state.runners.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn start_and_stop_are_idempotent_and_leave_one_loop() {
    let world = World::new(1);
    assert!(world.kit.start_autoscaler().await.unwrap().changed);
    assert!(!world.kit.start_autoscaler().await.unwrap().changed);
    assert!(world.kit.stop_autoscaler().await.unwrap().changed);
    assert!(!world.kit.stop_autoscaler().await.unwrap().changed);
    assert!(world.kit.start_autoscaler().await.unwrap().changed);
    world.pass(1).await;
    let before = world.github.change(|state| state.looks);
    world.pass(600).await;
    let looks = world.github.change(|state| state.looks) - before;
    assert_eq!(looks, 5, "one loop looks every 120 s");
    assert_eq!(world.kit.get_status().await.unwrap().iterations, 6);
}

#[tokio::test(start_paused = true)]
async fn stopping_leaves_runners_to_finish_their_job() {
    let world = World::new(1);
    world.github.queue("a", 1, 100);
    world.kit.start_autoscaler().await.unwrap();
    world.until("it is at work", |world| world.github.running() == 1).await;
    assert_eq!(world.kit.stop_autoscaler().await.unwrap().runners_left, 1);
    world.until("it is done", |world| world.github.done() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn one_repository_that_cannot_be_seen_hides_no_other() {
    let world = World::new(2);
    world.github.queue("good", 1, 5);
    world.github.queue("bad", 1, 5);
    world.github.change(|state| state.blind = vec![repo("bad")]);
    world.kit.start_autoscaler().await.unwrap();
    world.until("the good one is served", |world| world.github.done() == 1).await;
    let status = world.kit.get_status().await.unwrap();
    assert_eq!(
        (status.last_error.unwrap().message.as_str(), status.repositories_monitored),
        ("unseen", 1)
    );
    let filter = QueueFilter { repo: Some(repo("bad")), ..QueueFilter::default() };
    assert_eq!(world.kit.get_workflow_queues(&filter).await.unwrap_err().message, "unseen");
}

#[tokio::test(start_paused = true)]
async fn warm_runners_are_ready_before_a_job_comes_and_are_replaced() {
    let repos = Some(vec!["o/a".to_owned()]);
    let world = World::with(StartInput { min_idle: Some(1), repos, ..StartInput::default() });
    world.kit.start_autoscaler().await.unwrap();
    world.pass(20).await;
    assert_eq!(world.live().await, 1);
    world.github.queue("a", 1, 60);
    world.pass(1).await;
    assert_eq!(world.github.running(), 1, "without any wait");
    world.until("it is replaced", |world| world.kit.subscribe().borrow().used == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_breaks_down_takes_no_place_for_ever() {
    let world = World::new(1);
    world.github.change(|state| state.broken = true);
    for _ in 0..3 {
        let error = world.kit.provision(Some(&repo("a"))).await.unwrap_err();
        assert_eq!(error.code, Code::Internal, "{error}");
    }
    world.github.change(|state| state.broken = false);
    assert_eq!(world.kit.provision(Some(&repo("a"))).await.unwrap().len(), 1);
}

/// llama.cpp#7893: registrations that nobody used were left, until GitHub took no more.
#[tokio::test(start_paused = true)]
async fn a_registration_is_removed_although_its_job_was_cancelled_and_its_container_never_was() {
    let world = World::new(1);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(1).await;
    // A just-in-time runner whose start and whose removal both fail.
    let broken = Error::new(Code::ContainerFailed, "Container failed to start: no.", "Look.");
    world.engine.fail_next_launches(1, &broken);
    world.github.change(|state| state.keeps_registrations = true);
    world.github.queue("a", 1, 5);
    world
        .until("it was tried", |world| world.github.change(|state| state.runners.len() == 1))
        .await;
    world.pass(1).await;
    world.github.cancel_queued();
    world.github.change(|state| state.keeps_registrations = false);
    world.pass(300).await;
    assert_eq!(world.github.change(|state| state.runners.len()), 0);
}
