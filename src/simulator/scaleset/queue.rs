//! The message queues: one long poll for each session, and acknowledgements.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Path, Query, State},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{
    QUEUE, Trouble,
    service::{Answer, Refused, bearer, json_response},
    sets::ScaleSet,
    shapes::{JOBS, Statistics},
};
use crate::simulator::{
    gate::{self, Prefix},
    rest::Github,
    server::{Shared, World},
};

/// How many jobs the listener can have at a time.
const CAPACITY: &str = "x-scalesetmaxcapacity";

pub(in crate::simulator) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/scalesets/message", get(next))
        .route("/scalesets/message/{message}", delete(acknowledge))
        .layer(from_fn_with_state(Arc::clone(shared), gate::go_wrong))
        .layer(Extension(Prefix(QUEUE)))
        .with_state(Arc::clone(shared))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    session_id: String,
    #[serde(default)]
    last_message_id: u64,
}

/// The set whose queue it is, where session and token are good.
fn owned<'a>(
    world: &'a mut World,
    headers: &HeaderMap,
    session: &str,
    now: DateTime<Utc>,
) -> Result<&'a mut ScaleSet, Refused> {
    let options = world.state.options.scale_sets.clone();
    let set = world.state.sets.of_session(session, now, &options);
    let token = bearer(headers);
    let own = |set: &&mut ScaleSet| {
        let open = set.session.as_ref();
        open.is_some_and(|open| !open.token.is_empty() && token == Some(open.token.as_str()))
    };
    set.filter(own).ok_or_else(Refused::unauthorized)
}

async fn next(State(github): Github, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    let capacity = headers.get(CAPACITY).and_then(|value| value.to_str().ok());
    let capacity = capacity.and_then(|value| value.parse().ok());
    let begun = github.change(|world, now| {
        let set = owned(world, &headers, &asked.session_id, now)?;
        set.capacity = capacity;
        Ok(world.state.sets.strikes(Trouble::EmptyBody))
    });
    match begun {
        Err(refused) => return Refused::into_response(refused),
        Ok(true) => return StatusCode::OK.into_response(),
        Ok(false) => {}
    }
    let message = github.first(|world, now| poll(world, &headers, &asked, now));
    tokio::select! {
        answer = message => answer.into_response(),
        () = tokio::time::sleep(github.options.scale_sets.poll) => {
            StatusCode::ACCEPTED.into_response()
        }
        () = github.ending.cancelled() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn poll(
    world: &mut World,
    headers: &HeaderMap,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Option<Answer> {
    let set = match owned(world, headers, &asked.session_id, now) {
        Ok(set) => set,
        Err(refused) => return Some(Err(refused)),
    };
    if let Some(session) = &mut set.session {
        session.seen_at = now;
    }
    let (id, message) = set.next(asked.last_message_id)?;
    let (scope, set) = (set.scope.clone(), set.id);
    let is_zero = message.kind == JOBS && world.state.sets.strikes(Trouble::ZeroStatistics);
    let set = world.state.sets.get(&scope, set)?;
    let statistics = match is_zero {
        true => Statistics::default(),
        false => Statistics::of(set, &world.state, now),
    };
    let body = json!({
        "messageId": id,
        "messageType": message.kind,
        "body": json!(message.jobs).to_string(),
        "statistics": statistics,
    });
    Some(json_response(world, &body))
}

async fn acknowledge(
    State(github): Github,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
    Path(message): Path<u64>,
) -> Answer {
    github.change(|world, now| {
        owned(world, &headers, &asked.session_id, now)?.acknowledge(message);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
