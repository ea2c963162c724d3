//! What a user agreed to, and what it may be used for, by the server itself on an engine in memory.

use std::sync::Arc;

use futures::FutureExt;
use rmcp::handler::client::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
};
use rmcp::service::{RequestContext, RoleClient, RunningService};
use rmcp::{ErrorData, ServiceExt};
use runner_kit::adapters::memory::MemoryEngine;
use runner_kit::audit::{Audit, Record, Transport};
use runner_kit::config::{Environment, OperatorOptions, Sources, StartInput, load};
use runner_kit::interfaces::host::Host;
use runner_kit::interfaces::mcp::McpServer;
use runner_kit::model::Repo;
use runner_kit::simulator::{Fault, Often, Options, RepoSpec, Simulator, TOKEN};
use runner_kit::views::Mode;
use runner_kit::{RunnerKit, assemble};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::can_be_asked;

const LIST: &str = "GET */actions/runners";

/// A GitHub and a service object whose runners never register and never end.
struct Place {
    github: Simulator,
    kit: RunnerKit,
    host: Arc<Host>,
    state: TempDir,
}

impl Place {
    async fn new() -> Self {
        let github = Simulator::start(Options::default()).await.unwrap();
        github.add_org("octo-org");
        github.add_repo(RepoSpec::new("octo-org/a"));
        let state = tempfile::tempdir().unwrap();
        let env: Environment = [
            ("HOME", state.path().display().to_string()),
            ("GITHUB_TOKEN", TOKEN.to_owned()),
            ("GITHUB_API_URL", github.api_url()),
            ("GITHUB_SERVER_URL", github.url()),
        ]
        .into_iter()
        .collect();
        let state_dir = Some(state.path().join("state").display().to_string());
        let operator = OperatorOptions { state_dir, ..OperatorOptions::default() };
        let start = StartInput { max_runners: Some(100), ..StartInput::default() };
        let sources = Sources { env: env.clone(), start, operator, ..Sources::default() };
        let loaded = load(&sources, &StartInput::default()).unwrap();
        let process = |_| std::future::pending::<i64>().boxed();
        let engine = Arc::new(MemoryEngine::new(Arc::new(process), Arc::new(chrono::Utc::now)));
        let parts = assemble::parts(&loaded.config, &env, engine).unwrap();
        let kit = RunnerKit::from_parts(loaded.config.clone(), parts, Mode::Service);
        let host = Arc::new(Host::service(kit.clone(), &loaded));
        Self { github, kit, host, state }
    }

    /// The id of one more runner.
    async fn launch(&self) -> String {
        let repo: Repo = "octo-org/a".parse().unwrap();
        self.kit.provision(Some(&repo)).await.unwrap().remove(0).container_id
    }

    /// While GitHub cannot tell, every runner may have a job.
    fn keeps_silent(&self) {
        self.github.inject(Fault::Status(502), LIST, Often::Always).unwrap();
    }

    async fn ids(&self) -> Vec<String> {
        let listed = self.kit.list_runner_containers(&Default::default()).await.unwrap();
        listed.items.into_iter().map(|container| container.container_id).collect()
    }

    async fn client<H: ClientHandler>(&self, user: H) -> RunningService<RoleClient, H> {
        self.client_of(McpServer::new(self.host.clone(), false), user).await
    }

    async fn client_of<H: ClientHandler>(
        &self,
        server: McpServer,
        user: H,
    ) -> RunningService<RoleClient, H> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { server.serve(ours).await.unwrap().waiting().await });
        user.serve(theirs).await.unwrap()
    }

    /// Who had what done, the latest first.
    fn records(&self) -> Vec<Record> {
        let audit = Audit::open(&self.state.path().join("state")).unwrap();
        audit.latest(100, None).unwrap().items
    }
}

async fn stop<H: ClientHandler>(client: &RunningService<RoleClient, H>, key: &str) -> Value {
    let arguments = json!({ "container": key }).as_object().unwrap().clone();
    let call = CallToolRequestParams::new("runner_stop_container").with_arguments(arguments);
    client.call_tool(call).await.unwrap().structured_content.unwrap()
}

/// A user who thinks so long about it that the runner ends, and another one is launched whose id
/// begins like that one's.
#[derive(Clone)]
struct Slow(Arc<Place>);

impl ClientHandler for Slow {
    fn get_info(&self) -> ClientConfig {
        can_be_asked()
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let Self(place) = self;
        place.github.clear_faults();
        let asked_about = place.ids().await.remove(0);
        place.kit.stop_runner_container(&asked_about, true).await.unwrap();
        while place.launch().await[..1] != asked_about[..1] {}
        for other in place.ids().await {
            if other[..1] != asked_about[..1] {
                place.kit.stop_runner_container(&other, true).await.unwrap();
            }
        }
        let mut result = ElicitResult::new(ElicitationAction::Accept);
        result.content = Some(json!({ "stop": true }));
        Ok(result)
    }
}

#[tokio::test]
async fn an_agreement_about_one_container_ends_no_other_that_the_same_words_mean_by_now() {
    let place = Arc::new(Place::new().await);
    let id = place.launch().await;
    place.keeps_silent();
    let client = place.client(Slow(place.clone())).await;
    let told = stop(&client, &id[..1]).await;
    assert_eq!(place.ids().await.len(), 1, "{told}");
    assert_eq!(
        (&told["data"]["container_id"], &told["data"]["changed"]),
        (&json!(id), &json!(false))
    );
}

/// A user who says no.
#[derive(Clone)]
struct No;

impl ClientHandler for No {
    fn get_info(&self) -> ClientConfig {
        can_be_asked()
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Decline))
    }
}

#[tokio::test]
async fn a_no_is_on_record() {
    let place = Place::new().await;
    let id = place.launch().await;
    place.keeps_silent();
    let told = stop(&place.client(No).await, &id).await;
    assert_eq!(told["error"]["code"], "confirmation_required", "{told}");
    let [answer, question] = &place.records()[..] else { panic!("{:?}", place.records()) };
    assert!(answer.outcome.message.contains("did not agree"), "{answer:?}");
    assert!(!question.outcome.ok && question.arguments["container"] == id, "{question:?}");
    assert_eq!(place.ids().await.len(), 1);
}

#[tokio::test]
async fn who_only_looks_changes_nothing_and_who_tried_is_on_record() {
    let place = Place::new().await;
    let id = place.launch().await;
    let looking = McpServer::new(place.host.clone(), false).looking_only();
    let told = stop(&place.client_of(looking, ()).await, &id).await;
    assert_eq!(told["error"]["code"], "read_only", "{told}");
    // There are two ways to only look.
    let remedy = told["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("--read-only") && remedy.contains("token to operate"), "{remedy}");
    assert_eq!(place.ids().await, [id]);
    assert_eq!(place.records().len(), 1);
}

#[tokio::test]
async fn nobody_is_recorded_as_somebody_else_but_those_for_whom_the_users_own_processes_ask() {
    let place = Place::new().await;
    let arguments = json!({ "container": "none" }).as_object().unwrap().clone();
    let call = CallToolRequestParams::new("runner_stop_container").with_arguments(arguments);
    let caller = json!({ "name": "the operator", "version": null, "transport": "cli" });
    let told = json!({ "caller": caller, "room": null, "watched": false });
    for (transport, recorded) in [
        (Transport::Http, Transport::Http),
        (Transport::Stdio, Transport::Stdio),
        (Transport::Socket, Transport::Cli),
    ] {
        let server = McpServer::new(place.host.clone(), false).over(transport);
        let mut call = call.clone();
        call.meta
            .get_or_insert_default()
            .0
            .0
            .insert("io.ipfs-accelerate/caller".into(), told.clone());
        place.client_of(server, ()).await.call_tool(call).await.unwrap();
        assert_eq!(place.records()[0].caller.transport, recorded);
    }
}

#[tokio::test]
async fn where_no_record_can_be_kept_nothing_is_changed() {
    let place = Place::new().await;
    let id = place.launch().await;
    std::fs::create_dir_all(place.state.path().join("state/audit.jsonl")).unwrap();
    let told = stop(&place.client(()).await, &id).await;
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("The log of calls"), "{told}");
    assert_eq!(place.ids().await, [id]);
}
