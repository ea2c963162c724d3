//! The environment of a runner container, read as the images' entry points read it.

use std::path::PathBuf;

use crate::simulator::{jit, runner_side::Registration};

/// Labels that a runner has unless it is told otherwise (docs.github.com: "Using labels with
/// self-hosted runners").
const DEFAULT_LABELS: [&str; 2] = ["self-hosted", "Linux"];

/// What a runner needs to know.
#[derive(Debug)]
pub(super) struct Settings {
    /// The server's URL, without a trailing slash.
    pub(super) url: String,
    pub(super) name: String,
    pub(super) registration: Registration,
    pub(super) work_folder: PathBuf,
    pub(super) ephemeral: bool,
    /// Whether it removes its registration when it is told to end.
    pub(super) deregisters: bool,
}

impl Settings {
    /// The settings, or a sentence that says what is wrong with them.
    pub(super) fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        match env("ACTIONS_RUNNER_INPUT_JITCONFIG") {
            Some(config) => Self::jit(&config, env),
            None => Self::token(env),
        }
    }

    fn jit(config: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let (settings, jit) = jit::decode(config).ok_or("The JIT configuration cannot be read.")?;
        Ok(Self {
            url: env("SIMULATOR_URL").unwrap_or(settings.server_url),
            name: settings.agent_name,
            registration: Registration::Jit { jit },
            work_folder: settings.work_folder.into(),
            ephemeral: settings.ephemeral,
            deregisters: false,
        })
    }

    fn token(env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let needed = |name: &str| env(name).ok_or(format!("{name} is required but missing."));
        let of_org =
            env("RUNNER_SCOPE").is_some_and(|scope| scope.to_lowercase().starts_with("org"));
        let server = if of_org {
            needed("ORG_NAME")?;
            format!("http://{}", env("GITHUB_HOST").unwrap_or_else(|| "github.com".into()))
        } else {
            server_of(&needed("REPO_URL")?)?
        };
        let name = needed("RUNNER_NAME")?;
        // The entry point prefers the second name, and any value at all switches the other two on.
        let own = env("RUNNER_LABELS").or(env("LABELS")).unwrap_or_else(|| "default".into());
        let mut labels: Vec<String> = Vec::new();
        if env("NO_DEFAULT_LABELS").is_none() {
            labels.extend(DEFAULT_LABELS.map(str::to_owned));
            labels.push(architecture().to_owned());
        }
        for label in own.split(',').map(str::trim).filter(|label| !label.is_empty()) {
            if !labels.iter().any(|known| known.eq_ignore_ascii_case(label)) {
                labels.push(label.to_owned());
            }
        }
        let ephemeral = env("EPHEMERAL").is_some();
        Ok(Self {
            url: env("SIMULATOR_URL").unwrap_or(server).trim_end_matches('/').to_owned(),
            work_folder: env("RUNNER_WORKDIR").unwrap_or_else(|| format!("/_work/{name}")).into(),
            registration: Registration::Token {
                token: needed("RUNNER_TOKEN")?,
                name: name.clone(),
                labels,
                ephemeral,
            },
            name,
            ephemeral,
            deregisters: env("DISABLE_AUTOMATIC_DEREGISTRATION")
                .is_none_or(|disabled| disabled == "false"),
        })
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "ARM64",
        "arm" => "ARM",
        _ => "X64",
    }
}

/// `http://host:1/owner/name` without owner and name.
fn server_of(repo_url: &str) -> Result<String, String> {
    let mut parts = repo_url.trim_end_matches('/').rsplitn(3, '/');
    let (_, _, server) = (parts.next(), parts.next(), parts.next());
    server
        .filter(|server| server.contains("://"))
        .map(str::to_owned)
        .ok_or(format!("REPO_URL is not a repository's address: {repo_url}."))
}
