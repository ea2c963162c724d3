//! How runners end, and what is made of it.

use super::github::Fate;
use super::world::World;
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
