//! Failures that people reported of other autoscalers, as `tests/all/lessons.md` lists them, where what
//! is asked of GitHub is what must not lead to them.

use std::collections::HashMap;

use secrecy::ExposeSecret;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{RegistrationKind, RunnerConfig};
use crate::simulator::{State, runner as program};

impl World {
    /// A world whose runners register just in time.
    async fn of_jit(options: Options) -> Self {
        Self::with(None, options, |config| config.registration = RegistrationKind::Jit).await
    }

    /// A runner at work in this process, and GitHub's id of it.
    async fn serve(&self, repo: &Repo, name: &str) -> (u64, JoinHandle<i32>) {
        let made = self.registrar.register(&runner(repo, name)).await.unwrap();
        let Registration::Jit { runner_id, config } = made else { panic!("{made:?}") };
        let config = config.expose_secret().to_owned();
        let env = HashMap::from([("ACTIONS_RUNNER_INPUT_JITCONFIG", config)]);
        let env = move |name: &str| env.get(name).cloned();
        (runner_id, tokio::spawn(program::run_until(env, std::future::pending(), |_| ())))
    }
}

/// keda#6994: of a matrix only the first wave was scaled for.
#[tokio::test]
async fn every_wave_of_a_matrix_is_seen_while_its_run_goes_on() {
    let world = World::of_jit(Options::default()).await;
    let repo = world.repo("octocat/home");
    let short = |job: JobSpec| job.labels(["self-hosted"]).takes(Duration::from_millis(20));
    let late = |job: JobSpec| short(job).needs(["test"]);
    world.queue(&repo, RunSpec::new("ci").matrix("test", 5, short).matrix("late", 3, late));
    // Two runners at a time, as with `max-parallel: 2`.
    let mut done = 0;
    for queued in [5, 3, 1, 3, 1] {
        let demand = world.poller.demand().await.unwrap();
        assert_eq!(demand.jobs().count(), queued, "after {done} jobs");
        let repo = &repo;
        let wave = (0..queued.min(2)).map(|index| {
            let name = format!("runner-{}", done + index);
            async { world.serve(repo, &{ name }).await.1.await.unwrap() }
        });
        assert!(futures::future::join_all(wave).await.iter().all(|code| *code == 0));
        done += queued.min(2);
    }
    assert!(world.github.look(State::is_all_done));
    assert_eq!((done, world.poller.demand().await.unwrap().jobs().count()), (8, 0));
}

/// keda#7969: what was beyond the first page was ignored. Here both are: runs, and jobs of a run.
#[tokio::test]
async fn jobs_of_runs_beyond_the_first_page_are_seen() {
    let world = World::new(None).await;
    let repo = world.repo("octocat/home");
    // The oldest run is the last of the list.
    let matrix = |job: JobSpec| job.labels(["self-hosted"]);
    world.queue(&repo, RunSpec::new("matrix").matrix("test", 256, matrix));
    (0..130).for_each(|_| world.queue(&repo, RunSpec::new("ci").job(self_hosted("build"))));
    assert_eq!(world.poller.demand().await.unwrap().jobs().count(), 386);
}

/// ARC#4000: an idle runner was killed as its job arrived.
#[tokio::test]
async fn a_runner_that_was_given_a_job_is_not_removed() {
    let world = World::of_jit(Options::default()).await;
    let repo = world.repo("octocat/home");
    let (id, process) = world.serve(&repo, "one").await;
    let is_there = |state: &State| state.runner(id).is_some_and(|one| one.connections > 0);
    world.github.wait_until(is_there).await;
    let long = self_hosted("build").takes(Duration::from_secs(600));
    world.queue(&repo, RunSpec::new("ci").job(long));
    world.github.wait_until(|state| state.count(JobStatus::InProgress) == 1).await;
    let removed = world.registrar.deregister(&scope(&repo), id).await.unwrap();
    assert_eq!((removed, world.github.runners().len()), (Deregistered::Busy, 1));
    process.abort();
}

/// llama.cpp#7893, actions/runner#1364: registrations piled up, and a first page does not show them.
#[tokio::test]
async fn registrations_beyond_the_first_page_are_seen_and_removed() {
    let world = World::of_jit(Options::default()).await;
    let repo = world.repo("octocat/home");
    for number in 0..230 {
        let name = format!("leaked-{number}");
        world.registrar.register(&runner(&repo, &name)).await.unwrap();
    }
    let listed = world.registrar.registered(&scope(&repo)).await.unwrap();
    assert_eq!(listed.iter().filter(|one| !one.online && !one.busy).count(), 230);
    for leaked in listed {
        world.registrar.deregister(&scope(&repo), leaked.id).await.unwrap();
    }
    assert_eq!(world.registrar.registered(&scope(&repo)).await.unwrap(), []);
}

/// terraform-aws-github-runner#3199, ARC#206: the budget was used up. Here every repository changes
/// before each look, so that no answer is free.
#[tokio::test]
async fn looks_never_use_up_the_budget_and_leave_what_launches_need() {
    let options = Options { rate_limit: 1_000, ..Options::default() };
    let world = World::of_jit(options).await;
    let repos: Vec<_> = (0..20).map(|number| world.repo(&format!("octocat/r{number}"))).collect();
    for round in 0..60 {
        for repo in &repos {
            world.queue(repo, RunSpec::new("ci").job(self_hosted("build")));
        }
        if let Err(error) = world.poller.demand().await {
            assert_eq!(error.code, Code::RateLimited, "{round}: {error}");
        }
    }
    let counted = world.github.counters();
    let share = u64::from(world.config.api_budget) * 10;
    assert!((share * 9 / 10..=share).contains(&counted.charged), "{} of {share}", counted.charged);
    assert_eq!(counted.by_status.get(&403), None, "{:?}", counted.by_status);
    assert!(world.registrar.register(&runner(&repos[0], "one")).await.is_ok());
}

/// terraform-aws-github-runner#3199, ARC#206: others of the same account use it up.
#[tokio::test]
async fn when_others_have_used_up_the_budget_nothing_is_sent_until_it_is_renewed() {
    let window = Duration::from_secs(3);
    let options = Options { rate_limit: 60, rate_limit_window: window, ..Options::default() };
    let world = World::of_jit(options).await;
    let repo = world.repo("octocat/home");
    world.queue(&repo, RunSpec::new("ci").job(self_hosted("build")));
    assert_eq!(world.poller.demand().await.unwrap().jobs().count(), 1);
    let config = RunnerConfig { api_budget: 100, ..world.config.clone() };
    let other = GithubClient::new(&config, TOKEN.into()).unwrap();
    while world.github.counters().charged < 60 {
        let path = format!("/repos/octocat/home?number={}", world.github.counters().total);
        other.get::<serde_json::Value>(&path).await.unwrap();
    }
    assert_eq!(other.budget().unwrap().remaining, 0, "within one window");
    world.github.clear_requests();
    world.queue(&repo, RunSpec::new("ci").job(self_hosted("build")));
    // Whoever asks waits for a renewal so near, or is refused without a request.
    let seen = async {
        while world.poller.demand().await.map_or(0, |demand| demand.jobs().count()) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(window * 5, seen).await.expect("the budget is renewed");
    let met = world.github.counters().by_status.get(&403).copied().unwrap_or_default();
    assert!((1..=5).contains(&met), "the limit was met {met} times");
}
