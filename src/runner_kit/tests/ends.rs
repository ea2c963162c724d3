//! How runners end, and what is made of it.

use super::github::Fate;
use super::world::World;
use crate::config::{OperatorOptions, StartInput};
use crate::snapshot::EventKind;

#[tokio::test(start_paused = true)]
async fn a_runner_that_did_its_job_and_ended_with_an_error_is_no_failed_launch() {
    let world = World::new(1);
    world.github.change(|state| state.fate = Some(Fate::EndsBadly));
    world.github.queue("a", 2, 20);
    world.kit.start_autoscaler().await.unwrap();
    world.until("both are done", |world| world.github.done() == 2).await;
    world.pass(30).await;
    let events = world.kit.subscribe().borrow().events.clone();
    let failures = events.iter().filter(|event| event.kind == EventKind::Failure).count();
    assert_eq!((failures, world.kit.get_status().await.unwrap().last_error.is_none()), (0, true));
}

#[tokio::test(start_paused = true)]
async fn a_runner_whose_job_takes_longer_than_job_timeout_is_ended_though_github_calls_it_busy() {
    let operator = OperatorOptions { job_timeout: Some(300), ..OperatorOptions::default() };
    let world = World::bounded(StartInput::default(), operator);
    world.github.queue("a", 1, 3_600);
    world.kit.start_autoscaler().await.unwrap();
    world.until("it is at work", |world| world.github.running() == 1).await;
    world.pass(299).await;
    assert_eq!(world.live().await, 1);
    world.pass(90).await;
    assert_eq!(world.containers().await, 0);
    let events = world.kit.subscribe().borrow().events.clone();
    assert!(events.iter().any(|event| event.message.contains("longer than job_timeout")));
}
