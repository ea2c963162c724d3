//! The running service as its callers see it: an MCP client on the control socket.
//!
//! What a caller's own client is called, and what it can bear, goes along in `_meta`.

use std::collections::BTreeSet;
use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::handler::client::ClientHandler;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, ProgressNotificationParam,
    ReadResourceRequestParams, RequestMetaObject, ResourceContents,
    ResourceUpdatedNotificationParam, ServerResult, SubscribeRequestParams,
    UnsubscribeRequestParams,
};
use rmcp::service::{
    NotificationContext, PeerRequestOptions, RoleClient, RunningService, ServiceError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::host::Changes;
use super::service::Places;
use crate::audit::Caller;
use crate::error::{Error, Result};
use crate::operations::{Answer, Arguments, Call};
use crate::resource::Resource;

/// How long the service may take to greet a caller: it asks nobody before it does.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where `_meta` tells the service about the caller.
pub(super) const CALLER: &str = "io.ipfs-accelerate/caller";

/// What a caller tells the service of its own client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OnBehalf {
    /// Who asks.
    pub(super) caller: Caller,
    /// See [`Call::room`].
    pub(super) room: Option<usize>,
    /// Whether anybody wants to be told of progress: clients give a token with every request.
    pub(super) watched: bool,
}

/// A connection to the running service.
pub(super) struct Remote(RunningService<RoleClient, Listener>);

/// Hears what the service tells unasked.
#[derive(Default)]
struct Listener {
    progress: Option<mpsc::UnboundedSender<String>>,
    changed: Option<Changes>,
}

impl ClientHandler for Listener {
    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        if let (Some(tell), Some(message)) = (&self.progress, progress.message) {
            // Who no longer listens is answered all the same.
            let _ = tell.send(message);
        }
    }

    async fn on_resource_updated(
        &self,
        updated: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        if let (Some(tell), Ok(resource)) = (&self.changed, updated.uri.parse()) {
            tell.add(&resource);
        }
    }
}

impl Remote {
    /// A conversation with the service; `None` when there is none, or one that is ending.
    async fn to(places: &Places, listener: Listener) -> Option<Result<Self>> {
        let greeting = listener.serve(places.connect().await?);
        match tokio::time::timeout(PATIENCE, greeting).await {
            Ok(greeted) => greeted.ok().map(Self).map(Ok),
            Err(_) => Some(Err(broken(&"it says nothing"))),
        }
    }

    /// Has the service do `tool`; `None` when there is no service.
    pub(super) async fn call(
        places: &Places,
        tool: &'static str,
        arguments: Arguments,
        call: &Call,
    ) -> Option<Result<Answer<Value>>> {
        let listener = Listener { progress: call.progress.clone(), changed: None };
        let Self(client) = match Self::to(places, listener).await? {
            Ok(remote) => remote,
            Err(error) => return Some(Err(error)),
        };
        let answer = ask(&client, tool, arguments, call).await;
        // Saying good-bye is a courtesy.
        let _ = client.cancel().await;
        Some(answer)
    }

    /// What the service says of `resource`; `None` when there is no service.
    pub(super) async fn read(places: &Places, resource: &Resource) -> Option<Result<String>> {
        let Self(client) = match Self::to(places, Listener::default()).await? {
            Ok(remote) => remote,
            Err(error) => return Some(Err(error)),
        };
        let read = client.read_resource(ReadResourceRequestParams::new(resource.to_string())).await;
        let _ = client.cancel().await;
        Some(read.map_err(|error| refused(&error)).and_then(|result| {
            match result.contents.into_iter().next() {
                Some(ResourceContents::TextResourceContents { text, .. }) => Ok(text),
                _ => Err(broken(&"it answered without content")),
            }
        }))
    }

    /// Tells `changed` what the service says has changed, of what is `wanted`, until the service
    /// ends; whether there was one.
    pub(super) async fn watch(
        places: &Places,
        wanted: &mut watch::Receiver<BTreeSet<Resource>>,
        changed: &Changes,
    ) -> bool {
        let listener = Listener { progress: None, changed: Some(changed.clone()) };
        let Some(Ok(Self(client))) = Self::to(places, listener).await else { return false };
        let peer = client.peer().clone();
        let follow = async {
            let mut asked = BTreeSet::new();
            loop {
                let now = wanted.borrow_and_update().clone();
                for gone in asked.difference(&now) {
                    unsubscribe(&peer, gone).await?;
                }
                for new in now.difference(&asked) {
                    subscribe(&peer, new).await?;
                    // It may have changed while nobody watched.
                    changed.add(new);
                }
                asked = now;
                if wanted.changed().await.is_err() {
                    return Ok::<(), ServiceError>(());
                }
            }
        };
        tokio::select! {
            _ = follow => {}
            _ = client.waiting() => {}
        }
        true
    }
}

// The service speaks the revision that has them: one connection, many subscriptions.
#[expect(deprecated)]
async fn subscribe(peer: &rmcp::Peer<RoleClient>, resource: &Resource) -> Result<(), ServiceError> {
    peer.subscribe(SubscribeRequestParams::new(resource.to_string())).await
}

#[expect(deprecated)]
async fn unsubscribe(
    peer: &rmcp::Peer<RoleClient>,
    resource: &Resource,
) -> Result<(), ServiceError> {
    peer.unsubscribe(UnsubscribeRequestParams::new(resource.to_string())).await
}

async fn ask(
    client: &RunningService<RoleClient, Listener>,
    tool: &'static str,
    arguments: Arguments,
    call: &Call,
) -> Result<Answer<Value>> {
    let on_behalf =
        OnBehalf { caller: call.caller.clone(), room: call.room, watched: call.progress.is_some() };
    let mut meta = RequestMetaObject::new();
    if let Ok(told) = serde_json::to_value(on_behalf) {
        meta.0.0.insert(CALLER.to_owned(), told);
    }
    let mut params = CallToolRequestParams::new(tool).with_arguments(arguments);
    params.meta = Some(meta);
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    let sent = client.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
    let mut sent = sent.map_err(|error| broken(&error))?;
    let answer = tokio::select! {
        answer = &mut sent.rx => answer,
        () = call.cancelled.cancelled() => {
            // The service undoes what it began; that it hears of it is all we can do.
            let _ = sent.cancel(Some("the caller no longer waits".to_owned())).await;
            return Err(call.given_up());
        }
    };
    match answer {
        Ok(Ok(ServerResult::CallToolResult(result))) => {
            let content = result.structured_content;
            Answer::from_envelope(content.ok_or_else(|| broken(&"it answered without content"))?)
        }
        Ok(Ok(_)) => Err(broken(&"it answered something else")),
        Ok(Err(error)) => Err(broken(&error)),
        Err(error) => Err(broken(&error)),
    }
}

/// The error of the service itself, where it sent one along.
fn refused(error: &ServiceError) -> Error {
    let told = match error {
        ServiceError::McpError(error) => error.data.as_ref(),
        _ => None,
    };
    let told = told.and_then(|data| serde_json::from_value(data.get("error")?.clone()).ok());
    told.unwrap_or_else(|| broken(error))
}

fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::internal(
        format!("The running service did not answer: {error}."),
        "Look at its log; stop it and start it again.",
    )
}
