//! GitHub's webhooks: `POST /webhooks/github`. What comes is signed, so it needs no token, and may
//! come to any name of this host.
//!
//! The answer waits for nothing but the body: what is told goes on the board, and who acts on it
//! comes later. Bodies and signatures are never logged.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::bucket::Bucket;
use super::refusal::{Refusal, discard, read_within};
use crate::config::{Loaded, read_secret};
use crate::demand::{Heard, JobState};
use crate::error::{Code, Error, Result};
use crate::interfaces::host::Host;
use crate::webhook::{Delivered, Envelope, Secrets};

/// GitHub sends 25 MB at most; of jobs it tells in less than 64 KiB.
const BODY: usize = 1 << 20;
/// Wrong signatures at once, and the time after which there is one more.
const WRONG: (u32, Duration) = (10, Duration::from_secs(1));

/// What can become of a delivery.
const OUTCOMES: [&str; 6] = ["heard", "ping", "repeated", "ignored", "refused", "failed"];

/// Deliveries by outcome.
pub(super) type Deliveries = Family<[(&'static str, &'static str); 1], Counter>;

/// The secrets that `loaded` names; `None` where there are none, and webhooks are not taken.
pub fn secrets(loaded: &Loaded) -> Result<Option<Secrets>> {
    match (&loaded.webhook_secret, &loaded.webhook_secret_file) {
        (Some(secret), _) => {
            Secrets::of(secret.expose_secret(), "RUNNER_KIT_WEBHOOK_SECRET").map(Some)
        }
        (None, Some(file)) => {
            let option = "webhook_secret_file";
            Secrets::of(&read_secret(option, file)?, option).map(Some)
        }
        (None, None) => Ok(None),
    }
}

/// What takes deliveries.
pub(super) struct Webhooks {
    host: Arc<Host>,
    secrets: Option<Secrets>,
    wrong: Bucket,
    deliveries: Deliveries,
}

impl Webhooks {
    pub(super) fn new(host: Arc<Host>, secrets: Option<Secrets>) -> Self {
        let deliveries = Deliveries::default();
        // Those that have not happened yet are told too.
        OUTCOMES.iter().for_each(|outcome| drop(deliveries.get_or_create(&[("outcome", outcome)])));
        Self { host, secrets, wrong: Bucket::new(WRONG.0, WRONG.1), deliveries }
    }

    /// Deliveries so far.
    pub(super) fn deliveries(&self) -> Deliveries {
        self.deliveries.clone()
    }

    pub(super) fn routes(self) -> Router {
        Router::new().route("/webhooks/github", post(take)).with_state(Arc::new(self))
    }

    async fn take(&self, headers: &HeaderMap, body: Body) -> Result<Delivered, Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(secrets) = &self.secrets else {
            discard(body).await;
            return Err(no_secret());
        };
        let Some(signature) = text("x-hub-signature-256") else {
            discard(body).await;
            return Err(self.unsigned());
        };
        let envelope = Envelope {
            event: text("x-github-event").unwrap_or_default().to_owned(),
            id: text("x-github-delivery").map(str::to_owned),
            body: read_within(body, BODY).await?,
        };
        let delivery = secrets.open(envelope, signature).ok_or_else(|| self.unsigned())?;
        self.host.deliver(&delivery).map_err(|error| {
            let status = match error.code {
                Code::InvalidArgument => StatusCode::BAD_REQUEST,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            Refusal::new(status, error)
        })
    }

    fn unsigned(&self) -> Refusal {
        if let Err(wait) = self.wrong.take() {
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Refusal::later(status, "Too many deliveries with a wrong signature.", wait);
        }
        tracing::warn!("a webhook with a wrong signature, or none, was refused");
        let error = Error::new(
            Code::NotAuthenticated,
            "The signature of this delivery is missing or wrong.",
            "Enter the same secret at GitHub and in webhook_secret_file.",
        );
        Refusal::new(StatusCode::UNAUTHORIZED, error)
    }
}

async fn take(State(hooks): State<Arc<Webhooks>>, headers: HeaderMap, body: Body) -> Response {
    let taken = hooks.take(&headers, body).await;
    let (outcome, response) = match taken {
        Ok(delivered) => {
            let (outcome, status, message) = told(&delivered);
            let data = match &delivered {
                Delivered::Heard(heard) => understood(outcome, heard),
                _ => json!({ "outcome": outcome }),
            };
            let answer = json!({ "success": true, "data": data, "message": message });
            (outcome, (status, axum::Json(answer)).into_response())
        }
        Err(refusal) => (refusal.outcome(), refusal.into_response()),
    };
    hooks.deliveries.get_or_create(&[("outcome", outcome)]).inc();
    response
}

/// How the outcome is called and answered; people find it in the log.
fn told(delivered: &Delivered) -> (&'static str, StatusCode, String) {
    match delivered {
        Delivered::Heard(heard) => {
            let (job, state) = (&heard.job, word(&heard.state));
            tracing::info!(repo = %job.repo, job = job.id, state, "a webhook told of a job");
            ("heard", StatusCode::ACCEPTED, format!("The job {} is {state}.", job.id))
        }
        Delivered::Ping => {
            tracing::info!("GitHub has tried the webhook, and it works");
            ("ping", StatusCode::OK, "Webhooks are taken here.".to_owned())
        }
        Delivered::Repeated => {
            tracing::debug!("a webhook came again");
            ("repeated", StatusCode::OK, "This delivery came before.".to_owned())
        }
        Delivered::Ignored(why) => {
            tracing::debug!(why, "a webhook was ignored");
            ("ignored", StatusCode::OK, format!("Nothing is done: {why}."))
        }
    }
}

/// What was understood; GitHub shows it beside the delivery.
fn understood(outcome: &str, Heard { job, state, .. }: &Heard) -> Value {
    let runner = match state {
        JobState::InProgress { runner_name, .. } => Some(runner_name),
        _ => None,
    };
    json!({
        "outcome": outcome,
        "repo": job.repo,
        "job": job.id,
        "labels": job.labels,
        "state": word(state),
        "runner": runner,
    })
}

fn word(state: &JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Queued => "queued",
        JobState::InProgress { .. } => "in progress",
        JobState::Completed => "completed",
    }
}

fn no_secret() -> Refusal {
    let error = Error::new(
        Code::NotFound,
        "Webhooks are not taken here: no secret is configured.",
        "Set webhook_secret_file or RUNNER_KIT_WEBHOOK_SECRET, and start the server again.",
    );
    Refusal::new(StatusCode::NOT_FOUND, error)
}
