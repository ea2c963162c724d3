//! What is handed on: every command line, variable and address in it is tried on the program.

mod bundle;
mod clients;
mod registry;

use std::collections::BTreeSet;
use std::path::PathBuf;

use rmcp::ServiceExt;
use rmcp::model::ServerPeerInfo;
use rmcp::transport::TokioChildProcess;
use serde_json::Value;
use tokio::process::Command;

use crate::support::program::Home;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A file of the project.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn json_of(name: &str) -> Value {
    let text = std::fs::read_to_string(file(name)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn words(array: &Value) -> Vec<String> {
    let words = array.as_array().unwrap_or_else(|| panic!("{array} is no array"));
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The names of all seven tools, or of those that change nothing.
fn tools(looking_only: bool) -> BTreeSet<String> {
    let all = runner_kit::operations::OPERATIONS.iter();
    let offered = all.filter(|entry| entry.hints.read_only || !looking_only);
    offered.map(|entry| entry.tool.to_owned()).collect()
}

/// What the server that `command` starts says of itself, and its tools.
async fn served(command: Command) -> (ServerPeerInfo, BTreeSet<String>) {
    let shown = format!("{command:?}");
    let transport = TokioChildProcess::new(command).unwrap();
    let client = ().serve(transport).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let tools = client.list_all_tools().await.unwrap();
    let info = client.peer_info().unwrap().as_ref().clone();
    client.cancel().await.unwrap();
    (info, tools.into_iter().map(|tool| tool.name.into_owned()).collect())
}

/// Starts the program as a client does, and expects the tools that its command line promises.
async fn serves(instance: &str, args: &[String]) {
    let home = Home::new([("RUNNER_KIT_INSTANCE", instance.to_owned())]);
    let (_, offered) = served(home.command(&args.join(" "))).await;
    assert_eq!(offered, tools(args.iter().any(|word| word == "--read-only")), "{args:?}");
}

/// Tries whether the program knows `variable`: it refuses those of its own that it does not, and
/// shows where the value of an option is from.
async fn is_known(variable: &str) {
    if ["GITHUB_TOKEN", "GH_TOKEN"].contains(&variable) {
        let home = Home::new([(variable, "no token".to_owned())]);
        let refused = home.run("runner list-workflows").await.error();
        assert!(refused["message"].as_str().unwrap().contains("has blanks in it"), "{refused}");
        return;
    }
    assert!(variable.starts_with("RUNNER_KIT_"), "{variable} is nothing that the program reads");
    let home = Home::new([]);
    let written = home.path().join("config.toml");
    std::fs::write(&written, "max_runners = 3\n").unwrap();
    let value = match variable {
        "RUNNER_KIT_CONFIG" => written.to_str().unwrap(),
        "RUNNER_KIT_HTTP_TOKEN" => SECRET,
        _ => "octo-org",
    };
    let shown = home.command("runner start --print-config").env(variable, value).output().await;
    let shown = shown.unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{variable}: {}", String::from_utf8_lossy(&shown.stderr));
    let origin = if variable == "RUNNER_KIT_CONFIG" { value } else { variable };
    // The token is no option; that it is heeded is tried where it is used.
    assert!(text.contains(origin) || variable == "RUNNER_KIT_HTTP_TOKEN", "{variable}: {text}");
}
