//! The only three traits of IO: where work comes from, where runners are registered, where they run.
//!
//! The loop owns these small interfaces; adapters implement them. Edges only wake (`changed`),
//! levels decide (`demand`, `containers`, `registered`).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::error::Result;
use crate::model::{
    Container, Demand, Ended, Inspection, Labels, Origin, Registered, Repo, Scope, Usage,
};

/// Tells the time; tests choose it.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Told what is being done, for people who wait for it: "pulling the image: 40 %".
pub type Report<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Where work comes from.
#[async_trait]
pub trait DemandSource: Send + Sync {
    /// Asks for the demand. A failure to see is an error, never an empty demand; a repository that
    /// alone could not be seen is named in [`Demand::unseen`].
    async fn demand(&self) -> Result<Demand>;

    /// The demand as it is known without asking: what arrives while somebody asks, and what was
    /// told unasked. `None` of a source that knows nothing between two questions.
    fn known(&self) -> Option<Demand> {
        None
    }

    /// Resolves when what is [known](Self::known) has changed. Cancel-safe; a source that can't tell
    /// never resolves.
    async fn changed(&self) {
        std::future::pending::<()>().await;
    }

    /// The loop has acted on what was known. The first time says that it has begun.
    fn decided(&self, _: &Decided) {}

    /// The loop has ended: nobody acts on what is told until something is decided again.
    async fn rest(&self) {}
}

/// What the loop did with what was known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decided {
    /// The [revision](Demand::revision) that it acted on.
    pub revision: u64,
    /// Runners that may still be launched.
    pub free: usize,
    /// Runners that exist or are about to, by scope.
    pub used: BTreeMap<Scope, usize>,
    /// Jobs that GitHub takes for running on runners that have gone, by scope: they take up nothing here.
    pub orphans: BTreeMap<Scope, usize>,
}

impl Decided {
    /// How many jobs `scope` could have in all: one for each runner that it has and that may still be
    /// launched, and those that GitHub counts and that are lost. Without these a runner that died at work
    /// would keep a scale set's place until GitHub gives its job up.
    pub fn room(&self, scope: &Scope) -> usize {
        let of = |counts: &BTreeMap<Scope, usize>| counts.get(scope).copied().unwrap_or_default();
        self.free + of(&self.used) + of(&self.orphans)
    }
}

/// Where runners are made known, and removed again.
#[async_trait]
pub trait Registrar: Send + Sync {
    /// Looks once whether GitHub answers and takes the credential.
    async fn check(&self) -> Result<()>;

    /// Where runners for `repo` are registered when organisations have them: a user's repositories
    /// have runners of their own.
    async fn home(&self, repo: &Repo) -> Result<Scope> {
        Ok(Scope::org(repo.owner()))
    }

    /// What a new runner needs to make itself known.
    async fn register(&self, runner: &NewRunner) -> Result<Registration>;

    /// A registration token for `scope`: valid for an hour, good for many runners.
    async fn token(&self, scope: &Scope) -> Result<RegistrationToken>;

    /// Removes the registration `id`; a busy runner is kept.
    async fn deregister(&self, scope: &Scope, id: u64) -> Result<Deregistered>;

    /// Every runner of `scope`, other people's too.
    async fn registered(&self, scope: &Scope) -> Result<Vec<Registered>>;

    /// The id of the runner `name` of `scope`, if it is registered.
    async fn find(&self, scope: &Scope, name: &str) -> Result<Option<u64>> {
        let listed = self.registered(scope).await?;
        Ok(listed.into_iter().find(|found| found.name == name).map(|found| found.id))
    }
}

/// Where runners run.
#[async_trait]
pub trait Engine: Send + Sync {
    /// What the host of the engine is and has; fails when the engine does not answer.
    async fn host(&self) -> Result<Host>;

    /// Makes sure that the runner image is there, pulling it if the configuration says so.
    async fn prepare(&self, report: Report<'_>) -> Result<()>;

    /// The runner containers of this instance, ended ones too.
    async fn containers(&self) -> Result<Vec<Container>>;

    /// Creates and starts one runner; its container's id. On failure nothing is left behind.
    async fn launch(&self, launch: &Launch) -> Result<String>;

    /// Ends the runner's process, gently and then not, and tells how it ended.
    async fn stop(&self, container: &Container) -> Result<Ended>;

    /// Removes the container, its volumes and its work directory. One that is gone is a success.
    async fn remove(&self, container: &Container) -> Result<()>;

    /// Keeps house: removes what is left of runners that are no more, tells `report` what of it is
    /// worth knowing, and returns sentences about the host that are worth knowing for as long as they
    /// are so. What fails is logged, and tried again the next time.
    async fn tidy(&self, _: Report<'_>) -> Vec<String> {
        Vec::new()
    }

    /// What the engine says of one container.
    async fn inspect(&self, id: &str) -> Result<Inspection>;

    /// What the container uses now; an error when its process does not run.
    async fn usage(&self, id: &str) -> Result<Usage>;

    /// The last `lines` lines that the runner printed.
    async fn logs(&self, id: &str, lines: usize) -> Result<String>;

    /// Resolves when a container of ours started or ended, or may have. Cancel-safe.
    async fn changed(&self);
}

/// A runner that is about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRunner {
    /// Its name, unique.
    pub name: String,
    /// Where it is registered.
    pub scope: Scope,
    /// The repository it is for.
    pub repo: Option<Repo>,
    /// What it can serve.
    pub labels: Labels,
    /// Why it is launched.
    pub origin: Origin,
    /// Whether it is registered through no scale set: the job that it is for was given to none.
    pub beside_sets: bool,
}

impl NewRunner {
    /// The repository that it is for, or the organisation.
    pub fn subject(&self) -> String {
        self.repo.as_ref().map_or_else(|| self.scope.to_string(), ToString::to_string)
    }
}

/// What lets a runner make itself known to GitHub.
#[derive(Debug, Clone)]
pub enum Registration {
    /// The runner registers itself with a token that is good for many.
    Token(SecretString),
    /// The runner is registered already; the configuration can be used once.
    Jit {
        /// GitHub's id of the runner.
        runner_id: u64,
        /// The encoded configuration.
        config: SecretString,
    },
}

/// A registration token and its end.
#[derive(Debug, Clone)]
pub struct RegistrationToken {
    /// The secret itself.
    pub token: SecretString,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

/// A runner with what it needs to register: what an engine launches.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The runner.
    pub runner: NewRunner,
    /// How it makes itself known.
    pub registration: Registration,
}

/// What became of a request to remove a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deregistered {
    /// It is gone, or was gone before.
    Gone,
    /// The runner has a job: GitHub refused, and nothing was changed.
    Busy,
}

/// The machine behind an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// The engine's own id: which containers we can see hangs on it.
    pub engine_id: String,
    /// One line for people: "Docker Engine 28.2".
    pub engine: String,
    /// Whole processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Sentences worth knowing: a limit that was clamped, the cost of an option.
    pub warnings: Vec<String>,
}
