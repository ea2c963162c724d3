//! Against the simulated GitHub, over TCP.

mod apps;
mod lessons;

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
        let client =
            GithubClient::with_patience(&config, TOKEN.into(), Duration::from_millis(700)).unwrap();
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
async fn one_repository_without_rights_hides_no_other_and_says_which_right_is_missing() {
    let world = World::new(None).await;
    let good = world.repo("octocat/good");
    world.queue(&good, RunSpec::new("ci").job(self_hosted("build")));
    world.github.add_repo(RepoSpec::new("octocat/bad").denies(Permission::Actions));
    let demand = world.poller.demand().await.unwrap();
    assert_eq!(demand.jobs().count(), 1);
    let (repo, error) = demand.unseen.first_key_value().unwrap();
    assert_eq!((repo.as_str(), error.code), ("octocat/bad", Code::TokenDenied));
    assert!(error.message.contains("octocat/bad") && error.remedy.contains("actions"), "{error}");
}

#[tokio::test]
async fn what_fails_in_passing_is_tried_again_and_a_broken_answer_is_never_kept() {
    // A first look each: what is not modified has no body that could be broken.
    let look = async |fault: Option<Fault>| {
        let world = World::new(None).await;
        let repo = world.repo("octocat/home");
        world.queue(&repo, RunSpec::new("ci").job(self_hosted("build")));
        let name = format!("{fault:?}");
        if let Some(fault) = fault {
            world.github.inject(fault, "GET /repos/*/actions/runs*", Often::Times(1)).unwrap();
        }
        let demand = world.poller.demand().await.unwrap();
        assert_eq!((demand.jobs().count(), demand.unseen.len()), (1, 0), "{name}");
        world.github.requests().len()
    };
    let usual = look(None).await;
    let faults = [
        Fault::Status(500),
        Fault::Status(502),
        Fault::Reset,
        Fault::Truncated,
        Fault::Malformed,
        Fault::Hang,
    ];
    for fault in faults {
        assert_eq!(look(Some(fault.clone())).await, usual + 1, "{fault:?} was met and tried again");
    }
}

#[tokio::test]
async fn a_repository_that_hangs_is_told_and_holds_up_no_other() {
    let mut world = World::new(None).await;
    world.poller.patience = Duration::from_millis(300);
    let good = world.repo("octocat/good");
    world.repo("octocat/slow");
    world.queue(&good, RunSpec::new("ci").job(self_hosted("build")));
    world.github.inject(Fault::Hang, "GET /repos/octocat/slow/*", Often::Always).unwrap();
    let demand = world.poller.demand().await.unwrap();
    assert_eq!(demand.jobs().count(), 1);
    let (repo, error) = demand.unseen.first_key_value().unwrap();
    assert_eq!((repo.as_str(), error.code), ("octocat/slow", Code::GithubUnreachable));
}

#[tokio::test]
async fn an_outage_is_an_error_and_not_an_empty_demand() {
    let world = World::new(None).await;
    world.repo("octocat/home");
    world.github.inject(Fault::Status(503), "GET *", Often::Always).unwrap();
    assert_eq!(world.poller.demand().await.unwrap_err().code, Code::GithubUnreachable);
    world.github.clear_faults();
    assert_eq!(world.names().await, ["octocat/home"]);
    world.github.inject(Fault::Status(503), "GET /repos/*", Often::Always).unwrap();
    assert_eq!(world.poller.demand().await.unwrap_err().code, Code::GithubUnreachable);
}

#[tokio::test]
async fn a_limit_is_obeyed_by_sending_nothing_until_it_is_over() {
    for fault in
        [Fault::TooManyRequests { retry_after: 30 }, Fault::SecondaryLimit { retry_after: 30 }]
    {
        let world = World::new(None).await;
        world.github.inject(fault, "GET *", Often::Times(1)).unwrap();
        let error = world.poller.demand().await.unwrap_err();
        assert_eq!((error.code, error.retry_after), (Code::RateLimited, Some(30)));
        let sent = world.github.requests().len();
        let again = world.poller.demand().await.unwrap_err();
        assert_eq!((again.code, world.github.requests().len()), (Code::RateLimited, sent));
    }
}

#[tokio::test]
async fn what_was_seen_stays_known_while_a_limit_forbids_to_look_again() {
    let world = World::new(None).await;
    let repo = world.repo("octocat/home");
    world.queue(&repo, RunSpec::new("ci").job(self_hosted("build")));
    assert_eq!(world.poller.demand().await.unwrap().jobs().count(), 1);
    let fault = Fault::TooManyRequests { retry_after: 30 };
    world.github.inject(fault, "GET /repos/*", Often::Always).unwrap();
    assert_eq!(world.poller.demand().await.unwrap_err().code, Code::RateLimited);
    let known = |minutes| world.poller.board.demand(Utc::now() + TimeDelta::minutes(minutes));
    assert_eq!((known(0).jobs().count(), known(0).is_partial), (1, false), "it waits still");
    assert_eq!(known(26).jobs().count(), 0, "not for ever on the word of one look");
}

#[tokio::test]
async fn a_look_that_waits_for_its_turn_is_no_slow_repository() {
    let minute = |config: &mut RunnerConfig| config.poll_interval = Duration::from_secs(60);
    let options = Options { secondary_limit: Some(900), ..Options::default() };
    let mut world = World::with(None, options, minute).await;
    world.poller.patience = Duration::from_millis(300);
    let repo = world.repo("octocat/home");
    world.queue(&repo, RunSpec::new("ci").job(self_hosted("build")));
    assert_eq!(world.poller.demand().await.unwrap().jobs().count(), 1);
    world.client.exhaust().await;
    let error = world.poller.demand().await.unwrap_err();
    assert_eq!(error.code, Code::RateLimited, "{error}");
    let known = world.poller.board.demand(Utc::now());
    assert_eq!((known.jobs().count(), known.unseen.len()), (1, 0));
}

#[tokio::test]
async fn a_wrong_credential_is_told_and_never_shown() {
    let world = World::new(None).await;
    let client = GithubClient::new(&world.config, "ghp_wrong_token_text".into()).unwrap();
    let error = GithubRegistrar::new(client, &world.config).check().await.unwrap_err();
    assert_eq!(error.code, Code::NotAuthenticated);
    assert!(error.message.starts_with("Not authenticated with GitHub CLI"));
    assert!(!error.to_string().contains("wrong_token_text"));
}

#[tokio::test]
async fn an_owner_that_does_not_exist_is_not_found() {
    let world = World::new(Some("nobody-here")).await;
    let error = world.registrar.check().await.unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    assert!(error.message.contains("nobody-here"));
}

#[tokio::test]
async fn a_burst_of_launches_asks_for_one_token() {
    let world = World::new(None).await;
    let repo = world.repo("octocat/home");
    let scope = scope(&repo);
    let all = (0..50).map(|_| world.registrar.token(&scope));
    let tokens = futures::future::try_join_all(all).await.unwrap();
    assert_eq!(tokens.len(), 50);
    assert_eq!(
        world.github.requests_under("/repos/octocat/home/actions/runners/registration-token"),
        1
    );
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_not_sent_again() {
    let world = World::with(None, Options::default(), |config| {
        config.registration = crate::config::RegistrationKind::Jit;
    })
    .await;
    let repo = world.repo("octocat/home");
    world.github.inject(Fault::LostAfterEffect, "POST *", Often::Times(1)).unwrap();
    let error = world.registrar.register(&runner(&repo, "one")).await.unwrap_err();
    assert_eq!(error.code, Code::GithubUnreachable);
    assert_eq!(world.github.runners().len(), 1);
}

#[tokio::test]
async fn a_just_in_time_runner_is_registered_listed_and_removed() {
    let world = World::with(None, Options::default(), |config| {
        config.registration = crate::config::RegistrationKind::Jit;
    })
    .await;
    let repo = world.repo("octocat/home");
    let made = world.registrar.register(&runner(&repo, "one")).await.unwrap();
    let Registration::Jit { runner_id, .. } = made else { panic!("{made:?}") };
    let taken = world.registrar.register(&runner(&repo, "one")).await.unwrap_err();
    assert!(taken.message.contains("octocat/home"), "{taken}");
    let listed = world.registrar.registered(&scope(&repo)).await.unwrap();
    assert_eq!((listed.len(), listed[0].id, listed[0].online), (1, runner_id, false));
    assert_eq!(
        world.registrar.deregister(&scope(&repo), runner_id).await.unwrap(),
        Deregistered::Gone
    );
    assert_eq!(
        world.registrar.deregister(&scope(&repo), runner_id).await.unwrap(),
        Deregistered::Gone
    );
    assert_eq!(world.registrar.registered(&scope(&repo)).await.unwrap(), []);
}

#[tokio::test]
async fn a_token_that_is_refused_names_the_right_and_the_repository() {
    let world = World::new(None).await;
    world.github.add_repo(RepoSpec::new("octocat/home").denies(Permission::Administration));
    let repo: Repo = "octocat/home".parse().unwrap();
    let error = world.registrar.token(&scope(&repo)).await.unwrap_err();
    assert_eq!(error.code, Code::TokenDenied);
    assert!(
        error.message.starts_with("Failed to generate runner token for repository octocat/home")
    );
    assert!(error.remedy.contains("administration=write"), "{error}");
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
