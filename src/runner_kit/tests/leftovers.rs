//! What is left of runners that are no more, and what is not; and a disk that fills up.

use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use super::races::{LateEngine, settle};
use super::world::{World, repo};
use crate::error::{Code, Error};
use crate::model::{Registered, Scope};
use crate::snapshot::{Event, EventKind};

fn dead(id: u64, name: &str) -> Registered {
    Registered { id, name: name.into(), online: false, busy: false }
}

fn registered(world: &World) -> usize {
    world.github.change(|state| state.runners.len())
}

/// The scopes that runners were listed in during the next minute.
async fn listed(world: &World) -> Vec<Scope> {
    world.github.change(|state| state.listings.clear());
    world.pass(60).await;
    world.github.change(|state| std::mem::take(&mut state.listings))
}

/// llama.cpp#7893: registrations that nobody used were left, until GitHub took no more.
#[tokio::test(start_paused = true)]
async fn a_service_killed_between_registration_and_container_leaves_nothing_although_no_job_waits()
{
    let world = World::new(2);
    let (late, killed) = LateEngine::beside(&world);
    late.hold_launch();
    let asked = tokio::spawn(async move { killed.provision(Some(&repo("a"))).await });
    world.until("it is registered", |_| late.is_holding()).await;
    asked.abort();
    let _ = asked.await;
    settle().await;
    assert_eq!((registered(&world), world.containers().await), (1, 0));

    let next = world.restarted();
    next.start_autoscaler().await.unwrap();
    world.pass(40).await;
    assert_eq!(registered(&world), 0);
    // What came about late would have been listed by now: nothing is left to look for.
    world.pass(330).await;
    assert_eq!(listed(&world).await, []);
    assert!(world.parts.leftovers.all().is_empty());
    assert_eq!(next.get_status().await.unwrap().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_left_it_is_looked_once() {
    let world = World::new(2);
    world.parts.leftovers.remember("o/a", "", UNIX_EPOCH);
    world.parts.leftovers.remember("acme", "", UNIX_EPOCH);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(1).await;
    let listed = world.github.change(|state| std::mem::take(&mut state.listings));
    assert_eq!(listed, [Scope::Repo(repo("a")), Scope::org("acme")]);
    assert_eq!(self::listed(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_is_listed_long_after_its_launch_failed_is_found_all_the_same() {
    let world = World::new(2);
    let refusal = Error::new(Code::GithubUnreachable, "The answer was lost.", "Wait.");
    world.github.change(|state| state.refused = Some(refusal));
    world.github.queue("a", 1, 5);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(5).await;
    world.github.cancel_queued();
    // Several looks show that nothing of ours is registered there.
    world.pass(150).await;
    world.github.change(|state| state.runners.push(dead(90, "ipfs-default-memory-late")));
    world.pass(200).await;
    assert_eq!(registered(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_no_more_is_forgotten_and_no_trouble() {
    let world = World::new(2);
    let scope = Scope::Repo(repo("gone"));
    world.github.change(|state| state.closed.push(scope.clone()));
    world.parts.leftovers.remember("o/gone", "", UNIX_EPOCH);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(60).await;
    assert_eq!(world.kit.get_status().await.unwrap().last_error, None);
    assert_eq!(world.github.change(|state| state.listings.clone()), [scope]);
    assert!(world.parts.leftovers.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_refused_for_a_while_after_a_launch_is_not_taken_for_closed() {
    let world = World::new(2);
    let scope = Scope::Repo(repo("a"));
    world.github.change(|state| state.closed.push(scope.clone()));
    world.parts.leftovers.remember("o/a", "", world.github.now().into());
    world.kit.start_autoscaler().await.unwrap();
    world.pass(500).await;
    world.github.change(|state| {
        state.closed.clear();
        state.runners.push(dead(90, "ipfs-default-memory-left"));
    });
    world.pass(400).await;
    assert_eq!(registered(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn while_the_autoscaler_is_off_nothing_is_removed_by_the_way() {
    let world = World::new(2);
    world.github.change(|state| state.runners.push(dead(90, "ipfs-default-memory-old")));
    world.parts.leftovers.remember("o/a", "", UNIX_EPOCH);
    for _ in 0..3 {
        assert_eq!(world.kit.provision(None).await.unwrap(), []);
        world.pass(40).await;
    }
    assert_eq!(registered(&world), 1);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(60).await;
    assert_eq!(registered(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn where_a_runner_is_that_is_remembered_again_when_it_was_lost() {
    let world = World::new(2);
    world.github.queue("a", 1, 600);
    world.kit.start_autoscaler().await.unwrap();
    world.until("it is at work", |world| world.github.running() == 1).await;
    world.pass(60).await;
    let later = world.github.now() + chrono::TimeDelta::hours(1);
    assert!(world.parts.leftovers.forget("o/a", later.into()));
    world.pass(130).await;
    assert!(world.parts.leftovers.knows("o/a"));
}

#[tokio::test(start_paused = true)]
async fn where_it_cannot_be_looked_for_what_is_left_that_is_told() {
    let world = World::new(2);
    world.github.change(|state| state.hidden.push(Scope::Repo(repo("a"))));
    world.parts.leftovers.remember("o/a", "", UNIX_EPOCH);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(60).await;
    let error = world.kit.get_status().await.unwrap().last_error.unwrap();
    assert_eq!(error.code, Code::GithubUnreachable);
    world.github.change(|state| state.hidden.clear());
    world.pass(200).await;
    assert_eq!(world.kit.get_status().await.unwrap().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn while_github_does_not_answer_it_is_not_forgotten_where_something_may_be_left() {
    let world = World::new(2);
    world.github.change(|state| {
        state.runners.push(dead(90, "ipfs-default-memory-old"));
        state.down = true;
    });
    world.parts.leftovers.remember("o/a", "", UNIX_EPOCH);
    world.kit.start_unchecked().await.unwrap();
    world.pass(300).await;
    assert_eq!(world.parts.leftovers.all().len(), 1);
    world.github.change(|state| state.down = false);
    world.pass(300).await;
    assert_eq!((registered(&world), world.parts.leftovers.all().len()), (0, 0));
}

/// Cloned machines share the engine's id, and so the beginning of the names.
#[tokio::test(start_paused = true)]
async fn a_neighbours_registration_is_left_alone_while_its_runner_starts() {
    let world = World::new(2);
    world.github.queue("a", 1, 3_000);
    world.kit.start_autoscaler().await.unwrap();
    world.until("the job runs", |world| world.github.running() == 1).await;
    let neighbour = |online| {
        move |state: &mut super::world::State| {
            state.runners.retain(|runner| runner.id != 90);
            state.runners.push(Registered { online, ..dead(90, "ipfs-default-memory-theirs") });
        }
    };
    world.github.change(neighbour(false));
    world.pass(20).await;
    assert_eq!(registered(&world), 2, "it is being started");
    world.github.change(neighbour(true));
    world.pass(200).await;
    assert_eq!(registered(&world), 2, "and serves");
    world.github.change(neighbour(false));
    world.pass(200).await;
    assert_eq!(registered(&world), 1, "and was left");
}

#[tokio::test(start_paused = true)]
async fn while_a_disk_is_nearly_full_that_is_told_at_every_place_and_then_launches_go_on() {
    let world = World::new(2);
    let (late, kit) = LateEngine::beside(&world);
    late.full.store(true, Ordering::SeqCst);
    kit.start_autoscaler().await.unwrap();
    world.pass(1).await;
    // Before any job waits for it, too.
    assert_eq!(
        kit.get_status().await.unwrap().warnings,
        ["Nothing is launched: the disk is full."]
    );
    let is_told = |event: &Event| event.kind == EventKind::Image && event.message.contains("image");
    assert!(kit.events().iter().any(is_told));
    world.github.queue("a", 1, 5);
    world.pass(300).await;
    assert_eq!(world.engine.launched().len(), 0);
    let status = kit.get_status().await.unwrap();
    assert!(status.last_error.unwrap().message.contains("the disk is full. Free some."));
    let held = kit.subscribe().borrow().held.values().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(held, ["Container failed to start: the disk is full. Free some."]);

    late.full.store(false, Ordering::SeqCst);
    world.pass(600).await;
    let status = kit.get_status().await.unwrap();
    assert_eq!((world.github.done(), status.warnings.len(), status.last_error), (1, 0, None));
}
