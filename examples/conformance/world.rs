//! What the fixture server has, read from `world.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rmcp::model::{InputRequests, JsonObject, PromptArgument};
use serde::Deserialize;
use serde_json::Value;

/// What the suites expect the server to have.
#[derive(Deserialize)]
pub(crate) struct World {
    pub(crate) tools: BTreeMap<String, ToolSpec>,
    pub(crate) prompts: BTreeMap<String, PromptSpec>,
    /// By address, or by template with one `{name}`.
    pub(crate) resources: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolSpec {
    pub(crate) input_schema: Option<JsonObject>,
    #[serde(flatten)]
    pub(crate) kind: Kind,
}

/// What a tool does when it is called.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Always the same.
    Answer(Value),
    /// Asks the client of a session.
    Asks(Value),
    /// Says what it needs to know, round by round.
    Rounds(Vec<InputRequests>),
    Does(Deed),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deed {
    Progress,
    Log,
    ChangeTools,
    ChangePrompts,
}

#[derive(Deserialize)]
pub(crate) struct PromptSpec {
    pub(crate) arguments: Option<Vec<PromptArgument>>,
    #[serde(default)]
    pub(crate) rounds: Vec<InputRequests>,
    pub(crate) messages: Value,
}

#[expect(clippy::expect_used, reason = "the file is part of this program")]
pub(crate) static WORLD: LazyLock<World> =
    LazyLock::new(|| serde_json::from_str(include_str!("world.json")).expect("fixtures"));

/// `value` with each `{name}` of its texts replaced by that argument.
pub(crate) fn fill(value: &Value, arguments: &JsonObject) -> Value {
    match value {
        Value::String(text) => arguments
            .iter()
            .fold(text.clone(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default())
            })
            .into(),
        Value::Array(items) => items.iter().map(|item| fill(item, arguments)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), fill(value, arguments))).collect()
        }
        other => other.clone(),
    }
}
