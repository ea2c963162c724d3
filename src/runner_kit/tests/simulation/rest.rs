//! GitHub's REST API over the world, below the real client: requests that are lost, late, refused or
//! answered with what was so some time ago.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use octocrab::{AuthState, OctoBody, OctocrabBuilder};
use serde_json::{Value, json};
use tower_service::Service;

use super::setting::Fault;
use super::world::{State, World, as_of};
use crate::adapters::github::{GithubClient, GithubRegistrar};
use crate::adapters::poll::Poller;
use crate::config::{RegistrationKind, RunnerConfig};
use crate::demand::{Board, JobState};
use crate::model::{Labels, Origin, Repo, Scope};
use crate::ports::NewRunner;

/// How long the client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The window of the hourly budget.
const HOUR: Duration = Duration::from_secs(3_600);

/// The real adapters of one life of the service.
pub(super) struct Rest {
    pub(super) poller: Poller,
    pub(super) registrar: GithubRegistrar,
}

impl Rest {
    pub(super) fn new(
        world: &Arc<World>,
        life: u64,
        board: &Arc<Board>,
        config: &RunnerConfig,
    ) -> Self {
        let jit = world.state().setting.jit;
        let config = RunnerConfig {
            registration: if jit { RegistrationKind::Jit } else { RegistrationKind::Token },
            ..config.clone()
        };
        let wire = Wire { world: world.clone(), life };
        let api = OctocrabBuilder::new_empty().with_service(wire).with_auth(AuthState::None);
        let Ok(api) = api.build();
        let clock = world.clone();
        let clock = Arc::new(move || clock.clock());
        let client = GithubClient::over(api, &config, "ghp_simulated".into(), PATIENCE, clock);
        let poller = Poller::new(client.clone(), board.clone(), &config).unwrap();
        Self { poller, registrar: GithubRegistrar::new(client, &config) }
    }
}

/// What stands where the network would be.
#[derive(Clone)]
struct Wire {
    world: Arc<World>,
    life: u64,
}

type Answer = Response<Full<Bytes>>;

impl Service<Request<OctoBody>> for Wire {
    type Response = Answer;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Answer>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OctoBody>) -> Self::Future {
        let wire = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            wire.carry(&parts, &body).await
        })
    }
}

impl Wire {
    async fn wait(&self, least: u64, most: u64) {
        self.world.wait(least, most).await;
        let dead = self.world.state().services != self.life;
        if dead {
            std::future::pending::<()>().await;
        }
    }

    async fn carry(&self, asked: &Parts, body: &[u8]) -> io::Result<Answer> {
        let slow = self.world.state().happens(Fault::SlowAnswer);
        self.wait(30, if slow { 15_000 } else { 300 }).await;
        let (answer, lost) = {
            let mut state = self.world.state();
            if state.now < state.github_down_until {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if state.happens(Fault::RequestLost) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let answer = state.refuse().unwrap_or_else(|| state.serve(asked, body));
            (answer, state.happens(Fault::AnswerLost))
        };
        self.world.changed.notify_waiters();
        self.wait(10, if lost { 10_000 } else { 100 }).await;
        if lost { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(answer) }
    }
}

fn answer((status, body): Told) -> Answer {
    let body = Full::new(Bytes::from(body.to_string()));
    Response::builder().status(status).body(body).unwrap()
}

type Told = (StatusCode, Value);

fn ok(body: Value) -> Told {
    (StatusCode::OK, body)
}

impl State {
    /// What GitHub answers before it looks at what is asked.
    fn refuse(&mut self) -> Option<Answer> {
        if self.happens(Fault::ServerError) {
            return Some(answer((StatusCode::BAD_GATEWAY, json!({}))));
        }
        if self.happens(Fault::Denied) {
            let why = json!({"message": "Resource not accessible by personal access token"});
            return Some(answer((StatusCode::FORBIDDEN, why)));
        }
        self.happens(Fault::RateLimited).then(|| {
            let mut answer = answer((StatusCode::TOO_MANY_REQUESTS, json!({})));
            let wait = self.rng.u64(1..60);
            answer.headers_mut().insert("retry-after", wait.into());
            answer
        })
    }

    fn serve(&mut self, asked: &Parts, body: &[u8]) -> Answer {
        let path: Vec<&str> = asked.uri.path().trim_matches('/').split('/').collect();
        let query = asked.uri.query().unwrap_or_default();
        let query = |name: &str| {
            let mut all = query.split('&').filter_map(|pair| pair.split_once('='));
            all.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let told = match (&asked.method, &path[..]) {
            (&Method::GET, ["rate_limit"]) => ok(json!({})),
            (&Method::GET, ["users", owner]) => ok(account(owner)),
            (&Method::GET, ["user", "repos"]) => ok(self.repositories()),
            (&Method::GET, ["repos", owner, name, "actions", "runs", rest @ ..]) => {
                let repo: Repo = format!("{owner}/{name}").parse().unwrap();
                match rest {
                    [] if self.happens(Fault::Unseen) => {
                        (StatusCode::NOT_FOUND, json!({"message": "Not Found"}))
                    }
                    [] => ok(self.runs(&repo, query("status").unwrap())),
                    [run, "jobs"] => ok(self.jobs_of(&repo, run.parse().unwrap())),
                    _ => panic!("{asked:?}"),
                }
            }
            (method, ["repos", owner, name, "actions", "runners", rest @ ..]) => {
                let repo: Repo = format!("{owner}/{name}").parse().unwrap();
                self.runners(method, &Scope::Repo(repo), rest, query("name"), body)
            }
            (method, ["orgs", org, "actions", "runners", rest @ ..]) => {
                self.runners(method, &Scope::org(org), rest, query("name"), body)
            }
            _ => panic!("{asked:?}"),
        };
        self.charge(asked, told)
    }

    /// Counts the request, unless what it asks for is as the asker knows it.
    fn charge(&mut self, asked: &Parts, told: Told) -> Answer {
        let mut answer = answer(told);
        if asked.method == Method::GET && answer.status().is_success() {
            let mut hash = DefaultHasher::new();
            answer.body().clone().into_inner().hash(&mut hash);
            let etag = format!("\"{:x}\"", hash.finish());
            if asked.headers.get("if-none-match").is_some_and(|known| *known == etag) {
                *answer.status_mut() = StatusCode::NOT_MODIFIED;
                *answer.body_mut() = Full::default();
            }
            answer.headers_mut().insert("etag", etag.parse().unwrap());
        }
        let Some(budget) = self.setting.budget else { return answer };
        let window = self.now.as_secs() / HOUR.as_secs();
        if self.spent.0 != window {
            self.spent = (window, 0);
        }
        self.spent.1 += u32::from(answer.status() != StatusCode::NOT_MODIFIED);
        let reset = self.date() + (HOUR - Duration::from_secs(self.now.as_secs() % HOUR.as_secs()));
        let headers = answer.headers_mut();
        headers.insert("x-ratelimit-limit", budget.into());
        headers.insert("x-ratelimit-remaining", budget.saturating_sub(self.spent.1).into());
        headers.insert("x-ratelimit-reset", reset.timestamp().into());
        answer
    }

    fn repositories(&self) -> Value {
        let all = self.setting.repos.iter().map(|(repo, _)| {
            let pushed_at = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
            json!({
                "full_name": repo,
                "owner": account(repo.owner()),
                "pushed_at": pushed_at,
            })
        });
        all.collect()
    }

    fn runs(&mut self, repo: &Repo, status: &str) -> Value {
        let at = self.moment();
        let mut runs: std::collections::BTreeMap<u64, (bool, bool)> = Default::default();
        for job in self.jobs.values().filter(|job| job.job.repo == *repo) {
            let Some(state) = as_of(&job.states, at) else { continue };
            let (waits, begun) = runs.entry(job.job.run_id).or_default();
            *waits |= *state == JobState::Queued;
            *begun |= *state != JobState::Queued;
            // One that is over is not told of.
            if matches!(state, JobState::InProgress { .. }) {
                *waits = true;
            }
        }
        let created = self.date();
        let told = runs.iter().filter(|(_, (open, begun))| {
            let is = match (open, begun) {
                (true, false) => "queued",
                (true, true) => "in_progress",
                (false, _) => "success",
            };
            is == status
        });
        let told = told.map(|(id, _)| json!({"id": id, "status": status, "created_at": created}));
        let told: Vec<_> = told.collect();
        json!({"total_count": told.len(), "workflow_runs": told})
    }

    fn jobs_of(&mut self, repo: &Repo, run: u64) -> Value {
        let at = self.moment();
        let own = self.jobs.values().filter(|job| job.job.repo == *repo && job.job.run_id == run);
        let told = own.filter_map(|job| {
            let mut told = job_told(&job.job);
            let state = as_of(&job.states, at)?;
            told["status"] = word(state).into();
            if let JobState::InProgress { runner_name, started_at } = state {
                told["runner_name"] = runner_name.as_str().into();
                told["started_at"] = json!(started_at);
            }
            Some(told)
        });
        let told: Vec<_> = told.collect();
        json!({"total_count": told.len(), "jobs": told})
    }

    fn runners(
        &mut self,
        method: &Method,
        scope: &Scope,
        rest: &[&str],
        name: Option<&str>,
        body: &[u8],
    ) -> Told {
        match (method, rest) {
            (&Method::GET, []) => {
                // A question for one runner is answered as it is.
                let at = if name.is_some() { self.now } else { self.moment() };
                let all = self.registrations.iter().filter(|(_, one)| one.scope == *scope);
                let all = all.filter_map(|(id, one)| one.listed(*id, at));
                let all = all.filter(|one| name.is_none_or(|name| one.name == name));
                let told = all.map(|one| {
                    let status = if one.online { "online" } else { "offline" };
                    json!({"id": one.id, "name": one.name, "status": status, "busy": one.busy})
                });
                let told: Vec<_> = told.collect();
                ok(json!({"total_count": told.len(), "runners": told}))
            }
            (&Method::POST, ["registration-token"]) => {
                let expires_at = self.date() + TimeDelta::hours(1);
                (StatusCode::CREATED, json!({"token": "token", "expires_at": expires_at}))
            }
            (&Method::POST, ["generate-jitconfig"]) => {
                let asked: Value = serde_json::from_slice(body).unwrap();
                let labels = asked["labels"].as_array().unwrap();
                let labels = Labels::new(labels.iter().map(|label| label.as_str().unwrap()));
                let id = self.register(
                    &NewRunner {
                        name: asked["name"].as_str().unwrap().to_owned(),
                        scope: scope.clone(),
                        repo: None,
                        labels,
                        origin: Origin::Queue,
                        beside_sets: false,
                    },
                    false,
                );
                let made = json!({"runner": {"id": id}, "encoded_jit_config": "jit"});
                (StatusCode::CREATED, made)
            }
            (&Method::DELETE, [id]) => {
                let id = id.parse().unwrap();
                match self.registrations.get(&id).and_then(|one| one.state()) {
                    Some((_, true)) => (StatusCode::UNPROCESSABLE_ENTITY, json!({})),
                    Some(_) => {
                        self.set_registration(id, None);
                        (StatusCode::NO_CONTENT, json!({}))
                    }
                    None => (StatusCode::NOT_FOUND, json!({})),
                }
            }
            _ => panic!("{method} {rest:?}"),
        }
    }
}

fn account(login: &str) -> Value {
    let kind = if login == "acme" { "Organization" } else { "User" };
    json!({"login": login, "type": kind})
}

/// A job in GitHub's words, but for where it stands.
pub(super) fn job_told(job: &crate::model::Job) -> Value {
    let labels: Vec<&str> = job.labels.iter().collect();
    let created: DateTime<Utc> = job.queued_at;
    json!({
        "id": job.id,
        "run_id": job.run_id,
        "name": job.name,
        "html_url": job.url,
        "labels": labels,
        "created_at": created,
        "started_at": created,
        "runner_name": null,
    })
}

/// Where a job stands, in GitHub's word.
pub(super) fn word(state: &JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Queued => "queued",
        JobState::InProgress { .. } => "in_progress",
        JobState::Completed => "completed",
    }
}
