//! Showing the configuration in force, and telling how another one differs from it.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::addresses::Addresses;
use super::given::{StartInput, plain, said};
use super::layers::{Environment, value_of};
use super::options::{option, options};
use super::resolve::Values;
use super::rules::{size, size_text};
use super::{RunnerConfig, given};
use crate::model::{Labels, REDACTED};

/// One option in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub option: String,
    /// Its value; secrets are redacted.
    pub value: Json,
    /// The layer that it came from.
    pub origin: String,
}

/// Everything in force: the options, GitHub's addresses, and which secrets are set.
pub(super) fn rows(
    config: &RunnerConfig,
    values: &Values,
    addresses: &Addresses,
    env: &Environment,
) -> Vec<Row> {
    let row = |option: &str, value: Json, origin: &str| Row {
        option: option.to_owned(),
        value,
        origin: origin.to_owned(),
    };
    let path = |path: &std::path::Path| json!(path.display().to_string());
    let given = options().iter().map(|option| {
        let (value, origin) = values.entry(&option.name);
        let value = match option.name.as_str() {
            "max_runners" => json!(config.max_runners),
            "registration" => json!(config.registration),
            "runner_user" => json!(config.runner_user),
            "runner_work_dir" => path(&config.runner_work_dir),
            "state_dir" => path(&config.state_dir),
            "app_key_file" => config.app_key_file.as_deref().map_or(Json::Null, path),
            "token_file" => config.token_file.as_deref().map_or(Json::Null, path),
            _ => value,
        };
        row(&option.name, value, &origin)
    });
    let (api, server) = (&addresses.api, &addresses.server);
    let addresses =
        [row("api_url", json!(api.0), &api.1), row("server_url", json!(server.0), &server.1)];
    let secret = |name: &str| row(name, json!(REDACTED), &format!("environment {name}"));
    let secrets = [
        "RUNNER_KIT_APP_KEY",
        "RUNNER_KIT_HTTP_TOKEN",
        "RUNNER_KIT_HTTP_READ_TOKEN",
        "RUNNER_KIT_WEBHOOK_SECRET",
    ];
    let secrets = secrets.into_iter().filter(|name| env.get(name).is_some()).map(secret);
    let passed_on = config.runner_env.0.iter().map(|(name, _)| secret(name));
    given.chain(addresses).chain(secrets).chain(passed_on).collect()
}

/// How what is `asked` for differs from what is `running`, one sentence an option. What was not
/// asked for does not differ.
pub fn difference(asked: &StartInput, running: &RunnerConfig) -> Vec<String> {
    let in_force: Vec<_> = given::said(&chosen(running));
    let differing = said(asked).into_iter().filter_map(|(name, value)| {
        if name == "background" {
            return None;
        }
        let runs = in_force.iter().find(|(known, _)| *known == name);
        let runs = normal(&name, runs.map_or(&Json::Null, |(_, value)| value));
        let asked = normal(&name, &value);
        let same = match name.as_str() {
            "owner" => plain(&runs, ",").eq_ignore_ascii_case(&plain(&asked, ",")),
            _ => runs == asked,
        };
        let show = |value: &Json| match plain(value, ", ") {
            text if text.is_empty() => "nothing".to_owned(),
            text => text,
        };
        (!same).then(|| format!("{name}: {} runs, {} asked", show(&runs), show(&asked)))
    });
    differing.collect()
}

/// The part of `config` that an assistant may choose.
fn chosen(config: &RunnerConfig) -> StartInput {
    let whole = |number: usize| i64::try_from(number).ok();
    StartInput {
        owner: config.owner.clone(),
        poll_interval: i64::try_from(config.poll_interval.as_secs()).ok(),
        max_runners: whole(config.max_runners),
        runner_image: Some(config.runner_image.clone()),
        background: None,
        repos: Some(config.repos.clone()),
        exclude_repos: Some(config.exclude_repos.clone()),
        labels: Some(config.labels.clone().into()),
        since_days: Some(config.since_days.into()),
        min_idle: whole(config.min_idle),
        memory_limit: Some(size_text(config.memory_limit)),
        cpu_limit: Some(config.cpu_limit),
    }
}

/// `value` in the one form in which equal values look equal.
fn normal(name: &str, value: &Json) -> Json {
    let checked = option(name).and_then(|option| option.check(&value_of("", value)).ok());
    let value = checked.unwrap_or_else(|| value.clone());
    match (name, &value) {
        ("memory_limit" | "min_free_disk", Json::String(text)) => {
            size(text).map_or(value, |bytes| json!(size_text(bytes)))
        }
        ("labels", Json::Array(list)) => json!(Labels::new(list.iter().filter_map(Json::as_str))),
        _ => value,
    }
}
