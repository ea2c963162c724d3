//! The files that are derived from the table of operations and the configuration, and committed:
//! whoever reads a change of the contract sees it in the change.
//!
//! Of the README and of the SDK's source only what stands between two markers is derived; the rest
//! is kept.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{bundle, typings};
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

/// All generated files of the project in `directory`.
pub fn files(directory: &Path) -> Result<Vec<Generated>> {
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
    let readme = ("README.md".to_owned(), readme(directory)?);
    let server = ("server.json".to_owned(), pretty(&bundle::server()));
    let manifest = ("mcpb/manifest.json".to_owned(), pretty(&bundle::manifest()));
    let sdk = ("sdk-js/src/index.mjs".to_owned(), sdk(directory)?);
    let module = ("sdk-js/types/index.d.ts".to_owned(), typings::module());
    let common = ("sdk-js/types/index.d.cts".to_owned(), typings::common());
    let all = tools.chain([config, readme, server, manifest, sdk, module, common]);
    Ok(all.map(|(path, text)| Generated { path: path.into(), text }).collect())
}

/// Writes them below `directory`.
pub fn write(directory: Option<&Path>) -> Result<()> {
    let directory = directory.unwrap_or(Path::new("."));
    for Generated { path, text } in files(directory)? {
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

/// The README with its tables as they have to be.
fn readme(directory: &Path) -> Result<String> {
    let name = "README.md";
    let tables = [("operations", command_table()), ("options", option_table())];
    tables.into_iter().try_fold(read(directory, name)?, |text, (table, rows)| {
        let markers = [format!("<!-- {table} -->\n"), format!("<!-- /{table} -->")];
        section(name, &text, &markers, &rows)
    })
}

/// The SDK's source with its tools as they have to be.
fn sdk(directory: &Path) -> Result<String> {
    let name = "sdk-js/src/index.mjs";
    let markers = ["// <tools>\n", "// </tools>"].map(str::to_owned);
    section(name, &read(directory, name)?, &markers, &typings::table())
}

fn read(directory: &Path, name: &str) -> Result<String> {
    let path = directory.join(name);
    fs::read_to_string(&path).map_err(|error| {
        let message = format!("{} was not read: {error}.", path.display());
        Error::internal(message, "Name the project's directory, or run it there.")
    })
}

/// `text` of the file `name` with `new` between the two markers.
fn section(name: &str, text: &str, [open, close]: &[String; 2], new: &str) -> Result<String> {
    let parts = text.split_once(open).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(close)?;
        Some(format!("{before}{open}{new}{close}{after}"))
    });
    parts.ok_or_else(|| {
        let message = format!("{name} lacks the section {} … {close}.", open.trim_end());
        Error::internal(message, "Put both markers back.")
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn markers() -> [String; 2] {
        ["<t>\n".to_owned(), "</t>".to_owned()]
    }

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let text = "a\n<t>\nold\n</t>\nb\n";
        let new = section("A", text, &markers(), "| new |\n").unwrap();
        assert_eq!(new, "a\n<t>\n| new |\n</t>\nb\n");
        assert_eq!(section("A", &new, &markers(), "| new |\n").unwrap(), new);
    }

    #[test]
    fn a_section_without_one_of_its_markers_is_named() {
        for text in ["", "<t>\n", "</t><t>\n"] {
            let error = section("A", text, &markers(), "").unwrap_err();
            assert!(error.message.contains("A lacks the section <t> …"), "{text}");
        }
    }
}
