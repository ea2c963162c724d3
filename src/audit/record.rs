//! What is recorded of a call, and how it is made harmless.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Code, Error};
use crate::model::{REDACTED, clean_text, names_a_secret, redacted};

/// Characters of a name, and of a text among the arguments.
const LONGEST_NAME: usize = 80;
const LONGEST_TEXT: usize = 200;
/// Characters of a message.
const LONGEST_MESSAGE: usize = 500;
/// Arguments, and elements of a list among them.
const MOST: usize = 32;
/// Bytes of a value that is not worth leaving out.
const SHORT: usize = 64;
/// Bytes of all arguments as JSON.
const LARGEST: usize = 4_096;

/// A call of something that may change something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// Who called.
    pub caller: Caller,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// What came of it.
    pub outcome: Outcome,
}

/// Who called, as it calls itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// The name of the program.
    pub name: String,
    /// Its version, where it said one.
    pub version: Option<String>,
    /// The way it came by.
    pub transport: Transport,
}

/// The way a call came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A command that was typed.
    Cli,
    /// MCP on stdin and stdout.
    Stdio,
    /// MCP over HTTP.
    Http,
    /// MCP on the control socket.
    Socket,
    /// A program that uses the library.
    Library,
}

impl Transport {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Stdio => "stdio",
            Self::Http => "http",
            Self::Socket => "socket",
            Self::Library => "library",
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Whether it succeeded.
    pub ok: bool,
    /// What kind of failure it was.
    pub code: Option<Code>,
    /// The sentence that the caller was told.
    pub message: String,
}

impl Outcome {
    /// What the caller was told: a sentence, or an error.
    pub fn of(told: Result<&str, &Error>) -> Self {
        match told {
            Ok(message) => Self { ok: true, code: None, message: message.to_owned() },
            Err(error) => {
                Self { ok: false, code: Some(error.code), message: error.message.clone() }
            }
        }
    }
}

impl Record {
    /// The same record without control characters and credentials, and bounded in size.
    pub(super) fn cleaned(self) -> Self {
        let Self { at, caller, tool, arguments, outcome } = self;
        let caller = Caller {
            name: text(&caller.name, LONGEST_NAME),
            version: caller.version.map(|version| text(&version, LONGEST_NAME)),
            transport: caller.transport,
        };
        let outcome = Outcome { message: text(&outcome.message, LONGEST_MESSAGE), ..outcome };
        Self { at, caller, tool: text(&tool, LONGEST_NAME), arguments: bounded(arguments), outcome }
    }
}

/// Redacted before it is cut: half a token is a secret too.
fn text(text: &str, limit: usize) -> String {
    clean_text(&redacted(&clean_text(text, usize::MAX - 1)), limit)
}

fn bounded(arguments: Map<String, Value>) -> Map<String, Value> {
    let mut arguments = members(arguments);
    while size(&arguments) > LARGEST {
        // The largest first, so that the others stay. What is as short as the word for it goes no
        // shorter: names alone may be longer together, but they are bounded too.
        let largest = arguments.iter_mut().max_by_key(|(_, value)| size(value));
        let Some((_, value)) = largest.filter(|(_, value)| size(value) > SHORT) else { break };
        *value = Value::from(left_out(size(value), "bytes"));
    }
    arguments
}

fn members(members: Map<String, Value>) -> Map<String, Value> {
    let more = members.len().saturating_sub(MOST);
    let kept = members.into_iter().take(MOST).map(|(name, value)| {
        let value = if names_a_secret(&name) { Value::from(REDACTED) } else { clean(value) };
        (text(&name, LONGEST_NAME), value)
    });
    let rest = (more > 0).then(|| ("…".to_owned(), Value::from(left_out(more, "arguments"))));
    kept.chain(rest).collect()
}

fn clean(value: Value) -> Value {
    match value {
        Value::String(string) => Value::from(text(&string, LONGEST_TEXT)),
        Value::Array(list) => {
            let more = list.len().saturating_sub(MOST);
            let rest = (more > 0).then(|| Value::from(left_out(more, "elements")));
            list.into_iter().take(MOST).map(clean).chain(rest).collect()
        }
        Value::Object(object) => Value::Object(members(object)),
        plain => plain,
    }
}

fn left_out(count: usize, what: &str) -> String {
    format!("… {count} {what} left out")
}

/// The bytes of `value` as JSON.
fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}
