//! Jobs queued in the simulated GitHub are run by real containers of a real engine.

use std::collections::BTreeSet;
use std::time::Duration;

use runner_kit::simulator::{JobSpec, JobStatus, RepoSpec, RunSpec};

use crate::support::world::World;

/// keda#6994: of a matrix only the first wave was scaled for. One here has three waves.
#[tokio::test]
async fn forty_jobs_over_five_repositories_all_run_with_never_more_than_four_containers() {
    let world = World::new("e2e-forty", &[]).await;
    world.queue_forty_jobs();
    let mut service = world.home.serve(&world.start_line(4)).await;
    world.until("all 40 jobs are completed", |state| state.count(JobStatus::Completed) == 40).await;
    world.until_nothing_is_left().await;
    let status = world.home.run("runner status").await.data();
    let workers: BTreeSet<_> = world.workers().into_iter().collect();
    assert_eq!(workers.len(), 40, "a runner for each job");
    assert_eq!(status["provisioned_runners"], 40, "and no runner without a job");
    assert!((1..=4).contains(&world.most_at_once()), "{} at once", world.most_at_once());
    let stopped = world.home.run("runner stop").await.data();
    assert_eq!((&stopped["changed"], &stopped["runners_left"]), (&true.into(), &0.into()));
    assert!(service.wait().await.unwrap().success(), "a service that is stopped ends");
}

/// Kills the service in mid-flight; the next one, which is returned, serves the rest.
async fn serve_forty_jobs_with_a_kill(world: &World) -> tokio::process::Child {
    world.queue_forty_jobs();
    let mut service = world.home.serve(&world.start_line(4)).await;
    world.until("some are done", |state| state.count(JobStatus::Completed) >= 10).await;
    service.kill().await.unwrap();
    let service = world.home.serve(&world.start_line(4)).await;
    world.until("all 40 jobs are completed", |state| state.count(JobStatus::Completed) == 40).await;
    world.until_nothing_is_left().await;
    service
}

#[tokio::test]
async fn a_service_killed_in_mid_flight_is_continued_with_the_same_totals() {
    let world = World::new("e2e-killed", &[]).await;
    let mut service = serve_forty_jobs_with_a_kill(&world).await;
    let workers: BTreeSet<_> = world.workers().into_iter().collect();
    assert_eq!(workers.len(), 40, "a runner for each job, and none twice");
    let departed = world.github.look(|state| state.departed().len());
    assert_eq!(departed, 40, "no runner without a job");
    assert!(world.most_at_once() <= 4, "{} at once", world.most_at_once());
    service.kill().await.unwrap();
}

/// llama.cpp#7893: registrations that nobody used were left, until GitHub took no more.
#[tokio::test]
async fn jit_registration_serves_jobs_and_leaves_no_registration_behind() {
    let world = World::new("e2e-jit", &[("RUNNER_KIT_REGISTRATION", "jit")]).await;
    let mut service = serve_forty_jobs_with_a_kill(&world).await;
    service.kill().await.unwrap();
}

#[tokio::test]
async fn two_instances_on_one_engine_leave_each_others_runners_alone() {
    let (one, two) = (World::new("e2e-one", &[]).await, World::new("e2e-two", &[]).await);
    for world in [&one, &two] {
        world.github.add_org("octo-org");
        world.github.add_repo(RepoSpec::new("octo-org/a"));
        let job = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_secs(3));
        world.github.queue_run("octo-org/a", RunSpec::new("ci").job(job)).unwrap();
    }
    let mut first = one.home.serve(&one.start_line(1)).await;
    let mut second = two.home.serve(&two.start_line(1)).await;
    for world in [&one, &two] {
        world.until("it is at work", |state| state.count(JobStatus::InProgress) == 1).await;
        let listed = world.home.run("runner list-containers").await.data();
        assert_eq!(listed.as_array().unwrap().len(), 1, "only its own: {listed}");
    }
    for world in [&one, &two] {
        world.until("it is done", |state| state.count(JobStatus::Completed) == 1).await;
        world.until_nothing_is_left().await;
    }
    first.kill().await.unwrap();
    second.kill().await.unwrap();
}

#[tokio::test]
async fn a_detached_service_outlives_its_caller_and_is_found_by_every_other_process() {
    let world = World::new("e2e-detached", &[]).await;
    world.github.add_org("octo-org");
    let line = format!("{} --background", world.start_line(2));
    let started = world.home.run(&line).await.data();
    assert_eq!((&started["changed"], &started["mode"]), (&true.into(), &"service".into()));
    let again = world.home.run(&line).await.data();
    assert_eq!((&again["changed"], &again["running"]), (&false.into(), &true.into()));
    let other = world.home.run("runner start --max-runners 7").await;
    assert_eq!((other.code, &other.error()["code"]), (1, &"already_running".into()));
    assert!(other.error()["message"].as_str().unwrap().contains("max_runners"));
    assert_eq!(world.home.run("runner status").await.data()["running"], true);
    assert_eq!(world.home.run("runner stop").await.data()["changed"], true);
    assert_eq!(world.home.run("runner stop").await.data()["changed"], false);
    assert_eq!(world.home.run("runner status").await.data()["running"], false);
}

#[tokio::test]
async fn the_log_of_a_detached_service_is_set_aside_when_it_has_grown_large() {
    let world = World::new("e2e-log", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    world.home.run(&format!("{} --background", world.start_line(1))).await.data();
    let log = world.home.path().join("state/ipfs-accelerate/e2e-log.log");
    let grown = std::fs::File::options().append(true).open(&log).unwrap();
    grown.set_len(9 << 20).unwrap();
    let size = |path: &std::path::Path| std::fs::metadata(path).map(|found| found.len());
    let aside = log.with_extension("log.1");
    let set_aside = async {
        while !size(&aside).is_ok_and(|size| size >= 9 << 20) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), set_aside).await.expect("it is set aside");
    // It goes on in the new one.
    let job = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_secs(1));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(job)).unwrap();
    world.until("it is done", |state| state.count(JobStatus::Completed) == 1).await;
    world.until_nothing_is_left().await;
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("launching") && size(&log).unwrap() < 1 << 20, "{said}");
    assert_eq!(world.home.run("runner stop").await.data()["changed"], true);
}

#[tokio::test]
async fn the_credential_is_in_no_container_no_log_and_no_result() {
    let world = World::new("e2e-secret", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let line = format!("{} --verbose", world.start_line(1));
    let mut service = world.home.serve(&line).await;
    let job = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_secs(3));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(job)).unwrap();
    world.until("it is at work", |state| state.count(JobStatus::InProgress) == 1).await;
    let listed = world.home.run("runner list-containers").await;
    let id = listed.data()[0]["container_id"].as_str().unwrap().to_owned();
    let docker = crate::support::docker();
    let inspected = docker.inspect_container(&id, None).await.unwrap();
    let secret = runner_kit::simulator::TOKEN;
    assert!(!serde_json::to_string(&inspected).unwrap().contains(secret));
    world.until("it is done", |state| state.count(JobStatus::Completed) == 1).await;
    world.until_nothing_is_left().await;
    assert!(!listed.stdout.contains(secret) && !world.home.service_log().contains(secret));
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_told_to_end_leaves_runners_at_work_and_the_next_cleans_up_after_them() {
    for signal in ["TERM", "INT"] {
        let world = World::new(&format!("e2e-{}", signal.to_lowercase()), &[]).await;
        world.github.add_org("octo-org");
        world.github.add_repo(RepoSpec::new("octo-org/a"));
        let job = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_secs(4));
        world.github.queue_run("octo-org/a", RunSpec::new("ci").job(job)).unwrap();
        let mut service = world.home.serve(&world.start_line(1)).await;
        world.until("it is at work", |state| state.count(JobStatus::InProgress) == 1).await;
        let pid = service.id().unwrap().to_string();
        std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(service.wait().await.unwrap().success(), "{}", world.home.service_log());
        assert_eq!(world.github.look(|state| state.count(JobStatus::InProgress)), 1);
        world.until("it is done", |state| state.count(JobStatus::Completed) == 1).await;
        let succeeded = world.github.jobs()[0].conclusion.map(|end| end.as_str().to_owned());
        assert_eq!(succeeded.as_deref(), Some("success"));
        let mut next = world.home.serve(&world.start_line(1)).await;
        world.until_nothing_is_left().await;
        next.kill().await.unwrap();
    }
}
