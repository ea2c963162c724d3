//! Jobs that are told of by webhook, with a real engine; and deliveries that go wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use runner_kit::simulator::{
    Delivery, HookFault, JobSpec, JobStatus, Often, RepoSpec, RunSpec, Simulator,
};
use serde_json::json;
use tokio::net::UnixListener;
use tokio::process::Child;

use crate::support::hook::{SECRET, delivery, queued};
use crate::support::http::{Server, Site};
use crate::support::program::Home;
use crate::support::world::World;

const REPO: &str = "octo-org/web";
/// What keeps polls out of it.
const HOUR: (&str, &str) = ("RUNNER_KIT_POLL_INTERVAL", "3600");
const KNOWN: (&str, &str) = ("RUNNER_KIT_WEBHOOK_SECRET", SECRET);

/// A world whose service has looked once and found nothing, and is told of all that happens since.
async fn told(instance: &str, interval: (&'static str, &str)) -> (World, Child, Site) {
    let world = World::new(instance, &[interval, KNOWN]).await;
    world.github.add_repo(RepoSpec::new(REPO));
    let line = format!("{} --http 127.0.0.1:0", world.start_line(4));
    let service = world.home.serve(&line).await;
    while world.home.run("runner status").await.data()["last_check"].is_null() {}
    let site = hooked(&world.github, &world.home).await;
    (world, service, site)
}

/// Has `github` tell the service of `home`.
async fn hooked(github: &Simulator, home: &Home) -> Site {
    let site = Site::said(&home.service_log());
    github.hook(&format!("http://{}/webhooks/github", site.address), SECRET);
    github.wait_for_deliveries(|all| all.len() == 1).await;
    assert_eq!(github.deliveries()[0].status, Some(200), "GitHub's ping");
    site
}

fn queue(world: &World, name: &str) -> u64 {
    let job = JobSpec::new(name).labels(["self-hosted"]).takes(Duration::from_millis(200));
    world.github.queue_run(REPO, RunSpec::new("ci").job(job)).unwrap()
}

async fn all_done(world: &World, jobs: usize) {
    world.until("all jobs are done", |state| state.count(JobStatus::Completed) == jobs).await;
}

/// How many runners the service has launched.
async fn launched(world: &World) -> u64 {
    world.home.run("runner status").await.data()["provisioned_runners"].as_u64().unwrap()
}

#[tokio::test]
async fn a_job_begins_when_it_is_told_of_however_rarely_github_is_polled() {
    let (world, mut service, _) = told("hook-starts", HOUR).await;
    queue(&world, "build");
    all_done(&world, 1).await;
    world.until_nothing_is_left().await;
    assert_eq!(launched(&world).await, 1);
    let log = world.home.service_log();
    for state in ["queued", "in progress", "completed"] {
        assert!(log.contains("a webhook told of a job") && log.contains(state), "{log}");
    }
    service.kill().await.unwrap();
}

#[tokio::test]
async fn deliveries_that_come_twice_late_or_out_of_order_make_no_runner_too_many() {
    let (world, mut service, _) = told("hook-disorder", HOUR).await;
    for (fault, pattern) in [
        (HookFault::Duplicated, "queued *"),
        (HookFault::Duplicated, "in_progress *"),
        (HookFault::OutOfOrder, "in_progress *"),
        (HookFault::Delayed(Duration::from_millis(400)), "in_progress *"),
        (HookFault::Delayed(Duration::from_millis(400)), "completed *"),
    ] {
        world.github.spoil(fault, pattern, Often::Times(2)).unwrap();
    }
    for name in ["one", "two", "three", "four", "five", "six"] {
        queue(&world, name);
    }
    all_done(&world, 6).await;
    world.until_nothing_is_left().await;
    let workers: BTreeSet<_> = world.workers().into_iter().collect();
    assert_eq!((workers.len(), launched(&world).await), (6, 6));
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_queued_event_that_comes_after_the_end_launches_nothing() {
    let (world, mut service, _) = told("hook-late", HOUR).await;
    // A runner by hand takes the job of which nothing is told until it is over.
    let late = HookFault::Delayed(Duration::from_secs(8));
    world.github.spoil(late, "queued *", Often::Times(1)).unwrap();
    queue(&world, "build");
    let provisioned = world.home.run(&format!("runner provision --repo {REPO}")).await;
    assert_eq!(provisioned.code, 0, "{provisioned:?}");
    all_done(&world, 1).await;
    let came = |delivery: &Delivery| delivery.action == "queued" && delivery.status == Some(202);
    world.github.wait_for_deliveries(|all| all.iter().any(came)).await;
    world.until_nothing_is_left().await;
    assert_eq!(launched(&world).await, 1);
    let queues = world.home.run("runner list-workflows --all").await.data();
    assert_eq!(queues[0]["queued_jobs"], 0, "{queues}");
    service.kill().await.unwrap();
}

#[tokio::test]
async fn what_is_forged_or_of_no_concern_launches_nothing() {
    let (world, mut service, site) = told("hook-forged", HOUR).await;
    world.github.add_repo(RepoSpec::new("octo-org/other"));
    let forged = queued(REPO, 1, &["self-hosted"]);
    let ask =
        delivery(&site, "workflow_job", "1", &forged).with("x-hub-signature-256", "sha256=00");
    assert_eq!(ask.send().await.status, 401);
    // Genuine, and old: it was recorded, and is sent again under another name.
    let mut old = queued(REPO, 2, &["self-hosted"]);
    for time in ["created_at", "started_at"] {
        old["workflow_job"][time] = "2024-01-01T00:00:00Z".into();
    }
    let reply = delivery(&site, "workflow_job", "2", &old).send().await;
    assert_eq!(reply.json()["data"]["outcome"], "ignored", "{reply:?}");
    // Nobody here has these labels.
    let reply = delivery(&site, "workflow_job", "3", &queued(REPO, 3, &["windows"])).send().await;
    assert_eq!(reply.json()["data"]["outcome"], "heard", "{reply:?}");
    // The loop is at work all the same, and so had the time to act on these.
    queue(&world, "build");
    all_done(&world, 1).await;
    world.until_nothing_is_left().await;
    assert_eq!(launched(&world).await, 1);
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_job_waits_behind_its_gate_and_begins_when_that_opens() {
    let (world, mut service, _) = told("hook-gate", HOUR).await;
    let gated = JobSpec::new("deploy").labels(["self-hosted"]).held(JobStatus::Waiting);
    world.github.queue_run(REPO, RunSpec::new("cd").job(gated)).unwrap();
    // One that needs no leave comes after it, and is done before.
    queue(&world, "build");
    all_done(&world, 1).await;
    assert_eq!(launched(&world).await, 1);
    let gated = world.github.jobs().into_iter().find(|job| job.name == "deploy").unwrap();
    world.github.release_job(gated.id).unwrap();
    all_done(&world, 2).await;
    world.until_nothing_is_left().await;
    assert_eq!(launched(&world).await, 2);
    service.kill().await.unwrap();
}

/// ARC#2788, ARC#2073: a missed webhook meant no runner, ever.
#[tokio::test]
async fn a_job_of_which_nothing_was_told_is_found_by_the_next_poll() {
    let (world, mut service, _) = told("hook-lost", ("RUNNER_KIT_POLL_INTERVAL", "3")).await;
    world.github.spoil(HookFault::Lost, "* *", Often::Always).unwrap();
    queue(&world, "build");
    all_done(&world, 1).await;
    world.until_nothing_is_left().await;
    assert_eq!(launched(&world).await, 1);
    let sent = world.github.deliveries().into_iter().filter(|one| one.status.is_some()).count();
    assert_eq!(sent, 1, "nothing but the ping came");
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_server_of_tools_takes_webhooks_while_the_loop_is_in_it_and_no_longer() {
    let world = World::new("hook-tools", &[HOUR, KNOWN]).await;
    world.github.add_repo(RepoSpec::new(REPO));
    let server = Server::start(&world.home, "").await;
    let state = world.home.path().join("state/ipfs-accelerate/http-token");
    let token = std::fs::read_to_string(state).unwrap();
    let arguments = json!({ "background": false, "max_runners": 1 });
    let params = json!({ "name": "runner_start_autoscaler", "arguments": arguments });
    let start = server.modern("tools/call", params).bearer(&token);
    let staying = tokio::spawn(start.send());
    while world.home.run("runner status").await.data()["last_check"].is_null() {}
    world.github.hook(&format!("http://{}/webhooks/github", server.address), SECRET);
    world.github.wait_for_deliveries(|all| all.len() == 1).await;
    queue(&world, "build");
    all_done(&world, 1).await;
    world.until_nothing_is_left().await;
    assert_eq!(world.home.run("runner stop").await.code, 0);
    assert_eq!(staying.await.unwrap().status, 200);
    let after = queued(REPO, 9, &["self-hosted"]);
    let reply = delivery(&server, "workflow_job", "9", &after).send().await;
    assert_eq!(reply.refused(), (503, "not_found".into()));
}

/// Says nothing to whoever calls.
fn mute(home: &std::path::Path) -> String {
    let socket = home.join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    format!("unix://{}", socket.display())
}

#[tokio::test]
async fn github_is_answered_at_once_while_the_engine_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let github = Simulator::start(Default::default()).await.unwrap();
    github.add_repo(RepoSpec::new(REPO));
    let home = Home::new([
        ("GITHUB_TOKEN", runner_kit::simulator::TOKEN.to_owned()),
        ("GITHUB_API_URL", github.api_url()),
        ("GITHUB_SERVER_URL", github.url()),
        ("DOCKER_HOST", mute(directory.path())),
        ("RUNNER_KIT_INSTANCE", "hook-hang".to_owned()),
        ("RUNNER_KIT_WEBHOOK_SECRET", SECRET.to_owned()),
    ]);
    let mut service = home.serve("runner start --keep-trying --http 127.0.0.1:0").await;
    hooked(&github, &home).await;
    let matrix = RunSpec::new("ci").matrix("test", 100, |job| job.labels(["self-hosted"]));
    github.queue_run(REPO, matrix).unwrap();
    github.wait_for_deliveries(|all| all.len() == 101).await;
    let mut deliveries = github.deliveries();
    assert!(deliveries.iter().skip(1).all(|one| one.status == Some(202)), "{deliveries:?}");
    deliveries.sort_by_key(|delivery| delivery.took);
    let (median, slowest) = (deliveries[50].took, deliveries[100].took);
    println!("answered in {median:?} (median), {slowest:?} (slowest)");
    // Other tests share this machine; nothing that waited for the engine would be this fast.
    assert!(median < Duration::from_millis(20), "{median:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    service.kill().await.unwrap();
}
