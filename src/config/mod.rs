//! What is in force: every option with its meaning, its default resolved once, and validated.
//!
//! [`RunnerConfig`] is what the rest of the crate reads. How it comes about (defaults, file,
//! environment, flags or tool arguments) is the business of the submodules: [`load`] goes from
//! [`Sources`] by the table of [`options`] to [`Loaded`].

mod addresses;
mod bounds;
mod filter;
mod given;
mod layers;
mod options;
mod print;
mod profile;
mod resolve;
mod rules;
mod secret;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bounds::{Bounds, Globs};
pub use filter::RepoFilter;
pub use given::{OperatorOptions, Registration, StartInput};
pub use layers::{Environment, Sources, did_you_mean, load};
pub use options::{OptionSpec, file_schema, options};
pub use print::{Row, difference};
pub use profile::Profile;
pub use resolve::Loaded;
pub use secret::read_secret;

use crate::model::{Labels, Scope};

/// The configuration in force.
#[derive(Debug, Clone, PartialEq)]
pub struct RunnerConfig {
    /// User or organisation to watch; `None`: every repository that the credential can see.
    pub owner: Option<String>,
    /// Time between looks when nothing is going on.
    pub poll_interval: Duration,
    /// Repositories pushed within this many days are looked at in every pass.
    pub since_days: u32,
    /// Bound on runner containers, whatever they are doing. 0: plan, launch nothing.
    pub max_runners: usize,
    /// Bound on runner containers of one repository.
    pub max_per_repo: Option<usize>,
    /// Whether jobs that name another architecture are left alone.
    pub filter_by_arch: bool,
    /// Reserved for the peer-to-peer demand source.
    pub enable_p2p: bool,
    /// Globs of the repositories to watch; empty: all.
    pub repos: Vec<String>,
    /// Globs of repositories to leave alone.
    pub exclude_repos: Vec<String>,
    /// What a runner can serve.
    pub labels: Labels,
    /// Whether runners are registered with repositories or with the organisation.
    pub scope: ScopeKind,
    /// Runner group of an organisation's runners.
    pub runner_group: Option<String>,
    /// The runner scale set that is kept for each scope.
    pub scale_set: Option<String>,
    /// How runners register, `auto` resolved by the image.
    pub registration: RegistrationKind,
    /// Runners kept ready per scope.
    pub min_idle: usize,
    /// After this long without a job a runner that nobody waits for is retired.
    pub idle_timeout: Duration,
    /// After this long on one job a runner is stopped.
    pub job_timeout: Option<Duration>,
    /// Image of the runner containers.
    pub runner_image: String,
    /// What is known of that image.
    pub profile: Profile,
    /// When the image is pulled.
    pub pull: PullPolicy,
    /// Root of one private directory per runner.
    pub runner_work_dir: PathBuf,
    /// User inside the container, where it isn't the image's own.
    pub runner_user: Option<String>,
    /// Whether jobs can reach the engine.
    pub docker_access: DockerAccess,
    /// Whether the container's root file system is read-only.
    pub read_only: bool,
    /// The container's network: host, bridge, none or a network's name.
    pub network_mode: String,
    /// Bytes of memory per runner, before it is clamped to the host.
    pub memory_limit: u64,
    /// Processors per runner, before it is clamped to the host.
    pub cpu_limit: f64,
    /// Processes per runner.
    pub pids_limit: i64,
    /// Bytes that must be free on the disks of engine and work directories for a launch.
    pub min_free_disk: u64,
    /// Whether images go that runners here have had and will not have again.
    pub prune_images: bool,
    /// Percent of GitHub's hourly budget that looks may use. A user's budget is that of all of the
    /// user's tokens and programs together, so half of it is left to them and to launches.
    pub api_budget: u32,
    /// Which of several services on one engine this is.
    pub instance: String,
    /// Where runners run.
    pub engine: EngineKind,
    /// A file to read the GitHub credential from.
    pub token_file: Option<PathBuf>,
    /// The GitHub App to be, by its id or client id; its installations' rights count then.
    pub app_id: Option<String>,
    /// A file with that app's private key.
    pub app_key_file: Option<PathBuf>,
    /// Where history, logs and the socket live when there is no runtime directory.
    pub state_dir: PathBuf,
    /// Base of GitHub's REST API, without a slash at the end.
    pub api_url: String,
    /// Base of GitHub's pages, without a slash at the end.
    pub server_url: String,
    /// What the operator allows at most, whoever asks.
    pub bounds: Bounds,
    /// Variables that are passed on to runners: the guide's `CACHE_*`. May hold secrets.
    pub runner_env: RunnerEnv,
}

impl RunnerConfig {
    /// The scopes that are named one by one: the organisation, or each repository that is no pattern,
    /// which may stand for thousands.
    pub fn named_scopes(&self) -> Vec<Scope> {
        match (self.scope, &self.owner) {
            (ScopeKind::Org, Some(owner)) => vec![Scope::org(owner)],
            _ => self.repos.iter().filter_map(|repo| repo.parse().ok()).map(Scope::Repo).collect(),
        }
    }

    /// What runners can serve: their labels, and the name of their scale set, which is one of them.
    pub fn served(&self) -> Labels {
        self.labels.union(&Labels::new(&self.scale_set))
    }
}

/// Where runners are registered.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// With each repository.
    #[default]
    Repo,
    /// With the organisation.
    Org,
}

/// How runners make themselves known, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationKind {
    /// With a single-use configuration that GitHub made for this runner.
    Jit,
    /// With a registration token, by the image's own entry point.
    Token,
}

/// When the image is pulled.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// When the engine does not have it.
    #[default]
    Missing,
    /// Once at every start of the service.
    Always,
    /// Never: it must be there.
    Never,
}

/// What jobs can reach of the engine.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum DockerAccess {
    /// Nothing.
    None,
    /// Its socket, which is as good as root on the host.
    #[default]
    Socket,
}

/// Where runners run.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// A Docker Engine (or what speaks its API).
    #[default]
    Docker,
}

/// Variables for runners; its values are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RunnerEnv(pub Vec<(String, String)>);

impl std::fmt::Debug for RunnerEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
