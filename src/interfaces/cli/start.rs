//! `runner start`: become the service, or start one, or find the one that runs.

use std::sync::Arc;

use clap::ArgMatches;

use super::interrupted;
use super::log;
use super::output::{self, Output};
use crate::assemble;
use crate::audit::Transport;
use crate::config::{Loaded, Sources, StartInput, load};
use crate::error::Result;
use crate::interfaces::host::Host;
use crate::interfaces::http;
use crate::interfaces::logfile;
use crate::interfaces::mcp::McpServer;
use crate::interfaces::service::{self, Places};
use crate::interfaces::supervisor;
use crate::operations::{self, Arguments, Call};
use crate::views::Mode;

pub(super) async fn start(
    matches: &ArgMatches,
    sources: Sources,
    mut arguments: Arguments,
    output: &Output,
) -> Result<()> {
    let loaded = load(&sources, &StartInput::default())?;
    if matches.get_flag("print_config") {
        return output.rows(&loaded.rows);
    }
    let detached = matches.get_flag("detached");
    let background = loaded.background.unwrap_or(false) && !detached;
    let places = Places::of(&loaded.config, &sources.env);
    // A detached service makes its own claim; one that runs answers for itself.
    let claim = if background { None } else { places.claim_or_find().await? };
    let Some(claim) = claim else {
        arguments.insert("background".into(), true.into());
        return ask(sources, arguments, output).await;
    };
    if detached {
        leave_the_terminal();
        tokio::spawn(logfile::keep_small(places.log));
    }
    let to_log = log::is_json(&sources.env)?;
    let kit = assemble::kit(loaded.config.clone(), &sources.env, Mode::Service)?;
    let keep_trying = matches.get_flag("keep_trying");
    let stop = interrupted();
    let host = Arc::new(Host::service(kit.clone(), &loaded));
    let (recorder, watched) = (host.clone(), (kit.clone(), stop.clone()));
    // Whoever starts it detached may serve that address already.
    let serving = match loaded.http.filter(|_| !matches.get_flag("no_http")) {
        Some(_) => Some(serve_http(&loaded, host.clone(), to_log, stop.clone()).await?),
        None => None,
    };
    let ready = || {
        tracing::info!(instance = loaded.config.instance, "ready");
        if !detached {
            tokio::spawn(supervisor::tell(watched.0, keep_trying, watched.1));
        }
        // Whoever had a detached service started keeps the record of it.
        if let (Some(entry), false) = (operations::find(operations::START), detached) {
            let call = Call::by("ipfs-accelerate", Transport::Cli);
            recorder.record(entry, arguments, &call, Ok("The autoscaler started, here."));
        }
    };
    let interrupted = stop.clone().cancelled_owned();
    let ended = service::run(kit, host, claim, keep_trying, ready, interrupted).await;
    stop.cancel();
    if let Some(serving) = serving {
        // It has nothing to tell; the service's outcome counts.
        let _ = serving.await;
    }
    ended
}

/// Has the running service, or one that is started for it, answer.
async fn ask(sources: Sources, arguments: Arguments, output: &Output) -> Result<()> {
    let host = Host::caller(sources)?;
    let entry = operations::find(operations::START).ok_or_else(super::odd)?;
    let call = super::typed(entry, output);
    output.answer(entry.tool, &host.call(entry, arguments, &call).await?)
}

async fn serve_http(
    loaded: &Loaded,
    host: Arc<Host>,
    to_log: bool,
    stop: tokio_util::sync::CancellationToken,
) -> Result<tokio::task::JoinHandle<()>> {
    let Some(address) = loaded.http else { return Err(super::odd()) };
    let access = http::Access::of(loaded)?;
    let routes = http::routes(host.clone(), &access);
    let listening = http::Listening::bind(address, access).await?;
    output::announce(&listening, to_log)?;
    let server = McpServer::new(host, false);
    Ok(tokio::spawn(listening.serve(http::by_role(server), routes, stop)))
}

/// Becomes the leader of a session of its own, so that the terminal's end does not end it.
fn leave_the_terminal() {
    // Fails only for the leader of a group, which has no terminal's session to leave.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "no session of its own");
    }
    // A detached service must not keep the directory of its caller busy.
    if let Err(error) = std::env::set_current_dir("/") {
        tracing::debug!(%error, "the directory was kept");
    }
}
