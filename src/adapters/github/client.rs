//! One client for all requests: conditional, bounded, within the limits, with one retry policy.

use std::any::TypeId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{ETAG, LINK};
use http::{Method, StatusCode};
use octocrab::Octocrab;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::access::{Access, Kind};
use super::cache::{Cache, Cached};
use super::credentials::Credential;
use super::errors;
use super::installations::Installations;
use super::limits::header;
use super::models::Page;
use super::retry::{Tried, repeat};
use super::room::Room;
use super::sending::{Asked, refused};
use super::turns::Readiness;
use super::window::{POINTS, Urgency};
use crate::config::RunnerConfig;
use crate::error::{Code, Error, Result};
use crate::model::{Allowance, RateLimit};
use crate::ports::Clock;

/// GitHub itself gives up after ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Entries of a page: the most that GitHub gives.
const PER_PAGE: usize = 100;
/// No list is longer: 10,000 runners are in a group, 1,000 runs in an answer.
const PAGES: usize = 200;

/// GitHub's REST API with a token, or with those of an app's installations.
pub struct GithubClient {
    pub(super) api: Octocrab,
    pub(super) base: String,
    who: Who,
    cache: Mutex<Cache>,
    pub(super) room: Room,
    pub(super) patience: Duration,
    clock: Clock,
}

/// The credentials.
enum Who {
    Token(Arc<Access>),
    App(Box<Installations>),
}

/// One page of a list.
#[derive(Debug)]
#[allow(dead_code, reason = "for pollers")]
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    /// Whether there is a next page.
    pub(crate) more: bool,
    /// Whether it is another than when it was last read, as far as that is remembered.
    pub(crate) changed: bool,
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
        // octocrab looks for crypto and for a runtime only when it is asked. Its timeouts of reading
        // and writing begin while a connection is idle and would end a slow answer early: each
        // exchange has its own.
        let api = Octocrab::builder()
            .base_uri(config.api_url.as_str())
            .map_err(failed)?
            .set_connect_timeout(Some(Duration::from_secs(10)))
            .build()
            .map_err(failed)?;
        Ok(Self::over(api, config, credential, patience, Arc::new(Utc::now)))
    }

    /// A client that sends its requests by `api`, and takes what `clock` says for the time.
    pub(crate) fn over(
        api: Octocrab,
        config: &RunnerConfig,
        credential: Credential,
        patience: Duration,
        clock: Clock,
    ) -> Arc<Self> {
        let share = config.api_budget;
        let who = match credential {
            Credential::Token(token) => {
                Who::Token(Arc::new(Access::new(Kind::Token(token), share, clock.clone())))
            }
            Credential::App(key) => {
                Who::App(Box::new(Installations::of(key, share, clock.clone())))
            }
        };
        let (cache, room) = (Mutex::default(), Room::default());
        Arc::new(Self { api, base: config.api_url.clone(), who, cache, room, patience, clock })
    }

    /// The time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// The hourly budget as the last answers told it; of several the one that is nearest its end.
    pub fn budget(&self) -> Option<RateLimit> {
        let budgets = self.used(None).into_iter();
        let budgets = budgets.filter_map(|access| access.limits().budget(self.now()));
        budgets.min_by_key(|budget| budget.remaining)
    }

    /// What looks may still cost of the hourly budget, where the server has one: that of `owner`'s
    /// credential, else the least of all.
    pub fn allowance(&self, owner: Option<&str>) -> Option<Allowance> {
        let all = self.used(owner).into_iter();
        let all = all.filter_map(|access| access.limits().allowance(self.now()));
        all.min_by_key(|allowance| allowance.left)
    }

    /// How many looks may be sent now without waiting for their turn under the secondary limit: with
    /// `owner`'s credential, else the least of all.
    pub fn readiness(&self, owner: Option<&str>) -> Readiness {
        let all = self.used(owner).into_iter().map(|access| access.turns.readiness());
        let new = Readiness { reads: POINTS.looks, more_in: Duration::ZERO };
        all.min_by_key(|readiness| readiness.reads).unwrap_or(new)
    }

    /// The credentials that have been used, or that of `owner`.
    fn used(&self, owner: Option<&str>) -> Vec<Arc<Access>> {
        match &self.who {
            Who::Token(access) => vec![access.clone()],
            Who::App(app) => app.used(owner),
        }
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

    /// Reads `path`, which can wait.
    pub(crate) async fn get<T: Readable>(&self, path: &str) -> Result<T> {
        self.get_as(Urgency::Look, path).await
    }

    pub(super) async fn get_as<T: Readable>(&self, urgency: Urgency, path: &str) -> Result<T> {
        let read = self.read(&*self.access(path).await?, urgency, path).await?;
        Ok(read.value)
    }

    /// Reads all pages of `path`, which may have a query already. It can wait.
    pub(crate) async fn get_all<P: Page>(&self, path: &str) -> Result<Vec<P::Item>> {
        self.get_all_as::<P>(Urgency::Look, path).await
    }

    pub(super) async fn get_all_as<P: Page>(
        &self,
        urgency: Urgency,
        path: &str,
    ) -> Result<Vec<P::Item>> {
        self.get_all_with::<P>(&*self.access(path).await?, urgency, path).await
    }

    pub(super) async fn get_all_with<P: Page>(
        &self,
        access: &Access,
        urgency: Urgency,
        path: &str,
    ) -> Result<Vec<P::Item>> {
        let mut items = Vec::new();
        for number in 1..=PAGES {
            let page = self.page::<P>(access, urgency, path, number).await?;
            items.extend(page.items);
            if !page.more {
                return Ok(items);
            }
        }
        tracing::warn!(path, PAGES, "a list has more pages than are read");
        Ok(items)
    }

    /// Reads one page of `path`, counted from 1.
    pub(crate) async fn get_page<P: Page>(
        &self,
        path: &str,
        number: usize,
    ) -> Result<Listed<P::Item>> {
        self.page::<P>(&*self.access(path).await?, Urgency::Look, path, number).await
    }

    /// All of a list in which what changes comes to the front: its pages up to the first that is as
    /// it was, and the others as they were last read. Now and then [`get_all`](Self::get_all) must
    /// find what changed without coming to the front.
    pub(crate) async fn get_front<P: Page>(&self, path: &str) -> Result<Vec<P::Item>> {
        let access = self.access(path).await?;
        let mut items = Vec::new();
        let mut settled = false;
        for number in 1..=PAGES {
            let known = settled.then(|| self.remembered::<P>(&access, &page_of(path, number)));
            let page = match known.flatten() {
                Some(read) => listed(read),
                None => self.page::<P>(&access, Urgency::Look, path, number).await?,
            };
            settled |= !page.changed;
            items.extend(page.items);
            if !page.more {
                break;
            }
        }
        Ok(items)
    }

    async fn page<P: Page>(
        &self,
        access: &Access,
        urgency: Urgency,
        path: &str,
        number: usize,
    ) -> Result<Listed<P::Item>> {
        self.read::<P>(access, urgency, &page_of(path, number)).await.map(listed)
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

    pub(super) async fn read<T: Readable>(
        &self,
        access: &Access,
        urgency: Urgency,
        path: &str,
    ) -> Result<Read<T>> {
        repeat(&Method::GET, || self.read_once(access, urgency, path)).await
    }

    async fn read_once<T: Readable>(
        &self,
        access: &Access,
        urgency: Urgency,
        path: &str,
    ) -> Result<Tried<Read<T>>> {
        let key = access.key(path);
        let known = lock(&self.cache).get(&key).filter(|known| known.kind == TypeId::of::<T>());
        let etag = known.as_ref().map(|known| &*known.etag);
        let asked = Asked { etag, urgency, ..Asked::plain(&Method::GET, path) };
        let tried = self.follow(access, asked).await?;
        tried.and_then(|answer| {
            let link = header(&answer.headers, LINK.as_str());
            let next = link.is_some_and(|link| link.contains("rel=\"next\""));
            let (value, more, changed) = match (answer.status, &known) {
                // A page that is as it was may have got a successor.
                (StatusCode::NOT_MODIFIED, Some(known)) => {
                    (serde_json::from_slice::<T>(&known.read), known.more || next, false)
                }
                (status, _) if status.is_success() => {
                    (serde_json::from_slice(&answer.body), next, true)
                }
                _ => return Err(refused(&Method::GET, path, &answer)),
            };
            let mut read = match value {
                Ok(value) => Read { value, more, changed },
                Err(error) => {
                    lock(&self.cache).forget(&key);
                    let reason = format!("the answer cannot be read ({error})");
                    return Ok(Tried::Failed(errors::unreachable(path, &reason)));
                }
            };
            if let (true, Some(etag), Ok(text)) =
                (changed, header(&answer.headers, ETAG.as_str()), serde_json::to_vec(&read.value))
            {
                let same = |known: &Cached| *known.read == *text && known.more == more;
                read.changed = !known.as_ref().is_some_and(same);
                let (etag, read, kind) = (etag.into(), text.into(), TypeId::of::<T>());
                lock(&self.cache).put(&key, Cached { etag, read, kind, more });
            }
            Ok(Tried::Done(read))
        })
    }

    /// Spends all that looks may send in this minute.
    #[cfg(test)]
    pub(crate) async fn exhaust(&self) {
        for access in self.used(None) {
            let reads = access.turns.readiness().reads;
            access.turns.take(Urgency::Look, reads).await.sent();
        }
    }

    /// The answers that are remembered.
    #[cfg(test)]
    pub(super) fn remembers(&self) -> MutexGuard<'_, Cache> {
        lock(&self.cache)
    }

    /// What `path` was when it was last read.
    fn remembered<T: Readable>(&self, access: &Access, path: &str) -> Option<Read<T>> {
        let known = lock(&self.cache).get(&access.key(path));
        let known = known.filter(|known| known.kind == TypeId::of::<T>())?;
        let value = serde_json::from_slice(&known.read).ok()?;
        Some(Read { value, more: known.more, changed: false })
    }
}

/// What was read of an answer.
pub(super) struct Read<T> {
    pub(super) value: T,
    pub(super) more: bool,
    pub(super) changed: bool,
}

/// What answers are read as, and remembered as.
pub(crate) trait Readable: DeserializeOwned + Serialize + 'static {}

impl<T: DeserializeOwned + Serialize + 'static> Readable for T {}

fn page_of(path: &str, number: usize) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}per_page={PER_PAGE}&page={number}")
}

pub(super) fn listed<P: Page>(read: Read<P>) -> Listed<P::Item> {
    let Read { value, more, changed } = read;
    let items = value.items();
    // "Not modified" need not say that a full page has got a successor.
    Listed { more: more || (!changed && items.len() >= PER_PAGE), items, changed }
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
