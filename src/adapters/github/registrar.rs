//! Runners' registrations: tokens, just-in-time configurations, listing, removal.
//!
//! Endpoints and statuses from docs.github.com, "REST API endpoints for self-hosted runners".

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::TimeDelta;
use http::StatusCode;
use serde_json::{Value, json};

use super::client::{GithubClient, is_missing};
use super::errors::TOKEN_FAILED;
use super::fresh::Fresh;
use super::models::{Account, Groups, JitConfig, Runners, Token};
use super::turns::Turns;
use super::window::{REGISTRATIONS, Urgency};
use crate::config::{RegistrationKind, RunnerConfig};
use crate::error::{Code, Error, Result};
use crate::model::{Registered, Repo, Scope, not_found};
use crate::ports::{Deregistered, NewRunner, Registrar, Registration, RegistrationToken};

/// A token is renewed this long before it expires: the runner has yet to start.
const MARGIN: TimeDelta = TimeDelta::minutes(5);
/// The group that every organisation has, and the only one of a repository.
const DEFAULT_GROUP: u64 = 1;

/// Registers runners with GitHub.
pub struct GithubRegistrar {
    client: Arc<GithubClient>,
    owner: Option<String>,
    kind: RegistrationKind,
    group: Option<String>,
    work_dir: PathBuf,
    /// Whoever comes while the token of a scope is fetched waits for it.
    tokens: Mutex<HashMap<Scope, Arc<Fresh<RegistrationToken>>>>,
    /// How many runners each scope may still get.
    turns: Mutex<HashMap<Scope, Arc<Turns>>>,
}

impl GithubRegistrar {
    /// A registrar that registers as `config` says.
    pub fn new(client: Arc<GithubClient>, config: &RunnerConfig) -> Self {
        Self {
            client,
            owner: config.owner.clone(),
            kind: config.registration,
            group: config.runner_group.clone(),
            work_dir: config.runner_work_dir.clone(),
            tokens: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    async fn jit(&self, runner: &NewRunner) -> Result<Registration> {
        let labels: Vec<&str> = runner.labels.iter().collect();
        let body = json!({
            "name": runner.name,
            "runner_group_id": self.group_id(&runner.scope).await?,
            "labels": labels,
            // The directory that is the same in the container and on the host.
            "work_folder": self.work_dir.join(&runner.name),
        });
        let path = format!("{}/generate-jitconfig", runners(&runner.scope));
        let made: JitConfig = self.client.post(&path, &body).await?;
        Ok(Registration::Jit { runner_id: made.runner.id, config: made.encoded_jit_config })
    }

    /// Asked for each time, which is free while nothing changes: a group may be made anew.
    async fn group_id(&self, scope: &Scope) -> Result<u64> {
        let (Scope::Org(org), Some(name)) = (scope, &self.group) else { return Ok(DEFAULT_GROUP) };
        let path = format!("/orgs/{org}/actions/runner-groups");
        let groups = self.client.get_all_as::<Groups>(Urgency::Act, &path).await?;
        let found = groups.into_iter().find(|group| group.name.eq_ignore_ascii_case(name));
        found.map(|group| group.id).ok_or_else(|| {
            not_found(
                format!("The runner group {name} of {org}"),
                "Create it, or change runner_group.",
            )
        })
    }
}

#[async_trait]
impl Registrar for GithubRegistrar {
    async fn check(&self) -> Result<()> {
        let Some(owner) = &self.owner else {
            // Costs nothing, and tells whether the credential is taken.
            return match self.client.get_as::<Value>(Urgency::Act, "/rate_limit").await {
                // A GitHub Enterprise Server without limits, to a credential that it takes.
                Err(error) if is_missing(&error) => Ok(()),
                other => other.map(drop),
            };
        };
        match self.client.get_as::<Account>(Urgency::Act, &format!("/users/{owner}")).await {
            Err(error) if is_missing(&error) => {
                let remedy = "Check the spelling of owner, and that the credential may see it.";
                Err(not_found(format!("The user or organisation {owner}"), remedy))
            }
            other => other.map(drop),
        }
    }

    async fn home(&self, repo: &Repo) -> Result<Scope> {
        // docs.github.com, "Self-hosted runners": a user's account has none, only its repositories.
        let path = format!("/users/{}", repo.owner());
        let owner = self.client.get_as::<Account>(Urgency::Act, &path).await?;
        Ok(if owner.is_org() { Scope::org(repo.owner()) } else { Scope::Repo(repo.clone()) })
    }

    async fn register(&self, runner: &NewRunner) -> Result<Registration> {
        let turns = {
            let mut all = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Turns::new(REGISTRATIONS));
            all.entry(runner.scope.clone()).or_insert_with(new).clone()
        };
        turns.take(Urgency::Act, 1).await.sent();
        match self.kind {
            RegistrationKind::Jit => self.jit(runner).await.map_err(as_token_failure),
            RegistrationKind::Token => {
                self.token(&runner.scope).await.map(|token| Registration::Token(token.token))
            }
        }
    }

    async fn token(&self, scope: &Scope) -> Result<RegistrationToken> {
        let slot = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.entry(scope.clone()).or_default().clone()
        };
        let lasts = |token: &RegistrationToken| token.expires_at - self.client.now() > MARGIN;
        let fetch = async {
            let path = format!("{}/registration-token", runners(scope));
            let made = self.client.post::<Token>(&path, &json!({})).await;
            let Token { token, expires_at } = made.map_err(as_token_failure)?;
            Ok(RegistrationToken { token, expires_at })
        };
        slot.get(lasts, fetch).await
    }

    async fn deregister(&self, scope: &Scope, id: u64) -> Result<Deregistered> {
        let expected =
            [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY];
        let status = self.client.delete(&format!("{}/{id}", runners(scope)), &expected).await?;
        let busy = status == StatusCode::UNPROCESSABLE_ENTITY;
        Ok(if busy { Deregistered::Busy } else { Deregistered::Gone })
    }

    /// To remove a runner, which must be possible also when looks have used up their share.
    async fn find(&self, scope: &Scope, name: &str) -> Result<Option<u64>> {
        let path = format!("{}?name={name}", runners(scope));
        let found = self.client.get_all_as::<Runners>(Urgency::Act, &path).await?;
        Ok(found.into_iter().find(|runner| runner.name == name).map(|runner| runner.id))
    }

    async fn registered(&self, scope: &Scope) -> Result<Vec<Registered>> {
        let listed = self.client.get_all::<Runners>(&runners(scope)).await?;
        Ok(listed
            .into_iter()
            .map(|runner| Registered {
                id: runner.id,
                name: runner.name,
                online: runner.status.as_deref() == Some("online"),
                busy: runner.busy.unwrap_or_default(),
            })
            .collect())
    }
}

fn runners(scope: &Scope) -> String {
    match scope {
        Scope::Repo(repo) => format!("/repos/{repo}/actions/runners"),
        Scope::Org(org) => format!("/orgs/{org}/actions/runners"),
    }
}

/// The guide's phrase for what goes wrong here, unless another one says more.
fn as_token_failure(error: Error) -> Error {
    match error.code {
        Code::NotAuthenticated | Code::RateLimited => error,
        _ if error.message.starts_with(TOKEN_FAILED) => error,
        _ => Error { message: format!("{TOKEN_FAILED}: {}", error.message), ..error },
    }
}
