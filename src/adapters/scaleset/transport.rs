//! HTTP towards the service, and what its refusals mean.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use octocrab::{OctoBody, Octocrab};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::wire::{self, Refusal};
use crate::adapters::github::retry::{innermost, was_never_connected};
use crate::config::RunnerConfig;
use crate::error::{Code, Error};
use crate::model::clean_text;

/// Longer than any queue holds a request (about 50 seconds).
const READ: Duration = Duration::from_secs(120);
/// An answer to anything else is late by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How much of our own is free for a listener, from the reference client.
pub(super) const CAPACITY: HeaderName = HeaderName::from_static("x-scalesetmaxcapacity");

/// What a refusal or a failure means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The token is worth nothing, or no more.
    Unauthorized,
    /// The token lacks a right, or is not known everywhere yet.
    Forbidden,
    /// A runner of this name exists.
    AgentExists,
    /// There is no such runner.
    AgentNotFound,
    /// The runner has a job.
    JobStillRunning,
    /// Somebody holds the set's one session.
    SessionConflict,
    /// The session is no more.
    SessionGone,
    /// The set is no more.
    SetGone,
    /// Something else that was asked for is not there.
    Missing,
    /// Nobody can have got the request.
    Unsent,
    /// No answer, or one that says to come again: it may have been carried out.
    Lost,
    /// Any other refusal.
    Other,
}

/// A request that failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) error: Error,
}

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { kind: Kind::Other, error }
    }
}

/// A request.
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    /// The scheme and the secret of `Authorization`.
    pub(super) auth: (&'a str, &'a SecretString),
    pub(super) body: Option<Value>,
    /// A queue is told how much we can run, and asked for another form of answer.
    pub(super) capacity: Option<usize>,
}

/// A successful answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// An HTTP client for the service's several hosts.
pub(super) struct Transport {
    api: Octocrab,
}

impl Transport {
    pub(super) fn new(config: &RunnerConfig) -> Result<Self, Error> {
        let failed = |error: octocrab::Error| {
            Error::invalid(
                "GITHUB_API_URL",
                error,
                "Give an address such as https://api.github.com.",
            )
        };
        // Every request has a whole address, of whose parts octocrab would repeat a base's path.
        let base = config.api_url.split('/').take(3).collect::<Vec<_>>().join("/");
        let api = Octocrab::builder()
            .base_uri(base)
            .map_err(failed)?
            .set_connect_timeout(Some(Duration::from_secs(10)))
            .set_read_timeout(Some(READ))
            .set_write_timeout(Some(PATIENCE))
            .build()
            .map_err(failed)?;
        Ok(Self { api })
    }

    /// Sends one request once.
    pub(super) async fn send(&self, asked: Asked<'_>) -> Result<Answer> {
        let patience = if asked.capacity.is_some() { READ } else { PATIENCE };
        let exchange = tokio::time::timeout(patience, self.exchange(&asked));
        let (status, headers, body) = match exchange.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let kind = match was_never_connected(error.as_ref()) {
                    true => Kind::Unsent,
                    false => Kind::Lost,
                };
                let reason = innermost(error.as_ref()).to_string();
                return Err(Failure { kind, error: unreachable(&reason) });
            }
            Err(_) => {
                let reason = format!("no answer within {} s", patience.as_secs());
                return Err(Failure { kind: Kind::Lost, error: unreachable(&reason) });
            }
        };
        if status.is_success() {
            return Ok(Answer { status, body });
        }
        Err(refused(&asked, status, &headers, &body))
    }

    async fn exchange(
        &self,
        asked: &Asked<'_>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let (scheme, secret) = asked.auth;
        let mut auth = HeaderValue::try_from(format!("{scheme} {}", secret.expose_secret()))?;
        auth.set_sensitive(true);
        let accept = match asked.capacity {
            Some(_) => "application/json; api-version=6.0-preview",
            None => "application/json",
        };
        let mut request = Request::builder()
            .method(asked.method.clone())
            .uri(asked.url)
            .header(AUTHORIZATION, auth)
            .header(USER_AGENT, agent())
            .header(ACCEPT, accept)
            .header(CONTENT_TYPE, "application/json");
        if let Some(capacity) = asked.capacity {
            request = request.header(CAPACITY, capacity);
        }
        let body = asked.body.as_ref();
        let body = body.map_or_else(OctoBody::empty, |body| OctoBody::from(body.to_string()));
        let response = self.api.execute(request.body(body)?).await?;
        let (parts, body) = response.into_parts();
        Ok((parts.status, parts.headers, body.collect().await?.to_bytes()))
    }
}

/// The reference clients send JSON here; this says honestly that it is another.
fn agent() -> String {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "system": "ipfs-accelerate",
        "version": version,
        "build_version": version,
        "subsystem": "listener",
        "kind": "scaleset",
    })
    .to_string()
}

/// No answer, or none that can be read.
pub(super) fn unreachable(reason: &str) -> Error {
    Error::new(
        Code::GithubUnreachable,
        format!("GitHub's service for scale sets did not answer: {}.", clean_text(reason, 200)),
        "It is tried again, and GitHub's REST API is asked meanwhile; see githubstatus.com.",
    )
}

fn refused(asked: &Asked<'_>, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let said: Refusal = wire::read(body).unwrap_or_default();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = kind(&said.type_name, status, asked.url);
    let why = match said.message.trim_end_matches('.') {
        "" => format!("status {status}"),
        message => clean_text(message, 160),
    };
    // GitHub's support asks for these.
    let ids = ["x-github-request-id", "activityid"].map(header).into_iter().flatten();
    let ids: Vec<_> = ids.map(|id| clean_text(id, 60)).collect();
    let id = if ids.is_empty() { String::new() } else { format!(" (request {})", ids.join(", ")) };
    let message = format!("GitHub's service for scale sets refused: {why}{id}.");
    let (code, remedy) = match (kind, status) {
        (Kind::Lost, StatusCode::TOO_MANY_REQUESTS) => {
            (Code::RateLimited, "Nothing has to be done: it is tried again later.")
        }
        (Kind::Lost, _) => {
            (Code::GithubUnreachable, "Nothing has to be done if it passes; see githubstatus.com.")
        }
        (Kind::Unauthorized | Kind::Forbidden, _) => (
            Code::TokenDenied,
            "Give the credential administration=write for the repository, or \
             organization_self_hosted_runners=write for the organisation.",
        ),
        (Kind::SessionConflict, _) => (
            Code::AlreadyRunning,
            "Stop the other listener of this scale set, or give this one another scale_set; a \
             listener that died is forgotten after some minutes.",
        ),
        (Kind::AgentExists, _) => (Code::ContainerFailed, "It is tried again with another name."),
        (Kind::SetGone | Kind::SessionGone | Kind::AgentNotFound, _) => {
            (Code::NotFound, "Nothing has to be done: it is made anew.")
        }
        _ => (Code::ContainerFailed, "See the runners' page of the repository or organisation."),
    };
    let error = Error::new(code, message, remedy);
    let error = match header(RETRY_AFTER.as_str()).and_then(|value| value.parse().ok()) {
        Some(seconds) => error.retry_after(Duration::from_secs(seconds)),
        None => error,
    };
    Failure { kind, error }
}

/// By the kind's name where there is one, else by what was asked for.
fn kind(name: &str, status: StatusCode, url: &str) -> Kind {
    const NAMES: [(&str, Kind); 7] = [
        ("AgentExistsException", Kind::AgentExists),
        ("AgentNotFoundException", Kind::AgentNotFound),
        ("JobStillRunningException", Kind::JobStillRunning),
        ("SessionConflictException", Kind::SessionConflict),
        ("SessionExpiredException", Kind::SessionGone),
        ("SessionNotFoundException", Kind::SessionGone),
        ("RunnerScaleSetNotFoundException", Kind::SetGone),
    ];
    if let Some((_, kind)) = NAMES.iter().find(|(known, _)| name.contains(known)) {
        return *kind;
    }
    let path = url.split('?').next().unwrap_or(url);
    match status {
        StatusCode::UNAUTHORIZED => Kind::Unauthorized,
        StatusCode::FORBIDDEN => Kind::Forbidden,
        StatusCode::CONFLICT if path.ends_with("/sessions") => Kind::SessionConflict,
        StatusCode::NOT_FOUND | StatusCode::GONE if path.contains("/sessions/") => {
            Kind::SessionGone
        }
        StatusCode::NOT_FOUND if path.contains("/agents/") => Kind::AgentNotFound,
        StatusCode::NOT_FOUND if path.contains("/runnerscalesets/") => Kind::SetGone,
        StatusCode::NOT_FOUND | StatusCode::GONE => Kind::Missing,
        StatusCode::TOO_MANY_REQUESTS => Kind::Lost,
        status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => Kind::Lost,
        _ => Kind::Other,
    }
}

/// How much longer a token lasts, where it says so.
pub(super) fn left(until: Option<DateTime<Utc>>) -> Option<Duration> {
    until.map(|until| (until - Utc::now()).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: &str = "https://act.example/t/_apis/runtime/runnerscalesets";

    #[test]
    fn refusals_are_told_apart_by_name_and_without_one_by_what_was_asked_for() {
        let conflict = "GitHub.Actions.Runtime.WebApi.RunnerScaleSetSessionConflictException, X";
        let cases = [
            (conflict, 409, "", Kind::SessionConflict),
            ("RunnerScaleSetSessionExpiredException", 400, "", Kind::SessionGone),
            ("RunnerScaleSetNotFoundException", 404, "/1/sessions", Kind::SetGone),
            ("", 409, "/1/sessions?api-version=6", Kind::SessionConflict),
            ("", 404, "/1/sessions/a?api-version=6", Kind::SessionGone),
            ("", 404, "/1?api-version=6", Kind::SetGone),
            ("", 404, "", Kind::Missing),
            ("", 401, "/1", Kind::Unauthorized),
            ("", 503, "/1", Kind::Lost),
            ("", 501, "/1", Kind::Other),
            ("", 400, "/1", Kind::Other),
        ];
        for (name, status, path, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(kind(name, status, &format!("{SETS}{path}")), expected, "{name} {path}");
        }
    }
}
