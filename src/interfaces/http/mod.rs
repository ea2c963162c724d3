//! HTTP: MCP at `/mcp`, metrics at `/metrics`, health at `/healthz` and `/readyz`.
//!
//! All but health needs a bearer token; the loopback address is the default, and another one is
//! refused unless the operator has chosen the token.

mod metrics;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::tokens::{Role, Tokens};
use super::host::Host;
use super::mcp::McpServer;
use crate::error::{Code, Error, Result};
use crate::operations;

/// How long open streams may go on when the server ends.
const DRAIN: Duration = Duration::from_secs(2);
/// Sessions of older clients that say nothing are dropped after this long.
const SESSION_IDLE: Duration = Duration::from_secs(120);

/// A port that is listened at, and not answered yet.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Listens at `address`.
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::internal(
                format!("HTTP cannot be served at {address}: {error}."),
                "Choose another address with --http ADDRESS:PORT.",
            )
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves MCP with what `server_for` makes for each role, and `routes` beside it, until `stop`
    /// is cancelled.
    pub async fn serve<S: ServerHandler + Clone>(
        self,
        server_for: impl Fn(Role) -> S,
        routes: Routes,
        tokens: Tokens,
        stop: CancellationToken,
    ) -> Result<()> {
        tokens.must_be_chosen(self.address)?;
        if !self.address.ip().is_loopback() {
            tracing::warn!(address = %self.address, "HTTP is served without TLS: put a proxy with TLS before it");
        }
        let router = router(self.address, server_for, routes, tokens, &stop);
        // Without it an event of a stream waits for the client's acknowledgement, 40 ms.
        let listener = self.listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection stays slow");
            }
        });
        let (closing, closed) = (stop.clone(), stop.clone());
        let serving =
            axum::serve(listener, router).with_graceful_shutdown(closing.cancelled_owned());
        tokio::select! {
            served = serving.into_future() => served.map_err(|error| {
                Error::internal(format!("HTTP ended: {error}."), "Start it again.")
            }),
            () = async { closed.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
        }
    }
}

/// Routes beside `/mcp`. A program that serves another MCP server on this stack has its own, or none.
#[derive(Debug, Default)]
pub struct Routes {
    /// For everybody.
    pub open: Router,
    /// For those who have a token.
    pub guarded: Router,
}

/// Gives `server` to those who may operate, and what only looks to those who may look.
pub fn by_role(server: McpServer) -> impl Fn(Role) -> McpServer {
    move |role| match role {
        Role::Operate => server.clone(),
        Role::Look => server.looking_only(),
    }
}

/// The product's own routes: metrics and health of what `host` does.
pub fn routes(host: Arc<Host>) -> Routes {
    let open = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(host.clone());
    let guarded = Router::new().route("/metrics", get(metrics::scrape)).with_state(host);
    Routes { open, guarded }
}

fn router<S: ServerHandler + Clone>(
    address: SocketAddr,
    server_for: impl Fn(Role) -> S,
    routes: Routes,
    tokens: Tokens,
    stop: &CancellationToken,
) -> Router {
    let port = address.port();
    let names = [
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "[::1]".to_owned(),
        address.ip().to_string(),
    ];
    let origins: Vec<_> = names.iter().map(|name| format!("http://{name}:{port}")).collect();
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_cancellation_token(stop.child_token())
        .with_allowed_hosts(names)
        .with_allowed_origins(origins);
    // The names by which others reach this host are theirs to know; the chosen token protects it.
    let config = if address.ip().is_loopback() { config } else { config.disable_allowed_hosts() };
    let service = |role: Role| {
        let server = server_for(role);
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_IDLE);
        StreamableHttpService::new(move || Ok(server.clone()), Arc::new(sessions), config.clone())
    };
    let (operate, look) = (service(Role::Operate), service(Role::Look));
    // Who has no role never gets here; if that were ever wrong, nothing is answered.
    let mcp = move |request: Request| {
        let service = match request.extensions().get::<Role>() {
            Some(Role::Operate) => Some(operate.clone()),
            Some(Role::Look) => Some(look.clone()),
            None => None,
        };
        async move {
            match service {
                Some(service) => service.handle(request).await.map(axum::body::Body::new),
                None => StatusCode::UNAUTHORIZED.into_response(),
            }
        }
    };
    Router::new()
        .route("/mcp", any(mcp))
        .merge(routes.guarded)
        .route_layer(middleware::from_fn_with_state(Arc::new(tokens), authorize))
        .merge(routes.open)
}

async fn authorize(
    State(tokens): State<Arc<Tokens>>,
    mut request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|given| tokens.role(given)) {
        Some(role) => {
            request.extensions_mut().insert(role);
            next.run(request).await
        }
        None => {
            let error = Error::new(
                Code::NotAuthenticated,
                "A bearer token is needed.",
                "Send `Authorization: Bearer TOKEN`; the token's file is named when the server starts.",
            );
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, challenge, axum::Json(operations::failure(&error)))
                .into_response()
        }
    }
}

/// Ready is a loop that runs and last saw what it looked for.
async fn ready(State(host): State<Arc<Host>>) -> Response {
    let (status, text) = match host.status().await {
        Ok(state) if state.running && state.last_check.is_some() && state.last_error.is_none() => {
            (StatusCode::OK, "ready\n".to_owned())
        }
        Ok(state) => {
            let why = match &state.last_error {
                Some(error) => error.code.as_str(),
                None if state.running => "the first look is under way",
                None => "the autoscaler is not running",
            };
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
        }
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", error.code.as_str()))
        }
    };
    (status, text).into_response()
}
