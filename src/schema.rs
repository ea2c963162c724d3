//! JSON schemas as tools, files and typings show them: from the Rust types, without noise.
//!
//! schemars describes Rust (`format: int64`, titles, `null` for what may be left out); a reader of
//! a contract wants to know what to write. Only the wording is tidied here, never a constraint.

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// The schema of what is read as a `T`: optional members may be left out.
pub fn input<T: JsonSchema>() -> Value {
    generate::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// The schema of what a `T` is written as: members that are always there are required, and those
/// that may be null say so.
pub fn output<T: JsonSchema>() -> Value {
    generate::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let settings = settings.with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    settings.with_transform(tidy).into_generator().into_root_schema_for::<T>().to_value()
}

/// Strips what says nothing to a reader: titles, `$schema`, formats of numbers, and `null` where
/// a member may simply be left out. A required member keeps its `null`.
pub fn tidy(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("title");
        if let Some(Value::String(text)) = object.get_mut("description") {
            // Where the source breaks its lines means nothing; blank lines part paragraphs.
            let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
            *text = paragraphs.collect::<Vec<_>>().join("\n\n");
        }
        if names(object.get("type")).any(|name| matches!(name, "integer" | "number")) {
            object.remove("format");
        }
        let required: Vec<String> = names(object.get("required")).map(ToOwned::to_owned).collect();
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            for (name, property) in properties {
                if let (false, Value::Object(property)) = (required.contains(name), property) {
                    without_null(property);
                }
            }
        }
    }
    let mut again = tidy;
    transform_subschemas(&mut again, schema);
}

/// What an assistant is sent with every list of tools, since it reads all of it each time: names
/// and types, down to the members of what a result has in its data, in a quarter of the length. The
/// whole is in `schemas/`; what the whole admits, this does.
pub fn bare(schema: &mut Value) {
    outline(schema, 2);
}

fn outline(schema: &mut Value, levels: usize) {
    let Value::Object(members) = schema else { return };
    members.retain(|name, _| !NOT_TOLD.contains(&name.as_str()));
    if members.get("minimum") == Some(&Value::from(0)) {
        members.remove("minimum");
    }
    // Choices stood one by one so that each could be described.
    if let Some(choices) = constants(members.get("oneOf")) {
        members.remove("oneOf");
        if choices.len() <= FEW {
            members.insert("enum".into(), choices.into());
        } else {
            members.insert("type".into(), "string".into());
        }
    }
    match members.get_mut("items") {
        Some(items) if items.get("properties").is_some() && levels > 0 => outline(items, levels),
        Some(_) => drop(members.remove("items")),
        None => {}
    }
    if levels == 0 {
        members.remove("properties");
    }
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(|property| outline(property, levels - 1));
    }
    if let Some(Value::Array(any)) = members.get_mut("anyOf") {
        any.iter_mut().for_each(|one| outline(one, levels));
    }
    either_or_null(members);
}

/// A choice of two schemas where `members` are of one type or null: not all who read schemas take a
/// list of types.
fn either_or_null(members: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = members.get("type") else { return };
    let [Value::String(only), null] = types.as_slice() else { return };
    if null != "null" {
        return;
    }
    let only = Value::from(only.as_str());
    let mut either = std::mem::take(members);
    either.insert("type".into(), only);
    members.insert("anyOf".into(), json!([either, { "type": "null" }]));
}

/// What somebody who reads a result does not need.
const NOT_TOLD: [&str; 5] = ["description", "required", "format", "pattern", "examples"];

/// As many choices are worth telling each time.
const FEW: usize = 6;

/// The constants of `choices`, if all of them are nothing else.
fn constants(choices: Option<&Value>) -> Option<Vec<Value>> {
    choices?.as_array()?.iter().map(|choice| choice.get("const").cloned()).collect()
}

/// The texts of a text or of an array of texts.
fn names(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let many = value.and_then(Value::as_array).into_iter().flatten();
    many.chain(value.filter(|value| value.is_string())).filter_map(Value::as_str)
}

fn without_null(schema: &mut Map<String, Value>) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("enum") {
        choices.retain(|choice| !choice.is_null());
    }
    if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
        any.retain(|one| one.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = any.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.entry(key).or_insert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    /// A choice.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        /// One.
        One,
        /// Other.
        Other,
    }

    /// First line
    /// of two.
    ///
    /// Another paragraph.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Inner {
        title: Option<u32>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Sample {
        count: Option<u32>,
        /// Which.
        choice: Option<Choice>,
        inner: Option<Inner>,
        list: Option<Vec<i64>>,
        must: f64,
    }

    #[test]
    fn what_may_be_left_out_is_not_null_as_well_and_numbers_have_no_format() {
        let schema = input::<Sample>();
        assert_eq!(schema["properties"]["count"], json!({ "type": "integer", "minimum": 0 }));
        assert_eq!(schema["properties"]["must"], json!({ "type": "number" }));
        assert_eq!(schema["properties"]["list"]["items"], json!({ "type": "integer" }));
        assert_eq!(schema["properties"]["inner"]["type"], "object");
        assert_eq!(schema["required"], json!(["must"]));
        let text = schema.to_string();
        assert!(!text.contains("null") && !text.contains("$ref") && !text.contains("$schema"));
    }

    #[test]
    fn a_choice_keeps_its_choices_and_the_description_of_its_use() {
        let schema = input::<Sample>();
        let choice = &schema["properties"]["choice"];
        assert_eq!(choice["description"], "Which.");
        assert_eq!(choice["oneOf"][1]["const"], "other");
    }

    #[test]
    fn what_is_always_written_may_still_be_null() {
        let schema = output::<Sample>();
        assert_eq!(schema["properties"]["count"]["type"], json!(["integer", "null"]));
        assert!(names(schema.get("required")).any(|name| name == "inner"));
    }

    #[test]
    fn a_description_has_paragraphs_and_no_other_line_breaks() {
        let text = "First line of two.\n\nAnother paragraph.";
        assert_eq!(input::<Inner>()["description"], text);
    }

    #[test]
    fn a_bare_schema_has_no_descriptions_and_says_of_each_member_what_it_is() {
        let mut schema = output::<Sample>();
        bare(&mut schema);
        assert!(!schema.to_string().contains("description"));
        assert!(!schema.to_string().contains("required"));
        let choice = json!({ "enum": ["one", "other"] });
        assert_eq!(schema["properties"]["choice"]["anyOf"][0], choice);
    }

    #[test]
    fn a_bare_schema_of_what_may_be_null_names_one_type_at_a_time() {
        let mut schema = output::<Sample>();
        bare(&mut schema);
        let or_null = |name| json!({ "anyOf": [{ "type": name }, { "type": "null" }] });
        assert_eq!(schema["properties"]["count"], or_null("integer"));
        assert_eq!(schema["properties"]["list"], or_null("array"));
        assert_eq!(schema["properties"]["must"], json!({ "type": "number" }));
    }

    #[test]
    fn a_bare_schema_is_two_levels_deep() {
        let mut schema = json!({ "type": "object", "properties": { "data": { "type": "array",
            "items": { "type": "object", "properties": {
                "id": { "type": "string" },
                "job": { "type": "object", "properties": { "name": { "type": "string" } } },
            } } } } });
        bare(&mut schema);
        let entry = &schema["properties"]["data"]["items"]["properties"];
        assert_eq!(*entry, json!({ "id": { "type": "string" }, "job": { "type": "object" } }));
    }

    #[test]
    fn a_member_that_is_called_title_stays() {
        assert!(input::<Inner>()["properties"].get("title").is_some());
        assert!(input::<Inner>().get("title").is_none());
    }
}
