//! From a configuration to a service object with real adapters: the only place that knows both.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use tokio::sync::OnceCell;

use crate::adapters::docker::DockerEngine;
use crate::adapters::github::{GithubClient, GithubRegistrar, credentials};
use crate::adapters::poll::Poller;
use crate::adapters::scaleset::ScaleSets;
use crate::config::{EngineKind, Environment, RunnerConfig};
use crate::demand::Board;
use crate::error::Result;
use crate::hints::Hints;
use crate::history::History;
use crate::lifecycle::Parts;
use crate::model::{Demand, Registered, Repo, Scope};
use crate::ports::{
    Decided, DemandSource, Deregistered, Engine, NewRunner, Registrar, Registration,
    RegistrationToken,
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
    let engine = match config.engine {
        EngineKind::Docker => {
            DockerEngine::connect(&config, |name| env.get(name).map(str::to_owned))?
        }
    };
    let metrics = engine.metrics();
    let mut parts = parts(&config, env, Arc::new(engine))?;
    parts.metrics = metrics;
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
    let leftovers = config.state_dir.join(format!("{}.scopes", config.instance));
    parts.leftovers = Arc::new(Hints::open(leftovers));
    parts.board = board;
    Ok(parts)
}

/// GitHub, once there is a credential: who only lists containers needs none.
struct Github {
    config: RunnerConfig,
    env: Environment,
    board: Arc<Board>,
    ready: OnceCell<Ready>,
}

struct Ready {
    poller: Poller,
    registrar: Arc<dyn Registrar>,
    /// Where these are asked for, runners are registered through them.
    sets: Option<ScaleSets>,
}

impl Github {
    async fn ready(&self) -> Result<&Ready> {
        let connect = || async {
            let token = credentials::credential(&self.config, &self.env).await?;
            let client = GithubClient::new(&self.config, token)?;
            let poller = Poller::new(client.clone(), self.board.clone(), &self.config)?;
            let registrar: Arc<dyn Registrar> =
                Arc::new(GithubRegistrar::new(client, &self.config));
            let sets = ScaleSets::new(&self.config, self.board.clone(), &registrar)?;
            Ok(Ready { poller, registrar, sets })
        };
        self.ready.get_or_try_init(connect).await
    }

    /// All that is known of the demand, whoever told it.
    fn told(&self) -> Demand {
        let warnings = self.sets().map(ScaleSets::warnings).unwrap_or_default();
        Demand { warnings, ..self.board.demand(Utc::now()) }
    }

    fn sets(&self) -> Option<&ScaleSets> {
        self.ready.get()?.sets.as_ref()
    }
}

#[async_trait]
impl DemandSource for Github {
    async fn demand(&self) -> Result<Demand> {
        self.ready().await?.poller.pass().await?;
        Ok(self.told())
    }

    fn known(&self) -> Option<Demand> {
        Some(self.told())
    }

    async fn changed(&self) {
        self.board.changed().await;
    }

    fn decided(&self, decided: &Decided) {
        // Before there is a credential nobody listens; the first pass over the demand gets it.
        if let Some(sets) = self.sets() {
            sets.decided(decided);
        }
    }

    async fn rest(&self) {
        if let Some(sets) = self.sets() {
            sets.stop().await;
        }
    }
}

#[async_trait]
impl Registrar for Github {
    async fn check(&self) -> Result<()> {
        self.ready().await?.registrar.check().await
    }

    async fn home(&self, repo: &Repo) -> Result<Scope> {
        self.ready().await?.registrar.home(repo).await
    }

    async fn register(&self, runner: &NewRunner) -> Result<Registration> {
        let Ready { registrar, sets, .. } = self.ready().await?;
        // Only a scope with a live session has a set to register through: others never wait for it.
        if let Some(sets) = sets.as_ref().filter(|_| !runner.beside_sets)
            && let Some(registered) = sets.register(runner).await
        {
            return registered;
        }
        registrar.register(runner).await
    }

    async fn token(&self, scope: &Scope) -> Result<RegistrationToken> {
        self.ready().await?.registrar.token(scope).await
    }

    async fn deregister(&self, scope: &Scope, id: u64) -> Result<Deregistered> {
        let Ready { registrar, sets, .. } = self.ready().await?;
        if let Some(sets) = sets
            && let Some(done) = sets.deregister(scope, id).await
        {
            return Ok(done);
        }
        registrar.deregister(scope, id).await
    }

    async fn find(&self, scope: &Scope, name: &str) -> Result<Option<u64>> {
        self.ready().await?.registrar.find(scope, name).await
    }

    async fn registered(&self, scope: &Scope) -> Result<Vec<Registered>> {
        self.ready().await?.registrar.registered(scope).await
    }
}
