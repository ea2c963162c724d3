//! The service's administration for one scope: credentials, the scale set, its runners.
//!
//! The chain of credentials: the REST credential buys a registration token, that buys an
//! administrator's token of the service, and a session's own token reads its queue.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::transport::{Answer, Asked, Failure, Kind, Result, Transport, left, unreachable};
use super::wire::{self, Admission, Agent, Event, Group, JitConfig, List, ScaleSet, Session};
use crate::adapters::github::fresh::Fresh;
use crate::config::RunnerConfig;
use crate::error::Error;
use crate::model::{Labels, Scope, not_found};
use crate::ports::{Deregistered, NewRunner, Registrar, Registration};

/// A token of the administration is renewed this long before it ends.
const MARGIN: Duration = Duration::from_secs(60);
/// The runner group "Default" everywhere.
const DEFAULT_GROUP: u64 = 1;
/// Asked for with every request, as the reference client does.
const VERSION: &str = "api-version=6.0-preview";
const SETS: &str = "_apis/runtime/runnerscalesets";
const AGENTS: &str = "_apis/distributedtask/pools/0/agents";

/// The administration of one scope.
pub(super) struct Service {
    pub(super) scope: Scope,
    pub(super) transport: Arc<Transport>,
    registrar: Arc<dyn Registrar>,
    api_url: String,
    /// What the runners are registered with, as people see it.
    config_url: String,
    group: Option<String>,
    work_dir: std::path::PathBuf,
    admin: Fresh<Admin>,
}

/// An administrator's token, and where it is good.
#[derive(Clone)]
struct Admin {
    base: String,
    token: SecretString,
    until: Option<DateTime<Utc>>,
}

impl Service {
    pub(super) fn new(
        scope: Scope,
        transport: Arc<Transport>,
        registrar: Arc<dyn Registrar>,
        config: &RunnerConfig,
    ) -> Self {
        Self {
            config_url: format!("{}/{scope}", config.server_url),
            scope,
            transport,
            registrar,
            api_url: config.api_url.clone(),
            group: config.runner_group.clone(),
            work_dir: config.runner_work_dir.clone(),
            admin: Fresh::default(),
        }
    }

    /// The set of this name, made where there is none.
    pub(super) async fn set(&self, name: &str, labels: &Labels) -> Result<ScaleSet> {
        let group = self.group_id().await?;
        let find = format!("{SETS}?runnerGroupId={group}&name={}", encode(name));
        let found: List<ScaleSet> = self.get(&find).await?;
        if let [found] = found.value.as_slice() {
            return Ok(found.clone());
        }
        if !found.value.is_empty() {
            let message = format!("There are several scale sets named {name} in {}.", self.scope);
            let remedy = "Delete all but one, or choose another scale_set.";
            return Err(Error::new(crate::error::Code::ContainerFailed, message, remedy).into());
        }
        let labels: Vec<_> =
            labels.iter().map(|label| json!({"type": "System", "name": label})).collect();
        let body = json!({
            "name": name,
            "runnerGroupId": group,
            "labels": labels,
            "RunnerSetting": {"disableUpdate": true},
        });
        let made: ScaleSet = self.post(SETS, &body).await?;
        // What was asked for is not always what is kept.
        self.show(made.id).await
    }

    async fn group_id(&self) -> Result<u64> {
        let Some(name) = self.group.as_deref().filter(|name| !name.eq_ignore_ascii_case("default"))
        else {
            return Ok(DEFAULT_GROUP);
        };
        let path = format!("_apis/runtime/runnergroups/?groupName={}", encode(name));
        let groups: List<Group> = self.get(&path).await?;
        let found = groups.value.into_iter().find(|group| group.name.eq_ignore_ascii_case(name));
        let missing = || {
            let what = format!("The runner group {name} of {}", self.scope);
            not_found(what, "Create it, or change runner_group.").into()
        };
        found.map(|group| group.id).ok_or_else(missing)
    }

    pub(super) async fn show(&self, set: u64) -> Result<ScaleSet> {
        self.get(&format!("{SETS}/{set}")).await
    }

    pub(super) async fn open(&self, set: u64, owner: &str) -> Result<Session> {
        self.post(&format!("{SETS}/{set}/sessions"), &json!({"ownerName": owner})).await
    }

    pub(super) async fn refresh(&self, set: u64, session: &str) -> Result<Session> {
        let path = format!("{SETS}/{set}/sessions/{session}");
        read(&self.ask(Method::PATCH, &path, None).await?)
    }

    pub(super) async fn close(&self, set: u64, session: &str) -> Result<()> {
        let path = format!("{SETS}/{set}/sessions/{session}");
        self.ask(Method::DELETE, &path, None).await.map(drop)
    }

    /// Jobs that can be acquired.
    pub(super) async fn acquirable(&self, set: u64) -> Result<Vec<Event>> {
        let answer = self.ask(Method::GET, &format!("{SETS}/{set}/acquirablejobs"), None).await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        read::<List<Event>>(&answer).map(|list| list.value)
    }

    /// Where jobs are acquired, which takes the queue's token.
    pub(super) async fn acquire_url(&self, set: u64) -> Result<String> {
        let admin = self.admin(None).await?;
        Ok(join(&admin.base, &format!("{SETS}/{set}/acquirejobs")))
    }

    /// Registers a runner that one process can be, once.
    pub(super) async fn jit(&self, set: u64, runner: &NewRunner) -> Result<Registration> {
        let body = json!({
            "name": runner.name,
            // The directory that is the same in the container and on the host.
            "workFolder": self.work_dir.join(&runner.name),
        });
        let made: JitConfig = self.post(&format!("{SETS}/{set}/generatejitconfig"), &body).await?;
        Ok(Registration::Jit { runner_id: made.runner.id, config: made.encoded })
    }

    /// Removes a runner, unless it has a job; none where no runner of this id is known here.
    pub(super) async fn remove(&self, runner: u64) -> Result<Option<Deregistered>> {
        match self.ask(Method::DELETE, &format!("{AGENTS}/{runner}"), None).await {
            Ok(_) => Ok(Some(Deregistered::Gone)),
            Err(Failure { kind: Kind::AgentNotFound, .. }) => Ok(None),
            Err(Failure { kind: Kind::JobStillRunning, .. }) => Ok(Some(Deregistered::Busy)),
            Err(failure) => Err(failure),
        }
    }

    /// The runner of this name.
    pub(super) async fn runner(&self, name: &str) -> Result<Option<u64>> {
        let found: List<Agent> = self.get(&format!("{AGENTS}?agentName={}", encode(name))).await?;
        Ok(found.value.first().map(|agent| agent.id))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read(&self.ask(Method::GET, path, None).await?)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        read(&self.ask(Method::POST, path, Some(body)).await?)
    }

    /// Asks with an administrator's token; repeated where that does no harm.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let once = || async {
            let admin = self.admin(None).await?;
            match self.ask_as(&admin, &method, path, body).await {
                // Nothing was carried out, and another token may do.
                Err(Failure { kind: Kind::Unauthorized, .. }) => {
                    let admin = self.admin(Some(&admin)).await?;
                    self.ask_as(&admin, &method, path, body).await
                }
                settled => settled,
            }
        };
        let harmless = method != Method::POST;
        let again = |failure: &Failure| match failure.kind {
            Kind::Unsent => true,
            Kind::Lost => harmless,
            _ => false,
        };
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_times(2)
            .with_jitter();
        once.retry(waits).sleep(tokio::time::sleep).when(again).await
    }

    async fn ask_as(
        &self,
        admin: &Admin,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let url = join(&admin.base, path);
        let asked = Asked {
            method: method.clone(),
            url: &url,
            auth: ("Bearer", &admin.token),
            body: body.cloned(),
            capacity: None,
        };
        self.transport.send(asked).await
    }

    /// A token that lasts, and is not the one that was `refused`.
    async fn admin(&self, refused: Option<&Admin>) -> Result<Admin> {
        let lasts = |admin: &Admin| {
            left(admin.until).is_some_and(|left| left > MARGIN)
                && refused.is_none_or(|refused| {
                    refused.token.expose_secret() != admin.token.expose_secret()
                })
        };
        self.admin.get(lasts, self.admitted()).await.map_err(Failure::from)
    }

    /// The exchange of a registration token.
    async fn admitted(&self) -> Result<Admin, Error> {
        let url = format!("{}/actions/runner-registration", self.api_url);
        let once = || async {
            let token = self.registrar.token(&self.scope).await?.token;
            let body = json!({"url": self.config_url, "runner_event": "register"});
            let asked = Asked {
                method: Method::POST,
                url: &url,
                auth: ("RemoteAuth", &token),
                body: Some(body),
                capacity: None,
            };
            let Admission { url, token } = read(&self.transport.send(asked).await?)?;
            if url.is_empty() || token.expose_secret().is_empty() {
                return Err(unreachable("it named no address").into());
            }
            Ok(Admin { base: url, until: wire::expiry(token.expose_secret()), token })
        };
        // A new token is not known everywhere at once: 401 and 403 may pass, too (actions/scaleset,
        // `getActionsServiceAdminConnection`).
        let again = |failure: &Failure| {
            matches!(failure.kind, Kind::Unsent | Kind::Lost | Kind::Unauthorized | Kind::Forbidden)
        };
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_times(3)
            .with_jitter();
        let admitted = once.retry(waits).sleep(tokio::time::sleep).when(again).await;
        admitted.map_err(|failure: Failure| failure.error)
    }
}

/// The answer's JSON. It may hold secrets: its text is no part of the error.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T> {
    let failed = || Failure { kind: Kind::Lost, error: unreachable("its answer cannot be read") };
    wire::read(&answer.body).ok_or_else(failed)
}

/// `path` below `base`, which may have a path of its own, with the version asked for.
fn join(base: &str, path: &str) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{}/{path}{mark}{VERSION}", base.trim_end_matches('/'))
}

/// `text` as a query's value (RFC 3986, 2.3).
fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_below_the_services_own_and_names_are_encoded() {
        let url =
            join("https://act.example/tenant/7/", &format!("{SETS}?name={}", encode("a b&é")));
        let expected = "https://act.example/tenant/7/_apis/runtime/runnerscalesets\
                        ?name=a%20b%26%C3%A9&api-version=6.0-preview";
        assert_eq!(url, expected);
        assert!(join("https://act.example", AGENTS).ends_with("/agents?api-version=6.0-preview"));
    }
}
