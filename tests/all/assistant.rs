//! What an assistant meets: it reads, watches, is asked and told, and can do no damage that its
//! user did not agree to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rmcp::handler::client::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ResourceUpdatedNotificationParam, SubscribeRequestParams,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use rmcp::transport::TokioChildProcess;
use rmcp::{ErrorData, ServiceExt};
use runner_kit::simulator::{Fault, JobSpec, JobStatus, Often, RepoSpec, RunSpec};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::client::{Client, can_be_asked};
use crate::support::world::World;

/// A world with one runner at work; the container's id, and the service.
async fn at_work(instance: &str) -> (World, String, tokio::process::Child) {
    let world = World::new(instance, &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let long = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_secs(120));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(long)).unwrap();
    let service = world.home.serve(&world.start_line(1)).await;
    world.until("it is at work", |state| state.count(JobStatus::InProgress) == 1).await;
    loop {
        let listed = world.home.run("runner list-containers").await.data();
        if listed[0]["phase"] == "busy" {
            let id = listed[0]["container_id"].as_str().unwrap().to_owned();
            return (world, id, service);
        }
    }
}

fn stop(container: &str) -> Value {
    json!({ "name": "runner_stop_container", "arguments": { "container": container } })
}

/// The retry of `call` with an answer to what `question` asked.
fn answered(mut call: Value, question: &Value, action: &str, content: Value) -> Value {
    let key = question["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
    call["requestState"] = question["requestState"].clone();
    call["inputResponses"] = json!({ key: { "action": action, "content": content } });
    call
}

#[tokio::test]
async fn a_busy_runner_is_stopped_only_after_the_user_agreed() {
    let (world, id, mut service) = at_work("assist-asks").await;
    let can_be_asked = json!({ "elicitation": { "form": {} } });
    let mut client = Client::start(world.home.command("mcp start"), can_be_asked);

    let question = client.ask("tools/call", stop(&id)).await["result"].clone();
    assert_eq!(question["resultType"], "input_required", "{question}");
    let asked = &question["inputRequests"]["confirm_stop"]["params"];
    assert!(asked["message"].as_str().unwrap().contains("has a job"), "{asked}");
    let refused = answered(stop(&id), &question, "decline", Value::Null);
    let refused = client.ask("tools/call", refused).await["result"].clone();
    assert_eq!(refused["structuredContent"]["error"]["code"], "confirmation_required");

    // What was agreed to about one container is no agreement about another, nor can it be made up.
    let other = answered(stop("another"), &question, "accept", json!({ "stop": true }));
    assert_eq!(client.ask("tools/call", other).await["error"]["code"], -32602);
    let mut forged = answered(stop(&id), &question, "accept", json!({ "stop": true }));
    forged["requestState"] = format!("{}x", question["requestState"].as_str().unwrap()).into();
    assert_eq!(client.ask("tools/call", forged).await["error"]["code"], -32602);
    assert_eq!(world.home.run("runner list-containers").await.data()[0]["phase"], "busy");

    let agreed = answered(stop(&id), &question, "accept", json!({ "stop": true }));
    let stopped = client.ask("tools/call", agreed.clone()).await["result"].clone();
    let told = &stopped["structuredContent"]["data"];
    assert_eq!((&told["was"], &told["changed"]), (&"busy".into(), &true.into()), "{stopped}");
    // The same once more finds it ended.
    let again = client.ask("tools/call", agreed).await["result"].clone();
    assert_eq!(again["structuredContent"]["data"]["changed"], false, "{again}");

    // Who asked for what, and what came of it, is on record.
    let audit = client.read_resource("runner://audit").await;
    let audit: Vec<Value> = serde_json::from_str(&audit).unwrap();
    let stops = audit.iter().filter(|record| record["tool"] == "runner_stop_container");
    let by = |record: &Value| record["caller"]["name"] == "assistant";
    assert!(stops.clone().all(by), "{audit:?}");
    let ok = stops.clone().filter(|record| record["outcome"]["ok"] == true).count();
    assert!(stops.clone().count() > ok && ok == 2, "{audit:?}");
    assert_eq!(audit[0]["caller"]["transport"], "stdio");
    assert!(client.hang_up().await.success());
    service.kill().await.unwrap();
}

/// An older client whose user says yes or no.
#[derive(Clone)]
struct Asked {
    answers: Option<ElicitationAction>,
    times: Arc<AtomicUsize>,
    updated: mpsc::UnboundedSender<String>,
}

impl ClientHandler for Asked {
    fn get_info(&self) -> ClientConfig {
        if self.answers.is_some() { can_be_asked() } else { ClientConfig::default() }
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.times.fetch_add(1, Ordering::SeqCst);
        let mut result = ElicitResult::new(self.answers.clone().unwrap());
        result.content = Some(json!({ "stop": true }));
        Ok(result)
    }

    async fn on_resource_updated(
        &self,
        updated: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.updated.send(updated.uri).unwrap();
    }
}

#[tokio::test]
async fn an_older_client_is_asked_while_its_call_waits_and_one_that_cannot_be_is_refused() {
    let (world, id, mut service) = at_work("assist-older").await;
    let mut seen = Vec::new();
    for answers in [None, Some(ElicitationAction::Decline), Some(ElicitationAction::Accept)] {
        let (updated, _) = mpsc::unbounded_channel();
        let user = Asked { answers, times: Arc::default(), updated };
        let transport = TokioChildProcess::new(world.home.command("mcp start")).unwrap();
        let client = user.clone().serve(transport).await.unwrap();
        let arguments = stop(&id)["arguments"].as_object().unwrap().clone();
        let call = CallToolRequestParams::new("runner_stop_container").with_arguments(arguments);
        let result = client.call_tool(call).await.unwrap().structured_content.unwrap();
        client.cancel().await.unwrap();
        let code = result["error"]["code"].as_str().unwrap_or("stopped").to_owned();
        seen.push((code, user.times.load(Ordering::SeqCst)));
    }
    let refused = "confirmation_required".to_owned();
    assert_eq!(seen, [(refused.clone(), 0), (refused, 1), ("stopped".to_owned(), 1)]);
    service.kill().await.unwrap();
}

#[tokio::test]
async fn everything_worth_knowing_can_be_read() {
    let (world, id, mut service) = at_work("assist-reads").await;
    let stuck = JobSpec::new("\u{1b}[31mtrain").labels(["self-hosted", "gpu"]);
    let waits = JobSpec::new("next").labels(["self-hosted"]);
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(stuck).job(waits)).unwrap();
    let mut client = Client::start(world.home.command("mcp start"), json!({}));

    let listed = client.ask("resources/list", json!({})).await["result"]["resources"].clone();
    for resource in listed.as_array().unwrap() {
        let text = client.read_resource(resource["uri"].as_str().unwrap()).await;
        assert!(!text.contains(runner_kit::simulator::TOKEN), "{resource}: {text}");
        if resource["mimeType"] == "application/json" {
            serde_json::from_str::<Value>(&text).unwrap();
        }
    }
    let templates = client.ask("resources/templates/list", json!({})).await;
    assert_eq!(templates["result"]["resourceTemplates"].as_array().unwrap().len(), 3);

    let waiting = loop {
        let queue = client.read_resource("runner://queues/octo-org/a").await;
        let queue: Value = serde_json::from_str(&queue).unwrap();
        if queue["waiting"].as_array().unwrap().len() == 2 {
            break queue["waiting"].clone();
        }
    };
    let mut reasons: Vec<_> =
        waiting.as_array().unwrap().iter().map(|job| job["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        ["max_runners is 1 and no more may run", "no runner here has the labels gpu"]
    );
    assert!(!waiting.to_string().contains("\\u001b"), "{waiting}");

    let detail = client.read_resource(&format!("runner://containers/{id}")).await;
    let detail: Value = serde_json::from_str(&detail).unwrap();
    assert_eq!(detail["container"]["phase"], "busy");
    assert_eq!(detail["inspection"]["docker_socket"], false);
    let log = client.read_resource(&format!("runner://containers/{id}/log?lines=2")).await;
    assert!(!log.is_empty() && log.lines().count() <= 2, "{log}");

    let status = client.call("runner_get_status", json!({})).await;
    let message = status["structuredContent"]["message"].as_str().unwrap();
    assert!(message.contains("1 of 1 runners active, 1 busy; 1 job waits, for"), "{message}");
    assert!(message.contains("max_runners is 1"), "{message}");
    let containers = client.call("runner_list_containers", json!({})).await;
    let see = format!("runner://containers/{id}/log");
    assert_eq!(containers["structuredContent"]["see"][0], see);
    let content = containers["content"].as_array().unwrap();
    assert!(content.iter().any(|block| block["type"] == "resource_link" && block["uri"] == see));

    let missing = client.ask("resources/read", json!({ "uri": "file:///etc/passwd" })).await;
    assert_eq!(missing["error"]["code"], -32602);
    assert_eq!(missing["error"]["data"]["error"]["code"], "not_found");
    service.kill().await.unwrap();
}

#[tokio::test]
async fn names_are_completed_and_prompts_bring_the_data_they_need() {
    let (world, id, mut service) = at_work("assist-prompts").await;
    let mut client = Client::start(world.home.command("mcp start"), json!({}));
    let mut complete = async |reference: Value, name: &str, value: &str| {
        let params = json!({ "ref": reference, "argument": { "name": name, "value": value } });
        let answer = client.ask("completion/complete", params).await;
        answer["result"]["completion"]["values"].clone()
    };
    let queue = json!({ "type": "ref/resource", "uri": "runner://queues/{owner}/{repo}" });
    assert_eq!(complete(queue.clone(), "owner", "oct").await, json!(["octo-org"]));
    assert_eq!(complete(queue, "repo", "").await, json!(["a"]));
    let stuck = json!({ "type": "ref/prompt", "name": "diagnose_stuck_queue" });
    assert_eq!(complete(stuck, "repo", "a").await, json!(["octo-org/a"]));
    let triage = json!({ "type": "ref/prompt", "name": "triage_failed_runner" });
    assert_eq!(complete(triage, "container", &id[..5]).await, json!([id]));

    let prompts = client.ask("prompts/list", json!({})).await["result"]["prompts"].clone();
    for prompt in prompts.as_array().unwrap() {
        let arguments = json!({ "repo": "octo-org/a", "container": id });
        let params = json!({ "name": prompt["name"], "arguments": arguments });
        let got = client.ask("prompts/get", params).await["result"].clone();
        let messages = got["messages"].as_array().unwrap();
        assert_eq!(messages[0]["content"]["type"], "text", "{got}");
        assert!(messages.len() > 2, "{got}");
        for message in &messages[1..] {
            let text = message["content"]["resource"]["text"].as_str().unwrap();
            assert!(!text.starts_with("It could not be read"), "{message}");
        }
    }
    let nameless = json!({ "name": "triage_failed_runner", "arguments": {} });
    assert_eq!(client.ask("prompts/get", nameless).await["error"]["code"], -32602);
    service.kill().await.unwrap();
}

#[tokio::test]
async fn changes_are_told_in_both_eras_also_when_the_service_ends_and_comes_again() {
    let world = World::new("assist-watch", &[]).await;
    world.github.add_org("octo-org");
    let mut service = world.home.serve(&world.start_line(1)).await;
    let mut client = Client::start(world.home.command("mcp start"), json!({}));
    let wanted = ["runner://status", "file:///etc/passwd"];
    let filter = json!({ "notifications": { "resourceSubscriptions": wanted } });
    let listening = client.send("subscriptions/listen", filter).await;
    let accepted = client.heard().await;
    assert_eq!(accepted["method"], "notifications/subscriptions/acknowledged");
    let accepted = &accepted["params"]["notifications"]["resourceSubscriptions"];
    assert_eq!(*accepted, json!(["runner://status"]));

    let (updated, mut heard) = mpsc::unbounded_channel();
    let older = Asked { answers: None, times: Arc::default(), updated };
    let transport = TokioChildProcess::new(world.home.command("mcp start")).unwrap();
    let older = older.serve(transport).await.unwrap();
    #[expect(deprecated)]
    older.subscribe(SubscribeRequestParams::new("runner://events")).await.unwrap();

    // With an interval of a second the status changes by itself.
    for _ in 0..2 {
        let told = client.heard().await;
        assert_eq!(told["method"], "notifications/resources/updated", "{told}");
        assert_eq!(told["params"]["uri"], "runner://status");
        let id = &told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
        assert_eq!(*id, listening, "{told}");
    }
    service.kill().await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), "runner://events", "the service ended");
    let mut service = world.home.serve(&world.start_line(1)).await;
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let short = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_millis(100));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(short)).unwrap();
    assert_eq!(heard.recv().await.unwrap(), "runner://events");
    older.cancel().await.unwrap();
    // Who hangs up is not kept waiting for a stream that nobody reads any more.
    let hung_up = std::time::Instant::now();
    assert!(client.hang_up().await.success());
    assert!(hung_up.elapsed() < Duration::from_secs(3), "{:?}", hung_up.elapsed());
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_launch_that_is_cancelled_leaves_nothing_on_the_host_or_on_github() {
    let world = World::new("assist-cancel", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let mut service = world.home.serve(&world.start_line(2)).await;
    let slow = Fault::Delay(Duration::from_secs(2));
    world.github.inject(slow, "POST */actions/runners/registration-token", Often::Always).unwrap();
    let mut client = Client::start(world.home.command("mcp start"), json!({}));
    let name = "runner_provision_for_workflow";
    let call = json!({ "name": name, "arguments": { "repo": "octo-org/a" }, "_meta": { "progressToken": 1 } });
    let id = client.send("tools/call", call).await;
    let step = client.heard().await;
    let told = step["params"]["message"].as_str().unwrap_or_default();
    assert!(told.ends_with("registering with GitHub"), "{step}");
    client.cancel(id).await;
    // The service hears of it, and tells what came of it.
    loop {
        let events = client.read_resource("runner://events").await;
        if events.contains("no longer waits") {
            break;
        }
    }
    assert_eq!(world.home.run("runner list-containers").await.data(), json!([]));
    assert!(world.leftovers().await.is_empty());
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_call_that_ends_with_its_client_or_its_server_is_on_record_and_leaves_nothing() {
    let world = World::new("assist-gone", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let slow = Fault::Delay(Duration::from_secs(7));
    world.github.inject(slow, "POST */actions/runners/registration-token", Often::Always).unwrap();
    // There is no service: the front does it itself.
    for terminated in [false, true] {
        let mut client = Client::start(world.home.command("mcp start"), json!({}));
        let arguments = json!({ "repo": "octo-org/a" });
        let call = json!({
            "name": "runner_provision_for_workflow", "arguments": arguments, "_meta": { "progressToken": 1 },
        });
        client.send("tools/call", call).await;
        client.heard().await;
        let ended = if terminated { client.terminate().await } else { client.hang_up().await };
        assert!(ended.success());
        let history = world.home.run("runner history").await.data();
        assert_eq!(history.as_array().unwrap().len(), 1 + usize::from(terminated), "{history}");
        assert_eq!(history[0]["arguments"], arguments, "{history}");
        assert_eq!(history[0]["outcome"]["ok"], false, "{history}");
    }
    assert!(world.leftovers().await.is_empty());
}

#[tokio::test]
async fn long_lists_are_told_in_pages_that_an_assistant_can_bear() {
    let world = World::new("assist-pages", &[]).await;
    world.github.add_org("octo-org");
    for number in 0..120 {
        let name = format!("octo-org/repository-number-{number:03}");
        world.github.add_repo(RepoSpec::new(&name));
        let job = JobSpec::new("train").labels(["self-hosted", "gpu"]);
        world.github.queue_run(&name, RunSpec::new("ci").job(job)).unwrap();
    }
    let mut service = world.home.serve(&world.start_line(1)).await;
    let mut client = Client::start(world.home.command("mcp start"), json!({}));
    loop {
        let status = client.call("runner_get_status", json!({})).await;
        if status["structuredContent"]["data"]["repositories_monitored"] == 120 {
            break;
        }
    }
    let (mut repos, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let arguments = json!({ "cursor": cursor, "limit": 1000 });
        let result = client.call("runner_list_workflows", arguments).await;
        let whole = &result["structuredContent"];
        assert!(whole.to_string().len() < 8_000, "{}", whole.to_string().len());
        let listed = whole["data"].as_array().unwrap();
        repos.extend(listed.iter().map(|queue| queue["repo"].as_str().unwrap().to_owned()));
        pages += 1;
        cursor = whole["next_cursor"].clone();
        assert_eq!(whole["truncated"], !cursor.is_null());
        if cursor.is_null() {
            break;
        }
        assert!(whole["message"].as_str().unwrap().contains("give next_cursor as cursor"));
    }
    assert!(pages > 2, "{pages}");
    repos.sort();
    repos.dedup();
    assert_eq!(repos.len(), 120);
    // A script gets its hundred.
    let by_line = world.home.run("runner list-workflows").await;
    assert_eq!(by_line.data().as_array().unwrap().len(), 100);
    service.kill().await.unwrap();
}

#[tokio::test]
async fn the_list_of_tools_is_short_and_says_all_that_a_client_asks_for() {
    let world = World::new("assist-list", &[]).await;
    let mut client = Client::start(world.home.command("mcp start"), json!({}));
    let result = client.ask("tools/list", json!({})).await["result"].clone();
    assert!(result.to_string().len() < 10_000, "{} bytes", result.to_string().len());
    for tool in result["tools"].as_array().unwrap() {
        assert!(tool["title"].is_string() && tool["description"].is_string(), "{tool}");
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{tool}");
        }
        assert_eq!(tool["outputSchema"]["properties"]["success"]["type"], "boolean");
        assert_eq!(tool["inputSchema"]["type"], "object");
    }
    assert_eq!((&result["cacheScope"], result["ttlMs"].is_u64()), (&"private".into(), true));
}
