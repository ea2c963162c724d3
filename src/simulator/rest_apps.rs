//! The REST API's endpoints for GitHub Apps and their installations.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    response::Response,
    routing::{get, post},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    apps::{App, Installation, app_of, installation_of},
    gate::Caller,
    model::Repo,
    paging::Listing,
    problem::Problem,
    rest::Github,
    server::{Shared, World},
};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/app", get(app))
        .route("/app/installations", get(installations))
        .route("/app/installations/{id}", get(installation))
        .route("/app/installations/{id}/access_tokens", post(access_token))
        .route("/orgs/{login}/installation", get(installation_on_org))
        .route("/users/{login}/installation", get(installation_on_user))
        .route("/repos/{owner}/{repo}/installation", get(installation_on_repo))
        .route("/installation/repositories", get(repositories))
}

/// The app that asks; the gate lets no other caller through.
fn own<'a>(world: &'a World, caller: &str) -> Result<&'a App, Problem> {
    app_of(caller).and_then(|id| world.state.apps.app(id)).ok_or(Problem::NotFound)
}

/// The asking app's first installation that is such.
fn find<'a>(
    world: &'a World,
    caller: &str,
    is_so: impl Fn(&Installation) -> bool,
) -> Result<(&'a App, &'a Installation), Problem> {
    let app = own(world, caller)?;
    let found = world.state.apps.installations_of(app.id).find(|one| is_so(one));
    found.map(|found| (app, found)).ok_or(Problem::NotFound)
}

fn shown(
    github: &Shared,
    caller: &str,
    is_so: impl Fn(&Installation) -> bool,
) -> Result<Json<Value>, Problem> {
    let world = github.lock();
    let (app, found) = find(&world, caller, is_so)?;
    let account = world.state.account(&found.account);
    Ok(Json(github.shapes().installation(found, app, account)))
}

async fn app(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let world = github.lock();
    let app = own(&world, &caller)?;
    let installed = world.state.apps.installations_of(app.id).count();
    Ok(Json(github.shapes().app(app, world.state.accounts().first(), installed)))
}

async fn installations(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
    listing: Listing,
) -> Result<Response, Problem> {
    let world = github.lock();
    let app = own(&world, &caller)?;
    let all: Vec<_> = world.state.apps.installations_of(app.id).collect();
    let shapes = github.shapes();
    let shape =
        |one: &&Installation| shapes.installation(one, app, world.state.account(&one.account));
    Ok(listing.page(&github.api_url(), &all, shape, |_, page| Value::Array(page)))
}

async fn installation(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
    Path(id): Path<u64>,
) -> Result<Json<Value>, Problem> {
    shown(&github, &caller, |one| one.id == id)
}

async fn installation_on_org(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
    Path(login): Path<String>,
) -> Result<Json<Value>, Problem> {
    is_org(&github, &login, true)?;
    shown(&github, &caller, |one| one.account.eq_ignore_ascii_case(&login))
}

async fn installation_on_user(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
    Path(login): Path<String>,
) -> Result<Json<Value>, Problem> {
    is_org(&github, &login, false)?;
    shown(&github, &caller, |one| one.account.eq_ignore_ascii_case(&login))
}

fn is_org(github: &Shared, login: &str, organization: bool) -> Result<(), Problem> {
    let world = github.lock();
    let account = world.state.account(login);
    account.filter(|one| one.organization == organization).map(drop).ok_or(Problem::NotFound)
}

async fn installation_on_repo(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let repo = github.lock().state.repo(&format!("{owner}/{name}")).cloned();
    let repo = repo.ok_or(Problem::NotFound)?;
    shown(&github, &caller, |one| one.covers(&repo))
}

/// A token for everything that the installation may; that it can be asked for less is left out.
async fn access_token(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
    Path(id): Path<u64>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let shapes = github.shapes();
    github.change(|world, now| {
        let (_, found) = find(world, &caller, |one| one.id == id)?;
        if found.suspended_at.is_some() {
            return Err(Problem::Suspended);
        }
        let selected = found.repos.is_some();
        let (token, ends_at) = world.state.issue_installation_token(id, now);
        Ok((StatusCode::CREATED, Json(shapes.installation_token(&token, ends_at, selected))))
    })
}

async fn repositories(
    State(github): Github,
    Extension(Caller(caller)): Extension<Caller>,
    listing: Listing,
) -> Result<Response, Problem> {
    let world = github.lock();
    let own = installation_of(&caller).and_then(|id| world.state.apps.installation(id));
    let own = own.ok_or(Problem::NotFound)?;
    let repos: Vec<&Repo> = world.state.repos().filter(|repo| own.covers(repo)).collect();
    let shapes = github.shapes();
    let shape = |repo: &&Repo| shapes.repo(repo, world.state.account(&repo.owner), false);
    let selection = if own.repos.is_some() { "selected" } else { "all" };
    Ok(listing.page(&github.api_url(), &repos, shape, |total, page| {
        json!({"total_count": total, "repository_selection": selection, "repositories": page})
    }))
}
