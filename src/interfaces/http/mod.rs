//! HTTP: MCP at `/mcp`, a page at `/`, metrics at `/metrics`, health at `/healthz` and `/readyz`,
//! and GitHub's webhooks at `/webhooks/github`.
//!
//! A request comes by its connection (`connections`) to the door, which knows hosts and origins
//! (`door`), and must then show who sends it (`access`): a bearer token (`tokens`), or a session
//! token (`session`) that a browser was given for the code in a link (`codes`). All but health,
//! the page and that exchange need one. Webhooks come past the door: they are signed (`webhooks`). The loopback address is the default; another one is refused
//! unless the operator has chosen the token.

mod access;
mod beacon;
mod bucket;
mod codes;
mod connections;
mod door;
mod endpoint;
mod health;
mod link;
mod measures;
mod metrics;
mod page;
mod refusal;
mod session;
mod tokens;
mod webhooks;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use rmcp::ServerHandler;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::access::{Access, Link};
use self::beacon::Beacon;
use self::endpoint::Endpoint;
use self::refusal::Refusal;
pub use self::tokens::Role;
use self::webhooks::Webhooks;
pub use self::webhooks::secrets as webhook_secrets;
use super::host::Host;
use super::mcp::McpServer;
use crate::audit::Transport;
use crate::error::{Code, Error, Result};

/// A port that is listened at, and not answered yet.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    access: Access,
    /// Without it all works but `mcp link`.
    beacon: Option<Beacon>,
}

impl Listening {
    /// Listens at `address` for those whom `access` lets in. A public address is refused unless
    /// the operator chose the token.
    pub async fn bind(address: SocketAddr, access: Access) -> Result<Self> {
        access.must_be_chosen(address)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "HTTP is served without TLS: put a proxy with TLS before it");
        }
        let failed = |error: std::io::Error| {
            Error::internal(
                format!("HTTP cannot be served at {address}: {error}."),
                "Choose another address with --http ADDRESS:PORT.",
            )
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let beacon = Beacon::light(access.beacon(), address).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "other commands cannot find the HTTP server");
            None
        });
        Ok(Self { listener, address, access, beacon })
    }

    /// The address, with the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of the token that was made for the user, unless the operator chose one.
    pub fn token_file(&self) -> Option<&Path> {
        self.access.token_file()
    }

    /// A link that signs a browser in as `role`.
    pub fn link(&self, role: Role) -> Result<Link> {
        self.access.link(self.address, role)
    }

    /// Serves MCP with what `server_for` makes for each role, and `routes` beside it, until `stop`
    /// is cancelled.
    pub async fn serve<S: ServerHandler + Clone>(
        self,
        server_for: impl Fn(Role) -> S,
        routes: Routes,
        stop: CancellationToken,
    ) {
        let router = router(self.address, server_for, routes, self.access, &stop);
        connections::serve(self.listener, router, stop).await;
        drop(self.beacon);
    }
}

/// Routes beside `/mcp`. A program that serves another MCP server on this stack has its own, or none.
#[derive(Debug, Default)]
pub struct Routes {
    /// For everybody.
    pub open: Router,
    /// For those who have a token.
    pub guarded: Router,
    /// For those who sign what they send, to whatever name of this host.
    pub signed: Router,
}

/// Gives `server` to those who may operate, and what only looks to those who may look.
pub fn by_role(server: McpServer) -> impl Fn(Role) -> McpServer {
    let server = server.over(Transport::Http);
    move |role| match role {
        Role::Operate => server.clone(),
        Role::Look => server.looking_only(),
    }
}

/// The product's own routes: the page, metrics and health of what `host` does, and webhooks for it
/// from those whom `access` knows.
pub fn routes(host: Arc<Host>, access: &Access) -> Routes {
    let webhooks = Webhooks::new(host.clone(), access.webhooks());
    let open = health::routes(host.clone()).merge(page::routes());
    let guarded = Router::new()
        .route("/metrics", get(metrics::scrape))
        .with_state((host, webhooks.deliveries()));
    Routes { open, guarded, signed: webhooks.routes() }
}

fn router<S: ServerHandler + Clone>(
    address: SocketAddr,
    server_for: impl Fn(Role) -> S,
    routes: Routes,
    access: Access,
    stop: &CancellationToken,
) -> Router {
    let endpoint = |role| Endpoint::new(server_for(role), stop);
    let (operate, look) = (endpoint(Role::Operate), endpoint(Role::Look));
    // Who has no role never gets here; if that were ever wrong, nothing is answered.
    let mcp = move |request: Request| {
        let endpoint = match request.extensions().get::<Role>() {
            Some(Role::Operate) => Some(operate.clone()),
            Some(Role::Look) => Some(look.clone()),
            None => None,
        };
        async move {
            match endpoint {
                Some(endpoint) => endpoint.answer(request).await.into_response(),
                None => StatusCode::UNAUTHORIZED.into_response(),
            }
        }
    };
    let door = Arc::new(access.door(address));
    Router::new()
        .route("/mcp", any(mcp))
        .route("/session/code", post(access::make_code))
        .fallback(nothing)
        .with_state(access.clone())
        .merge(routes.guarded)
        .layer(middleware::from_fn_with_state(access.clone(), access::authorize))
        .merge(Router::new().route("/session", post(access::sign_in)).with_state(access))
        .merge(routes.open)
        .layer(door.cors())
        .layer(middleware::from_fn_with_state(door, door::guard))
        .merge(routes.signed)
}

async fn nothing() -> Refusal {
    let remedy = "MCP is at /mcp, the page at /.";
    Refusal::new(
        StatusCode::NOT_FOUND,
        Error::new(Code::NotFound, "There is nothing here.", remedy),
    )
}
