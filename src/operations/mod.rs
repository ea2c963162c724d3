//! The seven operations, each defined once, and the table that every interface is derived from:
//! the CLI's commands, the MCP tools, the files under `schemas/` and the typings of the SDK.

mod arguments;
mod call;
mod defs;
mod message;

use std::future::Future;
use std::pin::Pin;

use clap::{ArgMatches, Command};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use arguments::{parse, to_arguments};
pub use call::Call;
pub use defs::{
    ListContainersInput, ListWorkflowsInput, NoInput, ProvisionInput, StopContainerInput,
};

use crate::error::{Error, Result};
use crate::resource::Resource;
use crate::runner_kit::RunnerKit;
use crate::schema;
use crate::views::Page;

/// An operation: its names, its arguments, its result and what it does.
pub trait Operation: 'static {
    /// The name of the tool.
    const TOOL: &'static str;
    /// The name of the command under `runner`.
    const COMMAND: &'static str;
    /// A few words for people.
    const TITLE: &'static str;
    /// What it does, when to use it, when its sibling, what it costs: at most 60 words.
    const ABOUT: &'static str;
    /// What it may do to the world.
    const HINTS: Hints;
    /// Its arguments.
    type Input: Serialize + DeserializeOwned + JsonSchema + clap::Args + Send;
    /// Its result.
    type Output: Serialize + JsonSchema + Send;

    /// Does it.
    fn run(
        kit: &RunnerKit,
        input: Self::Input,
        call: &Call,
    ) -> impl Future<Output = Result<Answer<Self::Output>>> + Send;
}

/// What a client may assume of a tool before it calls it (MCP's tool annotations).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// It may undo or end something.
    pub destructive: bool,
    /// Doing it twice is doing it once.
    pub idempotent: bool,
    /// It reaches GitHub or starts programs of others.
    pub open_world: bool,
}

/// A result, and a sentence about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// What the CLI prints.
    pub data: T,
    /// What a person would want to know, in one sentence.
    pub message: String,
    /// For lists: how many entries there are here, and how to go on.
    pub page: Option<PageInfo>,
    /// Addresses of resources that tell more.
    pub see: Vec<String>,
}

/// What goes with a part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PageInfo {
    /// Entries in `data`.
    pub count: usize,
    /// Whether there are more.
    pub truncated: bool,
    /// What to give as `cursor` to get them.
    pub next_cursor: Option<String>,
}

impl<T> Answer<T> {
    /// `data` with a sentence.
    pub fn new(data: T, message: impl Into<String>) -> Self {
        Self { data, message: message.into(), page: None, see: Vec::new() }
    }

    /// The same answer with the addresses of what tells more: three at most.
    #[must_use]
    pub fn see(mut self, resources: impl IntoIterator<Item = Resource>) -> Self {
        self.see = resources.into_iter().take(3).map(|resource| resource.to_string()).collect();
        self
    }
}

impl<T> Answer<Vec<T>> {
    /// A part of a list with a sentence about it.
    pub fn list(page: Page<T>, message: impl Into<String>) -> Self {
        let info = PageInfo {
            count: page.items.len(),
            truncated: page.next_cursor.is_some(),
            next_cursor: page.next_cursor,
        };
        Self { page: Some(info), ..Self::new(page.items, message) }
    }
}

impl Answer<Value> {
    /// Reads what another process returned.
    pub fn from_envelope(mut whole: Value) -> Result<Self> {
        let strange = || {
            Error::internal(
                "The answer has a strange shape.",
                "Use the same version on both sides.",
            )
        };
        if whole.get("success").and_then(Value::as_bool) != Some(true) {
            let error = whole.get("error").cloned().unwrap_or_default();
            return Err(serde_json::from_value(error).unwrap_or_else(|_| strange()));
        }
        let data = whole.get_mut("data").map(Value::take).ok_or_else(strange)?;
        let message = whole.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        let see = whole.get_mut("see").map(Value::take);
        let see = see.and_then(|see| serde_json::from_value(see).ok()).unwrap_or_default();
        Ok(Self { data, message, page: serde_json::from_value(whole).ok(), see })
    }

    /// What tools return as `structuredContent`.
    pub fn envelope(&self) -> Value {
        let mut whole = json!({ "success": true, "data": self.data, "message": self.message });
        if let (Value::Object(whole), false) = (&mut whole, self.see.is_empty()) {
            whole.insert("see".into(), self.see.clone().into());
        }
        if let (Value::Object(whole), Some(page)) = (&mut whole, &self.page) {
            whole.insert("count".into(), page.count.into());
            whole.insert("truncated".into(), page.truncated.into());
            whole.insert("next_cursor".into(), page.next_cursor.clone().into());
        }
        whole
    }
}

/// What tools return when they fail.
pub fn failure(error: &Error) -> Value {
    json!({ "success": false, "error": error })
}

/// Arguments as JSON.
pub type Arguments = Map<String, Value>;

type Running<'a> = Pin<Box<dyn Future<Output = Result<Answer<Value>>> + Send + 'a>>;

/// An operation with its types erased.
#[derive(Clone, Copy)]
pub struct Entry {
    /// See [`Operation::TOOL`].
    pub tool: &'static str,
    /// See [`Operation::COMMAND`].
    pub command: &'static str,
    /// See [`Operation::TITLE`].
    pub title: &'static str,
    /// See [`Operation::ABOUT`].
    pub about: &'static str,
    /// See [`Operation::HINTS`].
    pub hints: Hints,
    /// JSON schema of the arguments.
    pub input_schema: fn() -> Value,
    /// JSON schema of the result, failures included.
    pub output_schema: fn() -> Value,
    /// Adds the arguments to a command.
    pub augment: fn(Command) -> Command,
    /// The arguments that were typed.
    pub typed: fn(&ArgMatches) -> Result<Arguments>,
    run: for<'a> fn(&'a RunnerKit, Arguments, &'a Call) -> Running<'a>,
}

impl Entry {
    const fn of<O: Operation>() -> Self {
        Self {
            tool: O::TOOL,
            command: O::COMMAND,
            title: O::TITLE,
            about: O::ABOUT,
            hints: O::HINTS,
            input_schema: arguments::input_schema::<O::Input>,
            output_schema: output_schema::<O>,
            augment: <O::Input as clap::Args>::augment_args,
            typed: arguments::typed::<O::Input>,
            run: run::<O>,
        }
    }

    /// Calls the operation on `kit`.
    pub async fn call(
        &self,
        kit: &RunnerKit,
        arguments: Arguments,
        call: &Call,
    ) -> Result<Answer<Value>> {
        (self.run)(kit, arguments, call).await
    }
}

/// The table.
pub static OPERATIONS: [Entry; 7] = [
    Entry::of::<defs::Start>(),
    Entry::of::<defs::Stop>(),
    Entry::of::<defs::Status>(),
    Entry::of::<defs::ListWorkflows>(),
    Entry::of::<defs::Provision>(),
    Entry::of::<defs::ListContainers>(),
    Entry::of::<defs::StopContainer>(),
];

/// The name of the tool that starts the autoscaler: it alone concerns where the loop lives.
pub const START: &str = defs::Start::TOOL;

/// The name of the tool that tells the status: health and metrics are made of it.
pub const STATUS: &str = defs::Status::TOOL;

/// The name of the tool that lists the queues: completions are made of it.
pub const QUEUES: &str = defs::ListWorkflows::TOOL;

/// The name of the tool that lists the containers: completions are made of it.
pub const CONTAINERS: &str = defs::ListContainers::TOOL;

/// The operation whose tool is called `tool`.
pub fn find(tool: &str) -> Option<&'static Entry> {
    OPERATIONS.iter().find(|entry| entry.tool == tool)
}

fn run<'a, O: Operation>(kit: &'a RunnerKit, arguments: Arguments, call: &'a Call) -> Running<'a> {
    Box::pin(async move {
        let input = parse::<O::Input>(arguments)?;
        let Answer { data, message, page, see } = O::run(kit, input, call).await?;
        let data = serde_json::to_value(data).map_err(|error| {
            Error::internal(
                format!("The result could not be written as JSON: {error}."),
                "Please report it.",
            )
        })?;
        Ok(Answer { data, message, page, see })
    })
}

/// Success and failure in one object: some clients check failures against it too.
fn output_schema<O: Operation>() -> Value {
    let data = schema::output::<O::Output>();
    let is_list = data.get("type").is_some_and(|name| name == "array");
    let mut properties = json!({
        "success": { "type": "boolean" },
        "data": data,
        "message": { "type": "string", "description": "One sentence about the result." },
        "see": {
            "type": "array",
            "items": { "type": "string" },
            "description": "Addresses of resources that tell more.",
        },
        "error": schema::output::<Error>(),
    });
    if let (Value::Object(properties), Value::Object(page), true) =
        (&mut properties, schema::output::<PageInfo>(), is_list)
        && let Some(Value::Object(page)) = page.get("properties")
    {
        properties.extend(page.clone());
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["success"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_seven_tools_with_the_names_and_commands_that_users_know() {
        let names: Vec<_> = OPERATIONS.iter().map(|entry| (entry.command, entry.tool)).collect();
        let expected = [
            ("start", "runner_start_autoscaler"),
            ("stop", "runner_stop_autoscaler"),
            ("status", "runner_get_status"),
            ("list-workflows", "runner_list_workflows"),
            ("provision", "runner_provision_for_workflow"),
            ("list-containers", "runner_list_containers"),
            ("stop-container", "runner_stop_container"),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn every_tool_says_what_it_is_for_in_at_most_sixty_words() {
        for entry in &OPERATIONS {
            let words = entry.about.split_whitespace().count();
            assert!((10..=60).contains(&words), "{}: {words} words", entry.tool);
        }
    }

    #[test]
    fn every_schema_describes_an_object_and_all_of_its_arguments() {
        for entry in &OPERATIONS {
            let input = (entry.input_schema)();
            assert_eq!(input["type"], "object", "{}", entry.tool);
            assert_eq!(input["additionalProperties"], false, "{}", entry.tool);
            for (name, property) in input["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{}: {name}", entry.tool);
            }
            assert_eq!((entry.output_schema)()["type"], "object");
        }
    }

    #[test]
    fn a_list_says_how_to_go_on() {
        let page = Page { items: vec![1, 2], next_cursor: Some("b".into()) };
        let Answer { data, message, page, see } = Answer::list(page, "two").see([Resource::Help]);
        let whole = Answer { data: json!(data), message, page, see }.envelope();
        let expected = json!({
            "success": true, "data": [1, 2], "message": "two",
            "count": 2, "truncated": true, "next_cursor": "b", "see": ["runner://help"],
        });
        assert_eq!(whole, expected);
        assert_eq!(Answer::from_envelope(whole).unwrap().envelope(), expected);
    }

    #[test]
    fn a_failure_in_another_process_is_the_same_failure_here() {
        let error = Error::new(crate::error::Code::AtCapacity, "full", "wait");
        assert_eq!(Answer::from_envelope(failure(&error)).unwrap_err(), error);
    }
}
