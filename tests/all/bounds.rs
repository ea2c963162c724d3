//! What the operator allows, and who has done what, by the program as its users have it. Neither
//! needs GitHub or an engine.

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use runner_kit::audit::{Audit, Caller, Outcome, Record, Transport};
use serde_json::{Map, Value, json};

use crate::support::program::Home;

fn state(home: &Home) -> PathBuf {
    home.path().join("state/ipfs-accelerate")
}

/// A home in which `count` calls were made, one a minute, the last of them now.
fn with_calls(count: i64) -> Home {
    let home = Home::new([]);
    let audit = Audit::open(&state(&home)).unwrap();
    let now = Utc::now();
    for number in 1..=count {
        let arguments = json!({ "repo": format!("octo-org/r{number}") });
        let caller = Caller { name: "claude".into(), version: None, transport: Transport::Stdio };
        audit
            .record(Record {
                at: now - TimeDelta::minutes(count - number),
                caller,
                tool: "runner_provision_for_workflow".into(),
                arguments: arguments.as_object().unwrap().clone(),
                outcome: Outcome::of(Ok("1 runner launched.")),
            })
            .unwrap();
    }
    home
}

async fn by_tool(home: &Home, tool: &'static str, arguments: Value) -> Value {
    let client =
        ().serve(TokioChildProcess::new(home.command("mcp start")).unwrap()).await.unwrap();
    let arguments: Map<_, _> = arguments.as_object().unwrap().clone();
    let request = CallToolRequestParams::new(tool).with_arguments(arguments);
    let result = client.call_tool(request).await.unwrap();
    client.cancel().await.unwrap();
    result.structured_content.unwrap()
}

#[tokio::test]
async fn the_history_is_printed_as_json_the_newest_first_and_page_by_page() {
    let home = with_calls(5);
    let done = home.run("runner history --limit 2").await;
    assert_eq!(done.code, 0, "{done:?}");
    let repos = |data: &Value| {
        let all = data.as_array().unwrap().iter();
        all.map(|record| record["arguments"]["repo"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(repos(&done.data()), ["octo-org/r5", "octo-org/r4"]);
    let record = &done.data()[0];
    let caller = json!({ "name": "claude", "version": null, "transport": "stdio" });
    assert_eq!(record["caller"], caller);
    let outcome = json!({ "ok": true, "code": null, "message": "1 runner launched." });
    assert_eq!(record["outcome"], outcome);
    assert!(record["at"].as_str().unwrap().parse::<DateTime<Utc>>().is_ok());
    let cursor = done.stderr.trim().strip_prefix("There are more: --cursor ").unwrap();
    let rest = home.run(&format!("runner history --cursor {cursor}")).await;
    assert_eq!(repos(&rest.data()), ["octo-org/r3", "octo-org/r2", "octo-org/r1"]);
    assert_eq!(rest.stderr, "");
}

#[tokio::test]
async fn the_history_is_a_table_for_people() {
    let done = with_calls(1).run("runner history --format text").await;
    let mut lines = done.stdout.lines();
    for words in [
        "when who tool outcome message",
        "ago claude via stdio runner_provision_for_workflow ok 1 runner launched.",
    ] {
        let line = lines.next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(line.ends_with(words), "{line}");
    }
}

#[tokio::test]
async fn without_any_call_the_history_is_empty_and_a_strange_cursor_is_a_usage_error() {
    let home = Home::new([]);
    assert_eq!(home.run("runner history").await.data(), json!([]));
    let done = home.run("runner history --cursor x").await;
    assert_eq!((done.code, &done.error()["code"]), (2, &json!("invalid_argument")));
    assert_eq!(home.run("runner history --limit 0").await.code, 2);
}

#[tokio::test]
async fn what_is_outside_the_operators_bounds_is_refused_on_the_line_and_to_an_assistant() {
    let home = Home::new([("RUNNER_KIT_MAX_RUNNERS_ALLOWED", "4".to_owned())]);
    let directory = home.path().join("home/.config/ipfs-accelerate");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config.toml"), "allowed_owners = ['octo-org']").unwrap();
    for (line, arguments, remedy) in [
        ("--owner evil", json!({ "owner": "evil" }), "The operator allows octo-org."),
        ("--max-runners 5", json!({ "max_runners": 5 }), "The operator allows at most 4."),
    ] {
        let by_line = home.run(&format!("runner start {line}")).await;
        assert_eq!(by_line.code, 2, "{by_line:?}");
        let by_line = by_line.error();
        let by_tool = by_tool(&home, "runner_start_autoscaler", arguments).await;
        for error in [&by_line, &by_tool["error"]] {
            assert_eq!(error["code"], "invalid_argument");
            assert_eq!(error["remedy"], remedy);
        }
    }
}

#[tokio::test]
async fn nothing_is_provisioned_for_a_repository_that_the_operator_does_not_allow() {
    let home = Home::new([("RUNNER_KIT_ALLOWED_REPOS", "octo-org/*".to_owned())]);
    let by_line = home.run("runner provision --repo evil/web").await;
    let arguments = json!({ "repo": "evil/web" });
    let by_tool = by_tool(&home, "runner_provision_for_workflow", arguments).await;
    for error in [&by_line.error(), &by_tool["error"]] {
        assert_eq!(error["code"], "invalid_argument", "{error}");
        assert!(error["message"].as_str().unwrap().contains("allowed_repos"), "{error}");
    }
}
