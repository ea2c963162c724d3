//! From checked values to [`RunnerConfig`]: what one option means for another, and paths.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use config::{Map, Value};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::addresses::addresses;
use super::given::{Registration, plain};
use super::layers::Environment;
use super::options::{option, options};
use super::print::{Row, rows};
use super::rules::{address, size, size_or_none};
use super::{Bounds, Globs, Profile, RegistrationKind, RunnerConfig, RunnerEnv, ScopeKind};
use crate::error::{Error, Result};
use crate::model::{Labels, Repo};

/// Everything that the layers say.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration in force.
    pub config: RunnerConfig,
    /// Whether the service is to run detached, where somebody said so.
    pub background: Option<bool>,
    /// Where HTTP is served, if at all.
    pub http: Option<SocketAddr>,
    /// A file with the bearer token of HTTP clients.
    pub http_token_file: Option<PathBuf>,
    /// The bearer token of HTTP clients, from the environment.
    pub http_token: Option<SecretString>,
    /// A file with the bearer token of HTTP clients that may only look.
    pub http_read_token_file: Option<PathBuf>,
    /// The bearer token of HTTP clients that may only look, from the environment.
    pub http_read_token: Option<SecretString>,
    /// Further names by which HTTP clients reach this host.
    pub http_hosts: Vec<String>,
    /// Origins of other pages that may call this host.
    pub http_origins: Vec<String>,
    /// A file with the secrets of webhooks.
    pub webhook_secret_file: Option<PathBuf>,
    /// The secret of webhooks, from the environment.
    pub webhook_secret: Option<SecretString>,
    /// What is in force, as `--print-config` shows it.
    pub rows: Vec<Row>,
}

/// The merged values, checked, each with its origin.
#[derive(Debug)]
pub(super) struct Values(BTreeMap<&'static str, (Json, String)>);

impl Values {
    /// The values of `merged`, all of which must be admitted.
    pub(super) fn new(merged: &Map<String, Value>) -> Result<Self> {
        let checked = options().iter().map(|option| {
            let nothing = (Json::Null, "default".to_owned());
            let value = merged.get(&option.name).map_or(Ok(nothing), |value| {
                let origin = value.origin().unwrap_or("default").to_owned();
                option.check(value).map(|json| (json, origin))
            });
            value.map(|value| (option.name.as_str(), value))
        });
        checked.collect::<Result<_>>().map(Self)
    }

    /// Value and origin of the option `name`.
    pub(super) fn entry(&self, name: &str) -> (Json, String) {
        self.0.get(name).cloned().unwrap_or((Json::Null, "default".to_owned()))
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_value(self.entry(name).0)
            .map_err(|error| self.refuse(name, &format!("cannot be used ({error})")))
    }

    fn seconds(&self, name: &str) -> Result<Option<Duration>> {
        Ok(self.get::<Option<u64>>(name)?.map(Duration::from_secs))
    }

    /// A path, `~/` resolved, and absolute: a detached service works in another directory.
    fn path(&self, name: &str, env: &Environment) -> Result<Option<PathBuf>> {
        let Some(text) = self.get::<Option<String>>(name)? else { return Ok(None) };
        let path = match (text.strip_prefix("~/"), env.get("HOME")) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
            (Some(_), None) => return Err(self.refuse(name, "needs the variable HOME")),
            (None, _) => PathBuf::from(text),
        };
        let absolute = std::path::absolute(path);
        absolute.map(Some).map_err(|error| self.refuse(name, &format!("is no path ({error})")))
    }

    pub(super) fn refuse(&self, name: &str, why: &str) -> Error {
        self.refuse_text(name, &plain(&self.entry(name).0, ","), why)
    }

    /// The refusal of `text`, which is the value of the option `name` or a part of it.
    pub(super) fn refuse_text(&self, name: &str, text: &str, why: &str) -> Error {
        match option(name) {
            Some(option) => option.refuse(text, &self.entry(name).1, why),
            None => Error::invalid(name, why, ""),
        }
    }
}

/// The configuration that `values` and the rest of the environment make.
pub(super) fn resolve(values: &Values, env: &Environment) -> Result<Loaded> {
    let addresses = addresses(env)?;
    let required = |name: &str| values.refuse(name, "is not a value, and there is no default");
    let runner_image: String = values.get("runner_image")?;
    let profile = Profile::of(&runner_image);
    let memory: String = values.get("memory_limit")?;
    let disk: String = values.get("min_free_disk")?;
    let state_dir = values.path("state_dir", env)?.ok_or_else(|| {
        Error::invalid(
            "state_dir",
            "there is no home directory to put it in.",
            "Set state_dir, or the variable HOME or XDG_STATE_HOME.",
        )
    })?;
    let http: Option<String> = values.get("http")?;
    let globs = |name: &str| values.get::<Vec<String>>(name);
    let bounds = Bounds {
        allowed_owners: Globs::of_names("allowed_owners", &globs("allowed_owners")?)?,
        allowed_repos: Globs::of_names("allowed_repos", &globs("allowed_repos")?)?,
        allowed_images: Globs::of_images("allowed_images", &globs("allowed_images")?)?,
        max_runners_allowed: values.get("max_runners_allowed")?,
        provision_rate: values.get("provision_rate")?,
    };
    let max_runners: usize = values.get("max_runners")?;
    let config = RunnerConfig {
        owner: values.get("owner")?,
        poll_interval: values.seconds("poll_interval")?.ok_or_else(|| required("poll_interval"))?,
        since_days: values.get("since_days")?,
        // A default that nobody chose gives way to a bound that somebody did.
        max_runners: match values.entry("max_runners") {
            (_, origin) if origin == "default" => max_runners.min(bounds.max_runners_allowed),
            _ => max_runners,
        },
        max_per_repo: values.get("max_per_repo")?,
        filter_by_arch: values.get("filter_by_arch")?,
        enable_p2p: values.get("enable_p2p")?,
        repos: values.get("repos")?,
        exclude_repos: values.get("exclude_repos")?,
        labels: Labels::new(values.get::<Vec<String>>("labels")?),
        scope: values.get("scope")?,
        runner_group: values.get("runner_group")?,
        scale_set: values.get("scale_set")?,
        registration: match values.get("registration")? {
            Registration::Auto => profile.registration(),
            Registration::Jit => RegistrationKind::Jit,
            Registration::Token => RegistrationKind::Token,
        },
        min_idle: values.get("min_idle")?,
        idle_timeout: values.seconds("idle_timeout")?.ok_or_else(|| required("idle_timeout"))?,
        job_timeout: values.seconds("job_timeout")?,
        runner_user: values
            .get::<Option<String>>("runner_user")?
            .or_else(|| profile.user().map(str::to_owned)),
        runner_image,
        profile,
        pull: values.get("pull")?,
        runner_work_dir: values
            .path("runner_work_dir", env)?
            .ok_or_else(|| required("runner_work_dir"))?,
        docker_access: values.get("docker_access")?,
        read_only: values.get("read_only")?,
        network_mode: values.get("network_mode")?,
        memory_limit: size(&memory).ok_or_else(|| required("memory_limit"))?,
        cpu_limit: values.get("cpu_limit")?,
        pids_limit: values.get("pids_limit")?,
        min_free_disk: size_or_none(&disk).ok_or_else(|| required("min_free_disk"))?,
        prune_images: values.get("prune_images")?,
        api_budget: values.get("api_budget")?,
        instance: values.get("instance")?,
        engine: values.get("engine")?,
        token_file: values.path("token_file", env)?,
        app_id: values.get("app_id")?,
        app_key_file: values.path("app_key_file", env)?,
        state_dir,
        api_url: addresses.api.0.clone(),
        server_url: addresses.server.0.clone(),
        bounds,
        runner_env: RunnerEnv(
            env.with_prefix("CACHE_").map(|(name, value)| (name.into(), value.into())).collect(),
        ),
    };
    config.bounds.hold(&config, values)?;
    agree(&config, values, env)?;
    let background = match values.entry("background") {
        (_, origin) if origin == "default" => None,
        (value, _) => value.as_bool(),
    };
    Ok(Loaded {
        rows: rows(&config, values, &addresses, env),
        config,
        background,
        http: http.as_deref().and_then(address),
        http_token_file: values.path("http_token_file", env)?,
        http_token: env.get("RUNNER_KIT_HTTP_TOKEN").map(SecretString::from),
        http_read_token_file: values.path("http_read_token_file", env)?,
        http_read_token: env.get("RUNNER_KIT_HTTP_READ_TOKEN").map(SecretString::from),
        http_hosts: values.get("http_hosts")?,
        http_origins: values.get("http_origins")?,
        webhook_secret_file: values.path("webhook_secret_file", env)?,
        webhook_secret: env.get("RUNNER_KIT_WEBHOOK_SECRET").map(SecretString::from),
    })
}

/// What the options demand of each other.
fn agree(config: &RunnerConfig, values: &Values, env: &Environment) -> Result<()> {
    let key_in_env = env.get("RUNNER_KIT_APP_KEY").is_some();
    if config.app_id.is_some() && config.app_key_file.is_none() && !key_in_env {
        return Err(Error {
            remedy: "Name the file with its private key in app_key_file, or put the key itself in \
                     the variable RUNNER_KIT_APP_KEY."
                .to_owned(),
            ..values.refuse("app_id", "needs the app's private key, and none is given")
        });
    }
    if config.app_id.is_none() && config.app_key_file.is_some() {
        return Err(Error {
            remedy: "Set app_id to the id that the app's page shows.".to_owned(),
            ..values.refuse("app_key_file", "needs an app_id, and none is set")
        });
    }
    if config.app_id.is_none() && key_in_env {
        return Err(Error::invalid(
            "RUNNER_KIT_APP_KEY",
            "it needs an app_id, and none is set.",
            "Set app_id to the id that the app's page shows.",
        ));
    }
    if config.min_idle > config.max_runners {
        let (_, origin) = values.entry("max_runners");
        let why = format!("is more than max_runners ({}, {origin})", config.max_runners);
        return Err(Error {
            remedy: "Allowed: a whole number from 0 to max_runners.".to_owned(),
            ..values.refuse("min_idle", &why)
        });
    }
    if config.scope == ScopeKind::Org && config.owner.is_none() {
        return Err(Error {
            remedy: "Set owner to the organisation, or leave scope at repo.".to_owned(),
            ..values.refuse("scope", "needs an owner, and none is set")
        });
    }
    if config.scope == ScopeKind::Repo && config.runner_group.is_some() {
        return Err(Error {
            remedy: "Set scope to org, or leave runner_group out.".to_owned(),
            ..values.refuse("runner_group", "has no meaning for runners of single repositories")
        });
    }
    let named = |glob: &String| glob.parse::<Repo>().is_ok();
    let all_named = !config.repos.is_empty() && config.repos.iter().all(named);
    if config.scale_set.is_some() && config.scope == ScopeKind::Repo && !all_named {
        return Err(Error {
            remedy: "Name every repository as owner/name in repos, or set scope to org and owner \
                     to the organisation."
                .to_owned(),
            ..values.refuse("scale_set", "needs the repositories that it is for, one by one")
        });
    }
    Ok(())
}
