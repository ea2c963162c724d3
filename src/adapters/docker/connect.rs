//! Which engine is meant: `DOCKER_HOST`, then contexts, then the default socket, as the Docker CLI
//! decides it (docs.docker.com: "Docker contexts").

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use serde_json::Value;

use crate::error::{Code, Error, Result};
use crate::model::clean_text;

/// Where an engine listens on a host of its own.
pub(super) const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The address of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A socket of this machine.
    Unix(PathBuf),
    /// `host:port`, without encryption.
    Tcp(String),
}

impl Endpoint {
    /// The endpoint that the environment and the Docker CLI's own files choose.
    pub(super) fn resolve(env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let tls = env("DOCKER_TLS_VERIFY").is_some() || env("DOCKER_TLS").is_some();
        if let Some(host) = env("DOCKER_HOST") {
            return Self::parse(&host, tls, "DOCKER_HOST");
        }
        let directory = env("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(env("HOME")?).join(".docker")));
        let current = || json(&directory.as_ref()?.join("config.json"))?.text("currentContext");
        match env("DOCKER_CONTEXT").or_else(current) {
            None => Ok(Self::Unix(DEFAULT_SOCKET.into())),
            Some(name) if name == "default" => Ok(Self::Unix(DEFAULT_SOCKET.into())),
            Some(name) => context(directory.as_deref(), &name),
        }
    }

    fn parse(address: &str, tls: bool, source: &str) -> Result<Self> {
        let unsupported = |what: &str, remedy: &str| {
            let address = clean_text(address, 100);
            not_accessible(format!("{source} says {address}, {what}"), remedy)
        };
        match address.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp" | "http", rest)) if !rest.is_empty() && !rest.starts_with('/') => {
                if tls {
                    return Err(unsupported(
                        "with TLS, which is not supported yet",
                        "Run the service on the engine's host, or forward the engine's socket \
                         with `ssh -NL /tmp/docker.sock:/var/run/docker.sock HOST` and set \
                         DOCKER_HOST=unix:///tmp/docker.sock.",
                    ));
                }
                let host = rest.split('/').next().unwrap_or(rest);
                // 2375 is the CLI's default for tcp without TLS.
                let port = host.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
                Ok(Self::Tcp(if port.is_some() { host.into() } else { format!("{host}:2375") }))
            }
            Some(("ssh" | "https", _)) => Err(unsupported(
                "a kind of address that is not supported yet",
                "Run the service on the engine's host, or forward the engine's socket with \
                 `ssh -NL /tmp/docker.sock:/var/run/docker.sock HOST` and set \
                 DOCKER_HOST=unix:///tmp/docker.sock.",
            )),
            _ => Err(unsupported(
                "which is not an address",
                "Give it as unix:///path/to/docker.sock or tcp://host:port, or unset it.",
            )),
        }
    }

    /// A client whose calls wait at most `timeout` for the head of an answer.
    ///
    /// # Errors
    /// When the socket's file is not there.
    pub(super) fn client(&self, timeout: Duration) -> Result<Docker, bollard::errors::Error> {
        let seconds = timeout.as_secs();
        match self {
            Self::Unix(path) => {
                Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION)
            }
            Self::Tcp(address) => Docker::connect_with_http(address, seconds, API_DEFAULT_VERSION),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// The endpoint of the context `name`. Its directory's name is a hash; looking into each saves us
/// from computing it.
fn context(directory: Option<&Path>, name: &str) -> Result<Endpoint> {
    let contexts = directory.map(|directory| directory.join("contexts"));
    let entries = contexts.as_ref().and_then(|path| std::fs::read_dir(path.join("meta")).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let Some(meta) = json(&entry.path().join("meta.json")) else { continue };
        if meta.text("Name").as_deref() != Some(name) {
            continue;
        }
        let Some(host) = meta.pointer("/Endpoints/docker").and_then(|docker| docker.text("Host"))
        else {
            return Ok(Endpoint::Unix(DEFAULT_SOCKET.into()));
        };
        let tls = contexts.as_ref().is_some_and(|contexts| {
            contexts.join("tls").join(entry.file_name()).join("docker").exists()
        });
        let source = format!("the Docker context `{}`", clean_text(name, 60));
        return Endpoint::parse(&host, tls, &source);
    }
    Err(not_accessible(
        format!("there is no Docker context `{}`", clean_text(name, 60)),
        "List them with `docker context ls`, choose one with `docker context use NAME`, and look \
         whether DOCKER_CONTEXT is set.",
    ))
}

/// Another configuration is needed, so waiting does not help.
fn not_accessible(reason: String, remedy: &str) -> Error {
    let message = format!("Docker is not accessible: {reason}.");
    Error { retryable: false, ..Error::new(Code::DockerUnreachable, message, remedy) }
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

trait Text {
    fn text(&self, key: &str) -> Option<String>;
}

impl Text for Value {
    fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn resolve(variables: &[(&str, &str)]) -> Result<Endpoint> {
        Endpoint::resolve(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    /// A Docker configuration directory with one context `far`, and `current` chosen.
    fn configured(current: &str, host: &str, tls: bool) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let meta = directory.path().join("contexts/meta/0123");
        fs::create_dir_all(&meta).unwrap();
        let text = format!(r#"{{"Name":"far","Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
        fs::write(meta.join("meta.json"), text).unwrap();
        let config = format!(r#"{{"currentContext":"{current}"}}"#);
        fs::write(directory.path().join("config.json"), config).unwrap();
        if tls {
            fs::create_dir_all(directory.path().join("contexts/tls/0123/docker")).unwrap();
        }
        directory
    }

    #[test]
    fn without_any_wish_the_engine_is_behind_the_default_socket() {
        let expected = Endpoint::Unix(DEFAULT_SOCKET.into());
        assert_eq!(resolve(&[("HOME", "/nonexistent")]).unwrap(), expected);
        assert_eq!(resolve(&[("DOCKER_HOST", "")]).unwrap(), expected);
        assert_eq!(resolve(&[("DOCKER_CONTEXT", "default")]).unwrap(), expected);
    }

    #[test]
    fn docker_host_wins_over_contexts() {
        let directory = configured("far", "tcp://far:1", false);
        let config = directory.path().to_str().unwrap();
        let endpoint = |host| {
            resolve(&[("DOCKER_HOST", host), ("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "far")])
        };
        assert_eq!(endpoint("unix:///run/x.sock").unwrap(), Endpoint::Unix("/run/x.sock".into()));
        assert_eq!(endpoint("tcp://near").unwrap(), Endpoint::Tcp("near:2375".into()));
        assert_eq!(endpoint("http://[::1]:9/").unwrap(), Endpoint::Tcp("[::1]:9".into()));
        assert_eq!(endpoint("tcp://[::1]").unwrap(), Endpoint::Tcp("[::1]:2375".into()));
    }

    #[test]
    fn the_current_context_is_followed_and_the_variable_overrides_it() {
        let directory = configured("far", "unix:///run/user/7/docker.sock", false);
        let config = directory.path().to_str().unwrap();
        let far = Endpoint::Unix("/run/user/7/docker.sock".into());
        assert_eq!(resolve(&[("DOCKER_CONFIG", config)]).unwrap(), far);
        let default = resolve(&[("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "default")]);
        assert_eq!(default.unwrap(), Endpoint::Unix(DEFAULT_SOCKET.into()));
    }

    #[test]
    fn an_unknown_context_is_an_error_and_not_the_default_engine() {
        let directory = configured("gone", "unix:///x", false);
        let error = resolve(&[("DOCKER_CONFIG", directory.path().to_str().unwrap())]).unwrap_err();
        assert_eq!((error.code, error.retryable), (Code::DockerUnreachable, false));
        assert!(error.message.starts_with("Docker is not accessible"), "{error}");
        assert!(error.message.contains("`gone`"), "{error}");
    }

    #[test]
    fn ssh_tls_and_nonsense_are_refused_with_a_remedy() {
        let directory = configured("far", "tcp://far:2376", true);
        let config = directory.path().to_str().unwrap();
        for variables in [
            vec![("DOCKER_HOST", "ssh://me@far")],
            vec![("DOCKER_HOST", "https://far")],
            vec![("DOCKER_HOST", "far:2375")],
            vec![("DOCKER_HOST", "unix://relative")],
            vec![("DOCKER_HOST", "tcp://far:2376"), ("DOCKER_TLS_VERIFY", "1")],
            vec![("DOCKER_CONFIG", config)],
        ] {
            let error = resolve(&variables).unwrap_err();
            assert_eq!(error.code, Code::DockerUnreachable, "{variables:?}");
            assert!(error.message.starts_with("Docker is not accessible: "), "{error}");
            assert!(!error.remedy.is_empty(), "{error}");
        }
    }
}
