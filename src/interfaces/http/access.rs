//! Signing in: who may do what, and how a browser comes to a session token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::beacon;
use super::codes::{self, Codes, Wrong};
use super::door::Door;
use super::refusal::{Refusal, discard, read};
use super::tokens::{Role, Tokens, shown};
use super::webhooks;
use crate::config::Loaded;
use crate::error::{Code, Error, Result};
use crate::webhook::Secrets;

/// Who is let in, and as what. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tokens: Tokens,
    codes: Codes,
    hosts: Vec<String>,
    origins: Vec<String>,
    beacon: PathBuf,
    webhooks: Option<Secrets>,
}

/// A link by which a browser signs in, once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Link {
    /// The address; the code stands in its fragment, which no browser sends and no proxy logs.
    pub link: String,
    /// What it allows.
    pub role: Role,
    /// When it can no longer be used.
    pub expires_at: String,
}

impl Link {
    pub(super) fn new(address: SocketAddr, fresh: Fresh) -> Self {
        let Fresh { code, role, expires_at } = fresh;
        Self { link: format!("http://{}/#code={code}", beacon::reached(address)), role, expires_at }
    }
}

/// A code that was just made.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fresh {
    code: String,
    role: Role,
    expires_at: String,
}

/// Which code is wanted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default = "operate")]
    pub(super) role: Role,
}

fn operate() -> Role {
    Role::Operate
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    code: String,
}

impl Access {
    /// As the configuration says; tokens are made at first use where none were chosen.
    pub fn of(loaded: &Loaded) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            tokens: Tokens::of(loaded)?,
            codes: Codes::new(),
            hosts: loaded.http_hosts.clone(),
            origins: loaded.http_origins.clone(),
            beacon: beacon::place(&loaded.config),
            webhooks: webhooks::secrets(loaded)?,
        })))
    }

    /// The file of the token that was made for the user.
    pub(super) fn token_file(&self) -> Option<&Path> {
        self.0.tokens.file()
    }

    /// Refuses a public `address` unless the operator chose the token.
    pub(super) fn must_be_chosen(&self, address: SocketAddr) -> Result<()> {
        self.0.tokens.must_be_chosen(address)
    }

    /// A link that signs in as `role` at `address`.
    pub(super) fn link(&self, address: SocketAddr, role: Role) -> Result<Link> {
        self.fresh(role, Utc::now()).map(|fresh| Link::new(address, fresh))
    }

    fn fresh(&self, role: Role, now: DateTime<Utc>) -> Result<Fresh> {
        if !self.0.tokens.know(role) {
            return Err(Error::invalid(
                "role",
                "there is no token to look with, so nobody can be signed in to look.",
                "Choose one with RUNNER_KIT_HTTP_READ_TOKEN or http_read_token_file.",
            ));
        }
        let end = now + TimeDelta::seconds(codes::LIFE.as_secs().cast_signed());
        Ok(Fresh { code: self.0.codes.make(role)?, role, expires_at: text(end) })
    }

    pub(super) fn door(&self, address: SocketAddr) -> Door {
        if address.ip().is_unspecified() && self.0.hosts.is_empty() {
            tracing::warn!(
                "HTTP is served at every address, but answers only to localhost: name the others with http_hosts"
            );
        }
        Door::new(address, &self.0.hosts, &self.0.origins)
    }

    /// What webhooks may be signed with, if they are taken at all.
    pub(super) fn webhooks(&self) -> Option<Secrets> {
        self.0.webhooks.clone()
    }

    pub(super) fn beacon(&self) -> &Path {
        &self.0.beacon
    }
}

/// Lets pass who shows a token, with their role as an extension of the request.
pub(super) async fn authorize(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    let role = given(request.headers()).and_then(|given| access.0.tokens.role(given, Utc::now()));
    match role {
        Some(role) => {
            request.extensions_mut().insert(role);
            next.run(request).await
        }
        None => {
            discard(request.into_body()).await;
            let remedy = "Send `Authorization: Bearer TOKEN`; the token's file is named when the \
                server starts.";
            unknown("A bearer token is needed.", remedy).into_response()
        }
    }
}

/// Takes a one-time code for a session token.
pub(super) async fn sign_in(State(access): State<Access>, body: Body) -> Result<Response, Refusal> {
    let Shown { code } = parse(body).await?;
    let role = access.0.codes.take(&code).map_err(|wrong| match wrong {
        Wrong::Unknown => unknown(
            "This link was used before or is older than ten minutes.",
            "Get another one with `ipfs-accelerate mcp link`.",
        ),
        Wrong::TooOften(wait) => {
            Refusal::later(StatusCode::TOO_MANY_REQUESTS, "Too many attempts to sign in.", wait)
        }
    })?;
    let session = access.0.tokens.session(role, Utc::now());
    let (token, end) = session.ok_or_else(|| unknown("This role is gone.", "Sign in again."))?;
    tracing::info!(role = role.as_str(), "a browser signed in");
    Ok(unstored(json!({
        "token": token.expose_secret(),
        "role": role,
        "expires_at": text(end),
    })))
}

/// Makes a one-time code for who has the bearer token to operate: a session can't prolong itself.
pub(super) async fn make_code(
    State(access): State<Access>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    if given(&headers).and_then(|given| access.0.tokens.bearer(given)) != Some(Role::Operate) {
        let error = Error::new(
            Code::ReadOnly,
            "Only the bearer token to operate makes links.",
            "Run `ipfs-accelerate mcp link` as the user who started the server.",
        );
        discard(body).await;
        return Err(Refusal::new(StatusCode::FORBIDDEN, error));
    }
    let Wanted { role } = parse(body).await?;
    let fresh = access.fresh(role, Utc::now());
    fresh.map(unstored).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))
}

fn given(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(shown)
}

async fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = read(body).await?;
    // Nothing said is an empty object.
    let text = if bytes.is_empty() { b"{}" } else { bytes.as_ref() };
    serde_json::from_slice(text).map_err(|error| {
        // What the client wrote is not repeated: it may hold a secret.
        let reason = format!("it is not the JSON that is expected here ({:?}).", error.classify());
        let error = Error::invalid("body", reason, "See the section on HTTP in the README.");
        Refusal::new(StatusCode::BAD_REQUEST, error)
    })
}

fn unknown(message: &str, remedy: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, Error::new(Code::NotAuthenticated, message, remedy))
}

/// An answer that holds a secret.
fn unstored(data: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(data)).into_response()
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
