//! How one request goes out: in its turn, in its place, and after where it is sent on.

use std::error::Error as StdError;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, IF_NONE_MATCH, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use octocrab::OctoBody;
use secrecy::SecretString;
use serde_json::Value;

use super::access::{Access, bearer};
use super::client::GithubClient;
use super::errors;
use super::limits::{Purpose, header, is_core};
use super::retry::{Tried, innermost, was_never_connected};
use super::window::Urgency;
use crate::error::{Error, Result};

/// A repository that was renamed twice still is found.
const REDIRECTS: usize = 3;
/// docs.github.com, "Rate limits for the REST API": points of the secondary limit.
const READING: u32 = 1;
const CHANGING: u32 = 5;

/// A request.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    pub(super) etag: Option<&'a str>,
    pub(super) urgency: Urgency,
}

impl<'a> Asked<'a> {
    /// What is asked for at once; a look says so.
    pub(super) fn plain(method: &'a Method, path: &'a str) -> Self {
        Self { method, path, body: None, etag: None, urgency: Urgency::Act }
    }

    pub(super) fn post(path: &'a str, body: &'a Value) -> Self {
        Self { body: Some(body), ..Self::plain(&Method::POST, path) }
    }

    fn points(&self) -> u32 {
        if self.method == Method::GET { READING } else { CHANGING }
    }
}

/// An answer that was understood as far as its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl GithubClient {
    /// Sends a request and goes where the answer sends it: a repository may have been renamed.
    pub(super) async fn follow(&self, access: &Access, asked: Asked<'_>) -> Result<Tried<Answer>> {
        let Asked { method, path, .. } = asked;
        let mut target = path.to_owned();
        for _ in 0..=REDIRECTS {
            let answer = match self.send(access, Asked { path: &target, ..asked }).await? {
                Tried::Done(answer) => answer,
                failed => return Ok(failed),
            };
            match self.redirect(method, path, &answer)? {
                Some(next) => target = next,
                None => return Ok(Tried::Done(answer)),
            }
        }
        Err(errors::unreachable(path, "it sends us from one address to the next"))
    }

    /// Where an answer sends us: only to the same API, since the credential goes along.
    fn redirect(&self, method: &Method, path: &str, answer: &Answer) -> Result<Option<String>> {
        // RFC 9110, 15.4: after 301 and 302 a client may turn a POST into a GET, which is no use.
        let moved = match answer.status.as_u16() {
            301 | 302 => method == Method::GET,
            status => matches!(status, 307 | 308),
        };
        if !moved {
            return Ok(None);
        }
        let target = header(&answer.headers, LOCATION.as_str()).unwrap_or_default();
        let own = target.strip_prefix(&self.base).filter(|path| path.starts_with('/'));
        let own = own.ok_or_else(|| errors::unreachable(path, "it sends us to another server"))?;
        Ok(Some(own.to_owned()))
    }

    /// Sends one request. An error is final; what may pass is `Tried::Failed`.
    async fn send(&self, access: &Access, asked: Asked<'_>) -> Result<Tried<Answer>> {
        let token = access.token(None, self.issue(access)).await?;
        let tried = self.send_with(access, &token, asked).await?;
        match tried {
            // It ended, was revoked, or the app has another key now. Nothing was carried out.
            Tried::Done(Answer { status: StatusCode::UNAUTHORIZED, .. }) if access.renews() => {
                let token = access.token(Some(&token), self.issue(access)).await?;
                self.send_with(access, &token, asked).await
            }
            tried => Ok(tried),
        }
    }

    async fn send_with(
        &self,
        access: &Access,
        token: &SecretString,
        asked: Asked<'_>,
    ) -> Result<Tried<Answer>> {
        let Asked { method, path, urgency, .. } = asked;
        let bearer = bearer(token)?;
        let purpose = Purpose::of(urgency, method, path);
        // Who is to fail need not wait for it.
        access.limits().check(purpose, self.now())?;
        // In this order: whoever waits holds up only those that would wait for the same.
        let _place = match errors::whom(path) {
            Some(whom) => Some(self.room.of_one(whom, urgency).await),
            None => None,
        };
        let mut turn = access.turns.take(urgency, asked.points()).await;
        let _permit = self.room.of_all(urgency).await;
        let mut under_way = access.begin(purpose).await?;
        turn.sent();
        let answer = match tokio::time::timeout(self.patience, self.exchange(bearer, asked)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let reason = errors::unreachable(path, &innermost(error.as_ref()).to_string());
                if was_never_connected(error.as_ref()) {
                    under_way.free();
                    return Ok(Tried::Unsent(reason));
                }
                return Ok(Tried::Failed(reason));
            }
            Err(_) => {
                let reason = format!("no answer within {} s", self.patience.as_secs());
                return Ok(Tried::Failed(errors::unreachable(path, &reason)));
            }
        };
        let Answer { status, headers, body } = &answer;
        if *status == StatusCode::NOT_MODIFIED || !is_core(headers) {
            under_way.free();
        }
        let mut limits = access.limits();
        let learned = limits.learn(*status, headers, body, self.now());
        let is_limited = limits.is_limited(*status, headers);
        drop(limits);
        if let Some(is_limited) = is_limited {
            access.turns.switch(is_limited);
        }
        learned?;
        if status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED {
            return Ok(Tried::Failed(refused(method, path, &answer)));
        }
        Ok(Tried::Done(answer))
    }

    async fn exchange(
        &self,
        bearer: HeaderValue,
        asked: Asked<'_>,
    ) -> Result<Answer, Box<dyn StdError + Send + Sync>> {
        let Asked { method, path, body, etag, .. } = asked;
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(AUTHORIZATION, bearer)
            .header(USER_AGENT, concat!("ipfs-accelerate/", env!("CARGO_PKG_VERSION")))
            .header(HeaderName::from_static("accept"), "application/vnd.github+json")
            .header(HeaderName::from_static("x-github-api-version"), "2022-11-28");
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let body = match body {
            Some(body) => {
                request =
                    request.header(HeaderName::from_static("content-type"), "application/json");
                OctoBody::from(body.to_string())
            }
            None => OctoBody::empty(),
        };
        let request = request.body(body)?;
        let response = self.api.execute(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

pub(super) fn refused(method: &Method, path: &str, answer: &Answer) -> Error {
    errors::refused(method, path, answer.status, &answer.headers, &answer.body)
}
