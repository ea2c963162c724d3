//! From JSON or typed words to the arguments of an operation, with errors that name the field.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ArgMatches;
use once_cell::sync::Lazy;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Arguments;
use crate::config::did_you_mean;
use crate::error::{Error, Result};
use crate::model::clean_text;
use crate::schema;

/// The schema of arguments: no others are taken.
pub(super) fn input_schema<T: JsonSchema>() -> Value {
    let mut schema = schema::input::<T>();
    if let Value::Object(members) = &mut schema {
        // What the arguments are for is said by the operation.
        members.remove("description");
        members.entry("properties").or_insert_with(|| Value::Object(Arguments::new()));
        members.insert("additionalProperties".into(), false.into());
    }
    schema
}

/// The schemas that were needed so far: a call needs its own each time, and making one takes longer
/// than most calls.
static KNOWN: Lazy<Mutex<HashMap<TypeId, Arc<Value>>>> = Lazy::new(Mutex::default);

fn known<T: JsonSchema + 'static>() -> Arc<Value> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let schema = known.entry(TypeId::of::<T>());
    schema.or_insert_with(|| Arc::new(schema::input::<T>())).clone()
}

/// Reads `arguments` as a `T`. An argument that is null counts as left out.
pub fn parse<T: DeserializeOwned + JsonSchema + 'static>(mut arguments: Arguments) -> Result<T> {
    arguments.retain(|_, value| !value.is_null());
    let schema = known::<T>();
    let known: Vec<&str> = schema
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    if let Some(unknown) = arguments.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(unknown_argument(unknown, &known));
    }
    serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| {
        let path = error.path().to_string();
        // It repeats the value, which may be long and hold anything.
        let reason = clean_text(&plain(&error.into_inner().to_string()), 200);
        match path.as_str() {
            "." => Error::new(
                crate::error::Code::InvalidArgument,
                format!("Invalid arguments: {reason}."),
                "See the tool's input schema.",
            ),
            field => Error::invalid(field, reason, allowed(&schema, field)),
        }
    })
}

/// The library's words for types, in those of people.
fn plain(reason: &str) -> String {
    let words = [
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("expected a boolean", "expected true or false"),
    ];
    words.iter().fold(reason.to_owned(), |reason, (theirs, ours)| reason.replace(theirs, ours))
}

/// The arguments that say the same as `input`.
pub fn to_arguments(input: &impl Serialize) -> Result<Arguments> {
    match serde_json::to_value(input) {
        Ok(Value::Object(mut members)) => {
            members.retain(|_, value| !value.is_null());
            Ok(members)
        }
        Ok(_) => Ok(Arguments::new()),
        Err(error) => Err(Error::internal(format!("Arguments: {error}."), "Please report it.")),
    }
}

pub(super) fn typed<T: clap::Args + Serialize>(matches: &ArgMatches) -> Result<Arguments> {
    let usage = |error: clap::Error| Error::invalid("arguments", error, "See --help.");
    to_arguments(&T::from_arg_matches(matches).map_err(usage)?)
}

fn unknown_argument(name: &str, known: &[&str]) -> Error {
    let name = clean_text(name, 60);
    let remedy = match did_you_mean(&name, known.iter().copied()) {
        Some(meant) => format!("Did you mean `{meant}`?"),
        None if known.is_empty() => "There are no arguments.".to_owned(),
        None => format!("The arguments are {}.", known.join(", ")),
    };
    Error::invalid(&name, "there is no such argument", remedy)
}

fn allowed(schema: &Value, field: &str) -> String {
    let name = field.split(['.', '[']).next().unwrap_or(field);
    let described = schema.pointer(&format!("/properties/{name}/description"));
    described.and_then(Value::as_str).unwrap_or("See the tool's input schema.").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::StartInput;
    use crate::operations::StopContainerInput;

    fn refused<T: DeserializeOwned + JsonSchema + 'static>(arguments: Value) -> Error {
        parse::<T>(arguments.as_object().unwrap().clone()).err().unwrap()
    }

    #[test]
    fn an_argument_of_the_wrong_type_is_refused_by_its_name() {
        let error = refused::<StartInput>(json!({ "max_runners": "many" }));
        assert!(error.message.starts_with("Invalid value for `max_runners`:"), "{error}");
        assert!(error.message.ends_with("expected a whole number"), "{error}");
        let error = refused::<StartInput>(json!({ "repos": ["a/b", 7] }));
        assert!(error.message.starts_with("Invalid value for `repos[1]`:"), "{error}");
        assert!(error.remedy.contains("Globs"), "{error}");
    }

    #[test]
    fn a_refusal_does_not_repeat_a_long_value() {
        let error = refused::<StartInput>(json!({ "max_runners": "many ".repeat(10_000) }));
        assert!(error.message.len() < 300, "{} bytes", error.message.len());
    }

    #[test]
    fn what_is_wrong_with_a_repository_is_said_once() {
        let error = refused::<crate::operations::ProvisionInput>(json!({ "repo": "acme" }));
        let expected = "Invalid value for `repo`: `acme` is not a repository's full name";
        assert_eq!(error.message, expected);
        assert!(error.remedy.contains("owner/name"), "{error}");
    }

    #[test]
    fn a_missing_argument_is_named() {
        let error = refused::<StopContainerInput>(json!({}));
        assert_eq!(error.message, "Invalid arguments: missing field `container`.");
    }

    #[test]
    fn an_unknown_argument_is_refused_with_what_was_probably_meant() {
        let error = refused::<StartInput>(json!({ "max_runer": 3 }));
        assert_eq!(error.message, "Invalid value for `max_runer`: there is no such argument");
        assert_eq!(error.remedy, "Did you mean `max_runners`?");
    }

    #[test]
    fn an_operators_option_is_no_argument_of_a_tool() {
        let error = refused::<StartInput>(json!({ "docker_access": "socket" }));
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn null_counts_as_left_out() {
        let arguments = json!({ "owner": null }).as_object().unwrap().clone();
        assert_eq!(parse::<StartInput>(arguments).unwrap(), StartInput::default());
    }
}
