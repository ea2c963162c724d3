//! From the moment a job is visible to the start of its container, each time beside the bare create
//! and start of the same container.

use std::time::Duration;

use runner_kit::simulator::{JobStatus, Options, RepoSpec};
use serde_json::{Value, json};

use super::bare::Bare;
use super::world::{World, now, remove};
use super::{percentile, round};

const REPO: &str = "octo-org/a";
const SET: &str = "bench-pool";
const INSTANCE: &str = "bench-pickup";

/// Which way the service learns of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Webhook,
    ScaleSet,
    Poll,
}

/// `count` single jobs.
pub(crate) async fn pickup(way: Way, count: usize) -> Value {
    let mut env = vec![("RUNNER_KIT_POLL_INTERVAL", if way == Way::Poll { "1" } else { "120" })];
    if way == Way::ScaleSet {
        env.extend([("RUNNER_KIT_SCALE_SET", SET), ("RUNNER_KIT_REPOS", REPO)]);
    }
    let repos = [RepoSpec::new(REPO)];
    let world = World::new(INSTANCE, &repos, Options::default(), &env).await;
    world.start().await;
    match way {
        Way::Webhook => world.hook().await,
        Way::ScaleSet => {
            while world.github.scale_set(SET).is_none_or(|set| set.session.is_none()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Way::Poll => {}
    }
    // The first one warms everything up, and shows what a runner's container is.
    let mark = world.events.mark();
    world.queue(REPO, 1, Duration::from_secs(1));
    let first = world.events.first(mark, |told| told.is_ours && told.action == "start").await;
    let bare = Bare::like(&world, &first.name).await;
    world.calm().await;
    let (mut waits, mut bares) = (Vec::new(), Vec::new());
    for number in 0..count {
        // By turns, so that neither always comes after the other.
        if number % 2 == 0 {
            bares.push(bare_start(&world, &bare, number).await);
            waits.push(start(&world, way).await);
        } else {
            waits.push(start(&world, way).await);
            bares.push(bare_start(&world, &bare, number).await);
        }
    }
    world.end().await;
    let ratio = |share| round(percentile(&waits, share) / percentile(&bares, share), 2);
    json!({
        "row": "pickup", "way": format!("{way:?}").to_lowercase(), "jobs": count,
        "p50_ms": round(percentile(&waits, 0.5), 1), "p99_ms": round(percentile(&waits, 0.99), 1),
        "bare_p50_ms": round(percentile(&bares, 0.5), 1), "bare_p99_ms": round(percentile(&bares, 0.99), 1),
        "p50_ratio": ratio(0.5), "p99_ratio": ratio(0.99),
    })
}

/// The time from the job's being visible to the container's start.
async fn start(world: &World, way: Way) -> f64 {
    let mark = world.events.mark();
    world.github.clear_requests();
    let queued = now();
    world.queue(REPO, 1, Duration::ZERO);
    let visible = match way {
        // The POST is sent, or the message answered, in the same moment.
        Way::Webhook | Way::ScaleSet => queued,
        Way::Poll => {
            let is_told = |request: &runner_kit::simulator::Request| {
                request.path.ends_with("/jobs") && request.status == Some(200)
            };
            world.github.wait_for_requests(|journal| journal.requests().any(is_told)).await;
            now()
        }
    };
    let started = world.events.first(mark, |told| told.is_ours && told.action == "start").await;
    world.events.first(mark, |told| told.is_ours && told.action == "destroy").await;
    world.calm().await;
    let starts = world.events.since(mark);
    let starts = starts.iter().filter(|told| told.is_ours && told.action == "start").count();
    assert_eq!(starts, 1, "one runner for one job");
    started.at - visible
}

/// The time from the bare create to the container's start.
async fn bare_start(world: &World, bare: &Bare, number: usize) -> f64 {
    let (mark, name) = (world.events.mark(), format!("bare-{number}"));
    let body = bare.prepare(world, &name);
    let (began, id) = bare.launch(&name, body).await;
    let started =
        world.events.first(mark, |told| told.name == name && told.action == "start").await;
    remove(&world.docker, &id).await;
    world.events.first(mark, |told| told.name == name && told.action == "destroy").await;
    let runner = world.github.runners().into_iter().find(|runner| runner.name == name);
    runner.map(|runner| world.github.delete_runner(runner.id));
    started.at - began
}

/// `count` single jobs that come while a runner is ready.
pub(crate) async fn warm(count: usize) -> Value {
    let env = [("RUNNER_KIT_MIN_IDLE", "1"), ("RUNNER_KIT_REPOS", REPO)];
    let world = World::new(INSTANCE, &[RepoSpec::new(REPO)], Options::default(), &env).await;
    world.start().await;
    world.hook().await;
    let (mut waits, mut begins) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let ready =
            |runner: &runner_kit::simulator::Runner| runner.connections > 0 && runner.job.is_none();
        world.github.wait_until(|state| state.runners().any(ready)).await;
        let waiting = |state: &runner_kit::simulator::State| -> Vec<String> {
            state.runners().filter(|one| ready(one)).map(|one| one.name.clone()).collect()
        };
        let (waiting, queued) = (world.github.look(waiting), now());
        let job = world.queue(REPO, 1, Duration::ZERO)[0];
        let begun = |job: &runner_kit::simulator::Job| job.started_at.is_some();
        world.github.wait_until(|state| state.jobs().all(begun)).await;
        let wait = now() - queued;
        begins.push(wait);
        let is_done = |job: &runner_kit::simulator::Job| job.status == JobStatus::Completed;
        world.github.wait_until(|state| state.jobs().all(is_done)).await;
        let taken = world.github.jobs().into_iter().find(|one| one.id == job).unwrap();
        // One that was ready before the job came needs no container.
        let was_ready = waiting.contains(&taken.runner_name.unwrap());
        waits.push(if was_ready { 0.0 } else { wait });
    }
    world.end().await;
    json!({
        "row": "warm", "jobs": count,
        "p50_ms": round(percentile(&waits, 0.5), 1), "p99_ms": round(percentile(&waits, 0.99), 1),
        "begin_p50_ms": round(percentile(&begins, 0.5), 1),
        "begin_p99_ms": round(percentile(&begins, 0.99), 1),
    })
}
