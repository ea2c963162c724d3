//! From several layers to one configuration: defaults, file, environment, flags, tool arguments.
//!
//! The crate `config` reads the file, remembers where each value came from and lays one layer over
//! the other; what a value may be is decided by [`super::options`]. Each layer is checked by
//! itself: a wrong value is refused even where a later layer covers it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, FileFormat, Format, Map, Source, Value, ValueKind};
use serde::Serialize;
use serde_json::Value as Json;

use super::given::{OperatorOptions, StartInput, flag, said};
use super::options::{option, options};
use super::resolve::{Loaded, Values, resolve};
use crate::error::{Code, Error, Result};
use crate::model::clean_text;

/// What the variables of this program begin with. Plain `RUNNER_…` belongs to GitHub's runner.
const PREFIX: &str = "RUNNER_KIT_";

/// Variables with our prefix that are no options.
const SPECIAL: [&str; 7] = [
    "RUNNER_KIT_APP_KEY",
    "RUNNER_KIT_CONFIG",
    "RUNNER_KIT_HTTP_TOKEN",
    "RUNNER_KIT_HTTP_READ_TOKEN",
    "RUNNER_KIT_LOG",
    "RUNNER_KIT_LOG_FORMAT",
    "RUNNER_KIT_WEBHOOK_SECRET",
];

/// The environment as a value: read once, handed on, and never shown, for it holds secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process. Where `HOME` is missing the user's entry stands in.
    pub fn from_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let mut all: BTreeMap<_, _> =
            std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        if let (None, Some(home)) = (all.get("HOME"), std::env::home_dir()) {
            all.insert("HOME".to_owned(), text(home.into_os_string()));
        }
        Self(all)
    }

    /// The variable `name`; an empty one says nothing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The variables that say something and whose names begin with `prefix`.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let names = self.0.keys().filter(move |name| name.starts_with(prefix));
        names.filter_map(|name| Some((name.as_str(), self.get(name)?)))
    }

    /// A directory of the XDG base directory specification, which ignores relative ones; otherwise
    /// `fallback` under the home directory.
    pub(super) fn xdg(&self, name: &str, fallback: &str) -> Option<PathBuf> {
        let absolute = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
        let home = || self.get("HOME").and_then(absolute).map(|home| home.join(fallback));
        self.get(name).and_then(absolute).or_else(home)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What this process was started with.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file that was named; otherwise `RUNNER_KIT_CONFIG` or the usual place.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Environment,
    /// Flags that an assistant may choose too.
    pub start: StartInput,
    /// The operator's flags.
    pub operator: OperatorOptions,
}

impl Sources {
    /// The environment of this process and nothing else.
    pub fn from_process() -> Self {
        Self { env: Environment::from_process(), ..Self::default() }
    }
}

/// The configuration in force when `sources` speak and then a tool is called with `arguments`.
pub fn load(sources: &Sources, arguments: &StartInput) -> Result<Loaded> {
    let by_flag = |name: &str| format!("flag {}", flag(name));
    let layers = [
        defaults(&sources.env),
        file(sources)?,
        environment(&sources.env)?,
        given(&sources.start, by_flag),
        given(&sources.operator, by_flag),
        given(arguments, |name| format!("argument {name}")),
    ];
    let mut builder = Config::builder();
    for layer in layers {
        for (name, value) in &layer.0 {
            if let Some(option) = option(name) {
                option.check(value)?;
            }
        }
        builder = builder.add_source(layer);
    }
    let merged = builder.build().and_then(|merged| merged.cache.into_table());
    let merged = merged.map_err(|error| {
        Error::internal(format!("The configuration could not be put together: {error}."), "")
    })?;
    resolve(&Values::new(&merged)?, &sources.env)
}

/// The values of one layer, each with its origin.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

impl FromIterator<(String, Value)> for Layer {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

fn defaults(env: &Environment) -> Layer {
    let value = |json: &Json| value_of("default", json);
    let mut layer: Layer =
        options().iter().map(|option| (option.name.clone(), value(&option.default))).collect();
    if let Some(state) = env.xdg("XDG_STATE_HOME", ".local/state") {
        let state = state.join("ipfs-accelerate").to_string_lossy().into_owned();
        layer.0.insert("state_dir".to_owned(), value(&Json::from(state)));
    }
    layer
}

fn given(given: &impl Serialize, origin: impl Fn(&str) -> String) -> Layer {
    let value = |(name, json): (String, Json)| {
        let value = value_of(&origin(&name), &json);
        (name, value)
    };
    said(given).into_iter().map(value).collect()
}

/// `json` as a value of the crate `config`.
pub(super) fn value_of(origin: &str, json: &Json) -> Value {
    let kind = match json {
        Json::Bool(truth) => ValueKind::Boolean(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => ValueKind::I64(whole),
            None => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => ValueKind::String(text.clone()),
        Json::Array(list) => {
            ValueKind::Array(list.iter().map(|one| value_of(origin, one)).collect())
        }
        Json::Null | Json::Object(_) => ValueKind::Nil,
    };
    Value::new(Some(&origin.to_owned()), kind)
}

fn environment(env: &Environment) -> Result<Layer> {
    let mut layer = Layer(Map::new());
    let mut set = |option: &str, name: &str, value: &str| {
        let origin = format!("environment {name}");
        layer.0.insert(option.to_owned(), Value::new(Some(&origin), value));
    };
    // The guide's own variable; ours is the more specific one and wins.
    if let Some(mode) = env.get("RUNNER_DOCKER_NETWORK_MODE") {
        set("network_mode", "RUNNER_DOCKER_NETWORK_MODE", mode);
    }
    let variable = |option: &str| format!("{PREFIX}{}", option.to_ascii_uppercase());
    for name in env.0.keys().filter(|name| name.starts_with(PREFIX)) {
        if SPECIAL.contains(&name.as_str()) {
            continue;
        }
        let Some(option) = options().iter().find(|option| variable(&option.name) == *name) else {
            let known = options().iter().map(|option| variable(&option.name));
            let known: Vec<_> = known.chain(SPECIAL.map(str::to_owned)).collect();
            return Err(unknown(name, "in the environment", &known));
        };
        if let Some(value) = env.get(name) {
            set(&option.name, name, value);
        }
    }
    Ok(layer)
}

fn file(sources: &Sources) -> Result<Layer> {
    let named =
        sources.file.clone().or_else(|| sources.env.get("RUNNER_KIT_CONFIG").map(Into::into));
    let usual = || {
        let directory = sources.env.xdg("XDG_CONFIG_HOME", ".config")?;
        Some(directory.join("ipfs-accelerate/config.toml"))
    };
    let must_exist = named.is_some();
    let Some(path) = named.or_else(usual) else { return Ok(Layer(Map::new())) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            use std::io::ErrorKind::{NotADirectory, NotFound};
            if !must_exist && matches!(error.kind(), NotFound | NotADirectory) {
                return Ok(Layer(Map::new()));
            }
            return Err(Error::invalid(
                "config",
                format!("the file {} could not be read: {error}.", path.display()),
                "Name a readable file with --config, or leave it out.",
            ));
        }
    };
    parse(&path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Layer> {
    let origin = path.display().to_string();
    let table = FileFormat::Toml.parse(Some(&origin), text).map_err(|error| {
        // "TOML parse error at line 2, column 3", the line itself (it may hold a secret), the cause.
        let report = error.to_string();
        let place = report.lines().next().and_then(|line| line.split_once(" at "));
        let place = place.map_or(String::new(), |(_, place)| format!(" at {place}"));
        let cause = clean_text(report.lines().next_back().unwrap_or_default(), 200);
        Error::invalid(
            "config",
            format!("the file {origin} is not valid TOML{place}: {cause}."),
            "Correct the line; every option is one line such as max_runners = 8.",
        )
    })?;
    let known: Vec<_> = options().iter().map(|option| option.name.clone()).collect();
    match table.keys().find(|key| !known.contains(key)) {
        Some(key) => Err(unknown(key, &format!("in {origin}"), &known)),
        None => Ok(Layer(table)),
    }
}

fn unknown(name: &str, place: &str, known: &[String]) -> Error {
    let shown = clean_text(name, 80);
    let remedy = match did_you_mean(name, known.iter().map(String::as_str)) {
        Some(near) => format!("Did you mean {near}?"),
        None => format!("Known are: {}.", known.join(", ")),
    };
    Error::new(Code::InvalidArgument, format!("Unknown option `{shown}` {place}."), remedy)
}

/// The one of `known` that `typed` was probably meant to be.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let typed = folded(typed);
    let typed = typed.strip_prefix("runner_kit_").unwrap_or(&typed);
    let likeness = |name: &str| {
        let name = folded(name);
        let name = name.strip_prefix("runner_kit_").unwrap_or(&name);
        // `interval` for `poll_interval`: a word of it.
        if typed.len() > 3 && name.split('_').any(|word| word == typed) {
            return 0.95;
        }
        strsim::jaro_winkler(typed, name)
    };
    let rated = known.into_iter().map(|name| (likeness(name), name));
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness > 0.8).map(|(_, name)| name)
}
