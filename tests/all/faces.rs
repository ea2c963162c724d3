//! One call gives the same JSON by the library, the command line, stdio, the socket and HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use runner_kit::config::{Sources, StartInput, load};
use runner_kit::runner_kit::{ContainerFilter, QueueFilter};
use runner_kit::simulator::{JobSpec, JobStatus, RepoSpec, RunSpec};
use runner_kit::views::Mode;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::program::Home;
use crate::support::world::World;

/// The answer to one POST at `/mcp`, of a client of the current revision (2026-07-28).
async fn post(address: &str, token: &str, method: &str, params: Value) -> (StatusCode, Value) {
    let name = params["name"].as_str().unwrap_or_default().to_owned();
    let mut params = params;
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut request = Request::post(format!("http://{address}/mcp"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method)
        .header("authorization", format!("Bearer {token}"));
    if !name.is_empty() {
        request = request.header("mcp-name", name);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = request.body(Full::from(body.to_string())).unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn get(address: &str, path: &str, token: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::get(format!("http://{address}{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request.body(Full::default()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn over_stdio(home: &Home, tool: &'static str, arguments: Value) -> Value {
    let transport = TokioChildProcess::new(home.command("mcp start")).unwrap();
    let client = ().serve(transport).await.unwrap();
    let arguments = arguments.as_object().unwrap().clone();
    let request = CallToolRequestParams::new(tool).with_arguments(arguments);
    let result = client.call_tool(request).await.unwrap();
    client.cancel().await.unwrap();
    result.structured_content.unwrap()
}

/// The address at which `world`'s service says that it serves HTTP.
fn address(world: &World) -> String {
    let log = world.home.service_log();
    let line = log.lines().find_map(|line| line.strip_prefix("Serving MCP at http://")).unwrap();
    line.trim_end_matches("/mcp").to_owned()
}

fn token(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.home.path().join("state/ipfs-accelerate").join(name)).unwrap()
}

#[tokio::test]
async fn one_call_gives_the_same_data_through_every_interface() {
    let world = World::new("faces-same", &[]).await;
    world.github.add_org("octo-org");
    for name in ["octo-org/a", "octo-org/b"] {
        world.github.add_repo(RepoSpec::new(name));
        let long = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_secs(60));
        let gpu = JobSpec::new("train").labels(["self-hosted", "gpu"]);
        world.github.queue_run(name, RunSpec::new("ci").job(long).job(gpu)).unwrap();
    }
    let line = format!("{} --http 127.0.0.1:0", world.start_line(1));
    let mut service = world.home.serve(&line).await;
    world.until("it is at work", |state| state.count(JobStatus::InProgress) == 1).await;
    // The service learns at its next look that the runner is busy.
    loop {
        let listed = world.home.run("runner list-containers").await.data();
        if listed[0]["phase"] == "busy" {
            break;
        }
    }
    let (address, token) = (address(&world), token(&world, "http-token"));

    for (command, tool) in [
        ("runner list-containers", "runner_list_containers"),
        ("runner list-workflows", "runner_list_workflows"),
    ] {
        let by_line = world.home.run(command).await.data();
        assert!(!by_line.as_array().unwrap().is_empty());
        let by_stdio = over_stdio(&world.home, tool, json!({})).await;
        let params = json!({ "name": tool, "arguments": {} });
        let (_, answer) = post(&address, &token, "tools/call", params).await;
        let by_http = &answer["result"]["structuredContent"];
        assert_eq!(&by_stdio, by_http);
        assert_eq!(by_stdio["data"], by_line);
        assert_eq!(by_stdio["success"], true);
    }

    // The library, in this process, sees the same containers and queues.
    let env = [
        ("GITHUB_TOKEN", runner_kit::simulator::TOKEN.to_owned()),
        ("GITHUB_API_URL", world.github.api_url()),
        ("GITHUB_SERVER_URL", world.github.url()),
        ("RUNNER_KIT_INSTANCE", world.instance.clone()),
        ("HOME", world.home.path().to_string_lossy().into_owned()),
    ];
    let sources = Sources { env: env.into_iter().collect(), ..Sources::default() };
    let config = load(&sources, &StartInput::default()).unwrap().config;
    let kit = runner_kit::assemble::kit(config, &sources.env, Mode::InProcess).unwrap();
    let containers = kit.list_runner_containers(&ContainerFilter::default()).await.unwrap();
    let mut shown = json!(containers.items);
    // Which job it is, is known to whoever has looked at the demand.
    let by_line = world.home.run("runner list-containers").await.data();
    shown[0]["job"] = by_line[0]["job"].clone();
    assert_eq!(shown, by_line);
    let queues = kit.get_workflow_queues(&QueueFilter::default()).await.unwrap();
    assert_eq!(json!(queues.items), world.home.run("runner list-workflows").await.data());
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_failure_is_the_same_through_every_interface() {
    let world = World::new("faces-failure", &[]).await;
    world.github.add_org("octo-org");
    let line = format!("{} --http 127.0.0.1:0", world.start_line(1));
    let mut service = world.home.serve(&line).await;
    let (address, token) = (address(&world), token(&world, "http-token"));
    let by_line = world.home.run("runner stop-container --container feed").await;
    assert_eq!(by_line.code, 1);
    let arguments = json!({ "container": "feed" });
    let by_stdio = over_stdio(&world.home, "runner_stop_container", arguments.clone()).await;
    let params = json!({ "name": "runner_stop_container", "arguments": arguments });
    let (status, answer) = post(&address, &token, "tools/call", params).await;
    let result = &answer["result"];
    assert_eq!((status, &result["isError"]), (StatusCode::OK, &true.into()));
    assert_eq!(by_stdio["error"]["code"], "not_found");
    assert_eq!(by_stdio["error"], by_line.error());
    assert_eq!(result["structuredContent"], by_stdio);
    service.kill().await.unwrap();
}

#[tokio::test]
async fn http_needs_a_token_and_the_looking_one_only_looks() {
    let world = World::new("faces-token", &[]).await;
    world.github.add_org("octo-org");
    let line = format!("{} --http 127.0.0.1:0", world.start_line(1));
    let mut service = world.home.serve(&line).await;
    let address = address(&world);
    let status = json!({ "name": "runner_get_status", "arguments": {} });
    let (refused, body) = post(&address, "wrong", "tools/call", status.clone()).await;
    assert_eq!(
        (refused, &body["error"]["code"]),
        (StatusCode::UNAUTHORIZED, &"not_authenticated".into())
    );
    assert_eq!(get(&address, "/metrics", None).await.0, StatusCode::UNAUTHORIZED);
    let (healthy, text) = get(&address, "/healthz", None).await;
    assert_eq!((healthy, text.as_str()), (StatusCode::OK, r#"{"reasons":[],"status":"alive"}"#));

    let looking = token(&world, "http-token-read");
    let (_, tools) = post(&address, &looking, "tools/list", json!({})).await;
    let names: Vec<_> =
        tools["result"]["tools"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert_eq!(names, ["runner_get_status", "runner_list_workflows", "runner_list_containers"]);
    let (_, seen) = post(&address, &looking, "tools/call", status).await;
    assert_eq!(seen["result"]["structuredContent"]["data"]["running"], true);
    let stop = json!({ "name": "runner_stop_autoscaler", "arguments": {} });
    let (_, refused) = post(&address, &looking, "tools/call", stop).await;
    assert_eq!(refused["result"]["structuredContent"]["error"]["code"], "read_only");

    let (metrics, text) = get(&address, "/metrics", Some(&looking)).await;
    assert_eq!(metrics, StatusCode::OK);
    for name in [
        "active_runners",
        "queued_workflows",
        "repositories_monitored",
        "iterations",
        "provisioned_runners",
    ] {
        assert!(text.contains(&format!("runner_kit_{name}")), "{name}: {text}");
    }
    loop {
        let (status, text) = get(&address, "/readyz", None).await;
        if status == StatusCode::OK {
            assert_eq!(text, r#"{"reasons":[],"status":"ready"}"#);
            break;
        }
    }
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_server_beside_the_service_tells_the_services_state() {
    let world = World::new("faces-beside", &[]).await;
    world.github.add_org("octo-org");
    let mut service = world.home.serve(&world.start_line(3)).await;
    let mut server = world.home.command("mcp start --http 127.0.0.1:0");
    let mut server = server.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address =
        line.strip_prefix("Serving MCP at http://").unwrap().trim_end_matches("/mcp").to_owned();
    let (_, metrics) = get(&address, "/metrics", Some(&token(&world, "http-token"))).await;
    assert!(
        metrics.contains("runner_kit_running 1") && metrics.contains("runner_kit_max_runners 3"),
        "{metrics}"
    );
    loop {
        if get(&address, "/readyz", None).await.0 == StatusCode::OK {
            break;
        }
    }
    service.kill().await.unwrap();
    loop {
        // An answer holds for a moment.
        let (status, text) = get(&address, "/readyz", None).await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(text.contains("not_running") && text.contains("not_ready"), "{text}");
            break;
        }
    }
    assert_eq!(get(&address, "/healthz", None).await.0, StatusCode::OK);
    server.kill().await.unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_at_once_ends_the_server_in_peace() {
    let home = Home::new([("RUNNER_KIT_INSTANCE", "faces-silent".to_owned())]);
    let done = home.run("mcp start").await;
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "", ""));
}

#[tokio::test]
async fn a_server_whose_log_nobody_reads_goes_on() {
    let home = Home::new([("RUNNER_KIT_INSTANCE", "faces-deaf".to_owned())]);
    let mut command = home.command("mcp start --verbose --http 127.0.0.1:0");
    let mut server = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    drop(lines);
    let address = first.strip_prefix("Serving MCP at http://").unwrap().trim_end_matches("/mcp");
    for _ in 0..3 {
        assert_eq!(get(address, "/healthz", None).await.0, StatusCode::OK);
        assert_eq!(get(address, "/metrics", Some("wrong")).await.0, StatusCode::UNAUTHORIZED);
    }
    server.kill().await.unwrap();
}

#[tokio::test]
async fn a_tool_starts_a_service_that_outlives_the_assistant() {
    let world = World::new("faces-outlive", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let arguments = json!({ "owner": "octo-org", "max_runners": 1 });
    let started = over_stdio(&world.home, "runner_start_autoscaler", arguments).await;
    assert_eq!(
        (&started["success"], &started["data"]["changed"]),
        (&true.into(), &true.into()),
        "{started}"
    );
    assert_eq!(started["data"]["mode"], "service");
    // The assistant is gone; another process finds the service, and jobs are served.
    let job = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_millis(100));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(job)).unwrap();
    world.until("it is done", |state| state.count(JobStatus::Completed) == 1).await;
    let status = over_stdio(&world.home, "runner_get_status", json!({})).await;
    assert_eq!(status["data"]["provisioned_runners"], 1);
    world.until_nothing_is_left().await;
    let stopped = over_stdio(&world.home, "runner_stop_autoscaler", json!({})).await;
    assert_eq!(stopped["data"]["changed"], true);
}

/// A client that writes down what it is told while it waits.
#[derive(Clone, Default)]
struct Listener(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl rmcp::ClientHandler for Listener {
    async fn on_progress(
        &self,
        progress: rmcp::model::ProgressNotificationParam,
        _: rmcp::service::NotificationContext<rmcp::RoleClient>,
    ) {
        self.0.lock().unwrap().extend(progress.message);
    }
}

#[tokio::test]
async fn who_provisions_is_told_what_is_being_done() {
    let world = World::new("faces-progress", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let listener = Listener::default();
    let line = format!("mcp start --runner-work-dir {}", world.work_dir().display());
    let transport = TokioChildProcess::new(world.home.command(&line)).unwrap();
    let client = listener.clone().serve(transport).await.unwrap();
    let arguments = json!({ "repo": "octo-org/a" }).as_object().unwrap().clone();
    let request =
        CallToolRequestParams::new("runner_provision_for_workflow").with_arguments(arguments);
    let launched = client.call_tool(request).await.unwrap().structured_content.unwrap();
    assert_eq!(launched["count"], 1, "{launched}");
    let told = listener.0.lock().unwrap().clone();
    let name = launched["data"][0]["runner_name"].as_str().unwrap();
    let steps = ["registering with GitHub", "starting the container", "started", "online"];
    assert_eq!(told, steps.map(|step| format!("{name}: {step}")));
    let stopped =
        world.home.run(&format!("runner stop-container --container {name} --force")).await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn wrong_arguments_are_refused_in_band_by_name_and_unknown_tools_are_not_tools() {
    let home = Home::new([("RUNNER_KIT_INSTANCE", "faces-wrong".to_owned())]);
    let transport = TokioChildProcess::new(home.command("mcp start")).unwrap();
    let client = ().serve(transport).await.unwrap();
    for (tool, arguments, field) in [
        ("runner_start_autoscaler", json!({ "max_runners": -1 }), "max_runners"),
        ("runner_start_autoscaler", json!({ "docker_access": "socket" }), "docker_access"),
        ("runner_provision_for_workflow", json!({ "repo": "noslash" }), "repo"),
        ("runner_list_containers", json!({ "limit": 0 }), "limit"),
        ("runner_stop_container", json!({}), "container"),
    ] {
        let request =
            CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone());
        let result = client.call_tool(request).await.unwrap();
        let content = result.structured_content.unwrap();
        assert_eq!(
            (result.is_error, &content["error"]["code"]),
            (Some(true), &"invalid_argument".into())
        );
        assert!(content["error"]["message"].as_str().unwrap().contains(field), "{content}");
    }
    let error =
        client.call_tool(CallToolRequestParams::new("rm_rf")).await.unwrap_err().to_string();
    assert!(error.contains("-32602") && error.contains("Unknown tool"), "{error}");
    client.cancel().await.unwrap();
}
