use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::judge::{self, Directory};
use super::*;
use crate::adapters::docker::{ImageStanding, Survey};
use crate::adapters::github::{Identity, Standing};
use crate::config::{Environment, PullPolicy, RunnerConfig, ScopeKind, Sources, StartInput, load};
use crate::error::{Code, Result};
use crate::model::{Demand, Job, Labels, RateLimit, RepoDemand, Scope};
use crate::simulator::{
    Fault, JobSpec, Often, Options, Permission, RepoSpec, RunSpec, Simulator, TOKEN,
};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn config(env: &[(&str, &str)]) -> RunnerConfig {
    let env: Environment = env.iter().copied().chain([("HOME", "/nowhere")]).collect();
    load(&Sources { env, ..Sources::default() }, &StartInput::default()).unwrap().config
}

fn denied() -> Error {
    Error::new(Code::TokenDenied, "It may not.", "Give it the right.")
}

fn is(check: &Check, outcome: Outcome, words: &str) {
    assert_eq!(check.outcome, outcome, "{check:?}");
    assert!(check.message.contains(words), "{check:?}");
    let wants_remedy = matches!(outcome, Outcome::Warning | Outcome::Failure);
    assert_eq!(!check.remedy.is_empty(), wants_remedy, "{check:?}");
}

#[test]
fn a_credential_is_judged_by_who_it_is_what_it_may_and_when_it_ends() {
    let user = || Ok(Identity::User("octocat".into()));
    let judge = |standing: Standing, identity: Result<Identity>, scope| {
        judge::credential(&standing, &identity, scope, at(0))
    };
    let scopes = |scopes: &[&str]| Standing {
        scopes: Some(scopes.iter().map(ToString::to_string).collect()),
        ..Standing::default()
    };
    let ends = |second| Standing { expires_at: Some(at(second)), ..Standing::default() };
    let refused = Standing { refused: Some(denied()), ..Standing::default() };
    let day = 86_400;
    for (standing, scope, outcome, words) in [
        (Standing::default(), ScopeKind::Repo, Outcome::Ok, "the user octocat"),
        (refused, ScopeKind::Repo, Outcome::Failure, "It may not"),
        (scopes(&["repo"]), ScopeKind::Repo, Outcome::Ok, "octocat"),
        (scopes(&[]), ScopeKind::Repo, Outcome::Ok, "octocat"),
        (scopes(&["gist"]), ScopeKind::Repo, Outcome::Failure, "lacks the scope repo"),
        (scopes(&["repo"]), ScopeKind::Org, Outcome::Failure, "lacks the scope admin:org"),
        (ends(-1), ScopeKind::Repo, Outcome::Failure, "ended on 1969-12-31"),
        (ends(6 * day), ScopeKind::Repo, Outcome::Warning, "ends on 1970-01-07"),
        (ends(8 * day), ScopeKind::Repo, Outcome::Ok, "until 1970-01-09"),
    ] {
        is(&judge(standing, user(), scope), outcome, words);
    }
    let app = |installed: &[(&str, bool)]| {
        let installed = installed.iter().map(|(login, is)| ((*login).to_owned(), *is)).collect();
        judge(Standing::default(), Ok(Identity::App(installed)), ScopeKind::Repo)
    };
    is(&app(&[("a", false), ("b", false)]), Outcome::Ok, "installed on a, b");
    is(&app(&[("a", false), ("b", true)]), Outcome::Warning, "suspended on b");
    is(&app(&[("b", true)]), Outcome::Failure, "suspended on b");
    is(&app(&[]), Outcome::Failure, "installed nowhere");
    is(&judge(Standing::default(), Err(denied()), ScopeKind::Repo), Outcome::Failure, "may not");
}

#[test]
fn rights_are_to_list_and_to_change() {
    let scope = Scope::org("acme");
    let judge = |listed, written| judge::permission(&scope, listed, written);
    is(&judge(Ok(()), Ok(())), Outcome::Ok, "organisation acme");
    is(&judge(Err(denied()), Ok(())), Outcome::Failure, "It may not");
    is(&judge(Ok(()), Err(denied())), Outcome::Failure, "neither registered nor removed");
    let outage = Error::new(Code::GithubUnreachable, "No answer.", "Wait.");
    is(&judge(Ok(()), Err(outage)), Outcome::Failure, "No answer");
}

#[test]
fn budget_and_clock_have_their_bounds() {
    let budget = |remaining| {
        judge::budget(Some(RateLimit {
            limit: 5_000,
            remaining,
            reset_at: at(0),
            forecast: String::new(),
        }))
    };
    is(&budget(500), Outcome::Ok, "500 of 5000");
    is(&budget(499), Outcome::Warning, "only 499");
    is(&budget(0), Outcome::Failure, "used up");
    is(&judge::budget(None), Outcome::Ok, "no limit");
    let clock = |off| judge::clock(Some(at(0)), at(off));
    is(&clock(-60), Outcome::Ok, "agrees");
    is(&clock(61), Outcome::Warning, "61 s ahead of");
    is(&clock(-300), Outcome::Warning, "300 s behind");
    is(&clock(-301), Outcome::Failure, "behind");
    is(&judge::clock(None, at(0)), Outcome::Skipped, "no date");
}

fn survey() -> Survey {
    Survey {
        version: "28.2".into(),
        api: "1.50".into(),
        storage: "overlay2".into(),
        cgroup: "2".into(),
        architecture: "x86_64".into(),
        cpus: 64,
        memory: 64 << 30,
        ..Survey::default()
    }
}

#[test]
fn the_engine_is_judged_by_its_age_and_by_what_it_has() {
    let config = config(&[]);
    is(
        &judge::docker(&survey(), &config),
        Outcome::Ok,
        "Docker 28.2 (API 1.50, overlay2, cgroup v2)",
    );
    let old = Survey { api: "1.40".into(), ..survey() };
    is(&judge::docker(&old, &config), Outcome::Failure, "1.40");
    let old_groups = Survey { cgroup: "1".into(), ..survey() };
    is(&judge::docker(&old_groups, &config), Outcome::Warning, "control groups v1");
    let small = Survey { memory: 16 << 30, ..survey() };
    is(&judge::docker(&small, &config), Outcome::Warning, "10 runners may take 40.0 GiB");
    let told = Survey { warnings: vec!["The socket.".into()], ..survey() };
    is(&judge::docker(&told, &config), Outcome::Warning, "The socket.");
}

#[test]
fn an_image_must_be_there_or_to_be_had_and_for_this_processor() {
    let missing = config(&[]);
    let never = RunnerConfig { pull: PullPolicy::Never, ..config(&[]) };
    let present = |name: &str| ImageStanding::Present(name.into());
    let pullable =
        |names: &[&str]| ImageStanding::Pullable(names.iter().map(ToString::to_string).collect());
    for (standing, config, outcome, words) in [
        (present("amd64"), &never, Outcome::Ok, "is on the engine's host"),
        (present("arm64"), &never, Outcome::Failure, "is for arm64"),
        (pullable(&["arm64", "amd64"]), &missing, Outcome::Ok, "can be pulled"),
        (pullable(&[]), &missing, Outcome::Ok, "can be pulled"),
        (pullable(&["arm64"]), &missing, Outcome::Failure, "is for arm64"),
        (pullable(&["amd64"]), &never, Outcome::Failure, "pull is never"),
        (ImageStanding::Missing(denied()), &missing, Outcome::Failure, "It may not"),
    ] {
        is(&judge::image(standing, config, Some("x86_64")), outcome, words);
    }
}

#[test]
fn waiting_jobs_that_nobody_here_can_serve_are_named() {
    let job = |labels: &[&str]| Job {
        id: 1,
        run_id: 1,
        repo: "o/r".parse().unwrap(),
        scope: Scope::Repo("o/r".parse().unwrap()),
        name: "fit".into(),
        url: String::new(),
        labels: Labels::new(labels),
        queued_at: at(0),
        seen_at: at(0),
        beside_sets: false,
    };
    let demand = |queued| Demand {
        repos: vec![RepoDemand {
            repo: "o/r".parse().unwrap(),
            running: 0,
            failed: 0,
            pending: 1,
            queued,
            in_progress: Vec::new(),
        }],
        unseen: Default::default(),
        unlisted: Default::default(),
        rate_limit: None,
        is_listed: true,
        ..Demand::default()
    };
    let ours = Labels::new(["self-hosted", "linux"]);
    let servable = demand(vec![job(&["self-hosted"]), job(&["ubuntu-latest"])]);
    is(&judge::labels(&servable, &ours), Outcome::Ok, "1 jobs wait");
    let unserved = demand(vec![job(&["self-hosted", "gpu"])]);
    is(&judge::labels(&unserved, &ours), Outcome::Warning, "such as gpu for fit in o/r");
}

#[test]
fn network_disk_and_state_directory_have_their_outcomes() {
    let host = |reached| vec![("github.com:443".to_owned(), reached)];
    is(&judge::network(&host(Ok(()))), Outcome::Ok, "reaches github.com:443");
    is(&judge::network(&host(Err("no name".into()))), Outcome::Failure, "github.com:443 (no name)");
    let disk = |gib: u64| judge::disk(Path::new("/x"), "the engine", gib << 30, 0);
    is(&disk(10), Outcome::Ok, "10.0 GiB");
    is(&disk(9), Outcome::Warning, "/x");
    is(&disk(1), Outcome::Failure, "1.0 GiB");
    let low = judge::disk(Path::new("/x"), "the engine", 19 << 30, 20 << 30);
    is(&low, Outcome::Failure, "min_free_disk is 20480 MiB");
    let state = |found| judge::state_dir(Path::new("/s"), found);
    let there = |mode, writable| Directory::There { mode, writable };
    is(&state(there(0o40700, true)), Outcome::Ok, "private");
    is(&state(there(0o40755, true)), Outcome::Warning, "Others can look");
    is(&state(there(0o40700, false)), Outcome::Failure, "cannot write");
    is(&state(Directory::Absent { makeable: true }), Outcome::Ok, "will be made");
    is(&state(Directory::Absent { makeable: false }), Outcome::Failure, "cannot write");
    is(&state(Directory::Other), Outcome::Failure, "no directory");
}

/// What the doctor finds in the world of `github` without an engine.
async fn examined(github: &Simulator, more: &[(&str, &str)]) -> Vec<Check> {
    let (api, server) = (github.api_url(), github.url());
    let env: Environment = [
        ("HOME", "/nowhere"),
        ("GITHUB_API_URL", api.as_str()),
        ("GITHUB_SERVER_URL", server.as_str()),
        ("DOCKER_HOST", "unix:///nowhere/docker.sock"),
    ]
    .into_iter()
    .chain(more.iter().copied())
    .collect();
    let sources = Sources { env: env.clone(), ..Sources::default() };
    let config = load(&sources, &StartInput::default()).unwrap().config;
    examine(&config, &env).await
}

fn found<'a>(checks: &'a [Check], name: &str) -> Vec<&'a Check> {
    checks.iter().filter(|check| check.name == name).collect()
}

#[tokio::test]
async fn rights_are_found_without_leaving_anything_on_github() {
    let github = Simulator::start(Options::default()).await.unwrap();
    github.add_repo(RepoSpec::new("acme/api"));
    github.add_repo(RepoSpec::new("acme/half").denies(Permission::Administration));
    github.add_repo(RepoSpec::new("acme/look"));
    let removal = "DELETE /repos/acme/look/actions/runners/0";
    github.inject(Fault::Status(403), removal, Often::Always).unwrap();
    github
        .queue_run("acme/api", RunSpec::new("ci").job(JobSpec::new("fit").labels(["gpu"])))
        .unwrap();
    let checks = examined(&github, &[("GITHUB_TOKEN", TOKEN)]).await;
    is(found(&checks, "credential")[0], Outcome::Ok, "octocat");
    is(found(&checks, "github")[0], Outcome::Ok, "of 5000");
    is(found(&checks, "clock")[0], Outcome::Ok, "agrees");
    is(found(&checks, "network")[0], Outcome::Ok, "127.0.0.1");
    is(found(&checks, "labels")[0], Outcome::Warning, "gpu");
    let mut rights: Vec<_> =
        found(&checks, "permissions").iter().map(|check| check.outcome).collect();
    rights.sort_by_key(|outcome| *outcome as u8);
    assert_eq!(rights, [Outcome::Ok, Outcome::Failure, Outcome::Failure]);
    let rights = found(&checks, "permissions");
    let looking = rights.iter().find(|one| one.message.contains("acme/look")).unwrap();
    is(looking, Outcome::Failure, "neither registered nor removed");
    // What does not answer stops nothing else.
    is(found(&checks, "docker")[0], Outcome::Failure, "Docker is not accessible");
    is(found(&checks, "image")[0], Outcome::Skipped, "does not answer");
    assert!(!is_well(&checks));
    let requests = github.requests();
    assert!(requests.iter().all(|request| request.method != "POST"), "{requests:?}");
    assert!(github.runners().is_empty());
}

#[tokio::test]
async fn a_clock_that_is_off_and_a_credential_that_is_refused_are_told() {
    let github = Simulator::start(Options::default()).await.unwrap();
    github.skip(std::time::Duration::from_secs(3_600));
    let checks = examined(&github, &[("GITHUB_TOKEN", "ghp_wrong")]).await;
    is(found(&checks, "credential")[0], Outcome::Failure, "Not authenticated");
    is(found(&checks, "clock")[0], Outcome::Failure, "behind GitHub's");
    is(found(&checks, "github")[0], Outcome::Skipped, "does not take the credential");
    let checks = examined(&github, &[("PATH", "/nowhere")]).await;
    is(found(&checks, "credential")[0], Outcome::Failure, "no other credential");
    is(found(&checks, "permissions")[0], Outcome::Skipped, "no credential");
}
