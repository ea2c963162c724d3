//! The command line: `runner` with one command per operation, `mcp start`, `doctor`,
//! `bundle`, `demo`.

mod doctor;
mod log;
mod output;
mod start;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgMatches, FromArgMatches};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::output::Output;
use super::host::Host;
use super::mcp::McpServer;
use super::{bundle, generate, http};
use crate::audit::{Audit, Transport};
use crate::config::{Environment, OperatorOptions, Sources, StartInput, load};
use crate::error::{Code, Error, Result};
use crate::operations::{self, Arguments, Call, Entry, OPERATIONS};

/// Runs the program with `arguments`, the first of which is its own name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let output = Output::guess(&arguments);
    let done = match tree::command().try_get_matches_from(arguments) {
        Ok(matches) => run(&matches, &output),
        Err(error) => return output.usage(&error),
    };
    match done {
        Ok(code) => code,
        Err(error) => output.error(&error),
    }
}

fn run(matches: &ArgMatches, output: &Output) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Error::internal(
            format!("The program cannot run: {error}."),
            "Check the limits of this user.",
        )
    })?;
    let done = runtime.block_on(dispatch(matches, output));
    // A read of stdin that nobody answers must not keep the program.
    runtime.shutdown_background();
    done
}

/// The exit code of what did not fail.
async fn dispatch(matches: &ArgMatches, output: &Output) -> Result<ExitCode> {
    let env = Environment::from_process();
    if let Some(("doctor", matches)) = matches.subcommand() {
        let sources = sources(matches, env)?;
        log::start(matches, &sources.env, "error")?;
        let is_well = doctor::doctor(matches, &sources, output).await?;
        return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    command(matches, env, output).await.map(|()| ExitCode::SUCCESS)
}

async fn command(matches: &ArgMatches, env: Environment, output: &Output) -> Result<()> {
    match matches.subcommand() {
        Some(("runner", matches)) => match matches.subcommand() {
            Some(("history", matches)) => {
                let sources = sources(matches, env)?;
                log::start(matches, &sources.env, "warn")?;
                history(matches, &sources, output)
            }
            Some((name, matches)) => {
                let entry =
                    OPERATIONS.iter().find(|entry| entry.command == name).ok_or_else(odd)?;
                let sources = sources(matches, env)?;
                let arguments = (entry.typed)(matches)?;
                if entry.tool == operations::START {
                    log::start(matches, &sources.env, "info")?;
                    return start::start(matches, sources, arguments, output).await;
                }
                log::start(matches, &sources.env, "warn")?;
                operate(entry, sources, arguments, output).await
            }
            None => Err(odd()),
        },
        Some(("mcp", matches)) => match matches.subcommand() {
            Some(("start", matches)) => {
                let sources = sources(matches, env)?;
                log::start(matches, &sources.env, "warn")?;
                serve(matches, sources).await
            }
            Some(("link", matches)) => {
                let sources = sources(matches, env)?;
                log::start(matches, &sources.env, "warn")?;
                let loaded = load(&sources, &StartInput::default())?;
                let look = matches.get_flag("look_only");
                let role = if look { http::Role::Look } else { http::Role::Operate };
                output.link(&http::Link::ask(&loaded, role).await?)
            }
            _ => Err(odd()),
        },
        Some(("demo", matches)) => {
            log::start(matches, &env, "error")?;
            let args = super::demo::DemoArgs::from_arg_matches(matches).map_err(|_| odd())?;
            super::demo::run(args, &env, interrupted()).await
        }
        Some(("simulated-runner", _)) => {
            let code = super::demo::simulated_runner().await;
            std::process::exit(code)
        }
        Some(("bundle", matches)) => {
            let file = matches.get_one::<String>("output").ok_or_else(odd)?;
            output.packed(&bundle::pack(file.as_ref())?)
        }
        Some(("generate", matches)) => {
            generate::write(matches.get_one::<String>("directory").map(AsRef::as_ref))
        }
        _ => Err(odd()),
    }
}

fn history(matches: &ArgMatches, sources: &Sources, output: &Output) -> Result<()> {
    let loaded = load(sources, &StartInput::default())?;
    let limit = matches.get_one::<u16>("limit").copied().ok_or_else(odd)?;
    let cursor = matches.get_one::<String>("cursor").map(String::as_str);
    let audit = Audit::open(&loaded.config.state_dir)?;
    output.records(&audit.latest(usize::from(limit), cursor)?)
}

async fn operate(
    entry: &'static Entry,
    sources: Sources,
    mut arguments: Arguments,
    output: &Output,
) -> Result<()> {
    let host = Host::caller(sources)?;
    let call = typed(entry, output);
    let mut answer = host.call(entry, arguments.clone(), &call).await;
    if let Err(error) = &answer
        && error.code == Code::ConfirmationRequired
        && output.confirmed(error)
    {
        // The name may mean another container by now; the id does not.
        let container = error.subject.clone().map(Value::from);
        arguments.extend(container.map(|id| ("container".to_owned(), id)));
        arguments.insert("force".into(), true.into());
        answer = host.call(entry, arguments, &call).await;
    }
    output.answer(entry.tool, &answer?)
}

/// A call of `entry` that a person or a script has typed.
fn typed(entry: &Entry, output: &Output) -> Call {
    let mut call = Call::by("ipfs-accelerate", Transport::Cli);
    call.caller.version = Some(env!("CARGO_PKG_VERSION").to_owned());
    // What only looks may be cut short by a signal, as any program.
    if !entry.hints.read_only {
        call.cancelled = interrupted();
        call.progress = output.progress();
    }
    call
}

async fn serve(matches: &ArgMatches, sources: Sources) -> Result<()> {
    let to_log = log::is_json(&sources.env)?;
    let host = Arc::new(Host::server(sources)?);
    let server = McpServer::new(host.clone(), matches.get_flag("look_only"));
    let stop = interrupted();
    match host.loaded().and_then(|loaded| loaded.http) {
        None => server.serve_stdio(stop.cancelled_owned()).await,
        Some(address) => {
            let loaded = host.loaded().ok_or_else(odd)?;
            let access = http::Access::of(loaded)?;
            let routes = http::routes(host.clone(), &access);
            let listening = http::Listening::bind(address, access).await?;
            output::announce(&listening, to_log)?;
            listening.serve(http::by_role(server), routes, stop).await;
            host.settle().await;
            Ok(())
        }
    }
}

/// Cancelled by Ctrl-C, by SIGTERM, and when the terminal is closed. Who sends a second one does
/// not want to wait: the program ends as if it were killed, which it is made to survive.
fn interrupted() -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        ) else {
            return;
        };
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hang_up.recv() => 129,
            }
        };
        next().await;
        cancelled.cancel();
        std::process::exit(next().await)
    });
    token
}

fn sources(matches: &ArgMatches, env: Environment) -> Result<Sources> {
    let usage = |error: clap::Error| Error::invalid("arguments", error, "See --help.");
    Ok(Sources {
        file: matches.get_one::<String>("config").map(Into::into),
        env,
        start: StartInput::from_arg_matches(matches).map_err(usage)?,
        operator: OperatorOptions::from_arg_matches(matches).map_err(usage)?,
    })
}

/// clap lets only known commands through.
fn odd() -> Error {
    Error::invalid("command", "it is not known", "See ipfs-accelerate --help.")
}
