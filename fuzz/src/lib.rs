//! What must hold of any input of the tools. Plain functions: the fuzzer calls them with bytes that
//! it has thought of, `tests/all/fuzz.rs` with fixed ones.

use std::sync::LazyLock;

use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage};
use runner_kit::config::{Sources, StartInput, load, options};
use runner_kit::error::{Code, Error};
use runner_kit::operations::{
    Arguments, ListContainersInput, ListWorkflowsInput, NoInput, OPERATIONS, ProvisionInput,
    StopContainerInput, failure, parse, to_arguments,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value, json};

/// What a result may be long, failures included.
const LONGEST: usize = 8 << 10;
/// Deeper than any schema, and less deep than what serde_json refuses.
const DEEPEST: usize = 6;

/// Offers the arguments that `data` describes, and `data` itself if it is JSON, to every tool; how
/// many were taken.
pub fn tools(data: &[u8]) -> usize {
    let mut taken = 0;
    let described = Value::Object(members(&mut data.iter().copied(), 0));
    for value in [Some(described), serde_json::from_slice(data).ok()].into_iter().flatten() {
        if let Value::Object(arguments) = value {
            for entry in &OPERATIONS {
                taken += usize::from(offer(entry.tool, &arguments));
            }
        }
    }
    taken
}

/// Reads the lines of `data`, and the call that it describes, as a server does; a call goes on to
/// its tool. How many of these were taken.
pub fn messages(data: &[u8]) -> usize {
    let mut taken = 0;
    let bytes = &mut data.iter().copied();
    let tool = usize::from(bytes.next().unwrap_or_default());
    let mut call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": OPERATIONS[tool % OPERATIONS.len()].tool, "arguments": members(bytes, 0) },
    });
    // Now and then a member is another than it should be.
    for path in ["/jsonrpc", "/id", "/method", "/params", "/params/name", "/params/arguments"] {
        if bytes.next().is_some_and(|byte| byte % 16 == 1)
            && let Some(member) = call.pointer_mut(path)
        {
            *member = value(bytes, 0);
        }
    }
    let described = call.to_string();
    for line in data.split(|byte| *byte == b'\n').chain([described.as_bytes()]) {
        let Ok(message) = serde_json::from_slice::<ClientJsonRpcMessage>(line) else { continue };
        let written = serde_json::to_vec(&message).expect("what was read can be written");
        serde_json::from_slice::<ClientJsonRpcMessage>(&written).expect("and read again");
        if let JsonRpcMessage::Request(request) = message
            && let ClientRequest::CallToolRequest(call) = request.request
        {
            let arguments = call.params.arguments.unwrap_or_default();
            taken += usize::from(offer(&call.params.name, &arguments));
        }
    }
    taken
}

/// Whether `arguments` are taken as those of `tool`, if there is such a tool.
fn offer(tool: &str, arguments: &Arguments) -> bool {
    match tool {
        "runner_start_autoscaler" => holds::<StartInput>(arguments).is_some_and(|input| {
            let env = [("HOME", "/nowhere")].into_iter().collect();
            let loaded = load(&Sources { env, ..Sources::default() }, &input);
            loaded.inspect_err(is_said_well).is_ok()
        }),
        "runner_list_workflows" => holds::<ListWorkflowsInput>(arguments).is_some(),
        "runner_provision_for_workflow" => holds::<ProvisionInput>(arguments).is_some(),
        "runner_list_containers" => holds::<ListContainersInput>(arguments).is_some(),
        "runner_stop_container" => holds::<StopContainerInput>(arguments).is_some(),
        "runner_stop_autoscaler" | "runner_get_status" => holds::<NoInput>(arguments).is_some(),
        other => {
            assert!(OPERATIONS.iter().all(|entry| entry.tool != other), "{other} is not tried");
            false
        }
    }
}

/// `arguments` as a `T`: what is taken means the same when it is written and read again, what is
/// refused is refused well.
fn holds<T: DeserializeOwned + JsonSchema + Serialize + 'static>(
    arguments: &Arguments,
) -> Option<T> {
    match parse::<T>(arguments.clone()) {
        Ok(input) => {
            let written = to_arguments(&input).expect("what was read can be written");
            assert!(written.keys().all(|name| arguments.contains_key(name)), "{written:?}");
            let again = parse::<T>(written.clone()).expect("and read again");
            assert_eq!(to_arguments(&again).expect("and written"), written);
            Some(input)
        }
        Err(error) => {
            is_said_well(&error);
            None
        }
    }
}

/// A refusal is short, is the caller's fault and has nothing in it that moves a terminal's cursor.
fn is_said_well(error: &Error) {
    assert_eq!(error.code, Code::InvalidArgument, "{error:?}");
    let length = failure(error).to_string().len();
    assert!(length < LONGEST, "{length} bytes: {:.300}", error.message);
    let clean = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    assert!(clean(&error.message) && clean(&error.remedy), "{error:?}");
}

/// Names of members: all that options and arguments have, and one that nothing has.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let arguments = OPERATIONS.iter().map(|entry| (entry.input_schema)()).flat_map(|schema| {
        let names = schema.get("properties").and_then(Value::as_object).cloned();
        names.unwrap_or_default().into_iter().map(|(name, _)| name)
    });
    let options = options().iter().map(|option| option.name.clone());
    arguments.chain(options).chain(["n\u{1b}[2Jone".to_owned()]).collect()
});

/// An object with the members that `bytes` choose.
fn members(bytes: &mut impl Iterator<Item = u8>, depth: usize) -> Map<String, Value> {
    let count = bytes.next().unwrap_or_default() % 4;
    let member = |_| {
        let name = usize::from(bytes.next().unwrap_or_default()) % NAMES.len();
        (NAMES[name].clone(), value(bytes, depth + 1))
    };
    (0..count).map(member).collect()
}

/// The value that `bytes` choose.
fn value(bytes: &mut impl Iterator<Item = u8>, depth: usize) -> Value {
    let mut eight = || std::array::from_fn::<u8, 8, _>(|_| bytes.next().unwrap_or_default());
    let [kind, which, ..] = eight();
    let texts =
        ["", " ", "a/b", "../..", "4g", "1e9", "\u{1b}]0;x\u{7}", "\0", "ü/\u{202e}", "[", "-1"];
    match kind % 10 {
        0 => Value::Null,
        1 => (which % 2 == 0).into(),
        2 => i64::from(which).into(),
        3 => i64::from_le_bytes(eight()).into(),
        4 => Number::from_f64(f64::from_le_bytes(eight())).map_or(Value::Null, Value::Number),
        5 => String::from_utf8_lossy(&eight()).into_owned().into(),
        6 => "x".repeat(1 << (which % 18)).into(),
        7 if depth < DEEPEST => (0..which % 4).map(|_| value(bytes, depth + 1)).collect(),
        8 if depth < DEEPEST => members(bytes, depth + 1).into(),
        _ => texts[usize::from(which) % texts.len()].into(),
    }
}
