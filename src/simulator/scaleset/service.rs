//! The administration: from a registration token to scale sets, sessions and runners.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{Path, Query, State},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    PREFIX, Trouble, agents, sessions,
    sets::ScaleSet,
    shapes::{self, Statistics},
};
use crate::simulator::{
    gate::{self, Prefix},
    model::Scope,
    problem::Problem,
    rest::Github,
    server::{Shared, World},
};

/// Runner group "Default" has this identifier everywhere.
pub(super) const DEFAULT_GROUP: u64 = 1;

/// A refusal in the service's words: status, the kind's name, a sentence.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) &'static str, pub(super) String);

impl Refused {
    pub(super) fn unauthorized() -> Self {
        Self(StatusCode::UNAUTHORIZED, "UnauthorizedException", "The token is not valid.".into())
    }

    pub(super) fn no_set() -> Self {
        let message = "No runner scale set found with identifier.";
        Self(StatusCode::NOT_FOUND, "RunnerScaleSetNotFoundException", message.into())
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, "ArgumentException", message.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, kind, message) = self;
        let body = json!({
            "$id": "1",
            "innerException": null,
            "message": message,
            "typeName": format!("GitHub.Actions.Runtime.WebApi.{kind}, GitHub.Actions.Runtime.WebApi"),
            "typeKey": kind,
            "errorCode": 0,
        });
        // Every refusal names its activity, which GitHub's support asks for.
        (status, [("activityid", "5e75-ac71")], axum::Json(body)).into_response()
    }
}

pub(super) type Answer = Result<Response, Refused>;

pub(in crate::simulator) fn registration_router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/actions/runner-registration", post(registration))
        .layer(from_fn_with_state(Arc::clone(shared), gate::go_wrong))
        .layer(from_fn_with_state(Arc::clone(shared), gate::record))
        .with_state(Arc::clone(shared))
}

pub(in crate::simulator) fn router(shared: &Arc<Shared>) -> Router {
    let sets = "/_apis/runtime/runnerscalesets";
    let path = |rest: &str| format!("{sets}{rest}");
    let agents = "/_apis/distributedtask/pools/0/agents";
    Router::new()
        .route(sets, get(find).post(create))
        .route(&path("/{set}"), get(show).patch(update).delete(delete))
        .route(&path("/{set}/sessions"), post(sessions::open))
        .route(&path("/{set}/sessions/{session}"), patch(sessions::refresh).delete(sessions::close))
        .route(&path("/{set}/acquirejobs"), post(sessions::acquire))
        .route(&path("/{set}/acquirablejobs"), get(sessions::acquirable))
        .route(&path("/{set}/generatejitconfig"), post(agents::jit_config))
        .route("/_apis/runtime/runnergroups/", get(groups))
        .route(agents, get(agents::list))
        .route(&format!("{agents}/{{agent}}"), get(agents::show).delete(agents::remove))
        .layer(from_fn_with_state(Arc::clone(shared), gate::go_wrong))
        .layer(Extension(Prefix(PREFIX)))
        .with_state(Arc::clone(shared))
}

#[derive(Debug, Deserialize)]
struct Registration {
    url: String,
    runner_event: String,
}

/// Exchanges a registration token for the service's address and a token for it.
async fn registration(
    State(github): Github,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|given| given.strip_prefix("RemoteAuth "));
    let asked: Registration = serde_json::from_slice(&body).map_err(|_| Problem::BadJson)?;
    let lifetime = github.options.scale_sets.token_lifetime;
    github.change(|world, now| {
        let scope = token.and_then(|token| world.state.scope_of_token(token, now));
        let scope = scope.ok_or(Problem::BadCredential)?;
        let (Scope::Repo(path) | Scope::Org(path)) = &scope;
        let own = format!("{}/{path}", github.url);
        if !asked.url.eq_ignore_ascii_case(&own) || asked.runner_event != "register" {
            return Err(Problem::NotFound);
        }
        let admin = world.state.sets.admit(scope, now + lifetime);
        let body = json!({
            "url": format!("{}{PREFIX}/", github.url),
            "token": admin,
            "token_schema": "OAuthAccessToken",
        });
        Ok(axum::Json(body).into_response())
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Asked {
    #[serde(rename = "api-version")]
    api_version: String,
    name: String,
    runner_group_id: Option<u64>,
    group_name: String,
    pub(super) agent_name: Option<String>,
}

/// Lets an administrator's request at the world, in the scope that the token is for.
pub(super) fn administer(
    github: &Shared,
    headers: &HeaderMap,
    asked: &Asked,
    act: impl FnOnce(&mut World, Scope, chrono::DateTime<chrono::Utc>) -> Answer,
) -> Answer {
    if !asked.api_version.starts_with("6.0") {
        return Err(Refused::bad("No api-version was supplied for the request."));
    }
    github.change(|world, now| {
        let token = bearer(headers).ok_or_else(Refused::unauthorized)?;
        let scope = world.state.sets.admitted(token, now).ok_or_else(Refused::unauthorized)?;
        act(world, scope, now)
    })
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// `body` as the service sends it.
pub(super) fn json_response(world: &mut World, body: &Value) -> Answer {
    let mut text = body.to_string();
    if world.state.sets.strikes(Trouble::Bom) {
        text.insert(0, '\u{feff}');
    }
    let kind = "application/json; charset=utf-8; api-version=6.0-preview.1";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

pub(super) fn told(github: &Shared, world: &World, set: &ScaleSet) -> Value {
    let url = format!("{}{PREFIX}/_apis/runtime/runnerscalesets", github.url);
    let statistics = Statistics::of(set, &world.state, world.clock.now());
    shapes::set(set, &url, statistics)
}

pub(super) fn parse<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::bad(error.to_string()))
}

pub(super) type Url = Query<Asked>;

async fn find(State(github): Github, headers: HeaderMap, Query(asked): Url) -> Answer {
    administer(&github, &headers, &asked, |world, scope, _| {
        let in_group = asked.runner_group_id.is_none_or(|group| group == DEFAULT_GROUP);
        let found = world.state.sets.all().filter(|set| set.scope == scope);
        let found = found.filter(|set| in_group && set.name.eq_ignore_ascii_case(&asked.name));
        let found: Vec<_> = found.map(|set| told(&github, world, set)).collect();
        json_response(world, &json!({"count": found.len(), "value": found}))
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewSet {
    name: String,
    runner_group_id: u64,
    #[serde(default)]
    labels: Vec<Label>,
}

#[derive(Debug, Deserialize)]
struct Label {
    name: String,
}

async fn create(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    body: Bytes,
) -> Answer {
    let new: NewSet = parse(&body)?;
    administer(&github, &headers, &asked, |world, scope, now| {
        if new.runner_group_id != DEFAULT_GROUP {
            return Err(Refused::bad("There is no such runner group."));
        }
        let taken = |set: &ScaleSet| set.scope == scope && set.name.eq_ignore_ascii_case(&new.name);
        if world.state.sets.all().any(taken) {
            let message = format!("A runner scale set with name {} already exists.", new.name);
            return Err(Refused(StatusCode::CONFLICT, "RunnerScaleSetExistsException", message));
        }
        let mut labels: Vec<_> = new.labels.into_iter().map(|label| label.name).collect();
        if labels.is_empty() {
            labels.push(new.name.clone());
        }
        let id = world.state.fresh_id() % 1_000_000;
        world.state.sets.add(id, new.name, scope.clone(), labels, now);
        let set = world.state.sets.get(&scope, id).ok_or_else(Refused::no_set)?;
        let body = told(&github, world, set);
        json_response(world, &body)
    })
}

async fn show(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path(id): Path<u64>,
) -> Answer {
    administer(&github, &headers, &asked, |world, scope, _| {
        let set = world.state.sets.get(&scope, id).ok_or_else(Refused::no_set)?;
        let body = told(&github, world, set);
        json_response(world, &body)
    })
}

/// Labels are fixed at the creation: an update leaves them as they were.
async fn update(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path(id): Path<u64>,
    body: Bytes,
) -> Answer {
    let new: NewSet = parse(&body)?;
    administer(&github, &headers, &asked, |world, scope, _| {
        let set = world.state.sets.get_mut(&scope, id).ok_or_else(Refused::no_set)?;
        set.name = new.name;
        let set = world.state.sets.get(&scope, id).ok_or_else(Refused::no_set)?;
        let body = told(&github, world, set);
        json_response(world, &body)
    })
}

async fn delete(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path(id): Path<u64>,
) -> Answer {
    administer(&github, &headers, &asked, |world, scope, _| {
        world.state.sets.get_mut(&scope, id).ok_or_else(Refused::no_set)?.deleted = true;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

async fn groups(State(github): Github, headers: HeaderMap, Query(asked): Url) -> Answer {
    administer(&github, &headers, &asked, |world, _, _| {
        let group =
            json!({"id": DEFAULT_GROUP, "name": "Default", "size": 0, "isDefaultGroup": true});
        let all = match asked.group_name.eq_ignore_ascii_case("default") {
            true => vec![group],
            false => vec![],
        };
        json_response(world, &json!({"count": all.len(), "value": all}))
    })
}
