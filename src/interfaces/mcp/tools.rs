//! Tools: how each operation is shown, and a call of one from its arguments to its result.

use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::Lazy;
use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock,
    ProgressNotificationParam, ProgressToken, Tool, ToolAnnotations,
};
use rmcp::service::{Peer, RequestContext, RoleServer};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::McpServer;
use super::confirm::{Asked, Confirmation};
use super::resources::linked;
use crate::audit::{Caller, Transport};
use crate::error::{Code, Error, Result};
use crate::interfaces::remote::{CALLER, OnBehalf};
use crate::model::clean_text;
use crate::operations::{self, Answer, Arguments, Call, Entry, OPERATIONS};
use crate::schema;

/// Bytes of the entries of a list: with the rest a result stays under 8 KB, which a model can bear.
const ROOM: usize = 7_000;

/// How long the last steps may take to reach the client.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// The tools in the order of the table, made once: each call is checked against its own.
static TOOLS: Lazy<Vec<Tool>> = Lazy::new(|| OPERATIONS.iter().map(tool).collect());

/// The tools of the operations that are `offered`.
pub(super) fn tools(offered: impl Fn(&Entry) -> bool) -> Vec<Tool> {
    let both = OPERATIONS.iter().zip(TOOLS.iter());
    both.filter(|(entry, _)| offered(entry)).map(|(_, tool)| tool.clone()).collect()
}

/// The tool `name`.
pub(super) fn find(name: &str) -> Option<Tool> {
    TOOLS.iter().find(|tool| tool.name == name).cloned()
}

/// How an operation is shown.
fn tool(entry: &Entry) -> Tool {
    let object = |schema: Value| match schema {
        Value::Object(schema) => Arc::new(schema),
        _ => Arc::default(),
    };
    let mut tool = Tool::new(entry.tool, entry.about, object((entry.input_schema)()));
    tool.title = Some(entry.title.to_owned());
    tool.output_schema = Some(object(results(entry)));
    tool.annotations = Some(ToolAnnotations::from_raw(
        None,
        Some(entry.hints.read_only),
        Some(entry.hints.destructive),
        Some(entry.hints.idempotent),
        Some(entry.hints.open_world),
    ));
    tool
}

/// The schema of results as clients are sent it with every list: short, for a model reads it. It
/// admits all that the whole one in `schemas/` does: failures, and what tells more, as well.
fn results(entry: &Entry) -> Value {
    let mut schema = (entry.output_schema)();
    schema::bare(&mut schema);
    if let Value::Object(members) = &mut schema {
        members.remove("additionalProperties");
        members.insert("required".into(), json!(["success"]));
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let known = |name: &str| matches!(name, "success" | "data" | "message" | "next_cursor");
        properties.retain(|name, _| known(name));
        if entry.tool == operations::START {
            let changed = json!({ "changed": { "type": "boolean" } });
            // The rest of it is the status, as the tool for that tells.
            let data = json!({ "type": "object", "properties": changed });
            properties.insert("data".into(), data);
        }
    }
    schema
}

impl McpServer {
    /// Calls `entry`; asks the user where that needs a confirmation and the client can be asked.
    pub(super) async fn call(
        &self,
        entry: &'static Entry,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (call, told) = self.received(&context);
        let telling =
            told.map(|(token, steps)| tokio::spawn(tell(context.peer.clone(), token, steps)));
        let confirmation = Confirmation::of(entry, &request, &self.seal)?;
        let arguments = request.arguments.unwrap_or_default();
        if entry.tool == operations::START && arguments.get("background") == Some(&false.into()) {
            // It would stay for ever.
            let (hung_up, cancelled) = (self.hung_up.clone(), call.cancelled.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = hung_up.cancelled() => cancelled.cancel(),
                    () = cancelled.cancelled() => {}
                }
            });
        }
        let answer = match confirmation {
            Confirmation::Given(subject) => self.confirmed(entry, arguments, subject, &call).await,
            Confirmation::Denied => Err(self.denied(entry, arguments, &call)),
            Confirmation::None => match self.run(entry, arguments.clone(), &call).await {
                Err(error) if error.code == Code::ConfirmationRequired => {
                    match self.ask(entry, &arguments, error, &context).await {
                        Ok(Asked::Agreed(subject)) => {
                            self.confirmed(entry, arguments, subject, &call).await
                        }
                        Ok(Asked::Refused) => Err(self.denied(entry, arguments, &call)),
                        Ok(Asked::Later(question)) => return Ok(question.into()),
                        Err(error) => Err(error),
                    }
                }
                answer => answer,
            },
        };
        drop(call);
        if let Some(telling) = telling {
            // What was told before the end is to reach the client before the answer.
            let _ = tokio::time::timeout(LAST_STEPS, telling).await;
        }
        Ok(result(answer).into())
    }

    pub(super) async fn run(
        &self,
        entry: &'static Entry,
        arguments: Arguments,
        call: &Call,
    ) -> Result<Answer<Value>> {
        if self.offers(entry) {
            return self.host.call(entry, arguments, call).await;
        }
        let error = Error::new(
            Code::ReadOnly,
            format!("{} changes something, and you may only look here.", entry.tool),
            "Over HTTP use the token to operate; or ask the operator to start it without --read-only.",
        );
        self.host.record(entry, arguments, call, Err(&error));
        Err(error)
    }

    /// Who calls, and what they want to be told meanwhile.
    fn received(&self, context: &RequestContext<RoleServer>) -> (Call, Option<Told>) {
        let info = context.client_info();
        let name = info.as_ref().map_or("unknown", |info| info.name.as_str());
        let mut call = Call::by(&clean_text(name, 60), self.transport);
        call.caller.version = info.map(|info| clean_text(&info.version, 30));
        call.cancelled = context.ct.clone();
        call.room = Some(ROOM);
        let mut wanted = true;
        // Only this user's processes reach the socket, and ours tell for whom they ask.
        if self.transport == Transport::Socket
            && let Some(told) = context.meta.0.0.get(CALLER)
            && let Ok(OnBehalf { caller, room, watched }) = serde_json::from_value(told.clone())
        {
            let Caller { name, version, transport } = caller;
            let version = version.map(|version| clean_text(&version, 30));
            call.caller = Caller { name: clean_text(&name, 60), version, transport };
            (call.room, wanted) = (room, watched);
        }
        let token = context.meta.get_progress_token().filter(|_| wanted);
        let told = token.map(|token| {
            let (progress, told) = unbounded_channel();
            call.progress = Some(progress);
            (token, told)
        });
        (call, told)
    }
}

/// What is to be told to whoever gave the token.
type Told = (ProgressToken, UnboundedReceiver<String>);

async fn tell(peer: Peer<RoleServer>, token: ProgressToken, mut steps: UnboundedReceiver<String>) {
    let mut step = 0.0;
    while let Some(message) = steps.recv().await {
        step += 1.0;
        let mut progress = ProgressNotificationParam::new(token.clone(), step);
        progress.message = Some(message);
        if peer.notify_progress(progress).await.is_err() {
            return;
        }
    }
}

/// The result of a tool: all of it as structured content, which some clients alone show, the same
/// as text, and links to what tells more.
fn result(answer: Result<Answer<Value>>) -> CallToolResult {
    match answer {
        Ok(answer) => {
            let mut result = CallToolResult::structured(answer.envelope());
            let links = answer.see.iter().filter_map(|uri| uri.parse().ok());
            result.content.extend(links.map(|see| ContentBlock::resource_link(linked(&see))));
            result
        }
        Err(error) => CallToolResult::structured_error(operations::failure(&error)),
    }
}
