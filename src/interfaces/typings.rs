//! The types of the SDK for JavaScript, and the part of its source that follows from the table of
//! operations. What does not follow from it stands in `typings/client.d.ts`.

use serde_json::Value;

use crate::error::Error;
use crate::operations::{Entry, OPERATIONS};
use crate::schema;

const CLIENT: &str = include_str!("typings/client.d.ts");
/// Where the methods of the tools belong in it.
const METHODS: &str = "  // <methods>\n";
const NOTE: &str = "// Written by `cargo run -- generate`.\n\n";
/// What all tools' names begin with.
const PREFIX: &str = "runner_";
/// What a module has under these names beside types.
const VALUES: [&str; 3] = ["MCP", "MCPError", "MCPToolError"];

/// The tools as the source of the SDK has them: by name, whether calling one changes nothing.
pub(super) fn table() -> String {
    let rows = OPERATIONS.iter().map(|entry| {
        let (tool, reads) = (entry.tool, entry.hints.read_only);
        format!("  {tool}: {reads},\n")
    });
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "const VERSION = \"{version}\";\n// Whether calling it changes nothing.\nconst TOOLS = {{\n{}}};\n",
        rows.collect::<String>()
    )
}

/// The types for `import`.
pub(super) fn module() -> String {
    let (body, types) = body();
    let values = VALUES.join(", ");
    format!("{NOTE}{body}export {{ MCP as default, {values} }};\nexport type {{ {types} }};\n")
}

/// The types for `require()`, which returns the class itself.
pub(super) fn common() -> String {
    let (body, types) = body();
    // Inside of the namespace its own name would mean itself.
    format!(
        "{NOTE}{body}declare const Client: typeof MCP;\ntype Client = MCP;\n\
        declare namespace MCP {{\n  \
        export {{ Client as default, Client as MCP, MCPError, MCPToolError }};\n  \
        export type {{ {types} }};\n}}\nexport = MCP;\n"
    )
}

/// The declarations, and the names of those that are types.
fn body() -> (String, String) {
    let codes = schema::output::<Error>().pointer("/properties/code").cloned().unwrap_or_default();
    let codes = Codes(codes);
    let methods: String = OPERATIONS.iter().map(method).collect();
    let tools: String = OPERATIONS.iter().map(|entry| codes.tool(entry)).collect();
    let rows = OPERATIONS.iter().map(|entry| {
        let (tool, kind) = (entry.tool, pascal(entry.tool));
        format!("  {tool}: {{ input: {kind}Input; result: {kind}Result }};\n")
    });
    let rows: String = rows.collect();
    let body = format!(
        "{}\n/** What each tool takes and returns. */\ninterface Tools {{\n{rows}}}\n\n{}{tools}",
        CLIENT.replace(METHODS, &methods),
        codes.declaration(),
    );
    let names: Vec<&str> = body
        .lines()
        .filter_map(|line| line.strip_prefix("interface ").or(line.strip_prefix("type ")))
        .filter_map(|rest| rest.split([' ', '<']).next())
        .collect();
    let names = names.join(", ");
    (body, names)
}

/// `runner_get_status` as `GetStatus`.
fn pascal(tool: &str) -> String {
    let words = tool.trim_start_matches(PREFIX).split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect()
}

/// `runner_get_status` as `getStatus`.
fn camel(tool: &str) -> String {
    let name = pascal(tool);
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn method(entry: &Entry) -> String {
    let (kind, name) = (pascal(entry.tool), camel(entry.tool));
    let needs = (entry.input_schema)().get("required").is_some();
    let optional = if needs { "" } else { "?" };
    format!(
        "{}  {name}(args{optional}: {kind}Input, options?: CallOptions): Promise<{kind}Result>;\n",
        comment(entry.about, "  ")
    )
}

/// A comment for whoever hovers over what comes next.
fn comment(text: &str, indent: &str) -> String {
    let text = text.replace("*/", "*\u{200b}/").replace('\n', " ");
    if text.is_empty() { text } else { format!("{indent}/** {text} */\n") }
}

/// Writes schemas as types; knows the codes of errors by their name.
struct Codes(Value);

impl Codes {
    fn declaration(&self) -> String {
        let choices = self.0.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let choices = choices.map(|choice| {
            let text = choice.get("description").and_then(Value::as_str).unwrap_or_default();
            let code = choice.get("const").unwrap_or(&Value::Null);
            format!("{}  | {code}\n", comment(text, "  "))
        });
        let choices: String = choices.collect();
        format!("/** What kind of failure it is. */\ntype ErrorCode =\n{}", choices) + "  ;\n\n"
    }

    /// What `entry` takes and returns.
    fn tool(&self, entry: &Entry) -> String {
        let (tool, kind) = (entry.tool, pascal(entry.tool));
        let input = (entry.input_schema)();
        let input = match properties(&input).next() {
            // Nothing is not the same as anything.
            None => "Record<string, never>".to_owned(),
            Some(_) => self.written(&input, ""),
        };
        let result = (entry.output_schema)();
        let data = result.pointer("/properties/data").cloned().unwrap_or_default();
        let members = properties(&result).filter_map(|(name, schema)| {
            let written = match name.as_str() {
                // Failures are thrown.
                "error" => return None,
                "success" => "true".to_owned(),
                "data" => format!("{kind}Data"),
                _ => self.written(schema, "  "),
            };
            let optional = if name == "see" { "?" } else { "" };
            Some(format!("{}  {name}{optional}: {written};\n", about(schema, "  ")))
        });
        let members: String = members.collect();
        format!(
            "/** What `{tool}` takes. */\ntype {kind}Input = {input};\n\n\
            /** The `data` of what `{tool}` returns. */\ntype {kind}Data = {};\n\n\
            /** What `{tool}` returns. */\ninterface {kind}Result {{\n{members}}}\n\n",
            self.written(&data, "")
        )
    }

    /// `schema` as a type.
    fn written(&self, schema: &Value, indent: &str) -> String {
        let choices = schema.get("oneOf").and_then(Value::as_array);
        if choices.is_some() && choices == self.0.get("oneOf").and_then(Value::as_array) {
            return "ErrorCode".to_owned();
        }
        if let Some(choices) = choices {
            let choices = choices.iter().filter_map(|choice| choice.get("const"));
            return choices.map(Value::to_string).collect::<Vec<_>>().join(" | ");
        }
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
            one => one.and_then(Value::as_str).into_iter().collect(),
        };
        if types.is_empty() {
            return "unknown".to_owned();
        }
        let types = types.into_iter().map(|name| match name {
            "integer" => "number".to_owned(),
            "array" => {
                let item = self.written(schema.get("items").unwrap_or(&Value::Null), indent);
                if item.contains('|') { format!("Array<{item}>") } else { item + "[]" }
            }
            "object" => self.object(schema, indent),
            name => name.to_owned(),
        });
        types.collect::<Vec<_>>().join(" | ")
    }

    fn object(&self, schema: &Value, indent: &str) -> String {
        let required = schema.get("required").and_then(Value::as_array);
        let inner = format!("{indent}  ");
        let members = properties(schema).map(|(name, member)| {
            let there = required.is_some_and(|all| all.iter().any(|one| one == name));
            let optional = if there { "" } else { "?" };
            let written = self.written(member, &inner);
            format!("{}{inner}{name}{optional}: {written};\n", about(member, &inner))
        });
        format!("{{\n{}{indent}}}", members.collect::<String>())
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// What a schema says of itself.
fn about(schema: &Value, indent: &str) -> String {
    comment(schema.get("description").and_then(Value::as_str).unwrap_or_default(), indent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_tool_is_a_method_with_a_name_of_its_language() {
        let names: Vec<_> = OPERATIONS.iter().map(|entry| camel(entry.tool)).collect();
        let expected = [
            "startAutoscaler",
            "stopAutoscaler",
            "getStatus",
            "listWorkflows",
            "provisionForWorkflow",
            "listContainers",
            "stopContainer",
        ];
        assert_eq!(names, expected);
        for entry in &OPERATIONS {
            assert!(entry.tool.starts_with(PREFIX), "{}", entry.tool);
        }
    }

    #[test]
    fn a_schema_is_written_as_the_type_of_what_it_admits() {
        let codes = Codes(json!({ "oneOf": [{ "const": "full" }] }));
        for (schema, written) in [
            (json!({ "type": "integer" }), "number"),
            (json!({ "type": ["string", "null"] }), "string | null"),
            (json!({ "type": "array", "items": { "type": "string" } }), "string[]"),
            (
                json!({ "type": "array", "items": { "type": ["integer", "null"] } }),
                "Array<number | null>",
            ),
            (json!({ "oneOf": [{ "const": "a" }, { "const": "b" }] }), r#""a" | "b""#),
            (json!({ "oneOf": [{ "const": "full" }] }), "ErrorCode"),
            (json!({}), "unknown"),
            (
                json!({
                    "type": ["object", "null"],
                    "properties": { "a": { "type": "boolean", "description": "Is */ it." }, "b": {} },
                    "required": ["a"],
                }),
                "{\n  /** Is *\u{200b}/ it. */\n  a: boolean;\n  b?: unknown;\n} | null",
            ),
        ] {
            assert_eq!(codes.written(&schema, ""), written);
        }
    }

    #[test]
    fn every_type_that_is_declared_can_be_imported_either_way() {
        for (text, open) in [(module(), "export type { "), (common(), "  export type { ")] {
            let exported = text.lines().find_map(|line| line.strip_prefix(open)).unwrap();
            for name in
                ["ClientOptions", "Tools", "ErrorCode", "GetStatusData", "StopContainerInput"]
            {
                assert!(
                    exported.split(", ").any(|one| one.trim_end_matches(" };") == name),
                    "{name}"
                );
            }
            assert!(!text.contains(METHODS));
        }
    }

    #[test]
    fn nothing_in_the_types_is_unknown() {
        // The two that stand for other servers' tools.
        assert_eq!(module().matches("unknown").count(), CLIENT.matches("unknown").count());
    }
}
