//! The program with a GitHub App for a credential.

use runner_kit::simulator::{AppSpec, JobSpec, JobStatus, RepoSpec, RunSpec};

use super::support::app_key;
use super::support::world::World;

#[tokio::test]
async fn an_app_serves_the_jobs_of_all_its_installations_and_shows_no_secret() {
    let (private, public) = app_key();
    let env = [("RUNNER_KIT_APP_ID", "7"), ("RUNNER_KIT_APP_KEY", private.as_str())];
    let world = World::new("e2e-app", &env).await;
    world.github.add_app(AppSpec::new(7, public));
    for (account, repo) in [("octo-org", "octo-org/web"), ("acme", "acme/api")] {
        world.github.add_repo(RepoSpec::new(repo).private());
        world.github.install_app(7, account, None).unwrap();
        let job = JobSpec::new("build").labels(["self-hosted"]);
        world.github.queue_run(repo, RunSpec::new("ci").job(job)).unwrap();
    }
    let mut service = world.home.serve(&format!("{} -v", world.start_line(4))).await;
    world.until("both jobs are done", |state| state.is_all_done()).await;
    assert_eq!(world.github.look(|state| state.count(JobStatus::Completed)), 2);
    assert_eq!(world.workers().len(), 2);
    world.until_nothing_is_left().await;
    let config = world.home.run("runner start --print-config").await;
    assert_eq!(config.code, 0, "{config:?}");
    let stopped = world.home.run("runner stop").await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(service.wait().await.unwrap().success());
    for shown in [config.stdout, world.home.service_log()] {
        assert!(!shown.contains("BEGIN RSA") && !shown.contains("ghs_"), "{shown}");
        assert!(!shown.contains("eyJ"), "{shown}");
    }
    // The token that is in the environment too was not used.
    let callers = world.github.requests();
    assert!(callers.iter().all(|one| one.login.as_deref() != Some("octocat")));
}
