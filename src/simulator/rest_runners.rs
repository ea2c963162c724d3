//! The REST API's endpoints for self-hosted runners, the same for a repository and for an
//! organisation.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{FromRequestParts, Path},
    response::Response,
    routing::{get, post},
};
use http::{StatusCode, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    gate::Caller,
    jit,
    model::{Permission, Runner, Scope},
    paging::Listing,
    problem::Problem,
    rest::{Github, find},
    server::{Shared, World},
    state::NewRunner,
};

/// The only runner group that the simulator has.
const DEFAULT_GROUP: u64 = 1;

/// docs.github.com: a JIT runner has from 1 to 100 labels.
const LABELS: std::ops::RangeInclusive<usize> = 1..=100;

pub(super) fn router() -> Router<Arc<Shared>> {
    // Not nested: inside a nested router the path lacks what the `Link` header must repeat.
    ["/repos/{owner}/{repo}", "/orgs/{org}"].into_iter().fold(Router::new(), |router, scope| {
        let path = |rest: &str| format!("{scope}/actions/runners{rest}");
        router
            .route(&path(""), get(runners))
            .route(&path("/{runner}"), get(runner).delete(remove))
            .route(&path("/registration-token"), post(registration_token))
            .route(&path("/remove-token"), post(remove_token))
            .route(&path("/generate-jitconfig"), post(jit_config))
    })
}

/// The path's parameters, of either kind of scope.
#[derive(Debug, Deserialize)]
struct Place {
    owner: Option<String>,
    repo: Option<String>,
    org: Option<String>,
    runner: Option<u64>,
}

impl Place {
    /// The scope, when this login may look at (or, with `write`, change) its runners.
    fn scope(&self, world: &World, login: &str, write: bool) -> Result<Scope, Problem> {
        match (&self.owner, &self.repo, &self.org) {
            (Some(owner), Some(name), _) => {
                let repo = find(world, login, owner, name)?;
                let denied = repo.denied.contains(&Permission::Administration);
                let permission = if write { "administration=write" } else { "administration=read" };
                let scope = Scope::Repo(repo.full_name());
                allowed(!denied && world.state.reaches(login, &scope), login, permission)?;
                Ok(scope)
            }
            (_, _, Some(org)) => {
                let org = world.state.account(org).filter(|account| account.organization);
                let org = org.ok_or(Problem::NotFound)?;
                let permission = if write {
                    "organization_self_hosted_runners=write"
                } else {
                    "organization_self_hosted_runners=read"
                };
                let scope = Scope::Org(org.login.clone());
                let allows = !org.runners_denied && world.state.reaches(login, &scope);
                allowed(allows, login, permission)?;
                Ok(scope)
            }
            _ => Err(Problem::NotFound),
        }
    }

    fn runner<'a>(&self, world: &'a World, scope: &Scope) -> Result<&'a Runner, Problem> {
        let runner = self.runner.and_then(|id| world.state.runner(id));
        runner.filter(|runner| runner.scope == *scope).ok_or(Problem::NotFound)
    }
}

fn allowed(is: bool, login: &str, permission: &'static str) -> Result<(), Problem> {
    if is { Ok(()) } else { Err(Problem::forbidden(login, permission)) }
}

impl<S: Send + Sync> FromRequestParts<S> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let place = Path::from_request_parts(parts, state).await;
        place.map(|Path(place)| place).map_err(|_| Problem::NotFound)
    }
}

async fn runners(
    github: Github,
    Extension(Caller(login)): Extension<Caller>,
    place: Place,
    listing: Listing,
) -> Result<Response, Problem> {
    let world = github.lock();
    let scope = place.scope(&world, &login, false)?;
    let named = |runner: &&Runner| listing.get("name").is_none_or(|name| runner.name == name);
    let runners: Vec<_> = world.state.runners_in(&scope).filter(named).collect();
    let now = world.clock.now();
    Ok(listing.page(
        &github.api_url(),
        &runners,
        |runner| github.shapes().runner(runner, world.state.is_online(runner, now)),
        |total, page| json!({"total_count": total, "runners": page}),
    ))
}

async fn runner(
    github: Github,
    Extension(Caller(login)): Extension<Caller>,
    place: Place,
) -> Result<Json<Value>, Problem> {
    let world = github.lock();
    let scope = place.scope(&world, &login, false)?;
    let runner = place.runner(&world, &scope)?;
    let online = world.state.is_online(runner, world.clock.now());
    Ok(Json(github.shapes().runner(runner, online)))
}

async fn remove(
    github: Github,
    Extension(Caller(login)): Extension<Caller>,
    place: Place,
) -> Result<StatusCode, Problem> {
    github.change(|world, _| {
        let scope = place.scope(world, &login, true)?;
        let id = place.runner(world, &scope)?.id;
        world.state.remove_idle(id)?;
        Ok(StatusCode::NO_CONTENT)
    })
}

type Created = (StatusCode, Json<Value>);

async fn registration_token(
    github: Github,
    Extension(Caller(login)): Extension<Caller>,
    place: Place,
) -> Result<Created, Problem> {
    token(&github, &login, &place, false)
}

async fn remove_token(
    github: Github,
    Extension(Caller(login)): Extension<Caller>,
    place: Place,
) -> Result<Created, Problem> {
    token(&github, &login, &place, true)
}

fn token(github: &Shared, login: &str, place: &Place, removal: bool) -> Result<Created, Problem> {
    let shapes = github.shapes();
    github.change(|world, now| {
        let scope = place.scope(world, login, true)?;
        let (token, expires_at) = world.state.issue_token(scope, removal, now);
        Ok((StatusCode::CREATED, Json(shapes.token(&token, expires_at))))
    })
}

/// The body of a request for a JIT configuration.
#[derive(Debug, Deserialize)]
struct JitRequest {
    name: String,
    runner_group_id: u64,
    labels: Vec<String>,
    #[serde(default = "default_work_folder")]
    work_folder: String,
}

fn default_work_folder() -> String {
    "_work".into()
}

async fn jit_config(
    github: Github,
    Extension(Caller(login)): Extension<Caller>,
    place: Place,
    body: Bytes,
) -> Result<Created, Problem> {
    let body: Value = serde_json::from_slice(&body).map_err(|_| Problem::BadJson)?;
    let request = serde_json::from_value::<JitRequest>(body)
        .map_err(|error| Problem::Invalid(format!("Invalid request.\n\n{error}")))?;
    let shapes = github.shapes();
    github.change(|world, now| {
        let scope = place.scope(world, &login, true)?;
        check(&request)?;
        let new = NewRunner {
            name: request.name,
            labels: request.labels,
            ephemeral: true,
            group_id: request.runner_group_id,
        };
        let (id, secret) = world.state.register_jit(scope, new, now)?;
        let runner = world.state.runner(id).ok_or(Problem::NotFound)?;
        let padding = world.random.secret("");
        let encoded = jit::encode(&github.url, runner, &request.work_folder, &secret, &padding);
        let body = json!({
            "runner": shapes.runner(runner, false),
            "encoded_jit_config": encoded,
        });
        Ok((StatusCode::CREATED, Json(body)))
    })
}

fn check(request: &JitRequest) -> Result<(), Problem> {
    let refuse = |why: &str| Err(Problem::Invalid(format!("Validation Failed: {why}")));
    // GitHub's own web form: 64 characters at most.
    if request.name.is_empty() || request.name.len() > 64 {
        return refuse("name must have from 1 to 64 characters");
    }
    if !LABELS.contains(&request.labels.len()) || request.labels.iter().any(String::is_empty) {
        return refuse("labels must hold from 1 to 100 names");
    }
    if request.runner_group_id != DEFAULT_GROUP {
        return refuse("runner_group_id is not a group of this scope");
    }
    Ok(())
}
