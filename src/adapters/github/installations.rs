//! Where a GitHub App is installed, and the tokens that it is given there.
//!
//! Source: docs.github.com, "Authenticating as a GitHub App installation": a token is good for an
//! hour and for what its installation covers; each installation has a budget of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::Instant;

use super::access::{Access, Issued, Kind};
use super::app::AppKey;
use super::client::GithubClient;
use super::errors;
use super::fresh::Fresh;
use super::models::{App, Installation, InstalledRepositories, Repository, Token};
use super::retry::{Tried, repeat};
use super::sending::{Asked, refused};
use super::window::Urgency;
use crate::error::{Error, Result};
use crate::ports::Clock;

/// So long the list of installations is believed. Asking again is free while nothing changes.
const LISTING: Duration = Duration::from_secs(60);

/// An app, with what is known of where it is installed.
pub(super) struct Installations {
    /// The app itself.
    pub(super) own: Arc<Access>,
    /// Of the hourly budget of each installation looks may use so many percent.
    share: u32,
    clock: Clock,
    known: Fresh<Known>,
    /// What each installation has left outlasts the list. With the account that it is on.
    accesses: Mutex<HashMap<u64, (String, Arc<Access>)>>,
}

#[derive(Clone)]
struct Known {
    listed_at: Instant,
    all: Arc<Vec<Installation>>,
}

/// The repositories of one installation, or why they could not be seen.
pub(crate) struct Installed {
    /// Login of the account that it is on.
    pub(crate) owner: String,
    /// What it covers.
    pub(crate) repositories: Result<Vec<Repository>>,
}

impl Installations {
    pub(super) fn of(key: AppKey, share: u32, clock: Clock) -> Self {
        let own = Arc::new(Access::new(Kind::App(key), share, clock.clone()));
        Self { own, share, clock, known: Fresh::default(), accesses: Mutex::default() }
    }

    /// The credentials of the installations that have been used, or that of the one on `owner`.
    pub(super) fn used(&self, owner: Option<&str>) -> Vec<Arc<Access>> {
        let wanted = |login: &str| owner.is_none_or(|owner| owner.eq_ignore_ascii_case(login));
        let all = self.lock();
        let wanted = all.values().filter(|(login, _)| wanted(login));
        wanted.map(|(_, access)| access.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (String, Arc<Access>)>> {
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credential of `installation`, unless that is suspended.
    fn access(&self, installation: &Installation) -> Result<Arc<Access>> {
        let id = installation.id;
        if installation.suspended_at.is_some() {
            let owner = &installation.account.login;
            return Err(errors::suspended(owner, installation.html_url.as_deref()));
        }
        let new = || Arc::new(Access::new(Kind::Installation(id), self.share, self.clock.clone()));
        let mut accesses = self.lock();
        let (login, access) = accesses.entry(id).or_insert_with(|| (String::new(), new()));
        // An account may be renamed.
        login.clone_from(&installation.account.login);
        Ok(access.clone())
    }
}

impl GithubClient {
    /// The repositories of every installation, or of the one on `owner`. None where the credential
    /// is no app.
    pub(crate) async fn installed(&self, owner: Option<&str>) -> Result<Option<Vec<Installed>>> {
        let Some(app) = self.app() else { return Ok(None) };
        let all = self.installations(app).await?;
        let wanted = |one: &&Installation| owner.is_none_or(|owner| one.is_on(owner));
        let chosen: Vec<_> = all.iter().filter(wanted).collect();
        if chosen.is_empty() {
            return Err(self.not_installed(app, owner).await);
        }
        // One after the other: few apps are installed often, and their lists rarely change.
        let mut installed = Vec::with_capacity(chosen.len());
        for one in chosen {
            let repositories = async {
                let path = "/installation/repositories";
                let access = app.access(one)?;
                self.get_all_with::<InstalledRepositories>(&access, Urgency::Look, path).await
            };
            let repositories = repositories.await;
            installed.push(Installed { owner: one.account.login.clone(), repositories });
        }
        Ok(Some(installed))
    }

    /// The credential of the installation that covers `owner`, or of any where it is nobody's.
    pub(super) async fn installation(
        &self,
        app: &Installations,
        owner: Option<&str>,
    ) -> Result<Arc<Access>> {
        let all = self.installations(app).await?;
        let wanted = |one: &&Installation| owner.is_none_or(|owner| one.is_on(owner));
        // One that is suspended will do only to say so.
        let found = all.iter().filter(wanted).min_by_key(|one| one.suspended_at.is_some());
        match found {
            Some(found) => app.access(found),
            None => Err(self.not_installed(app, owner).await),
        }
    }

    pub(super) async fn installations(
        &self,
        app: &Installations,
    ) -> Result<Arc<Vec<Installation>>> {
        let fetch = async {
            // A launch may wait for it.
            let (urgency, path) = (Urgency::Act, "/app/installations");
            let all = self.get_all_with::<Vec<Installation>>(&app.own, urgency, path).await?;
            app.lock().retain(|id, _| all.iter().any(|one| one.id == *id));
            Ok(Known { listed_at: Instant::now(), all: Arc::new(all) })
        };
        let lasts = |known: &Known| known.listed_at.elapsed() < LISTING;
        app.known.get(lasts, fetch).await.map(|known| known.all)
    }

    /// Says where the app would have to be installed.
    pub(super) async fn not_installed(&self, app: &Installations, owner: Option<&str>) -> Error {
        let told = self.read::<App>(&app.own, Urgency::Act, "/app").await;
        let address = told.ok().and_then(|told| told.value.html_url);
        errors::not_installed(owner, address.as_deref())
    }

    /// A new token for `access`, which is an app or an installation of it.
    pub(super) async fn issue(&self, access: &Access) -> Result<Issued> {
        match (&access.kind, self.app()) {
            (Kind::App(key), _) => key.sign(self.now()),
            (Kind::Installation(id), Some(app)) => {
                let path = format!("/app/installations/{id}/access_tokens");
                let body = json!({});
                // A second token does no harm: it is repeated as what may be.
                let answer = repeat(&Method::PUT, || async {
                    let sent = self.follow(&app.own, Asked::post(&path, &body));
                    Box::pin(sent).await?.and_then(|answer| match answer.status.is_success() {
                        true => Ok(Tried::Done(answer)),
                        false => Err(refused(&Method::POST, &path, &answer)),
                    })
                })
                .await?;
                let Token { token, expires_at } = serde_json::from_slice(&answer.body)
                    .map_err(|_| errors::unreachable(&path, "the answer is not as documented"))?;
                Ok(Issued { token, until: expires_at })
            }
            _ => Err(Error::internal("A token that was given cannot be renewed.", "Report this.")),
        }
    }
}

impl Installation {
    fn is_on(&self, owner: &str) -> bool {
        self.account.login.eq_ignore_ascii_case(owner)
    }
}
