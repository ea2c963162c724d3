//! One client for all requests: conditional, bounded, within the limits, with one retry policy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::header::{AUTHORIZATION, ETAG, HeaderName, IF_NONE_MATCH, LINK, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use octocrab::{OctoBody, Octocrab};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::access::{Access, Kind, bearer};
use super::cache::{Cache, Cached};
use super::credentials::Credential;
use super::errors;
use super::installations::Installations;
use super::limits::header;
use super::models::Page;
use super::retry::{Tried, innermost, repeat, was_never_connected};
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

/// GitHub's REST API with a token, or with those of an app's installations.
pub struct GithubClient {
    api: Octocrab,
    base: String,
    who: Who,
    cache: Mutex<Cache>,
    permits: Semaphore,
    patience: Duration,
}

/// The credentials.
enum Who {
    Token(Arc<Access>),
    App(Box<Installations>),
}

/// A request.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    pub(super) etag: Option<&'a str>,
}

impl<'a> Asked<'a> {
    pub(super) fn plain(method: &'a Method, path: &'a str) -> Self {
        Self { method, path, body: None, etag: None }
    }

    pub(super) fn post(path: &'a str, body: &'a Value) -> Self {
        Self { body: Some(body), ..Self::plain(&Method::POST, path) }
    }
}

/// An answer that was understood as far as its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl GithubClient {
    /// A client for the GitHub of `config`, with `credential`.
    pub fn new(config: &RunnerConfig, credential: Credential) -> Result<Arc<Self>> {
        Self::with_patience(config, credential, PATIENCE)
    }

    pub(crate) fn with_patience(
        config: &RunnerConfig,
        credential: Credential,
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
            .set_connect_timeout(Some(Duration::from_secs(10)))
            .set_read_timeout(Some(patience))
            .set_write_timeout(Some(patience))
            .build()
            .map_err(failed)?;
        Ok(Arc::new(Self {
            api,
            base: config.api_url.clone(),
            who: match credential {
                Credential::Token(token) => Who::Token(Arc::new(Access::new(Kind::Token(token)))),
                Credential::App(key) => Who::App(Box::new(Installations::of(key))),
            },
            cache: Mutex::default(),
            permits: Semaphore::new(REQUESTS),
            patience,
        }))
    }

    /// The hourly budget as the last answers told it; of several the one that is nearest its end.
    pub fn budget(&self) -> Option<RateLimit> {
        let used = match &self.who {
            Who::Token(access) => vec![access.clone()],
            Who::App(app) => app.used(),
        };
        let budgets = used.iter().filter_map(|access| lock(&access.limits).budget(Utc::now()));
        budgets.min_by_key(|budget| budget.remaining)
    }

    /// The app that we are, if we are one.
    pub(super) fn app(&self) -> Option<&Installations> {
        match &self.who {
            Who::Token(_) => None,
            Who::App(app) => Some(app),
        }
    }

    /// With whose rights `path` is asked for.
    pub(super) async fn access(&self, path: &str) -> Result<Arc<Access>> {
        match &self.who {
            Who::Token(access) => Ok(access.clone()),
            Who::App(app) => self.installation(app, errors::owner_of(path)).await,
        }
    }

    /// Reads `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.read(&*self.access(path).await?, path).await.map(|(value, _)| value)
    }

    /// Reads all pages of `path`, which may have a query already.
    pub(crate) async fn get_all<P: Page>(&self, path: &str) -> Result<Vec<P::Item>> {
        self.get_all_with::<P>(&*self.access(path).await?, path).await
    }

    pub(super) async fn get_all_with<P: Page>(
        &self,
        access: &Access,
        path: &str,
    ) -> Result<Vec<P::Item>> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        for page in 1..=PAGES {
            let path = format!("{path}{mark}per_page={PER_PAGE}&page={page}");
            let (page, more) = self.read::<P>(access, &path).await?;
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
        let access = self.access(path).await?;
        let answer = repeat(&Method::POST, || async {
            self.follow(&access, Asked::post(path, body)).await?.and_then(|answer| {
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
        let access = self.access(path).await?;
        repeat(&Method::DELETE, || async {
            self.follow(&access, Asked::plain(&Method::DELETE, path)).await?.and_then(|answer| {
                if expected.contains(&answer.status) {
                    return Ok(Tried::Done(answer.status));
                }
                Err(refused(&Method::DELETE, path, &answer))
            })
        })
        .await
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        access: &Access,
        path: &str,
    ) -> Result<(T, bool)> {
        repeat(&Method::GET, || self.read_once(access, path)).await
    }

    async fn read_once<T: DeserializeOwned>(
        &self,
        access: &Access,
        path: &str,
    ) -> Result<Tried<(T, bool)>> {
        let key = access.key(path);
        let known = lock(&self.cache).get(&key);
        let etag = known.as_ref().map(|known| known.etag.as_str());
        let tried = self.follow(access, Asked { etag, ..Asked::plain(&Method::GET, path) }).await?;
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
                        lock(&self.cache).put(&key, Cached { etag, body, more });
                    }
                    Ok(Tried::Done((value, more)))
                }
                Err(error) => {
                    lock(&self.cache).forget(&key);
                    let reason = format!("the answer cannot be read ({error})");
                    Ok(Tried::Failed(errors::unreachable(path, &reason)))
                }
            }
        })
    }

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
        let Asked { method, path, .. } = asked;
        let bearer = bearer(token)?;
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(errors::unreachable(path, "the client was closed"));
        };
        lock(&access.limits).check(Utc::now())?;
        let answer = match tokio::time::timeout(self.patience, self.exchange(bearer, asked)).await {
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
        lock(&access.limits).learn(*status, headers, body, Utc::now())?;
        if status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED {
            return Ok(Tried::Failed(refused(method, path, &answer)));
        }
        Ok(Tried::Done(answer))
    }

    async fn exchange(
        &self,
        bearer: HeaderValue,
        asked: Asked<'_>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let Asked { method, path, body, etag } = asked;
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
