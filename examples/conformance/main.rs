//! The server that the official conformance suites want to meet: their tools, resources and
//! prompts, on the product's own HTTP. For tests only; `tests/mcp/run` starts it.
//!
//! What it offers and answers is in `world.json`, in the protocol's own words.

mod world;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rmcp::handler::server::ServerHandler;
use rmcp::model::*;
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use runner_kit::config::{self, Sources, StartInput};
use runner_kit::interfaces::http::{Access, Listening, Routes};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::world::{Deed, Kind, ToolSpec, WORLD, fill};

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Tools,
    Prompts,
}

#[derive(Clone)]
struct Fixtures {
    seal: Arc<RequestStateCodec>,
    changes: broadcast::Sender<Change>,
}

/// A value of the protocol from its JSON.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn said(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

impl Fixtures {
    fn new() -> Result<Self, RequestStateError> {
        let seal = RequestStateCodec::try_new("a key that only tests ever sign with")?;
        Ok(Self { seal: Arc::new(seal), changes: broadcast::channel(16).0 })
    }

    /// What is still to be asked, or that all rounds are over.
    fn ask(
        &self,
        rounds: &[InputRequests],
        state: Option<&str>,
        given: Option<&InputResponses>,
        context: &RequestContext<RoleServer>,
    ) -> Result<Option<InputRequiredResult>, ErrorData> {
        let mut round = match state.map(|state| self.seal.open_json::<usize>(state)) {
            None => 0,
            Some(Ok(round)) => round,
            Some(Err(_)) => return Err(ErrorData::invalid_params("The state is forged.", None)),
        };
        let able = context.client_capabilities().unwrap_or_default();
        let able = serde_json::to_value(able).unwrap_or_default();
        let Some(wanted) = rounds.get(round) else { return Ok(None) };
        let possible: InputRequests = wanted
            .iter()
            .filter(|(_, request)| able.get(needed(request)).is_some())
            .map(|(key, request)| (key.clone(), request.clone()))
            .collect();
        if possible.is_empty() {
            let needs = wanted.values().map(|request| (needed(request).to_owned(), json!({})));
            let needs = read(Value::Object(needs.collect()))?;
            return Err(ErrorData::missing_required_client_capability(needs));
        }
        let has = |key| given.and_then(|given| given.get(key)).is_some_and(Value::is_object);
        if possible.keys().all(has) {
            round += 1;
        }
        let Some(next) = rounds.get(round) else { return Ok(None) };
        let next = if round == 0 { possible } else { next.clone() };
        let state = self.seal.seal_json(&round);
        let state = state.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        Ok(Some(InputRequiredResult::new(Some(next), Some(state))))
    }

    async fn act(&self, deed: &Deed, context: &RequestContext<RoleServer>) -> CallToolResult {
        match deed {
            Deed::ChangeTools => drop(self.changes.send(Change::Tools)),
            Deed::ChangePrompts => drop(self.changes.send(Change::Prompts)),
            Deed::Progress => {
                for done in [0.0, 50.0, 100.0] {
                    if let Some(token) = context.meta.get_progress_token() {
                        let progress =
                            ProgressNotificationParam::new(token, done).with_total(100.0);
                        let _ = context.peer.notify_progress(progress).await;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Deed::Log => {
                if !wants_log(context) {
                    return said("Nobody wants the log.");
                }
                for text in
                    ["Tool execution started", "Tool processing data", "Tool execution completed"]
                {
                    let params = json!({ "level": "info", "data": text });
                    let log = json!({ "method": "notifications/message", "params": params });
                    if let Ok(log) = read(log) {
                        let _ = context.peer.send_notification(log).await;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        said("Done.")
    }
}

/// Older clients have the log of their session; the others ask for it with each request.
fn wants_log(context: &RequestContext<RoleServer>) -> bool {
    let meta = serde_json::to_value(&context.meta).unwrap_or_default();
    let stateless = context.protocol_version() >= Some(ProtocolVersion::V_2026_07_28);
    !stateless || meta.get("io.modelcontextprotocol/logLevel").is_some()
}

/// The capability that a client needs to be asked `request`.
fn needed(request: &InputRequest) -> &'static str {
    match request {
        InputRequest::CreateMessage(_) => "sampling",
        InputRequest::ListRoots(_) => "roots",
        _ => "elicitation",
    }
}

fn tool(name: &str, spec: &ToolSpec) -> Tool {
    let schema = spec.input_schema.clone();
    let schema = schema.unwrap_or_else(|| read(json!({ "type": "object" })).unwrap_or_default());
    Tool::new(name.to_owned(), format!("A fixture: {name}."), schema)
}

impl ServerHandler for Fixtures {
    fn get_info(&self) -> ServerConfig {
        let able = json!({
            "tools": { "listChanged": true }, "prompts": { "listChanged": true },
            "resources": { "subscribe": true }, "completions": {}, "logging": {},
        });
        let mut info = InitializeResult::new(read(able).unwrap_or_default());
        info.server_info = Implementation::new("conformance-fixtures", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = WORLD.tools.iter().map(|(name, spec)| tool(name, spec));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        WORLD.tools.get(name).map(|spec| tool(name, spec))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(spec) = WORLD.tools.get(&*request.name) else {
            return Err(ErrorData::invalid_params(format!("Unknown tool: {}", request.name), None));
        };
        match &spec.kind {
            Kind::Answer(answer) => {
                let mut result: CallToolResult = read(answer.clone())?;
                result.result_type = Some(ResultType::COMPLETE);
                Ok(result.into())
            }
            Kind::Does(deed) => Ok(self.act(deed, &context).await.into()),
            Kind::Asks(question) => {
                let answer = context.peer.send_request(read(question.clone())?).await;
                Ok(match answer.map(|answer| serde_json::to_string(&answer)) {
                    Ok(Ok(answer)) => said(answer),
                    failed => {
                        CallToolResult::error(vec![ContentBlock::text(format!("{failed:?}"))])
                    }
                }
                .into())
            }
            Kind::Rounds(rounds) => {
                let state = request.request_state.as_deref();
                let given = request.input_responses.as_ref();
                Ok(match self.ask(rounds, state, given, &context)? {
                    Some(question) => question.into(),
                    None if state.is_some() => said("Thank you; state-ok.").into(),
                    None => said("Thank you.").into(),
                })
            }
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let fixed = WORLD.resources.keys().filter(|uri| !uri.contains('{'));
        let resources = fixed.map(|uri| Resource::new(uri.clone(), uri.clone()));
        Ok(ListResourcesResult::with_all_items(resources.collect()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = WORLD.resources.keys().filter(|uri| uri.contains('{'));
        let templates = templates.map(|uri| ResourceTemplate::new(uri.clone(), uri.clone()));
        Ok(ListResourceTemplatesResult::with_all_items(templates.collect()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let found = WORLD.resources.iter().find_map(|(template, contents)| {
            let Some((before, after)) = template.split_once("{id}") else {
                return (*template == request.uri).then(|| contents.clone());
            };
            let id = request.uri.strip_prefix(before)?.strip_suffix(after)?;
            Some(fill(contents, &JsonObject::from_iter([("id".to_owned(), json!(id))])))
        });
        let Some(mut contents) = found else {
            let data = json!({ "uri": request.uri });
            return Err(ErrorData::resource_not_found("No such resource.", Some(data)));
        };
        if let Value::Object(contents) = &mut contents {
            contents.insert("uri".to_owned(), json!(request.uri));
        }
        Ok(ReadResourceResult::new(vec![read(contents)?]).into())
    }

    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        asked: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(asked.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = context.cancelled() => return Ok(()),
            };
            // What was not asked for is not sent: the sink refuses it.
            let _ = match change {
                Ok(Change::Tools) => context.sink().notify_tool_list_changed().await,
                Ok(Change::Prompts) => context.sink().notify_prompt_list_changed().await,
                Err(_) => return Ok(()),
            };
        }
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = WORLD.prompts.iter().map(|(name, spec)| {
            Prompt::new(name.clone(), Some(format!("A fixture: {name}.")), spec.arguments.clone())
        });
        Ok(ListPromptsResult::with_all_items(prompts.collect()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let Some(spec) = WORLD.prompts.get(&request.name) else {
            return Err(ErrorData::invalid_params("Unknown prompt.", None));
        };
        if !spec.rounds.is_empty() {
            let state = request.request_state.as_deref();
            let given = request.input_responses.as_ref();
            if let Some(question) = self.ask(&spec.rounds, state, given, &context)? {
                return Ok(question.into());
            }
        }
        let messages = fill(&spec.messages, &request.arguments.unwrap_or_default());
        Ok(GetPromptResult::new(read(messages)?).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let words = ["test", "testing", "toast"].map(str::to_owned).into_iter();
        let begun = words.filter(|word| word.starts_with(&request.argument.value));
        let found = CompletionInfo::new(begun.collect());
        Ok(CompleteResult::new(found.map_err(|error| ErrorData::internal_error(error, None))?))
    }

    #[expect(deprecated, reason = "older clients may still ask for it")]
    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let access = Access::of(&config::load(&Sources::from_process(), &StartInput::default())?)?;
    let listening = Listening::bind(([127, 0, 0, 1], 0).into(), access).await?;
    println!("http://{}/mcp", listening.address());
    let fixtures = Fixtures::new()?;
    let stop = CancellationToken::new();
    let serving = listening.serve(|_| fixtures.clone(), Routes::default(), stop);
    // Whoever started it ends it by closing its standard input.
    let ended = async { tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await };
    tokio::select! {
        () = serving => {}
        ended = ended => drop(ended?),
    }
    Ok(())
}
