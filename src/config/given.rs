//! What somebody gave: every option optional, nothing checked beyond its type.
//!
//! One doc comment per option serves the CLI's help, the JSON schemas and the README. Ranges stand
//! in the schema attributes; [`super::options`] reads them from there, so that there is one truth.

use clap::builder::BoolishValueParser;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::options::{number, whole};
use super::{DockerAccess, EngineKind, PullPolicy, ScopeKind};

// `concat!`: clap's derive takes a plain doc comment for the description of every command that
// these options are flattened into.
#[doc = concat!("Options that an assistant may choose too: the input of `runner_start_autoscaler`.")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct StartInput {
    /// User or organisation to watch (default: every repository that the credential can see).
    #[arg(long, value_name = "NAME")]
    #[schemars(extend("pattern" = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", "examples" = ["octo-org"]))]
    pub owner: Option<String>,

    /// Seconds between looks at GitHub while all is quiet, 1 to 86400 (default 120).
    #[arg(long, visible_alias = "interval", value_name = "SECONDS")]
    #[arg(allow_negative_numbers = true, value_parser = whole("poll_interval"))]
    #[schemars(range(min = 1, max = 86_400))]
    pub poll_interval: Option<i64>,

    /// Most runners at a time, 0 to 1000 (default 10); 0 launches none.
    #[arg(long, value_name = "COUNT")]
    #[arg(allow_negative_numbers = true, value_parser = whole("max_runners"))]
    #[schemars(range(min = 0, max = 1_000))]
    pub max_runners: Option<i64>,

    /// Image of the runner containers (default myoung34/github-runner:latest).
    #[arg(long, visible_alias = "image", value_name = "IMAGE")]
    #[schemars(extend("examples" = ["ghcr.io/actions/actions-runner:latest"]))]
    pub runner_image: Option<String>,

    /// Return when a detached service runs, instead of staying (default true; on the command line
    /// false).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub background: Option<bool>,

    /// Globs of repositories to watch, by full name (default: all).
    #[arg(long, value_name = "GLOB,...")]
    #[schemars(extend("examples" = [["octo-org/web-*"]]))]
    pub repos: Option<Vec<String>>,

    /// Globs of repositories to leave alone (default: none).
    #[arg(long, value_name = "GLOB,...")]
    pub exclude_repos: Option<Vec<String>>,

    /// Labels that runners serve (default self-hosted, linux, the architecture, docker).
    #[arg(long, value_name = "LABEL,...")]
    #[schemars(extend("examples" = [["self-hosted", "linux", "x64"]]))]
    pub labels: Option<Vec<String>>,

    /// Repositories pushed within so many days are looked at each time, 1 to 365 (default 1).
    #[arg(long, value_name = "DAYS")]
    #[arg(allow_negative_numbers = true, value_parser = whole("since_days"))]
    #[schemars(range(min = 1, max = 365))]
    pub since_days: Option<i64>,

    /// Idle runners kept ready per scope, 0 to max_runners (default 0).
    #[arg(long, value_name = "COUNT")]
    #[arg(allow_negative_numbers = true, value_parser = whole("min_idle"))]
    #[schemars(range(min = 0, max = 1_000))]
    pub min_idle: Option<i64>,

    /// Memory of each runner, as 512m, 1.5g or in bytes (default 4g, clamped to the host).
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    #[schemars(extend("examples" = ["4g"]))]
    pub memory_limit: Option<String>,

    /// Processors of each runner, 0.01 to 1024 (default 4, clamped to the host).
    #[arg(long, value_name = "CPUS")]
    #[arg(allow_negative_numbers = true, value_parser = number("cpu_limit"))]
    #[schemars(range(min = 0.01, max = 1_024.0), extend("examples" = [2.5]))]
    pub cpu_limit: Option<f64>,
}

#[doc = concat!(
    "Options that decide how far a job can reach, and where things are: the operator's alone, ",
    "never a tool's arguments."
)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct OperatorOptions {
    /// Leave jobs alone that name another architecture (default true).
    #[arg(long, value_name = "BOOL", num_args = 0..=1)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub filter_by_arch: Option<bool>,

    /// Reserved for the peer-to-peer source of work (default false).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub enable_p2p: Option<bool>,

    /// Directory under which each runner gets a private one (default /tmp/_work).
    #[arg(long, value_name = "DIR")]
    pub runner_work_dir: Option<String>,

    /// File to read the GitHub credential from, when no variable holds it (default: none).
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,

    /// GitHub App to be instead of a user, by its app id or client id: it finds its installations
    /// by itself (default: none).
    #[arg(long, value_name = "ID")]
    #[schemars(extend("examples" = ["123456"]))]
    pub app_id: Option<String>,

    /// File with the private key of that app, as GitHub gives it (default: none).
    #[arg(long, value_name = "FILE")]
    pub app_key_file: Option<String>,

    /// Network of the runner containers: host, bridge, none or the name of a network (default
    /// host).
    #[arg(long, value_name = "NETWORK")]
    #[schemars(extend("examples" = ["bridge"]))]
    pub network_mode: Option<String>,

    /// Register runners with each repository (repo) or with the whole organisation (org) (default
    /// repo).
    #[arg(long, value_enum)]
    pub scope: Option<ScopeKind>,

    /// How runners register: with a single-use configuration (jit), with a token (token), or as
    /// suits the image (auto) (default auto).
    #[arg(long, value_enum)]
    pub registration: Option<Registration>,

    /// User in the container, as USER or USER:GROUP (default: by image).
    #[arg(long, value_name = "USER[:GROUP]")]
    #[schemars(extend("examples" = ["1001:121"]))]
    pub runner_user: Option<String>,

    /// What jobs reach of the Docker engine: nothing (none), or its socket (socket), which is as
    /// good as root on the host (default socket).
    #[arg(long, value_enum)]
    pub docker_access: Option<DockerAccess>,

    /// Make the root file system of the runner containers read-only (default false).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub read_only: Option<bool>,

    /// Seconds after which an idle runner that nobody needs is retired, 1 to 604800 (default 300).
    #[arg(long, value_name = "SECONDS")]
    #[arg(allow_negative_numbers = true, value_parser = whole("idle_timeout"))]
    #[schemars(range(min = 1, max = 604_800))]
    pub idle_timeout: Option<i64>,

    /// Seconds after which a runner is stopped in the middle of its job, 1 to 604800 (default:
    /// never).
    #[arg(long, value_name = "SECONDS")]
    #[arg(allow_negative_numbers = true, value_parser = whole("job_timeout"))]
    #[schemars(range(min = 1, max = 604_800))]
    pub job_timeout: Option<i64>,

    /// Most processes and threads of each runner, 16 to 4194304 (default 4096).
    #[arg(long, value_name = "COUNT")]
    #[arg(allow_negative_numbers = true, value_parser = whole("pids_limit"))]
    #[schemars(range(min = 16, max = 4_194_304))]
    pub pids_limit: Option<i64>,

    /// Space that must be free on the disks of engine and work directories for a launch, as 10g or in
    /// bytes; 0: however little (default 2g).
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    #[schemars(extend("examples" = ["10g"]))]
    pub min_free_disk: Option<String>,

    /// When the image is pulled: when it is missing, always at a start, or never (default
    /// missing).
    #[arg(long, value_enum)]
    pub pull: Option<PullPolicy>,

    /// Whether images that runners here have had are removed once runner_image means another one and
    /// no container has them; where somebody gave one a name of his own, it stays (default false).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub prune_images: Option<bool>,

    /// Runner group of an organisation's runners; needs `scope` org (default: the organisation's
    /// default group).
    #[arg(long, value_name = "NAME")]
    pub runner_group: Option<String>,

    /// Name of a runner scale set to keep for the organisation, or for each repository that repos
    /// names: GitHub then tells of its jobs at once, without an inbound port (default: none).
    #[arg(long, value_name = "NAME")]
    #[schemars(extend("examples" = ["docker-pool"]))]
    pub scale_set: Option<String>,

    /// Most runners of one repository at a time, 1 to 1000 (default: max_runners).
    #[arg(long, value_name = "COUNT")]
    #[arg(allow_negative_numbers = true, value_parser = whole("max_per_repo"))]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_per_repo: Option<i64>,

    /// Globs of the users and organisations that may be watched and provisioned for (default: all).
    #[arg(long, value_name = "GLOB,...")]
    #[schemars(extend("examples" = [["octo-org"]]))]
    pub allowed_owners: Option<Vec<String>>,

    /// Globs of the repositories that may be watched and provisioned for, by full name (default:
    /// all).
    #[arg(long, value_name = "GLOB,...")]
    #[schemars(extend("examples" = [["octo-org/*"]]))]
    pub allowed_repos: Option<Vec<String>>,

    /// Globs of the images that runners may have, as runner_image names them; here * also stands
    /// for / and : (default: all).
    #[arg(long, value_name = "GLOB,...")]
    #[schemars(extend("examples" = [["ghcr.io/actions/actions-runner:*"]]))]
    pub allowed_images: Option<Vec<String>>,

    /// The most that max_runners may be set to, 0 to 1000 (default 1000); where nobody sets
    /// max_runners, its default gives way.
    #[arg(long, value_name = "COUNT")]
    #[arg(allow_negative_numbers = true, value_parser = whole("max_runners_allowed"))]
    #[schemars(range(min = 0, max = 1_000))]
    pub max_runners_allowed: Option<i64>,

    /// Runners that may be provisioned by hand within a minute, 0 to 1000 (default 60); 0 allows
    /// none.
    #[arg(long, value_name = "COUNT")]
    #[arg(allow_negative_numbers = true, value_parser = whole("provision_rate"))]
    #[schemars(range(min = 0, max = 1_000))]
    pub provision_rate: Option<i64>,

    /// Percent of GitHub's hourly budget of requests that looks for work may use, 1 to 100 (default
    /// 50); the rest is for launches and for whoever else uses the credential.
    #[arg(long, value_name = "PERCENT")]
    #[arg(allow_negative_numbers = true, value_parser = whole("api_budget"))]
    #[schemars(range(min = 1, max = 100))]
    pub api_budget: Option<i64>,

    /// Name that tells several services on one engine apart: 1 to 20 of a-z, 0-9 and - (default
    /// default).
    #[arg(long, value_name = "NAME")]
    #[schemars(extend("pattern" = "^[a-z0-9-]{1,20}$"))]
    pub instance: Option<String>,

    /// Where runners run (default docker).
    #[arg(long, value_enum)]
    pub engine: Option<EngineKind>,

    /// Directory for history, logs and tokens (default $XDG_STATE_HOME/ipfs-accelerate, else
    /// ~/.local/state/ipfs-accelerate).
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,

    /// Serve MCP, dashboard and metrics by HTTP on this address or port (127.0.0.1:8080 when none
    /// is named; default: not served).
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:8080")]
    #[schemars(extend("examples" = ["127.0.0.1:8080"]))]
    pub http: Option<String>,

    /// File with the bearer token that HTTP clients must show (default: one in the state
    /// directory, made at the first start).
    #[arg(long, value_name = "FILE")]
    pub http_token_file: Option<String>,

    /// File with the bearer token of HTTP clients that may only look (default: one in the state
    /// directory, made at the first start; none where the other token was chosen).
    #[arg(long, value_name = "FILE")]
    pub http_read_token_file: Option<String>,

    /// Further names by which HTTP clients reach this host, such as that of a proxy before it
    /// (default: none but its address and the names of this host's loopback).
    #[arg(long, value_name = "HOST,...")]
    #[schemars(extend("examples" = [["runners.example.org"]]))]
    pub http_hosts: Option<Vec<String>>,

    /// Origins of other pages that may call this host by HTTP (default: none).
    #[arg(long, value_name = "ORIGIN,...")]
    #[schemars(extend("examples" = [["https://board.example.org"]]))]
    pub http_origins: Option<Vec<String>>,

    /// File with the secret of GitHub's webhooks, which are taken by HTTP then; while it is being
    /// changed, the old one and the new one in a line each (default: none, webhooks are refused).
    #[arg(long, value_name = "FILE")]
    pub webhook_secret_file: Option<String>,
}

/// How runners register, as it is asked for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// As suits the image.
    #[default]
    Auto,
    /// With a single-use configuration.
    Jit,
    /// With a registration token.
    Token,
}

impl StartInput {
    /// These options, with those of `other` on top.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let members = said(self).into_iter().chain(said(other)).collect();
        // What was written from this very type can be read as it.
        serde_json::from_value(Value::Object(members)).unwrap_or_default()
    }

    /// The flags of `runner start` that say the same.
    pub fn to_flags(&self) -> Vec<String> {
        flags(self)
    }
}

impl OperatorOptions {
    /// The flags of `runner start` that say the same.
    pub fn to_flags(&self) -> Vec<String> {
        flags(self)
    }
}

/// The members of `given` that say something, by name.
pub(super) fn said(given: &impl Serialize) -> Vec<(String, Value)> {
    match serde_json::to_value(given) {
        Ok(Value::Object(members)) => {
            members.into_iter().filter(|(_, value)| !value.is_null()).collect()
        }
        _ => Vec::new(),
    }
}

/// The flag of the option `name`.
pub(super) fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

fn flags(given: &impl Serialize) -> Vec<String> {
    let members = said(given).into_iter();
    members.map(|(name, value)| format!("{}={}", flag(&name), plain(&value, ","))).collect()
}

/// `value` without quotes; the elements of a list with `separator` between them.
pub(super) fn plain(value: &Value, separator: &str) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            list.iter().map(|one| plain(one, separator)).collect::<Vec<_>>().join(separator)
        }
        other => other.to_string(),
    }
}
