//! What is measured: the numbers of the last day, and what containers use.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;

use super::races::{LateEngine, settle};
use super::world::{Fate, World, repo};
use crate::error::Code;
use crate::model::Phase;
use crate::samples::Sample;

/// Samples without their times, and the seconds from each to the next.
fn told(world: &World) -> (Vec<[usize; 4]>, Vec<i64>) {
    let rows = world.kit.samples().rows;
    let apart = rows.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    let numbers = |s: Sample| [s.queued_jobs, s.active_runners, s.busy_runners, s.capacity];
    (rows.into_iter().map(numbers).collect(), apart)
}

#[tokio::test(start_paused = true)]
async fn a_sample_is_taken_at_the_first_look_and_then_every_minute() {
    let world = World::new(2);
    world.github.queue("a", 3, 600);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(125).await;
    let (numbers, apart) = told(&world);
    assert_eq!(numbers, [[3, 0, 0, 2], [1, 2, 2, 2], [1, 2, 2, 2]]);
    assert!(apart.iter().all(|seconds| (60..=61).contains(seconds)), "{apart:?}");
    let latest = world.kit.samples().rows[2];
    assert_eq!(*world.kit.subscribe_samples().borrow(), latest.at);
    assert_eq!(latest.api_remaining, None, "this GitHub tells no budget");
}

#[tokio::test(start_paused = true)]
async fn while_the_autoscaler_is_off_no_samples_are_taken_and_a_start_takes_one_at_once() {
    let world = World::new(2);
    world.github.queue("a", 1, 3_600);
    world.kit.provision(None).await.unwrap();
    world.pass(300).await;
    assert_eq!(told(&world), (vec![], vec![]), "it looked, but was off");
    world.kit.start_autoscaler().await.unwrap();
    world.pass(30).await;
    world.kit.stop_autoscaler().await.unwrap();
    world.pass(600).await;
    assert_eq!(told(&world).0, [[0, 1, 1, 2]]);
    world.kit.start_autoscaler().await.unwrap();
    world.pass(65).await;
    let (numbers, apart) = told(&world);
    assert_eq!(numbers, [[0, 1, 1, 2]; 3]);
    assert!((629..=632).contains(&apart[0]) && (60..=61).contains(&apart[1]), "{apart:?}");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_seen_is_no_sample_of_an_empty_queue() {
    let world = World::new(2);
    world.github.queue("a", 3, 600);
    world.github.change(|state| state.down = true);
    world.kit.start_unchecked().await.unwrap();
    world.pass(300).await;
    assert_eq!(told(&world).0, Vec::<[usize; 4]>::new());
    world.github.change(|state| state.down = false);
    world.until("it is seen", |world| !world.kit.samples().rows.is_empty()).await;
    assert_eq!(told(&world).0, [[3, 0, 0, 2]]);
}

#[tokio::test(start_paused = true)]
async fn a_day_of_samples_is_kept() {
    let world = World::new(1);
    world.kit.start_autoscaler().await.unwrap();
    settle().await;
    // In steps of minutes: a step lets every timer go once.
    for _ in 0..1_500 {
        tokio::time::advance(Duration::from_secs(60)).await;
        settle().await;
    }
    let rows = world.kit.samples().rows;
    assert_eq!(rows.len(), 1_440);
    assert!(rows.windows(2).all(|pair| pair[1].at - pair[0].at == 60));
}

#[tokio::test(start_paused = true)]
async fn the_sampler_ends_with_the_last_who_holds_the_autoscaler() {
    let World { kit, parts, .. } = World::new(1);
    settle().await;
    let samples = std::sync::Arc::downgrade(&parts.samples);
    drop((kit, parts));
    settle().await;
    assert_eq!(samples.strong_count(), 0, "nothing is left that could take one");
}

#[tokio::test(start_paused = true)]
async fn ten_screens_cost_as_many_measurements_as_one() {
    let world = World::new(41);
    let (engine, kit) = LateEngine::beside(&world);
    // One that has ended, and is not to be asked about.
    world.github.change(|state| state.crash = Some(1));
    kit.provision(Some(&repo("a"))).await.unwrap();
    settle().await;
    world.github.change(|state| state.crash = None);
    for _ in 0..40 {
        kit.provision(Some(&repo("a"))).await.unwrap();
    }
    let told = join_all((0..10).map(|_| kit.usage())).await;
    assert_eq!(engine.measured.load(Ordering::SeqCst), 40);
    assert_eq!(engine.most_measuring.load(Ordering::SeqCst), 16);
    let mut ids: Vec<_> = told[9].as_ref().unwrap().iter().map(|u| &u.container_id).collect();
    assert_eq!((ids.len(), ids[0].len()), (40, 12));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40);
    tokio::time::advance(Duration::from_millis(1_900)).await;
    kit.clone().usage().await.unwrap();
    assert_eq!(engine.measured.load(Ordering::SeqCst), 40);
    tokio::time::advance(Duration::from_millis(100)).await;
    kit.usage().await.unwrap();
    assert_eq!(engine.measured.load(Ordering::SeqCst), 80);
}

#[tokio::test(start_paused = true)]
async fn only_what_runs_is_measured_and_an_engine_that_is_away_is_asked_once() {
    let world = World::new(3);
    world.github.change(|state| state.crash = Some(1));
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    settle().await;
    world.github.change(|state| state.crash = None);
    let live = world.kit.provision(Some(&repo("a"))).await.unwrap();
    assert_eq!(world.containers().await, 2);
    let usage = world.kit.usage().await.unwrap();
    assert_eq!(usage.len(), 1);
    assert_eq!(usage[0].container_id, live[0].container_id);
    assert_eq!((usage[0].cpu_percent, usage[0].memory_bytes), (0.0, 0));
    let all = world.parts.engine.containers().await.unwrap();
    let ended = all.iter().find(|container| container.ended).unwrap();
    let told = world.kit.container(&ended.id).await.unwrap();
    assert_eq!((told.container.phase, told.usage), (Phase::Exited, None));

    tokio::time::advance(Duration::from_secs(2)).await;
    world.engine.set_reachable(false);
    assert_eq!(world.kit.usage().await.unwrap_err().code, Code::DockerUnreachable);
    world.engine.set_reachable(true);
    assert!(world.kit.usage().await.is_err(), "the answer of just now holds");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(world.kit.usage().await.unwrap().len(), 1);
}

/// Jobs that began and that ended, as the metrics have them.
fn jobs(world: &World) -> (u64, u64) {
    let jobs = world.parts.metrics.read().jobs;
    let ended = jobs.values().flat_map(|jobs| jobs.ended.values());
    (jobs.values().map(|jobs| jobs.started).sum(), ended.map(|ends| ends.count).sum())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_too_short_to_be_seen_is_counted_and_a_runner_without_one_is_not() {
    let world = World::new(2);
    world.kit.start_autoscaler().await.unwrap();
    world.github.queue("a", 1, 1);
    world.until("it is done", |world| world.github.done() == 1).await;
    world.pass(60).await;
    assert_eq!((world.containers().await, jobs(&world)), (0, (1, 1)));
    // One that ended with an error may have had none.
    world.github.change(|state| state.fate = Some(Fate::EndsBadly));
    world.github.queue("a", 1, 1);
    world.until("it is done", |world| world.github.done() == 2).await;
    world.pass(60).await;
    assert_eq!((world.containers().await, jobs(&world)), (0, (1, 1)));
    world.kit.provision(Some(&repo("a"))).await.unwrap();
    world.pass(1_000).await;
    assert_eq!((world.containers().await, jobs(&world)), (0, (1, 1)));
}
