//! GitHub's REST API, as far as an autoscaler needs it: accounts, repositories, runs and jobs. The
//! runners' half is in [`super::rest_runners`].

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    middleware::from_fn_with_state,
    response::Response,
    routing::get,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

use super::{
    gate::{self, Caller},
    limits::Resource,
    model::{Job, Permission, Repo, Run},
    paging::Listing,
    problem::Problem,
    rest_apps, rest_runners,
    server::{Shared, World},
    shapes::Shapes,
};

/// What all handlers are given.
pub(super) type Github = State<Arc<Shared>>;

/// docs.github.com: a search by status, branch, event or time answers 1,000 results at most.
const MOST_FOUND: usize = 1_000;

pub(super) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/rate_limit", get(rate_limit))
        .route("/user", get(user))
        .route("/user/repos", get(user_repos))
        .route("/users/{login}", get(account))
        .route("/users/{login}/repos", get(account_repos))
        .route("/orgs/{org}", get(org))
        .route("/orgs/{org}/repos", get(org_repos))
        .route("/repos/{owner}/{repo}", get(repo))
        .route("/repos/{owner}/{repo}/actions/runs", get(runs))
        .route("/repos/{owner}/{repo}/actions/runs/{run}/jobs", get(jobs))
        .route("/repos/{owner}/{repo}/actions/jobs/{job}", get(job))
        .merge(rest_apps::router())
        .merge(rest_runners::router())
        .fallback(async || Problem::NotFound)
        .layer(from_fn_with_state(Arc::clone(shared), gate::admit))
        .layer(from_fn_with_state(Arc::clone(shared), gate::go_wrong))
        .layer(from_fn_with_state(Arc::clone(shared), gate::record))
        .with_state(Arc::clone(shared))
}

async fn rate_limit(
    State(github): Github,
    Extension(Caller(login)): Extension<Caller>,
) -> Json<Value> {
    let standing = github.change(|world, now| world.limits.standing(&login, Resource::Core, now));
    Json(Shapes::rate_limit(standing))
}

async fn user(
    State(github): Github,
    Extension(Caller(login)): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let world = github.lock();
    let account = world.state.account(&login).ok_or(Problem::NotFound)?;
    Ok(Json(github.shapes().user(account, true)))
}

async fn account(State(github): Github, Path(login): Path<String>) -> Result<Json<Value>, Problem> {
    let world = github.lock();
    let account = world.state.account(&login).ok_or(Problem::NotFound)?;
    Ok(Json(github.shapes().user(account, false)))
}

async fn org(State(github): Github, Path(org): Path<String>) -> Result<Json<Value>, Problem> {
    let world = github.lock();
    let account = world.state.account(&org).filter(|account| account.organization);
    Ok(Json(github.shapes().org(account.ok_or(Problem::NotFound)?)))
}

/// `GET /user/repos`: what the caller works on, by affiliation.
async fn user_repos(
    State(github): Github,
    Extension(Caller(login)): Extension<Caller>,
    listing: Listing,
) -> Result<Response, Problem> {
    if listing.get("type").is_some()
        && (listing.get("affiliation").is_some() || listing.get("visibility").is_some())
    {
        return Err(Problem::Invalid(
            "If you specify visibility or affiliation, you cannot specify type.".into(),
        ));
    }
    let wanted = match listing.get("type") {
        Some("owner") => "owner",
        Some("member") => "collaborator,organization_member",
        _ => listing.get("affiliation").unwrap_or("owner,collaborator,organization_member"),
    };
    let visibility = listing.get("visibility").or(listing.get("type"));
    let shown = |world: &World, repo: &Repo| {
        let affiliation = world.state.affiliation(&login, repo);
        affiliation.is_some_and(|own| wanted.split(',').any(|wanted| wanted.trim() == own))
            && is_visible(visibility, repo)
    };
    Ok(repos(&github, &login, &listing, "full_name", shown))
}

/// `GET /users/{login}/repos`: public ones only, the caller's own login included.
async fn account_repos(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
    Path(login): Path<String>,
    listing: Listing,
) -> Result<Response, Problem> {
    github.lock().state.account(&login).ok_or(Problem::NotFound)?;
    let shown = |_: &World, repo: &Repo| repo.owner.eq_ignore_ascii_case(&login) && !repo.private;
    Ok(repos(&github, &caller, &listing, "full_name", shown))
}

async fn org_repos(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
    Path(org): Path<String>,
    listing: Listing,
) -> Result<Response, Problem> {
    let found = github.lock().state.account(&org).is_some_and(|account| account.organization);
    if !found {
        return Err(Problem::NotFound);
    }
    let shown = |world: &World, repo: &Repo| {
        repo.owner.eq_ignore_ascii_case(&org)
            && world.state.sees(&caller, repo)
            && is_visible(listing.get("type"), repo)
    };
    Ok(repos(&github, &caller, &listing, "created", shown))
}

fn is_visible(visibility: Option<&str>, repo: &Repo) -> bool {
    match visibility {
        Some("private") => repo.private,
        Some("public") => !repo.private,
        Some("forks") => false,
        _ => true,
    }
}

fn repos(
    github: &Shared,
    caller: &str,
    listing: &Listing,
    default_sort: &str,
    shown: impl Fn(&World, &Repo) -> bool,
) -> Response {
    let world = github.lock();
    let mut repos: Vec<_> = world.state.repos().filter(|repo| shown(&world, repo)).collect();
    let sort = listing.get("sort").unwrap_or(default_sort);
    match sort {
        "created" => repos.sort_by_key(|repo| (repo.created_at, repo.id)),
        "pushed" | "updated" => repos.sort_by_key(|repo| (repo.pushed_at, repo.id)),
        _ => {}
    }
    let ascending = listing.get("direction").map_or(sort == "full_name", |way| way == "asc");
    if !ascending {
        repos.reverse();
    }
    let shapes = github.shapes();
    let owner = |repo: &Repo| world.state.account(&repo.owner);
    let may_admin = |repo: &Repo| world.state.affiliation(caller, repo).is_some();
    listing.page(
        &github.api_url(),
        &repos,
        |repo| shapes.repo(repo, owner(repo), may_admin(repo)),
        |_, page| Value::Array(page),
    )
}

async fn repo(
    State(github): Github,
    Extension(Caller(login)): Extension<Caller>,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let world = github.lock();
    let repo = find(&world, &login, &owner, &name)?;
    let account = world.state.account(&repo.owner);
    let may_admin = world.state.affiliation(&login, repo).is_some();
    Ok(Json(github.shapes().full_repo(repo, account, may_admin)))
}

async fn runs(
    State(github): Github,
    Extension(Caller(login)): Extension<Caller>,
    Path((owner, name)): Path<(String, String)>,
    listing: Listing,
) -> Result<Response, Problem> {
    let world = github.lock();
    let repo = find_with_actions(&world, &login, &owner, &name)?;
    let full_name = repo.full_name();
    let created = listing.get("created").map(Created::parse);
    let wanted = |run: &&Run| {
        run.repo == full_name
            && listing.get("status").is_none_or(|status| {
                status == run.status.as_str()
                    || run.conclusion.is_some_and(|conclusion| status == conclusion.as_str())
            })
            && listing.get("event").is_none_or(|event| event == run.event)
            && listing.get("branch").is_none_or(|branch| run.branch.as_deref() == Some(branch))
            && created.as_ref().is_none_or(|created| created.admits(run.created_at))
    };
    // The newest first.
    let mut runs: Vec<_> = world.state.runs().rev().filter(wanted).collect();
    if ["status", "event", "branch", "created"].iter().any(|name| listing.get(name).is_some()) {
        runs.truncate(MOST_FOUND);
    }
    let shapes = github.shapes();
    let account = world.state.account(&repo.owner);
    // An app acts for the account that it is installed on.
    let actor = world.state.account(&login).or(account);
    Ok(listing.page(
        &github.api_url(),
        &runs,
        |run| shapes.run(run, repo, account, actor),
        |total, page| json!({"total_count": total, "workflow_runs": page}),
    ))
}

async fn jobs(
    State(github): Github,
    Extension(Caller(login)): Extension<Caller>,
    Path((owner, name, run)): Path<(String, String, u64)>,
    listing: Listing,
) -> Result<Response, Problem> {
    let world = github.lock();
    let repo = find_with_actions(&world, &login, &owner, &name)?;
    let run = world.state.run(run).filter(|run| run.repo == repo.full_name());
    let run = run.ok_or(Problem::NotFound)?;
    let jobs: Vec<&Job> = world.state.jobs_of(run.id).collect();
    let shapes = github.shapes();
    Ok(listing.page(
        &github.api_url(),
        &jobs,
        |job| shapes.job(job, run),
        |total, page| json!({"total_count": total, "jobs": page}),
    ))
}

async fn job(
    State(github): Github,
    Extension(Caller(login)): Extension<Caller>,
    Path((owner, name, job)): Path<(String, String, u64)>,
) -> Result<Json<Value>, Problem> {
    let world = github.lock();
    let repo = find_with_actions(&world, &login, &owner, &name)?;
    let job = world.state.job(job).filter(|job| job.repo == repo.full_name());
    let job = job.ok_or(Problem::NotFound)?;
    let run = world.state.run(job.run_id).ok_or(Problem::NotFound)?;
    Ok(Json(github.shapes().job(job, run)))
}

/// The repository, when this login may know of it.
pub(super) fn find<'a>(
    world: &'a World,
    login: &str,
    owner: &str,
    name: &str,
) -> Result<&'a Repo, Problem> {
    let repo = world.state.repo(&format!("{owner}/{name}"));
    repo.filter(|repo| world.state.sees(login, repo)).ok_or(Problem::NotFound)
}

fn find_with_actions<'a>(
    world: &'a World,
    login: &str,
    owner: &str,
    name: &str,
) -> Result<&'a Repo, Problem> {
    let repo = find(world, login, owner, name)?;
    if repo.denied.contains(&Permission::Actions) {
        return Err(Problem::forbidden(login, "actions=read"));
    }
    Ok(repo)
}

/// A `created` filter (docs.github.com: "Query for dates"): `>=T`, `>T`, `<=T`, `<T`, `T..T`, with
/// `*` for an open end, or one day. What cannot be read filters nothing.
#[derive(Debug, Default)]
struct Created {
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl Created {
    fn parse(text: &str) -> Self {
        if let Some((from, until)) = text.split_once("..") {
            return Self { from: moment(from), until: moment(until) };
        }
        let time = moment(text.trim_start_matches(['<', '>', '=']));
        match text.chars().next() {
            Some('>') => Self { from: time, until: None },
            Some('<') => Self { from: None, until: time },
            _ => Self { from: time, until: time.map(|time| time + chrono::Days::new(1)) },
        }
    }

    fn admits(&self, time: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time <= until)
    }
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    let day = || text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    text.parse().ok().or_else(|| day().map(|day| day.and_utc()))
}
