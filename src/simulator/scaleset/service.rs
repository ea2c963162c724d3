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
    PREFIX, QUEUE, Trouble,
    sets::{ScaleSet, Stage},
    shapes::{self, Statistics},
};
use crate::simulator::{
    gate::{self, Prefix},
    jit,
    model::Scope,
    problem::Problem,
    rest::Github,
    server::{Shared, World},
    state::{NewRunner, Refusal},
};

/// Runner group "Default" has this identifier everywhere.
const DEFAULT_GROUP: u64 = 1;

/// A refusal in the service's words: status, the kind's name, a sentence.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) &'static str, pub(super) String);

impl Refused {
    pub(super) fn unauthorized() -> Self {
        Self(StatusCode::UNAUTHORIZED, "UnauthorizedException", "The token is not valid.".into())
    }

    fn no_set() -> Self {
        let message = "No runner scale set found with identifier.";
        Self(StatusCode::NOT_FOUND, "RunnerScaleSetNotFoundException", message.into())
    }

    fn bad(message: impl Into<String>) -> Self {
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
        .route(&path("/{set}/sessions"), post(open))
        .route(&path("/{set}/sessions/{session}"), patch(refresh).delete(close))
        .route(&path("/{set}/acquirejobs"), post(acquire))
        .route(&path("/{set}/acquirablejobs"), get(acquirable))
        .route(&path("/{set}/generatejitconfig"), post(jit_config))
        .route("/_apis/runtime/runnergroups/", get(groups))
        .route(agents, get(list_agents))
        .route(&format!("{agents}/{{agent}}"), get(show_agent).delete(delete_agent))
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
struct Asked {
    #[serde(rename = "api-version")]
    api_version: String,
    name: String,
    runner_group_id: Option<u64>,
    group_name: String,
    agent_name: Option<String>,
}

/// Lets an administrator's request at the world, in the scope that the token is for.
fn administer(
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

fn told(github: &Shared, world: &World, set: &ScaleSet) -> Value {
    let url = format!("{}{PREFIX}/_apis/runtime/runnerscalesets", github.url);
    let statistics = Statistics::of(set, &world.state, world.clock.now());
    shapes::set(set, &url, statistics)
}

fn parse<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::bad(error.to_string()))
}

type Url = Query<Asked>;

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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Opening {
    owner_name: String,
}

fn session(github: &Shared, world: &mut World, scope: &Scope, id: u64) -> Answer {
    let no_queue = world.state.sets.strikes(Trouble::EmptyQueueUrl);
    let set = world.state.sets.get(scope, id).ok_or_else(Refused::no_set)?;
    let Some(open) = &set.session else { return Err(Refused::no_set()) };
    let queue = format!("{}{QUEUE}/scalesets/message?sessionId={}", github.url, open.id);
    let body = json!({
        "sessionId": open.id,
        "ownerName": open.owner,
        "runnerScaleSet": told(github, world, set),
        "messageQueueUrl": if no_queue { "" } else { &queue },
        "messageQueueAccessToken": open.token,
        "statistics": Statistics::of(set, &world.state, world.clock.now()),
    });
    json_response(world, &body)
}

async fn open(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path(id): Path<u64>,
    body: Bytes,
) -> Answer {
    let opening: Opening = parse(&body)?;
    administer(&github, &headers, &asked, |world, scope, now| {
        let options = &github.options.scale_sets;
        let set = world.state.sets.get(&scope, id).ok_or_else(Refused::no_set)?;
        if world.state.sets.is_held(id, now, options) {
            let message =
                format!("The runner scale set {} already has an active session.", set.name);
            let kind = "RunnerScaleSetSessionConflictException";
            return Err(Refused(StatusCode::CONFLICT, kind, message));
        }
        world.state.sets.open(id, &opening.owner_name, now);
        session(&github, world, &scope, id)
    })
}

fn no_session() -> Refused {
    let message = "The session does not exist.";
    Refused(StatusCode::NOT_FOUND, "RunnerScaleSetSessionNotFoundException", message.into())
}

async fn refresh(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path((id, open)): Path<(u64, String)>,
) -> Answer {
    administer(&github, &headers, &asked, |world, scope, now| {
        let options = &github.options.scale_sets;
        let token = world.state.sets.queue_token(now + options.token_lifetime);
        let set = world.state.sets.of_session(&open, now, options).filter(|set| set.id == id);
        let held = set.and_then(|set| set.session.as_mut()).ok_or_else(no_session)?;
        (held.token, held.seen_at) = (token, now);
        session(&github, world, &scope, id)
    })
}

async fn close(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path((id, open)): Path<(u64, String)>,
) -> Answer {
    administer(&github, &headers, &asked, |world, scope, _| {
        let set = world.state.sets.get_mut(&scope, id).ok_or_else(Refused::no_set)?;
        match set.session.as_ref().is_some_and(|held| held.id == open) {
            true => set.session = None,
            false => return Err(no_session()),
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// With the queue's token, not the administration's.
async fn acquire(
    State(github): Github,
    headers: HeaderMap,
    Path(id): Path<u64>,
    body: Bytes,
) -> Answer {
    let requests: Vec<u64> = parse(&body)?;
    github.change(|world, now| {
        let token = bearer(&headers).ok_or_else(Refused::unauthorized)?;
        let open = world.state.sets.all().find(|set| {
            set.id == id && set.session.as_ref().is_some_and(|session| session.token == token)
        });
        let mut set = open.cloned().ok_or_else(Refused::unauthorized)?;
        let acquired = set.acquire(&requests, &world.state, now);
        let scope = set.scope.clone();
        *world.state.sets.get_mut(&scope, id).ok_or_else(Refused::no_set)? = set;
        json_response(world, &json!({"count": acquired.len(), "value": acquired}))
    })
}

async fn acquirable(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path(id): Path<u64>,
) -> Answer {
    administer(&github, &headers, &asked, |world, scope, _| {
        let set = world.state.sets.get(&scope, id).ok_or_else(Refused::no_set)?;
        let offered = set.book.iter().filter(|(_, one)| one.stage == Stage::Offered);
        let offered: Vec<_> = offered
            .filter_map(|(job, one)| {
                let job = world.state.job(*job)?;
                Some(shapes::job("JobAvailable", job, one.request, one.at))
            })
            .collect();
        if offered.is_empty() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        json_response(world, &json!({"count": offered.len(), "value": offered}))
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewAgent {
    name: String,
    #[serde(default)]
    work_folder: String,
}

async fn jit_config(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path(id): Path<u64>,
    body: Bytes,
) -> Answer {
    let new: NewAgent = parse(&body)?;
    administer(&github, &headers, &asked, |world, scope, now| {
        let set = world.state.sets.get(&scope, id).ok_or_else(Refused::no_set)?;
        let labels = set.labels.clone();
        let runner = NewRunner { name: new.name, labels, ephemeral: true, group_id: DEFAULT_GROUP };
        let (runner, secret) =
            world.state.register_jit_of(Some(id), scope, runner, now).map_err(refused)?;
        let runner = world.state.runner(runner).ok_or_else(Refused::no_set)?;
        let padding = world.random.secret("");
        let encoded = jit::encode(&github.url, runner, &new.work_folder, &secret, &padding);
        let body = json!({"runner": shapes::agent(runner, false), "encodedJITConfig": encoded});
        json_response(world, &body)
    })
}

fn refused(refusal: Refusal) -> Refused {
    let (status, kind) = match refusal {
        Refusal::BadCredential => return Refused::unauthorized(),
        Refusal::NameTaken(_) => (StatusCode::CONFLICT, "AgentExistsException"),
        Refusal::Busy(_) => (StatusCode::BAD_REQUEST, "JobStillRunningException"),
        Refusal::NotFound => (StatusCode::NOT_FOUND, "AgentNotFoundException"),
    };
    Refused(status, kind, refusal.to_string())
}

async fn list_agents(State(github): Github, headers: HeaderMap, Query(asked): Url) -> Answer {
    administer(&github, &headers, &asked, |world, scope, now| {
        let named = asked.agent_name.as_deref();
        let all = world.state.runners_in(&scope);
        let all = all.filter(|runner| named.is_none_or(|name| runner.name == name));
        let all: Vec<_> =
            all.map(|one| shapes::agent(one, world.state.is_online(one, now))).collect();
        json_response(world, &json!({"count": all.len(), "value": all}))
    })
}

async fn show_agent(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path(id): Path<u64>,
) -> Answer {
    administer(&github, &headers, &asked, |world, scope, now| {
        let runner = world.state.runner(id).filter(|runner| runner.scope == scope);
        let runner = runner.ok_or_else(|| refused(Refusal::NotFound))?;
        let body = shapes::agent(runner, world.state.is_online(runner, now));
        json_response(world, &body)
    })
}

async fn delete_agent(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Url,
    Path(id): Path<u64>,
) -> Answer {
    administer(&github, &headers, &asked, |world, scope, _| {
        let own = world.state.runner(id).is_some_and(|runner| runner.scope == scope);
        own.then_some(()).ok_or_else(|| refused(Refusal::NotFound))?;
        world.state.remove_idle(id).map_err(refused)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
