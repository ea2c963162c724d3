//! Sessions, and the jobs that are offered in them.

use axum::{
    body::Bytes,
    extract::{Path, Query, State},
    response::IntoResponse,
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{
    QUEUE, Trouble,
    service::{Answer, Refused, Url, administer, bearer, json_response, parse, told},
    sets::Stage,
    shapes::{self, Statistics},
};
use crate::simulator::{
    model::Scope,
    rest::Github,
    server::{Shared, World},
};

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

pub(super) async fn open(
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
            world.state.sets.refuse(id);
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

pub(super) async fn refresh(
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

pub(super) async fn close(
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
pub(super) async fn acquire(
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

pub(super) async fn acquirable(
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
