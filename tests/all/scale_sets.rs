//! Jobs of a scale set are run by real containers, though nobody polls for them.

use std::collections::BTreeSet;
use std::time::Duration;

use runner_kit::simulator::{JobSpec, JobStatus, RepoSpec, RunSpec};

use crate::support::world::World;

#[tokio::test]
async fn jobs_of_a_scale_set_run_once_each_also_after_a_kill_and_the_session_ends_with_the_service()
{
    let env = [
        ("RUNNER_KIT_SCALE_SET", "pool"),
        ("RUNNER_KIT_REPOS", "octo-org/a"),
        // So that it is not the polls that find the jobs.
        ("RUNNER_KIT_POLL_INTERVAL", "3600"),
    ];
    let world = World::new("e2e-set", &env).await;
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let mut service = world.home.serve(&world.start_line(3)).await;
    let attended = |state: &runner_kit::simulator::State| {
        state.scale_sets().any(|set| set.session.is_some() && set.capacity == Some(3))
    };
    world.until("the set is listened to", attended).await;
    let short = |job: JobSpec| job.labels(["pool"]).takes(Duration::from_millis(300));
    let queue = |jobs: u32| {
        let run = RunSpec::new("ci").matrix("test", jobs, short);
        world.github.queue_run("octo-org/a", run).unwrap();
    };
    queue(6);
    world.until("some are done", |state| state.count(JobStatus::Completed) >= 2).await;
    service.kill().await.unwrap();
    let mut service = world.home.serve(&world.start_line(3)).await;
    queue(2);
    world.until("all are done", |state| state.count(JobStatus::Completed) == 8).await;
    world.until_nothing_is_left().await;
    let workers: BTreeSet<_> = world.workers().into_iter().collect();
    assert_eq!(workers.len(), 8, "a runner for each job");
    let set = world.github.scale_set("pool").unwrap();
    let of_set = |state: &runner_kit::simulator::State| {
        state.departed().iter().filter(|runner| runner.set == Some(set.id)).count()
    };
    assert!(world.github.look(of_set) >= 8, "all of them the set's own");
    assert!(world.most_at_once() <= 3, "{} at once", world.most_at_once());
    let stopped = world.home.run("runner stop").await.data();
    assert_eq!(stopped["changed"], true);
    assert!(service.wait().await.unwrap().success());
    assert_eq!(world.github.scale_set("pool").unwrap().session, None);
    assert_eq!(set.sessions, 2, "the session of the killed one was ended, not waited for");
}
