//! From a configuration to a service object with real adapters: the only place that knows both.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use tokio::sync::OnceCell;

use crate::adapters::docker::DockerEngine;
use crate::adapters::github::{GithubClient, GithubRegistrar, credentials};
use crate::adapters::poll::Poller;
use crate::config::{EngineKind, Environment, RunnerConfig};
use crate::demand::Board;
use crate::error::Result;
use crate::history::History;
use crate::lifecycle::Parts;
use crate::model::{Demand, Registered, Scope};
use crate::ports::{
    DemandSource, Deregistered, Engine, NewRunner, Registrar, Registration, RegistrationToken,
};
use crate::runner_kit::RunnerKit;
use crate::samples::Samples;
use crate::views::Mode;

impl RunnerKit {
    /// The service object for `config`, in this process and with the process's environment. Must
    /// be called within a tokio runtime.
    pub fn new(config: RunnerConfig) -> Result<Self> {
        kit(config, &Environment::from_process(), Mode::InProcess)
    }
}

/// The service object for `config`.
pub fn kit(config: RunnerConfig, env: &Environment, mode: Mode) -> Result<RunnerKit> {
    let engine: Arc<dyn Engine> = match config.engine {
        EngineKind::Docker => {
            Arc::new(DockerEngine::connect(&config, |name| env.get(name).map(str::to_owned))?)
        }
    };
    let parts = parts(&config, env, engine)?;
    Ok(RunnerKit::from_parts(config, parts, mode))
}

/// GitHub, history and samples as `config` says, with `engine`.
pub fn parts(config: &RunnerConfig, env: &Environment, engine: Arc<dyn Engine>) -> Result<Parts> {
    let board = Arc::new(Board::default());
    let github = Arc::new(Github {
        config: config.clone(),
        env: env.clone(),
        board: board.clone(),
        ready: OnceCell::new(),
    });
    let history = Arc::new(History::open(&config.state_dir, Utc::now())?);
    let samples = config.state_dir.join(format!("{}.samples.jsonl", config.instance));
    let samples = Arc::new(Samples::open(samples, Utc::now().timestamp()));
    let mut parts = Parts::new(github.clone(), github, engine, history, Arc::new(Utc::now));
    parts.samples = samples;
    parts.board = board;
    Ok(parts)
}

/// GitHub, once there is a credential: who only lists containers needs none.
struct Github {
    config: RunnerConfig,
    env: Environment,
    board: Arc<Board>,
    ready: OnceCell<(GithubRegistrar, Poller)>,
}

impl Github {
    async fn ready(&self) -> Result<&(GithubRegistrar, Poller)> {
        let connect = || async {
            let token = credentials::credential(&self.config, &self.env).await?;
            let client = GithubClient::new(&self.config, token)?;
            let poller = Poller::new(client.clone(), self.board.clone(), &self.config)?;
            Ok((GithubRegistrar::new(client, &self.config), poller))
        };
        self.ready.get_or_try_init(connect).await
    }
}

#[async_trait]
impl DemandSource for Github {
    async fn demand(&self) -> Result<Demand> {
        self.ready().await?.1.demand().await
    }

    fn known(&self) -> Option<Demand> {
        Some(self.board.demand(Utc::now()))
    }

    async fn changed(&self) {
        self.board.changed().await;
    }
}

#[async_trait]
impl Registrar for Github {
    async fn check(&self) -> Result<()> {
        self.ready().await?.0.check().await
    }

    async fn register(&self, runner: &NewRunner) -> Result<Registration> {
        self.ready().await?.0.register(runner).await
    }

    async fn token(&self, scope: &Scope) -> Result<RegistrationToken> {
        self.ready().await?.0.token(scope).await
    }

    async fn deregister(&self, scope: &Scope, id: u64) -> Result<Deregistered> {
        self.ready().await?.0.deregister(scope, id).await
    }

    async fn registered(&self, scope: &Scope) -> Result<Vec<Registered>> {
        self.ready().await?.0.registered(scope).await
    }
}
