//! Limits, places and lists, against the simulated GitHub over TCP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};

use super::cache::Cache;
use super::models::{Account, Repository, Runs};
use super::{AppKey, Credential, GithubClient, GithubRegistrar};
use crate::config::{RegistrationKind, RunnerConfig, Sources, StartInput, load};
use crate::error::Code;
use crate::model::Allowance;
use crate::model::{Labels, Origin, Repo, Scope};
use crate::ports::{Deregistered, NewRunner, Registrar, Registration};
use crate::simulator::tests::keys::pairs;
use crate::simulator::{AppSpec, Fault, Often, Options, RepoSpec, RunSpec, Simulator, TOKEN};

/// A minute, and what the simulator rounds up.
const MINUTE: Duration = Duration::from_secs(61);

struct World {
    github: Simulator,
    client: Arc<GithubClient>,
    registrar: Arc<GithubRegistrar>,
}

impl World {
    async fn new(options: Options) -> Self {
        Self::with(options, |_| ()).await
    }

    async fn with(options: Options, change: impl FnOnce(&mut RunnerConfig)) -> Self {
        Self::of(TOKEN.into(), options, change).await
    }

    async fn of(
        credential: Credential,
        options: Options,
        change: impl FnOnce(&mut RunnerConfig),
    ) -> Self {
        let github = Simulator::start(options).await.unwrap();
        let env = [("HOME", "/nowhere".to_owned()), ("GITHUB_API_URL", github.api_url())];
        let sources = Sources { env: env.into_iter().collect(), ..Sources::default() };
        let mut config = load(&sources, &StartInput::default()).unwrap().config;
        config.registration = RegistrationKind::Jit;
        change(&mut config);
        let client = GithubClient::new(&config, credential).unwrap();
        let registrar = Arc::new(GithubRegistrar::new(client.clone(), &config));
        Self { github, client, registrar }
    }

    fn repo(&self, name: &str) -> Repo {
        self.github.add_repo(RepoSpec::new(name));
        name.parse().unwrap()
    }

    fn answered(&self, status: u16) -> u64 {
        self.github.counters().by_status.get(&status).copied().unwrap_or_default()
    }

    async fn runs(&self, repo: &str) -> crate::error::Result<usize> {
        let path = format!("/repos/{repo}/actions/runs?status=queued");
        self.client.get_all::<Runs>(&path).await.map(|runs| runs.len())
    }
}

fn runner(repo: &Repo, number: usize) -> NewRunner {
    NewRunner {
        name: format!("runner-{number}"),
        repo: Some(repo.clone()),
        scope: Scope::Repo(repo.clone()),
        labels: Labels::new(["self-hosted"]),
        origin: Origin::Queue,
        beside_sets: false,
    }
}

/// Lets time pass on both sides at once. Nothing may be under way.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_burst_of_200_registrations_comes_near_githubs_limit_and_never_meets_it() {
    let limited = Options { secondary_limit: Some(900), ..Options::default() };
    let world = World::new(limited).await;
    let repos: Vec<_> = (0..4).map(|number| world.repo(&format!("octocat/r{number}"))).collect();
    let launches: Vec<_> = (0..200)
        .map(|number| {
            let (registrar, runner) = (world.registrar.clone(), runner(&repos[number % 4], number));
            tokio::spawn(async move { registrar.register(&runner).await })
        })
        .collect();
    // Looks go on beside it, and take no turn from it.
    world.github.wait_for_requests(|all| all.counters().by_status.get(&201) == Some(&168)).await;
    assert_eq!(world.runs("octocat/r0").await.unwrap(), 0);
    pass(MINUTE).await;
    let made = join_all(launches).await;
    assert!(made.iter().all(|made| matches!(made, Ok(Ok(Registration::Jit { .. })))), "{made:?}");
    assert_eq!(world.github.runners().len(), 200);
    assert_eq!((world.answered(403), world.answered(429)), (0, 0));
}

#[tokio::test]
async fn where_there_is_no_secondary_limit_nothing_waits_for_one() {
    let world = World::new(Options::default()).await;
    let repo = world.repo("octocat/home");
    let launches = (0..250).map(|number| {
        let runner = runner(&repo, number);
        async { world.registrar.register(&{ runner }).await }
    });
    assert_eq!(try_join_all(launches).await.unwrap().len(), 250, "without a minute's wait");
    assert_eq!(world.client.readiness(None).reads, u32::MAX);
}

#[tokio::test]
async fn a_repository_that_hangs_delays_neither_registrations_nor_looks_of_others() {
    let world = World::new(Options::default()).await;
    let (good, _) = (world.repo("octocat/good"), world.repo("octocat/slow"));
    world.github.inject(Fault::Hang, "* /repos/octocat/slow/*", Often::Always).unwrap();
    let slow: Vec<_> = (0..300)
        .map(|number| {
            let client = world.client.clone();
            let path = format!("/repos/octocat/slow/actions/runs/{number}/jobs");
            tokio::spawn(async move { client.get_all::<super::models::Jobs>(&path).await })
        })
        .collect();
    let lost = world.repo("octocat/slow");
    let (registrar, lost) = (world.registrar.clone(), runner(&lost, 0));
    let lost = tokio::spawn(async move { registrar.register(&lost).await });
    world.github.wait_for_requests(|all| all.under_way() == 5).await;
    let looks = (0..100).map(|_| world.runs("octocat/good"));
    assert_eq!(try_join_all(looks).await.unwrap(), [0; 100]);
    let launches = (0..20).map(|number| {
        let (good, registrar) = (&good, &world.registrar);
        async move { registrar.register(&runner(good, number)).await }
    });
    assert_eq!(try_join_all(launches).await.unwrap().len(), 20);
    world.github.wait_for_requests(|all| all.under_way() == 5).await;
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    lost.abort();
}

#[tokio::test]
async fn never_more_than_ninety_requests_are_under_way() {
    let world = World::new(Options::default()).await;
    let delay = Fault::Delay(Duration::from_millis(50));
    world.github.inject(delay, "GET /repos/*", Often::Always).unwrap();
    let repos: Vec<_> = (0..60).map(|number| world.repo(&format!("octocat/r{number}"))).collect();
    let looks = repos.iter().flat_map(|repo| [repo; 5]).map(|repo| world.runs(repo.as_str()));
    try_join_all(looks).await.unwrap();
    let most = world.github.counters().most_concurrent;
    assert!((60..=90).contains(&most), "{most}");
}

/// terraform-aws-github-runner#3199, ARC#206: the budget was used up.
#[tokio::test]
async fn looks_stop_at_their_share_of_the_budget_and_launches_and_removals_go_on() {
    let options = Options { rate_limit: 40, ..Options::default() };
    let world = World::with(options, |config| config.api_budget = 25).await;
    let repo = world.repo("octocat/home");
    assert_eq!(world.client.allowance(None), None);
    let path = |number| format!("/repos/octocat/home/actions/runs?page={number}");
    let looks = join_all((0..30).map(|number| {
        let path = path(number);
        async { world.client.get_all::<Runs>(&{ path }).await }
    }));
    // The first answer tells the budget; what is under way by then is at most four.
    let looks = looks.await;
    let done = looks.iter().filter(|look| look.is_ok()).count();
    assert_eq!((done, world.github.counters().charged), (10, 10));
    let refused = looks.into_iter().find_map(Result::err).unwrap();
    assert_eq!(refused.code, Code::RateLimited);
    assert!(refused.retry_after.is_some_and(|wait| wait > 3_000), "{refused:?}");
    assert!(matches!(world.client.allowance(None), Some(Allowance { left: 0, .. })));
    assert!(world.client.budget().unwrap().forecast.starts_with("Looks have used their share"));
    let new = runner(&repo, 1);
    assert!(world.registrar.register(&new).await.is_ok());
    let id = world.registrar.find(&new.scope, &new.name).await.unwrap().unwrap();
    assert_eq!(world.registrar.find(&new.scope, "nobody").await, Ok(None));
    let gone = world.registrar.deregister(&new.scope, id).await;
    assert_eq!(gone, Ok(Deregistered::Gone));
}

#[tokio::test]
async fn where_registrations_are_used_up_none_is_sent_any_more_and_looks_go_on() {
    let options = Options { registration_limit: Some(3), ..Options::default() };
    let world = World::new(options).await;
    let repo = world.repo("octocat/home");
    for number in 0..3 {
        world.registrar.register(&runner(&repo, number)).await.unwrap();
    }
    let sent = world.github.counters().total;
    for number in 3..6 {
        let refused = world.registrar.register(&runner(&repo, number)).await.unwrap_err();
        assert_eq!(refused.code, Code::RateLimited);
        assert!(refused.retry_after.is_some_and(|wait| wait > 3_000), "{refused:?}");
    }
    assert_eq!(world.github.counters().total, sent, "nobody is hammered");
    assert!(world.runs("octocat/home").await.is_ok());
}

#[tokio::test]
async fn a_page_that_is_as_it_was_hides_no_change_on_a_later_one() {
    let world = World::new(Options::default()).await;
    (0..250).for_each(|number| drop(world.repo(&format!("octocat/r{number:03}"))));
    let path = "/user/repos?sort=full_name";
    let before = world.client.get_all::<Vec<Repository>>(path).await.unwrap();
    world.github.clear_requests();
    world.github.add_repo(RepoSpec::new("octocat/r150").archived());
    let after = world.client.get_all::<Vec<Repository>>(path).await.unwrap();
    let archived = |all: &[Repository]| all.iter().filter(|one| one.archived == Some(true)).count();
    assert_eq!((before.len(), archived(&before)), (250, 0));
    assert_eq!((after.len(), archived(&after)), (250, 1));
    assert_eq!((world.answered(304), world.answered(200)), (2, 1));
}

#[tokio::test]
async fn the_front_of_a_long_list_is_read_as_far_as_it_changed() {
    let world = World::new(Options::default()).await;
    world.github.add_org("octo-org");
    (0..450).for_each(|number| drop(world.repo(&format!("octo-org/r{number:03}"))));
    let path = "/orgs/octo-org/repos?sort=pushed&direction=desc";
    let names = async || {
        world.github.clear_requests();
        let all = world.client.get_front::<Vec<Repository>>(path).await.unwrap();
        let names: BTreeSet<_> = all.into_iter().map(|one| one.full_name).collect();
        (names.len(), world.github.counters().total)
    };
    assert_eq!(names().await, (450, 5));
    assert_eq!(names().await, (450, 1), "nothing has changed");
    let page = world.client.get_page::<Vec<Repository>>(path, 5).await.unwrap();
    assert_eq!((page.items.len(), page.more, page.changed), (50, false, false));
    // The last of the second page is pushed to: both pages change, the third and others do not.
    let second = world.client.get_page::<Vec<Repository>>(path, 2).await.unwrap();
    let last = second.items.last().unwrap().full_name.clone();
    world.github.queue_run(&last, RunSpec::new("ci")).unwrap();
    world.repo(&last);
    assert_eq!(names().await, (450, 3));
    // A new one is on the first page, and moves all others.
    world.repo("octo-org/new");
    assert_eq!(names().await, (451, 5));
}

#[tokio::test]
async fn an_answer_that_was_forgotten_is_asked_for_again_as_a_whole() {
    let world = World::new(Options::default()).await;
    world.repo("octocat/home");
    for expected in [(1, 0), (1, 1)] {
        world.runs("octocat/home").await.unwrap();
        assert_eq!((world.answered(200), world.answered(304)), expected);
    }
    *world.client.remembers() = Cache::default();
    assert_eq!(world.runs("octocat/home").await.unwrap(), 0);
    assert_eq!((world.answered(200), world.answered(304)), (2, 1));
}

#[tokio::test]
async fn ten_thousand_quiet_repositories_are_remembered_in_a_few_megabytes() {
    let world = World::new(Options::default()).await;
    world.github.add_org("octo-org");
    (0..100).for_each(|number| drop(world.repo(&format!("octo-org/r{number:05}"))));
    let bytes = || world.client.remembers().bytes;
    let list = "/orgs/octo-org/repos?sort=pushed&direction=desc";
    assert_eq!(world.client.get_all::<Vec<Repository>>(list).await.unwrap().len(), 100);
    let listed = bytes();
    for number in 0..100 {
        for status in ["queued", "in_progress", "failure&created=%3E%3D2026-01-01"] {
            let path = format!(
                "/repos/octo-org/r{number:05}/actions/runs?exclude_pull_requests=true&status={status}"
            );
            world.client.get_all::<Runs>(&path).await.unwrap();
        }
    }
    // GitHub's own tags are 48 characters longer than the simulator's.
    let each = (bytes() - listed) / 100 + 3 * 48;
    assert!(each < 1_300 && listed < 100 * 200, "{each} bytes each, {} in the list", listed / 100);
}

#[tokio::test]
async fn each_installation_of_an_app_has_a_share_and_turns_of_its_own() {
    let key = Credential::App(AppKey::in_text("7".to_owned(), &pairs()[0].private));
    let options = Options { rate_limit: 20, secondary_limit: Some(900), ..Options::default() };
    let world = World::of(key, options, |_| ()).await;
    world.github.add_app(AppSpec::new(7, &*pairs()[0].public));
    for name in ["octo-org/web", "acme/api"] {
        world.repo(name);
        world.github.install_app(7, name.split('/').next().unwrap(), None).unwrap();
    }
    for number in 0..10 {
        let path = format!("/repos/octo-org/web/actions/runs?page={number}");
        world.client.get_all::<Runs>(&path).await.unwrap();
    }
    assert_eq!(world.runs("octo-org/web").await.unwrap_err().code, Code::RateLimited);
    assert_eq!(world.runs("acme/api").await.unwrap(), 0);
    let left = |owner| world.client.allowance(owner).map(|allowance| allowance.left);
    let reads = |owner| world.client.readiness(owner).reads;
    assert_eq!(
        (left(Some("octo-org")), left(Some("Acme")), left(None)),
        (Some(0), Some(9), Some(0))
    );
    assert_eq!((reads(Some("octo-org")), reads(Some("acme"))), (590, 599));
    assert_eq!((left(Some("nobody")), reads(Some("nobody"))), (None, 600), "nothing is known");
}

#[tokio::test]
async fn an_answer_is_remembered_for_who_reads_the_same_of_it() {
    let world = World::new(Options::default()).await;
    let id = |value: serde_json::Value| value["id"].as_u64();
    assert_eq!(world.client.get::<Account>("/user").await.unwrap().login, "octocat");
    assert!(id(world.client.get("/user").await.unwrap()).is_some(), "no account has an id for us");
    assert_eq!((world.answered(200), world.answered(304)), (2, 0));
    assert!(id(world.client.get("/user").await.unwrap()).is_some());
    assert_eq!((world.answered(200), world.answered(304)), (2, 1));
}

#[test]
fn a_full_page_that_is_as_it_was_may_have_a_successor_all_the_same() {
    let more = |count, changed| {
        super::client::listed(super::client::Read { value: vec![0; count], more: false, changed })
            .more
    };
    assert!(more(100, false) && !more(99, false) && !more(100, true));
}

#[tokio::test]
async fn what_is_not_modified_uses_nothing_of_the_share() {
    let options = Options { rate_limit: 40, ..Options::default() };
    let world = World::with(options, |config| config.api_budget = 5).await;
    world.repo("octocat/home");
    world.runs("octocat/home").await.unwrap();
    let looks = (0..30).map(|_| world.runs("octocat/home"));
    assert_eq!(try_join_all(looks).await.unwrap(), [0; 30], "with one charged request left");
    assert_eq!((world.answered(200), world.answered(304)), (1, 30));
    let left = world.client.allowance(None).unwrap().left;
    assert_eq!(left, 1);
}

#[tokio::test]
async fn a_repository_gets_no_more_runners_in_five_minutes_than_github_takes() {
    let change = |config: &mut RunnerConfig| config.registration = RegistrationKind::Token;
    let world = World::with(Options::default(), change).await;
    let (one, other) = (world.repo("octocat/one"), world.repo("octocat/other"));
    for number in 0..1_400 {
        world.registrar.register(&runner(&one, number)).await.unwrap();
    }
    world.registrar.register(&runner(&other, 0)).await.unwrap();
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    world.registrar.register(&runner(&one, 1_400)).await.unwrap();
    let waited = begin.elapsed();
    assert!(Duration::from_secs(200) < waited && waited <= Duration::from_secs(300), "{waited:?}");
}
