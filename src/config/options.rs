//! The table of all options: name, description, default and what values it admits.
//!
//! Everything but the defaults is read from [`StartInput`] and [`OperatorOptions`]: order from
//! clap, description and range from the JSON schema. So a value is checked in the same way
//! whatever layer it comes from, and help, schemas, README and checks cannot disagree.

use std::sync::LazyLock;

use clap::Args;
use config::{Value, ValueKind};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::given::{OperatorOptions, StartInput};
use super::rules::rule;
use crate::error::{Error, Result};
use crate::model::clean_text;
use crate::schema;

/// One option as a table shows it.
#[derive(Debug, Clone, Serialize)]
pub struct OptionSpec {
    /// The key in the file; flags have dashes, variables capitals.
    pub name: String,
    /// What it means, with unit, range and default.
    pub description: String,
    /// Its default; null where there is none or where it follows from others.
    pub default: Json,
    /// Whether an assistant may choose it too.
    pub assistant: bool,
    /// JSON schema of its value.
    pub schema: Json,
}

/// All options, those that an assistant may choose first.
pub fn options() -> &'static [OptionSpec] {
    static OPTIONS: LazyLock<Vec<OptionSpec>> = LazyLock::new(|| {
        let mut all = described::<StartInput>(true);
        all.extend(described::<OperatorOptions>(false));
        all
    });
    &OPTIONS
}

/// The option `name`.
pub(super) fn option(name: &str) -> Option<&'static OptionSpec> {
    options().iter().find(|option| option.name == name)
}

fn described<T: Args + schemars::JsonSchema>(assistant: bool) -> Vec<OptionSpec> {
    let schema = schema::input::<T>();
    let command = T::augment_args(clap::Command::new("options"));
    let names = command.get_arguments().map(|argument| argument.get_id().as_str().to_owned());
    let described = names.map(|name| {
        let schema = schema.pointer(&format!("/properties/{name}")).cloned().unwrap_or_default();
        let description = schema.get("description").and_then(Json::as_str).unwrap_or_default();
        OptionSpec {
            description: description.to_owned(),
            default: default(&name),
            name,
            assistant,
            schema,
        }
    });
    described.collect()
}

/// The one table of defaults. Null: none, or (`runner_user`, `state_dir`) it follows from others.
fn default(name: &str) -> Json {
    match name {
        "poll_interval" => json!(120),
        "max_runners" => json!(10),
        "runner_image" => json!("myoung34/github-runner:latest"),
        "background" | "enable_p2p" | "read_only" | "prune_images" => json!(false),
        "repos" | "exclude_repos" | "http_hosts" | "http_origins" => json!([]),
        "labels" => json!(["self-hosted", "linux", architecture(std::env::consts::ARCH), "docker"]),
        "since_days" => json!(1),
        "min_idle" => json!(0),
        "memory_limit" => json!("4g"),
        "cpu_limit" => json!(4.0),
        "filter_by_arch" => json!(true),
        "runner_work_dir" => json!("/tmp/_work"),
        "network_mode" => json!("host"),
        "scope" => json!("repo"),
        "registration" => json!("auto"),
        "docker_access" => json!("socket"),
        "idle_timeout" => json!(300),
        "pids_limit" => json!(4096),
        "min_free_disk" => json!("2g"),
        "pull" => json!("missing"),
        "allowed_owners" | "allowed_images" => json!(["*"]),
        "allowed_repos" => json!(["*/*"]),
        "max_runners_allowed" => json!(1000),
        "provision_rate" => json!(60),
        "api_budget" => json!(50),
        "instance" => json!("default"),
        "engine" => json!("docker"),
        _ => Json::Null,
    }
}

/// GitHub's label for a processor that Rust calls `arch` (docs.github.com: default labels of
/// self-hosted runners).
pub(super) fn architecture(arch: &str) -> &str {
    match arch {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A value that an option does not admit: how it is shown, and why not.
struct Wrong(String, String);

impl OptionSpec {
    /// `value` in JSON if this option admits it, otherwise a refusal that names key, origin,
    /// reason and what is allowed.
    pub(super) fn check(&self, value: &Value) -> Result<Json> {
        self.coerce(&value.kind).map_err(|Wrong(shown, why)| {
            self.refuse(&shown, value.origin().unwrap_or("default"), &why)
        })
    }

    /// The refusal of the value `shown` that came from `origin`.
    pub(super) fn refuse(&self, shown: &str, origin: &str, why: &str) -> Error {
        let shown = clean_text(shown, 80);
        let reason = format!("`{shown}` from {origin} {why}.");
        Error::invalid(&self.name, reason, format!("Allowed: {}.", self.allowed()))
    }

    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        match self.kind() {
            "integer" => {
                format!("a whole number from {} to {}", self.bound(true), self.bound(false))
            }
            "number" => format!("a number from {} to {}", self.bound(true), self.bound(false)),
            "boolean" => "true or false".to_owned(),
            _ if self.choices().is_empty() => rule(&self.name).allowed.to_owned(),
            _ => self.choices().join(", "),
        }
    }

    fn kind(&self) -> &str {
        self.schema.get("type").and_then(Json::as_str).unwrap_or("string")
    }

    fn bound(&self, lower: bool) -> f64 {
        let key = if lower { "minimum" } else { "maximum" };
        self.schema.get(key).and_then(Json::as_f64).unwrap_or_default()
    }

    fn choices(&self) -> Vec<&str> {
        let listed = self.schema.get("enum").and_then(Json::as_array).into_iter().flatten();
        let described = self.schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
        let single = self.schema.get("const");
        let described = described.filter_map(|one| one.get("const"));
        listed.chain(described).chain(single).filter_map(Json::as_str).collect()
    }

    fn coerce(&self, value: &ValueKind) -> Result<Json, Wrong> {
        if *value == ValueKind::Nil {
            return Ok(Json::Null);
        }
        let wrong = |why: &str| Wrong(show(value), why.to_owned());
        match self.kind() {
            "integer" => {
                let number = whole_number(value).ok_or_else(|| wrong("is not a whole number"))?;
                self.within(number as f64).map_err(|why| wrong(&why))?;
                Ok(json!(number))
            }
            "number" => {
                let number = real_number(value).ok_or_else(|| wrong("is not a number"))?;
                self.within(number).map_err(|why| wrong(&why))?;
                Ok(json!(number))
            }
            "boolean" => truth(value).map(Json::from).ok_or_else(|| wrong("is not true or false")),
            "array" => {
                let texts = texts(value).ok_or_else(|| wrong("is not a list of texts"))?;
                for text in &texts {
                    self.admit(text)?;
                }
                if self.name == "labels" && texts.is_empty() {
                    return Err(wrong("leaves no label, so no job could be served"));
                }
                Ok(json!(texts))
            }
            _ => {
                let text = scalar(value).ok_or_else(|| wrong("is not a text"))?;
                self.admit(&text)?;
                Ok(json!(text))
            }
        }
    }

    fn within(&self, number: f64) -> Result<(), String> {
        if number < self.bound(true) {
            Err(format!("is less than {}", self.bound(true)))
        } else if number > self.bound(false) {
            Err(format!("is more than {}", self.bound(false)))
        } else {
            Ok(())
        }
    }

    fn admit(&self, text: &str) -> Result<(), Wrong> {
        let choices = self.choices();
        let rule = rule(&self.name);
        let (holds, why) = match choices.is_empty() {
            true => ((rule.holds)(text), format!("is not {}", rule.noun)),
            false => (choices.contains(&text), "is not one of the choices".to_owned()),
        };
        if holds { Ok(()) } else { Err(Wrong(text.to_owned(), why)) }
    }
}

// The crate `config` would take 1.7 for 2 and `true` for 1; a configuration that says so is wrong.

fn whole_number(value: &ValueKind) -> Option<i64> {
    match value {
        ValueKind::I64(number) => Some(*number),
        ValueKind::U64(number) => i64::try_from(*number).ok(),
        ValueKind::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn real_number(value: &ValueKind) -> Option<f64> {
    let number = match value {
        ValueKind::Float(number) => Some(*number),
        ValueKind::String(text) => text.trim().parse().ok(),
        other => whole_number(other).map(|number| number as f64),
    };
    number.filter(|number| number.is_finite())
}

fn truth(value: &ValueKind) -> Option<bool> {
    match value {
        ValueKind::Boolean(truth) => Some(*truth),
        ValueKind::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn scalar(value: &ValueKind) -> Option<String> {
    match value {
        ValueKind::String(text) => Some(text.trim().to_owned()),
        ValueKind::I64(_) | ValueKind::U64(_) | ValueKind::Float(_) => Some(value.to_string()),
        _ => None,
    }
}

fn texts(value: &ValueKind) -> Option<Vec<String>> {
    match value {
        ValueKind::Array(list) => {
            let lists: Option<Vec<_>> =
                list.iter().map(|one| scalar(&one.kind).map(|text| split(&text))).collect();
            Some(lists?.into_iter().flatten().collect())
        }
        other => scalar(other).map(|text| split(&text)),
    }
}

/// The parts between commas, blanks trimmed and left out. A glob's `{a,b}` stays in one piece.
fn split(text: &str) -> Vec<String> {
    let mut depth = 0_i32;
    let parts = text.split(|c| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        c == ',' && depth <= 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn show(value: &ValueKind) -> String {
    match value {
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

/// clap's parser of the whole number `name`: the range is checked later, with all other layers'.
pub(super) fn whole(
    name: &'static str,
) -> impl Fn(&str) -> Result<i64, String> + Clone + Send + Sync + 'static {
    move |text| text.parse().map_err(|_| allowed(name))
}

/// clap's parser of the number `name`.
pub(super) fn number(
    name: &'static str,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| real_number(&ValueKind::from(text)).ok_or_else(|| allowed(name))
}

fn allowed(name: &str) -> String {
    option(name).map(|option| format!("allowed is {}", option.allowed())).unwrap_or_default()
}

/// The schema of the configuration file.
pub fn file_schema() -> Json {
    let properties = options().iter().map(|option| {
        let mut schema = option.schema.clone();
        if let Json::Object(schema) = &mut schema {
            // The label of the architecture is this host's, the file may be another's.
            if !option.default.is_null() && option.name != "labels" {
                schema.insert("default".into(), option.default.clone());
            }
            match option.name.as_str() {
                "memory_limit" | "min_free_disk" => {
                    schema.insert("type".into(), json!(["string", "integer"]))
                }
                _ if option.kind() == "array" => {
                    schema.insert("type".into(), json!(["array", "string"]))
                }
                _ => None,
            };
        }
        (option.name.clone(), schema)
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration file of ipfs-accelerate",
        "type": "object",
        "properties": properties.collect::<serde_json::Map<_, _>>(),
        "additionalProperties": false,
    })
}
