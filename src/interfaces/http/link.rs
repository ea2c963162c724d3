//! Asks the HTTP server of this user for a fresh link.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret;

use super::access::{Fresh, Link, Wanted};
use super::beacon;
use super::tokens::{Role, Tokens};
use crate::config::Loaded;
use crate::error::{Code, Error, Result};
use crate::operations::Answer;

/// How long the server may take: it asks nobody.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of its answer.
const ANSWER: usize = 64 << 10;

impl Link {
    /// A fresh link to the running server of the instance of `loaded`.
    pub async fn ask(loaded: &Loaded, role: Role) -> Result<Self> {
        let light = beacon::find(&beacon::place(&loaded.config)).ok_or_else(|| {
            Error::new(
                Code::NotFound,
                "No HTTP server of this user and instance runs here.",
                "Start one: `ipfs-accelerate runner start --http` or `mcp start --http`.",
            )
        })?;
        let tokens = Tokens::of(loaded)?;
        let asked = fresh(light.address, &tokens, role);
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
            Err(Error::internal("The HTTP server does not answer.", "Look at its log."))
        });
        Ok(Self::new(light.address, answer?))
    }
}

async fn fresh(address: SocketAddr, tokens: &Tokens, role: Role) -> Result<Fresh> {
    let broken = |error: &dyn std::fmt::Display| {
        Error::internal(
            format!("The HTTP server at {address} did not answer: {error}."),
            "Look at its log; stop it and start it again.",
        )
    };
    let body = serde_json::to_vec(&Wanted { role }).map_err(|error| broken(&error))?;
    let bearer = format!("Bearer {}", tokens.operate().expose_secret());
    let request = Request::post(format!("http://{address}/session/code"))
        .header(header::AUTHORIZATION, bearer)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(body))
        .map_err(|error| broken(&error))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.map_err(|error| broken(&error))?;
    let status = answer.status();
    if status == StatusCode::UNAUTHORIZED {
        return Err(Error::new(
            Code::NotAuthenticated,
            format!("The HTTP server at {address} has another bearer token."),
            "Set RUNNER_KIT_HTTP_TOKEN or http_token_file here as for the server.",
        ));
    }
    let body = Limited::new(Body::new(answer.into_body()), ANSWER).collect().await;
    let body = body.map_err(|error| broken(&error))?.to_bytes();
    if status != StatusCode::OK {
        let whole = serde_json::from_slice(&body).map_err(|error| broken(&error))?;
        return Err(Answer::from_envelope(whole).err().unwrap_or_else(|| broken(&status)));
    }
    serde_json::from_slice(&body).map_err(|error| broken(&error))
}
