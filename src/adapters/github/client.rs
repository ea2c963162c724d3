//! One client for all requests: conditional, bounded, within the limits, with one retry policy.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::header::{ETAG, HeaderName, IF_NONE_MATCH, LINK, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use octocrab::{OctoBody, Octocrab};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::cache::{Cache, Cached};
use super::errors;
use super::limits::{Limits, header};
use super::models::Page;
use super::retry::{Tried, repeat};
use crate::config::RunnerConfig;
use crate::error::{Code, Error, Result};
use crate::model::RateLimit;

/// Requests at a time; GitHub's own bound is 100 for everything that an account does.
const REQUESTS: usize = 16;
/// GitHub itself gives up after ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// A repository that was renamed twice still is found.
const REDIRECTS: usize = 3;
/// Entries of a page: the most that GitHub gives.
const PER_PAGE: usize = 100;
/// No list is longer: 10,000 runners are in a group, 1,000 runs in an answer.
const PAGES: usize = 200;

/// GitHub's REST API with one credential.
pub struct GithubClient {
    api: Octocrab,
    base: String,
    cache: Mutex<Cache>,
    limits: Mutex<Limits>,
    permits: Semaphore,
    patience: Duration,
}

/// An answer that was understood as far as its status.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl GithubClient {
    /// A client for the GitHub of `config`, with `token`.
    pub fn new(config: &RunnerConfig, token: SecretString) -> Result<Arc<Self>> {
        Self::with_patience(config, token, PATIENCE)
    }

    pub(crate) fn with_patience(
        config: &RunnerConfig,
        token: SecretString,
        patience: Duration,
    ) -> Result<Arc<Self>> {
        let failed = |error: octocrab::Error| {
            Error::invalid(
                "GITHUB_API_URL",
                error,
                "Give an address such as https://github.example/api/v3.",
            )
        };
        // octocrab looks for crypto and for a runtime only when it is asked.
        let api = Octocrab::builder()
            .base_uri(config.api_url.as_str())
            .map_err(failed)?
            .personal_token(token)
            .set_connect_timeout(Some(Duration::from_secs(10)))
            .set_read_timeout(Some(patience))
            .set_write_timeout(Some(patience))
            .build()
            .map_err(failed)?;
        Ok(Arc::new(Self {
            api,
            base: config.api_url.clone(),
            cache: Mutex::default(),
            limits: Mutex::default(),
            permits: Semaphore::new(REQUESTS),
            patience,
        }))
    }

    /// The hourly budget as the last answers told it.
    pub fn budget(&self) -> Option<RateLimit> {
        lock(&self.limits).budget(Utc::now())
    }

    /// Reads `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.read(path).await.map(|(value, _)| value)
    }

    /// Reads all pages of `path`, which may have a query already.
    pub(crate) async fn get_all<P: Page>(&self, path: &str) -> Result<Vec<P::Item>> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        for page in 1..=PAGES {
            let path = format!("{path}{mark}per_page={PER_PAGE}&page={page}");
            let (page, more) = self.read::<P>(&path).await?;
            items.extend(page.items());
            if !more {
                return Ok(items);
            }
        }
        tracing::warn!(path, PAGES, "a list has more pages than are read");
        Ok(items)
    }

    /// Asks for something new. Repeated only where it is certain that nothing was carried out.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let answer = repeat(&Method::POST, || async {
            self.follow(&Method::POST, path, Some(body), None).await?.and_then(|answer| {
                if answer.status.is_success() {
                    return Ok(Tried::Done(answer));
                }
                Err(refused(&Method::POST, path, &answer))
            })
        })
        .await?;
        // The body holds a secret: its text is no part of the error.
        serde_json::from_slice(&answer.body)
            .map_err(|_| errors::unreachable(path, "the answer is not as documented"))
    }

    /// Deletes `path`; the status of the answer, where it is one of `expected`.
    pub(crate) async fn delete(&self, path: &str, expected: &[StatusCode]) -> Result<StatusCode> {
        repeat(&Method::DELETE, || async {
            self.follow(&Method::DELETE, path, None, None).await?.and_then(|answer| {
                if expected.contains(&answer.status) {
                    return Ok(Tried::Done(answer.status));
                }
                Err(refused(&Method::DELETE, path, &answer))
            })
        })
        .await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<(T, bool)> {
        repeat(&Method::GET, || self.read_once(path)).await
    }

    async fn read_once<T: DeserializeOwned>(&self, path: &str) -> Result<Tried<(T, bool)>> {
        let known = lock(&self.cache).get(path);
        let etag = known.as_ref().map(|known| known.etag.as_str());
        let tried = self.follow(&Method::GET, path, None, etag).await?;
        tried.and_then(|answer| {
            let next = header(&answer.headers, LINK.as_str())
                .is_some_and(|link| link.contains("rel=\"next\""));
            let (body, more) = match (answer.status, known) {
                // A page that is as it was may have got a successor.
                (StatusCode::NOT_MODIFIED, Some(known)) => (known.body, known.more || next),
                (status, _) if status.is_success() => (answer.body, next),
                _ => return Err(refused(&Method::GET, path, &answer)),
            };
            match serde_json::from_slice(&body) {
                Ok(value) => {
                    if let (true, Some(etag)) =
                        (answer.status.is_success(), header(&answer.headers, ETAG.as_str()))
                    {
                        let etag = etag.to_owned();
                        lock(&self.cache).put(path, Cached { etag, body, more });
                    }
                    Ok(Tried::Done((value, more)))
                }
                Err(error) => {
                    lock(&self.cache).forget(path);
                    let reason = format!("the answer cannot be read ({error})");
                    Ok(Tried::Failed(errors::unreachable(path, &reason)))
                }
            }
        })
    }

    /// Sends a request and goes where the answer sends it: a repository may have been renamed.
    async fn follow(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
    ) -> Result<Tried<Answer>> {
        let mut target = path.to_owned();
        for _ in 0..=REDIRECTS {
            let answer = match self.send(method, &target, body, etag).await? {
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
    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
    ) -> Result<Tried<Answer>> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(errors::unreachable(path, "the client was closed"));
        };
        lock(&self.limits).check(Utc::now())?;
        let answer = match tokio::time::timeout(
            self.patience,
            self.exchange(method, path, body, etag),
        )
        .await
        {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let reason = errors::unreachable(path, &innermost(error.as_ref()).to_string());
                let refused = was_never_connected(error.as_ref());
                return Ok(if refused { Tried::Unsent(reason) } else { Tried::Failed(reason) });
            }
            Err(_) => {
                let reason = format!("no answer within {} s", self.patience.as_secs());
                return Ok(Tried::Failed(errors::unreachable(path, &reason)));
            }
        };
        let Answer { status, headers, body } = &answer;
        lock(&self.limits).learn(*status, headers, body, Utc::now())?;
        if status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED {
            return Ok(Tried::Failed(refused(method, path, &answer)));
        }
        Ok(Tried::Done(answer))
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
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

fn refused(method: &Method, path: &str, answer: &Answer) -> Error {
    errors::refused(method, path, answer.status, &answer.headers, &answer.body)
}

/// The cause at the bottom: octocrab's own texts carry back traces.
fn innermost<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> &'e (dyn std::error::Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// Whether nobody can have got the request: only the attempt to connect is ever refused.
fn was_never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = innermost(error).downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for GithubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GithubClient").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Whether an error says that a thing does not exist.
pub(crate) fn is_missing(error: &Error) -> bool {
    error.code == Code::NotFound
}
