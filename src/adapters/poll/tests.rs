//! Against the simulated GitHub, over TCP.

mod apps;
mod failures;
mod lessons;
mod registrar;

use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::adapters::github::GithubRegistrar;
use crate::config::{Globs, Sources, StartInput, load};
use crate::error::Code;
use crate::model::{Labels, Origin, Scope};
use crate::ports::{Deregistered, NewRunner, Registrar, Registration};
use crate::simulator::{
    Fault, JobSpec, JobStatus, Often, Options, Permission, RepoSpec, RunSpec, Simulator, TOKEN,
};

/// How long an answer may take: the simulated GitHub has the thread only now and then.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    github: Simulator,
    config: RunnerConfig,
    client: Arc<GithubClient>,
    poller: Poller,
    registrar: GithubRegistrar,
}

impl World {
    async fn new(owner: Option<&str>) -> Self {
        Self::with(owner, Options::default(), |_| ()).await
    }

    async fn with(
        owner: Option<&str>,
        options: Options,
        change: impl FnOnce(&mut RunnerConfig),
    ) -> Self {
        Self::waiting(PATIENCE, owner, options, change).await
    }

    async fn waiting(
        patience: Duration,
        owner: Option<&str>,
        options: Options,
        change: impl FnOnce(&mut RunnerConfig),
    ) -> Self {
        let github = Simulator::start(options).await.unwrap();
        let env = [
            ("HOME", "/nowhere".to_owned()),
            ("GITHUB_API_URL", github.api_url()),
            ("GITHUB_SERVER_URL", github.url()),
        ];
        let sources = Sources { env: env.into_iter().collect(), ..Sources::default() };
        let input = StartInput {
            owner: owner.map(str::to_owned),
            poll_interval: Some(1),
            ..StartInput::default()
        };
        let mut config = load(&sources, &input).unwrap().config;
        // So that every look looks at every repository.
        config.poll_interval = Duration::ZERO;
        change(&mut config);
        let client = GithubClient::with_patience(&config, TOKEN.into(), patience).unwrap();
        let poller = Poller::new(client.clone(), Arc::default(), &config).unwrap();
        let registrar = GithubRegistrar::new(client.clone(), &config);
        Self { github, config, client, poller, registrar }
    }

    fn repo(&self, name: &str) -> Repo {
        self.github.add_repo(RepoSpec::new(name));
        name.parse().unwrap()
    }

    fn queue(&self, repo: &Repo, run: RunSpec) {
        self.github.queue_run(repo.as_str(), run).unwrap();
    }

    async fn names(&self) -> Vec<String> {
        let demand = self.poller.demand().await.unwrap();
        demand.repos.iter().map(|demand| demand.repo.to_string()).collect()
    }
}

fn self_hosted(name: &str) -> JobSpec {
    JobSpec::new(name).labels(["self-hosted"])
}

fn scope(repo: &Repo) -> Scope {
    Scope::Repo(repo.clone())
}

#[tokio::test]
async fn an_organisations_a_users_and_all_visible_repositories_are_discovered() {
    for (owner, expected) in [
        (Some("octo-org"), vec!["octo-org/web"]),
        (Some("octocat"), vec!["octocat/home"]),
        (Some("hubot"), vec!["hubot/open"]),
        (None, vec!["octo-org/web", "octocat/home"]),
    ] {
        let world = World::new(owner).await;
        world.github.add_org("octo-org");
        world.github.add_user("hubot");
        world.repo("octo-org/web");
        world.repo("octocat/home");
        world.repo("hubot/open");
        world.github.add_repo(RepoSpec::new("octo-org/old").archived());
        world.github.add_repo(RepoSpec::new("octo-org/off").disabled());
        assert_eq!(world.names().await, expected, "{owner:?}");
    }
}

#[tokio::test]
async fn an_organisations_repository_is_served_by_its_runners_and_a_users_by_its_own() {
    let world = World::new(None).await;
    world.github.add_org("octo-org");
    let (theirs, own) = (world.repo("octo-org/web"), world.repo("octocat/home"));
    assert_eq!(world.registrar.home(&theirs).await.unwrap(), Scope::org("octo-org"));
    assert_eq!(world.registrar.home(&own).await.unwrap(), Scope::Repo(own));
    let nobodys = "nobody/x".parse().unwrap();
    assert_eq!(world.registrar.home(&nobodys).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn repositories_beyond_the_first_page_are_seen() {
    let world = World::new(Some("octo-org")).await;
    world.github.add_org("octo-org");
    (0..250).for_each(|number| drop(world.repo(&format!("octo-org/r{number}"))));
    assert_eq!(world.names().await.len(), 250);
}

#[tokio::test]
async fn globs_choose_and_a_repository_that_is_named_is_seen_wherever_it_is() {
    let world = World::with(None, Options::default(), |config| {
        config.repos = vec!["octo-org/web-*".into(), "hubot/open".into()];
        config.exclude_repos = vec!["octo-org/web-old".into()];
    })
    .await;
    world.github.add_org("octo-org");
    world.github.add_user("hubot");
    for name in ["octo-org/web-1", "octo-org/web-old", "octo-org/api", "hubot/open"] {
        world.repo(name);
    }
    assert_eq!(world.names().await, ["hubot/open", "octo-org/web-1"]);
}

#[tokio::test]
async fn without_an_owner_only_what_the_operator_allows_is_watched() {
    let world = World::with(None, Options::default(), |config| {
        let owners = ["octo-*".to_owned()];
        config.bounds.allowed_owners = Globs::of_names("allowed_owners", &owners).unwrap();
    })
    .await;
    world.github.add_org("octo-org");
    world.repo("octo-org/web");
    world.repo("octocat/home");
    assert_eq!(world.names().await, ["octo-org/web"]);
    assert!(!world.github.requests().iter().any(|request| request.path.contains("octocat/home")));
}

/// keda#7969: jobs beyond the first page were ignored.
#[tokio::test]
async fn every_job_of_a_matrix_of_256_is_seen() {
    let world = World::new(None).await;
    let repo = world.repo("octocat/home");
    world.queue(
        &repo,
        RunSpec::new("matrix").matrix("test", 256, |job| job.labels(["self-hosted"])),
    );
    let demand = world.poller.demand().await.unwrap();
    assert_eq!(demand.jobs().count(), 256);
    assert_eq!((demand.repos[0].pending, demand.repos[0].running), (1, 0));
}

#[tokio::test]
async fn a_queued_job_of_a_run_in_progress_is_seen_with_its_labels_and_its_runners_job() {
    let world = World::new(None).await;
    let repo = world.repo("octocat/home");
    let run = RunSpec::new("ci")
        .without_name()
        .without_branch()
        .job(JobSpec::new("hosted").labels(["ubuntu-latest"]).takes(Duration::from_secs(600)))
        .job(JobSpec::new("build\u{1b}[31m").labels(["self-hosted", "X64", "\u{1b}[2J"]))
        .job(JobSpec::new("later").labels(["self-hosted"]).held(JobStatus::Waiting));
    world.queue(&repo, run);
    let busy = |state: &crate::simulator::State| state.count(JobStatus::InProgress) == 1;
    world.github.wait_until(busy).await;
    let demand = world.poller.demand().await.unwrap();
    let jobs: Vec<_> = demand.jobs().collect();
    assert_eq!(jobs.len(), 1, "a job that waits for a person needs no runner yet");
    assert_eq!(jobs[0].labels, Labels::new(["self-hosted", "x64", "[2J…"]), "none either");
    assert_eq!(jobs[0].name, "build[31m", "no escape sequence");
    assert!(jobs[0].url.starts_with(&world.config.server_url));
    assert_eq!(demand.repos[0].in_progress.len(), 1);
}

#[tokio::test]
async fn a_look_at_what_has_not_changed_costs_nothing() {
    let world = World::new(None).await;
    for number in 0..20 {
        let repo = world.repo(&format!("octocat/r{number}"));
        world.queue(&repo, RunSpec::new("ci").job(self_hosted("build")));
    }
    let first = world.poller.demand().await.unwrap();
    world.github.clear_requests();
    let second = world.poller.demand().await.unwrap();
    let ids = |demand: &Demand| demand.jobs().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&second));
    let requests = world.github.requests();
    let status = |wanted: u16| requests.iter().filter(|r| r.status == Some(wanted)).count();
    let charged = requests.iter().filter(|request| request.charged).count();
    assert_eq!((status(200), charged), (0, 0), "{requests:?}");
    assert!(status(StatusCode::NOT_MODIFIED.as_u16()) >= 60);
}

#[tokio::test]
async fn the_budget_is_told_with_its_forecast() {
    let world = World::new(None).await;
    world.repo("octocat/home");
    let budget = world.poller.demand().await.unwrap().rate_limit.unwrap();
    assert!(budget.remaining < budget.limit && budget.forecast.starts_with("Lasts"), "{budget:?}");
    assert_eq!(world.client.budget().map(|budget| budget.limit), Some(budget.limit));
}

fn runner(repo: &Repo, name: &str) -> NewRunner {
    NewRunner {
        name: name.into(),
        scope: scope(repo),
        repo: Some(repo.clone()),
        labels: Labels::new(["self-hosted"]),
        origin: Origin::Queue,
        beside_sets: false,
    }
}
