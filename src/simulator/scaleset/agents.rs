//! Runners of scale sets.

use axum::{
    body::Bytes,
    extract::{Path, Query, State},
    response::IntoResponse,
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{
    service::{Answer, DEFAULT_GROUP, Refused, Url, administer, json_response, parse},
    shapes,
};
use crate::simulator::{
    jit,
    rest::Github,
    state::{NewRunner, Refusal},
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewAgent {
    name: String,
    #[serde(default)]
    work_folder: String,
}

pub(super) async fn jit_config(
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

pub(super) async fn list(State(github): Github, headers: HeaderMap, Query(asked): Url) -> Answer {
    administer(&github, &headers, &asked, |world, scope, now| {
        let named = asked.agent_name.as_deref();
        let all = world.state.runners_in(&scope);
        let all = all.filter(|runner| named.is_none_or(|name| runner.name == name));
        let all: Vec<_> =
            all.map(|one| shapes::agent(one, world.state.is_online(one, now))).collect();
        json_response(world, &json!({"count": all.len(), "value": all}))
    })
}

pub(super) async fn show(
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

pub(super) async fn remove(
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
