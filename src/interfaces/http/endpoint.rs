//! `/mcp` for one role: rmcp's service, with bounds that it does not have.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use rmcp::ServerHandler;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use super::refusal::{Refusal, read};

/// Sessions of older clients that say nothing are dropped after this long.
const SESSION_IDLE: Duration = Duration::from_secs(120);
/// Most sessions of a role at a time; each costs about 50 KB.
const SESSIONS: usize = 64;
/// New sessions at once, and the time after which there is one more.
const OPENINGS: (u32, Duration) = (128, Duration::from_millis(100));

/// Serves MCP to clients of one role. Cheap to clone.
pub(super) struct Endpoint<S>(Arc<Inner<S>>);

struct Inner<S> {
    service: StreamableHttpService<S, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
    openings: Bucket,
    /// Held while a session is opened, so that two don't share the last place.
    opening: Mutex<()>,
}

impl<S> Clone for Endpoint<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: ServerHandler + Clone> Endpoint<S> {
    pub(super) fn new(server: S, stop: &CancellationToken) -> Self {
        // Hosts, origins and lengths are checked before anything comes here.
        let config = StreamableHttpServerConfig::default()
            .with_json_response(true)
            .with_cancellation_token(stop.child_token())
            .disable_allowed_hosts();
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_IDLE);
        let sessions = Arc::new(sessions);
        let service =
            StreamableHttpService::new(move || Ok(server.clone()), sessions.clone(), config);
        let openings = Bucket::new(OPENINGS.0, OPENINGS.1);
        Self(Arc::new(Inner { service, sessions, openings, opening: Mutex::default() }))
    }

    pub(super) async fn answer(self, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let body = read(body).await?;
        let opens = parts.method == Method::POST && opens_session(&body);
        let _turn = if opens { Some(self.place().await?) } else { None };
        let request = Request::from_parts(parts, Body::from(body));
        Ok(self.0.service.handle(request).await.map(Body::new).into_response())
    }

    /// Waits for a turn to open a session, if there is room for one.
    async fn place(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Refusal> {
        self.0.openings.take().map_err(|wait| {
            let message = "Too many new sessions.";
            Refusal::later(StatusCode::TOO_MANY_REQUESTS, message, wait)
        })?;
        let turn = self.0.opening.lock().await;
        if self.0.sessions.sessions.read().await.len() < SESSIONS {
            return Ok(turn);
        }
        let message = "There are 64 sessions already, which is all that there may be.";
        Err(Refusal::later(StatusCode::SERVICE_UNAVAILABLE, message, SESSION_IDLE))
    }
}

/// Whether rmcp would open a session: it reads the message as the same type.
fn opens_session(body: &Bytes) -> bool {
    let message = serde_json::from_slice(body);
    matches!(message, Ok(ClientJsonRpcMessage::Request(request))
        if matches!(request.request, ClientRequest::InitializeRequest(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_opened_by_initialize_however_it_is_written() {
        let params = r#""params": {"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "a", "version": "1"}}"#;
        for (method, opens) in
            [("initialize", true), (r"\u0069nitialize", true), ("tools/list", false)]
        {
            let text = format!(r#"{{"jsonrpc": "2.0", "id": 1, "method": "{method}", {params}}}"#);
            assert_eq!(opens_session(&Bytes::from(text)), opens, "{method}");
        }
        assert!(!opens_session(&Bytes::from_static(b"initialize")));
    }
}
