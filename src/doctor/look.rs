//! Asking GitHub, the engine and this host, side by side.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::future::join_all;
use http::Uri;
use rustix::fs::{Access, access};
use tokio::net::TcpStream;

use super::Check;
use super::judge::{self, Directory};
use crate::adapters::docker::{DockerEngine, free_space};
use crate::adapters::github::{GithubClient, GithubRegistrar, credentials};
use crate::adapters::poll::Poller;
use crate::config::{Environment, RunnerConfig, ScopeKind};
use crate::error::Error;
use crate::model::{Repo, Scope};
use crate::ports::Registrar;

/// A check takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// A host that is reached at all is reached within this time.
const CONNECT: Duration = Duration::from_secs(5);
/// Rights are looked at for so many scopes, those that were pushed to last.
const SCOPES: usize = 5;
/// With more repositories a look at all jobs would cost too much.
const FEW: usize = 50;

/// No runner has this id: to ask for its removal needs the right to register, and changes nothing.
const NOBODY: u64 = 0;

/// Looks at everything that `config` needs.
pub async fn examine(config: &RunnerConfig, env: &Environment) -> Vec<Check> {
    let (github, engine, network) = tokio::join!(
        github(config, env),
        engine(config, env),
        bounded("network", async { vec![network(config).await] }),
    );
    let host = [
        disk(&config.runner_work_dir, "work directories", config),
        judge::state_dir(&config.state_dir, directory(&config.state_dir)),
    ];
    github.into_iter().chain(engine).chain(network).chain(host).collect()
}

/// What `checks` find, or that they took too long.
async fn bounded(name: &'static str, checks: impl Future<Output = Vec<Check>>) -> Vec<Check> {
    tokio::time::timeout(PATIENCE, checks).await.unwrap_or_else(|_| {
        let message = format!("The check took more than {} s.", PATIENCE.as_secs());
        vec![Check::failure(name, message, "Look at the network and at what it asks.")]
    })
}

async fn github(config: &RunnerConfig, env: &Environment) -> Vec<Check> {
    let connect = async {
        let credential = credentials::credential(config, env).await?;
        GithubClient::new(config, credential)
    };
    match connect.await {
        Err(error) => judge::without_github(&error).into(),
        Ok(client) => {
            let (standing, rights) = tokio::join!(
                bounded("credential", standing(&client, config)),
                rights(&client, config),
            );
            standing.into_iter().chain(rights).collect()
        }
    }
}

async fn standing(client: &GithubClient, config: &RunnerConfig) -> Vec<Check> {
    let standing = match client.standing().await {
        Ok(standing) => standing,
        Err(error) => {
            return vec![
                Check::failed("github", &error),
                Check::skipped("credential", "GitHub does not answer."),
                Check::skipped("clock", "GitHub does not answer."),
            ];
        }
    };
    let now = Utc::now();
    let identity = match &standing.refused {
        Some(error) => Err(error.clone()),
        None => client.identity().await,
    };
    let budget = match &standing.refused {
        Some(_) => Check::skipped("github", "The API answers, but does not take the credential."),
        None => judge::budget(client.budget()),
    };
    vec![
        judge::credential(&standing, &identity, config.scope, now),
        budget,
        judge::clock(standing.server_time, now),
    ]
}

async fn rights(client: &Arc<GithubClient>, config: &RunnerConfig) -> Vec<Check> {
    let poller = match Poller::new(client.clone(), Arc::default(), config) {
        Ok(poller) => poller,
        Err(error) => return vec![Check::failed("permissions", &error)],
    };
    let listed = tokio::time::timeout(PATIENCE, poller.watched()).await;
    let (watched, lost) = match listed {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => return unlisted(Check::failed("permissions", &error)),
        Err(_) => {
            return unlisted(Check::failure(
                "permissions",
                format!("Listing the repositories took more than {} s.", PATIENCE.as_secs()),
                "Watch fewer: set owner, repos or exclude_repos.",
            ));
        }
    };
    let mut checks: Vec<_> = lost.iter().map(|error| Check::failed("permissions", error)).collect();
    if watched.is_empty() && lost.is_empty() {
        checks.push(Check::warning(
            "permissions",
            "There is no repository to watch.",
            "Check owner, repos and exclude_repos, and what the credential can see.",
        ));
    }
    let registrar = GithubRegistrar::new(client.clone(), config);
    let scopes = scopes(&watched, config.scope);
    let rights = scopes.iter().map(|scope| right(&registrar, scope));
    let rights = bounded("permissions", join_all(rights));
    let labels = bounded("labels", async { vec![labels(&poller, config, watched.len()).await] });
    let (rights, labels) = tokio::join!(rights, labels);
    checks.extend(rights);
    checks.extend(labels);
    checks
}

fn unlisted(check: Check) -> Vec<Check> {
    vec![check, Check::skipped("labels", "The repositories could not be listed.")]
}

/// The first few scopes at which runners of `watched` are registered.
fn scopes(watched: &[(Repo, bool)], kind: ScopeKind) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::new();
    for (repo, in_org) in watched {
        let scope = match kind {
            ScopeKind::Org if *in_org => Scope::org(repo.owner()),
            _ => Scope::Repo(repo.clone()),
        };
        if scopes.len() < SCOPES && !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

async fn right(registrar: &GithubRegistrar, scope: &Scope) -> Check {
    let listed = registrar.registered(scope).await.map(drop);
    let written = match &listed {
        Ok(()) => registrar.deregister(scope, NOBODY).await.map(drop),
        Err(_) => Ok(()),
    };
    judge::permission(scope, listed, written)
}

async fn labels(poller: &Poller, config: &RunnerConfig, watched: usize) -> Check {
    if watched > FEW {
        let message = format!("A look at all jobs of {watched} repositories would cost too much.");
        return Check::skipped("labels", message);
    }
    match poller.demand().await {
        Ok(demand) => judge::labels(&demand, &config.served()),
        Err(error) => Check::skipped("labels", error.message),
    }
}

async fn engine(config: &RunnerConfig, env: &Environment) -> Vec<Check> {
    let gone = |error: &Error| {
        let skipped = |name| Check::skipped(name, "The engine does not answer.");
        vec![Check::failed("docker", error), skipped("image")]
    };
    let engine = match DockerEngine::connect(config, |name| env.get(name).map(str::to_owned)) {
        Ok(engine) => engine,
        Err(error) => return gone(&error),
    };
    let looks = async {
        let survey = match engine.survey().await {
            Ok(survey) => survey,
            Err(error) => return gone(&error),
        };
        let mut checks = vec![judge::docker(&survey, config)];
        checks.push(match engine.image_standing().await {
            Ok(standing) => judge::image(standing, config, Some(&survey.architecture)),
            Err(error) => Check::failed("image", &error),
        });
        checks.push(match &survey.root {
            Some(root) => disk(root, "the engine", config),
            None => Check::skipped("disk", "The engine's data is not on this machine."),
        });
        checks
    };
    bounded("docker", looks).await
}

/// Names and connections only: what a container reaches may differ.
async fn network(config: &RunnerConfig) -> Check {
    let addresses = [&config.api_url, &config.server_url].into_iter().filter_map(|url| place(url));
    let mut places: Vec<_> = addresses.collect();
    // docs.github.com, "Communicating with self-hosted runners": without these no job is given.
    if config.server_url == "https://github.com" {
        let more = ["codeload.github.com", "pipelines.actions.githubusercontent.com"];
        places.extend(more.map(|host| (host.to_owned(), 443)));
    }
    places.dedup();
    let reached = join_all(places.into_iter().map(|(host, port)| async move {
        let connect = tokio::time::timeout(CONNECT, TcpStream::connect((host.as_str(), port)));
        let reached = match connect.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", CONNECT.as_secs())),
        };
        (format!("{host}:{port}"), reached)
    }));
    judge::network(&reached.await)
}

fn place(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((host, uri.port_u16().unwrap_or(usual)))
}

/// Room where `path` is or would be.
fn disk(path: &Path, what: &str, config: &RunnerConfig) -> Check {
    match free_space(path) {
        Ok(free) => judge::disk(path, what, free, config.min_free_disk),
        Err(error) => Check::skipped("disk", format!("{}: {error}.", path.display())),
    }
}

fn directory(path: &Path) -> Directory {
    let may_write = |path: &Path| access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Directory::There { mode: found.permissions().mode(), writable: may_write(path) }
        }
        Ok(_) => Directory::Other,
        Err(_) => {
            let above = path.ancestors().skip(1).find(|path| path.exists());
            Directory::Absent { makeable: above.is_some_and(may_write) }
        }
    }
}
