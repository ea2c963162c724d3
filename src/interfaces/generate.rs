//! The files that are derived from the table of operations and the configuration, and committed:
//! whoever reads a change of the contract sees it in the change.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::{file_schema, options};
use crate::error::{Error, Result};
use crate::operations::OPERATIONS;

/// A generated file, by its path in the project.
pub struct Generated {
    /// Its path.
    pub path: PathBuf,
    /// What is to be in it.
    pub text: String,
}

/// All generated files.
pub fn files() -> Vec<Generated> {
    let tools = OPERATIONS.iter().map(|entry| {
        let schema = json!({
            "name": entry.tool,
            "title": entry.title,
            "description": entry.about,
            "annotations": {
                "readOnlyHint": entry.hints.read_only,
                "destructiveHint": entry.hints.destructive,
                "idempotentHint": entry.hints.idempotent,
                "openWorldHint": entry.hints.open_world,
            },
            "inputSchema": (entry.input_schema)(),
            "outputSchema": (entry.output_schema)(),
        });
        (format!("schemas/{}.json", entry.tool), pretty(&schema))
    });
    let config = ("schemas/config.json".to_owned(), pretty(&file_schema()));
    tools.chain([config]).map(|(path, text)| Generated { path: path.into(), text }).collect()
}

/// Writes them below `directory`.
pub fn write(directory: Option<&Path>) -> Result<()> {
    let directory = directory.unwrap_or(Path::new("."));
    for Generated { path, text } in files() {
        let path = directory.join(path);
        let written =
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|error| {
            Error::internal(
                format!("{} was not written: {error}.", path.display()),
                "Check the directory.",
            )
        })?;
    }
    Ok(())
}

/// The commands, as a table for the README.
pub fn command_table() -> String {
    let rows = OPERATIONS.iter().map(|entry| {
        let schema = (entry.input_schema)();
        let names = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let inputs: Vec<_> = names.map(|(name, _)| format!("`{name}`")).collect();
        let inputs = if inputs.is_empty() { "–".to_owned() } else { inputs.join(", ") };
        format!("| `runner {}` | `{}` | {inputs} |\n", entry.command, entry.tool)
    });
    format!("| command | tool | input |\n|---|---|---|\n{}", rows.collect::<String>())
}

/// The options, as a table for the README.
pub fn option_table() -> String {
    let rows = options().iter().map(|option| {
        let who = if option.assistant { "yes" } else { "no" };
        format!("| `{}` | {} | {who} |\n", option.name, option.description.replace('|', "\\|"))
    });
    format!(
        "| option | meaning | assistants may set it |\n|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

fn pretty(value: &Value) -> String {
    // A Value has no keys that JSON can't write.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
