//! What GitHub is to a runner: registration, a long poll for a job, and the job's progress. The
//! protocol is the simulator's own; the real one is neither documented nor stable.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{FromRequestParts, Path, State},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, header::AUTHORIZATION, request::Parts};
use serde::{Deserialize, Serialize};

use super::{
    gate::{self, Prefix},
    model::{Conclusion, Job},
    problem::Problem,
    rest::Github,
    server::Shared,
    state::{Message, NewRunner},
};

/// Where this side is, below the server's URL.
pub(super) const PREFIX: &str = "/_runner";

/// How a process becomes a runner.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Registration {
    /// It uses up a JIT configuration.
    Jit { jit: String },
    /// It registers itself by a registration token.
    Token { token: String, name: String, labels: Vec<String>, ephemeral: bool },
}

/// What a registered runner works with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Registered {
    pub(super) runner_id: u64,
    pub(super) session: String,
}

/// A poll's answer when there is one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(super) enum Told {
    /// Run this.
    Job(Work),
    /// Stop the job that you run.
    Cancel,
    /// You are no longer registered.
    Deleted,
}

/// A job as its runner sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) repo: String,
    pub(super) takes_ms: u64,
    pub(super) conclusion: Conclusion,
}

impl From<Job> for Work {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            name: job.name,
            repo: job.repo,
            takes_ms: u64::try_from(job.takes.as_millis()).unwrap_or(u64::MAX),
            conclusion: job.intended,
        }
    }
}

/// What a runner says that it does, apart from all that GitHub keeps of it: no fault strikes there,
/// and nothing is concluded from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// The runner's name.
    pub runner: String,
    /// The job that it begins to run; none when its process begins.
    pub job: Option<u64>,
}

/// The report of a job's end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) conclusion: Conclusion,
}

pub(super) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/register", post(register))
        .route("/poll", post(poll))
        .route("/jobs/{job}/started", post(started))
        .route("/jobs/{job}/completed", post(completed))
        .route("/remove", post(remove))
        .layer(from_fn_with_state(Arc::clone(shared), gate::go_wrong))
        .layer(Extension(Prefix(PREFIX)))
        .route("/witness", post(witness))
        .with_state(Arc::clone(shared))
}

async fn register(
    State(github): Github,
    Json(registration): Json<Registration>,
) -> Result<(StatusCode, Json<Registered>), Problem> {
    let registered = github.change(|world, now| match registration {
        Registration::Jit { jit } => world.state.connect_jit(&jit),
        Registration::Token { token, name, labels, ephemeral } => {
            let runner = NewRunner { name, labels, ephemeral, group_id: 1 };
            world.state.register(&token, runner, now)
        }
    });
    let (runner_id, session) = registered?;
    Ok((StatusCode::CREATED, Json(Registered { runner_id, session })))
}

/// The runner that a request's session belongs to.
struct Session(u64);

impl FromRequestParts<Arc<Shared>> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, github: &Arc<Shared>) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let secret = header.and_then(|value| value.strip_prefix("Bearer "));
        let runner = secret.and_then(|secret| github.lock().state.session(secret));
        runner.map(Self).ok_or(Problem::BadCredential)
    }
}

/// A runner's open connection; its end, however it comes, is noticed.
struct Presence {
    github: Arc<Shared>,
    runner: u64,
}

impl Presence {
    fn new(github: Arc<Shared>, runner: u64) -> Self {
        github.change(|world, now| world.state.connected(runner, now));
        Self { github, runner }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.github.change(|world, now| world.state.disconnected(self.runner, now));
    }
}

/// Held until there is something to tell, or for a while.
async fn poll(State(github): Github, Session(runner): Session) -> Response {
    let _presence = Presence::new(Arc::clone(&github), runner);
    tokio::select! {
        message = github.first(|world, now| world.state.poll(runner, now)) => {
            Json(match message {
                Message::Job(job) => Told::Job(Work::from(*job)),
                Message::Cancel => Told::Cancel,
                Message::Deleted => Told::Deleted,
            })
            .into_response()
        }
        () = tokio::time::sleep(github.options.poll_timeout) => {
            StatusCode::NO_CONTENT.into_response()
        }
        () = github.ending.cancelled() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn started(
    State(github): Github,
    Session(runner): Session,
    Path(job): Path<u64>,
) -> StatusCode {
    done(github.change(|world, now| world.state.started(runner, job, now)))
}

async fn completed(
    State(github): Github,
    Session(runner): Session,
    Path(job): Path<u64>,
    Json(report): Json<Report>,
) -> StatusCode {
    done(github.change(|world, now| world.state.finished(runner, job, report.conclusion, now)))
}

async fn remove(State(github): Github, Session(runner): Session) -> Result<StatusCode, Problem> {
    github.change(|world, _| world.state.remove_idle(runner))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn witness(State(github): Github, Json(deed): Json<Deed>) -> StatusCode {
    github.change(|world, _| world.deeds.push(deed));
    StatusCode::NO_CONTENT
}

fn done(own: bool) -> StatusCode {
    if own { StatusCode::NO_CONTENT } else { StatusCode::CONFLICT }
}
