//! `/healthz` and `/readyz`: open to everybody, so they tell nothing that only some may know, and
//! are looked after once a second at most, however often they are asked.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::interfaces::host::Host;
use crate::runner_kit::Unready;

/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(1);

/// What was answered last, and when.
type Last = Mutex<Option<(Instant, Vec<Unready>)>>;

struct Health {
    host: Arc<Host>,
    alive: Last,
    ready: Last,
}

pub(super) fn routes(host: Arc<Host>) -> Router {
    let health = Health { host, alive: Last::default(), ready: Last::default() };
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(Arc::new(health))
}

/// Whether the process should be left alone: an outage elsewhere is none of its faults.
async fn alive(State(health): State<Arc<Health>>) -> Response {
    let look = async {
        let is_alive = health.host.is_alive().await;
        if is_alive { Vec::new() } else { vec![Unready::Stuck] }
    };
    answer("alive", "stuck", &fresh(&health.alive, look).await)
}

/// Whether it sees what it needs to serve jobs.
async fn ready(State(health): State<Arc<Health>>) -> Response {
    answer("ready", "not_ready", &fresh(&health.ready, health.host.unready()).await)
}

async fn fresh(last: &Last, look: impl Future<Output = Vec<Unready>>) -> Vec<Unready> {
    // One looks, the others wait for what it sees.
    let mut last = last.lock().await;
    match &*last {
        Some((at, why)) if at.elapsed() < FRESH => why.clone(),
        _ => {
            let why = look.await;
            *last = Some((Instant::now(), why.clone()));
            why
        }
    }
}

fn answer(well: &str, ill: &str, why: &[Unready]) -> Response {
    let reasons: Vec<_> =
        why.iter().map(|why| json!({ "code": why.as_str(), "message": why.sentence() })).collect();
    let (status, word) = if why.is_empty() {
        (StatusCode::OK, well)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, ill)
    };
    (status, axum::Json(json!({ "status": word, "reasons": reasons }))).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn however_often_it_is_asked_it_is_looked_at_once_a_second() {
        let (last, looks) = (Last::default(), AtomicUsize::new(0));
        let look = || async {
            looks.fetch_add(1, Ordering::SeqCst);
            vec![Unready::Off]
        };
        for _ in 0..50 {
            assert_eq!(fresh(&last, look()).await, [Unready::Off]);
        }
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        tokio::time::advance(FRESH).await;
        fresh(&last, look()).await;
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }
}
