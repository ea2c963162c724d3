//! The least that a seven-tool MCP server can be on the same library and transports: what
//! `benches/mcp` holds the product against. Its tools do nothing.
//!
//! `dummy` serves stdio; `dummy --socket PATH` a Unix socket; `dummy --http ADDRESS` streamable
//! HTTP at `/mcp`, and prints where.

#![allow(missing_docs)]

use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, InitializeResult, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServiceExt};
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const TOOLS: [&str; 7] = [
    "dummy_start_autoscaler",
    "dummy_stop_autoscaler",
    "dummy_get_status",
    "dummy_list_workflows",
    "dummy_provision_for_workflow",
    "dummy_list_containers",
    "dummy_stop_container",
];

#[derive(Clone)]
struct Dummy;

impl ServerHandler for Dummy {
    fn get_info(&self) -> InitializeResult {
        InitializeResult::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = Arc::new(serde_json::Map::from_iter([("type".to_owned(), "object".into())]));
        let tools = TOOLS.map(|name| Tool::new(name, "Does nothing.", schema.clone()));
        Ok(ListToolsResult::with_all_items(tools.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if !TOOLS.contains(&request.name.as_ref()) {
            return Err(ErrorData::invalid_params("Unknown tool", None));
        }
        Ok(CallToolResult::structured(json!({ "success": true })).into())
    }
}

#[tokio::main]
async fn main() -> Done {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            let running = Dummy.serve((tokio::io::stdin(), tokio::io::stdout())).await?;
            running.waiting().await?;
            Ok(())
        }
        ["--socket", path] => socket(path).await,
        ["--http", address] => http(address).await,
        _ => Err("usage: dummy [--socket PATH | --http ADDRESS]".into()),
    }
}

async fn socket(path: &str) -> Done {
    let listener = UnixListener::bind(path)?;
    println!("Serving MCP at {path}");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Ok(running) = Dummy.serve(stream).await {
                let _ = running.waiting().await;
            }
        });
    }
}

async fn http(address: &str) -> Done {
    let listener = TcpListener::bind(address).await?;
    println!("Serving MCP at http://{}/mcp", listener.local_addr()?);
    let config = StreamableHttpServerConfig::default().with_json_response(true);
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(|| Ok(Dummy), sessions, config);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, Router::new().nest_service("/mcp", service)).await?;
    Ok(())
}
