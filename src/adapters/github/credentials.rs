//! Where the credential comes from: the environment, a file, or GitHub's own command line.

use std::time::Duration;

use secrecy::SecretString;

use super::app::AppKey;
use crate::config::{Environment, RunnerConfig, read_secret};
use crate::error::{Code, Error, Result};

const WAYS: &str = "Set GITHUB_TOKEN or GH_TOKEN, name a file with token_file, or run `gh auth login`; a GitHub App \
     has app_id and app_key_file.";

/// `gh` reads a file or asks a key ring.
const GH_PATIENCE: Duration = Duration::from_secs(10);

/// Who we are to GitHub. Its secrets are never shown.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A token, of whatever kind.
    Token(SecretString),
    /// A GitHub App.
    App(AppKey),
}

impl From<&str> for Credential {
    fn from(token: &str) -> Self {
        Self::Token(token.into())
    }
}

/// The credential: the app, else GITHUB_TOKEN, GH_TOKEN, token_file, then `gh auth token`.
pub async fn credential(config: &RunnerConfig, env: &Environment) -> Result<Credential> {
    if let Some(id) = &config.app_id {
        return match (env.get("RUNNER_KIT_APP_KEY"), &config.app_key_file) {
            (Some(pem), _) => Ok(AppKey::in_text(id, pem)),
            (None, Some(file)) => Ok(AppKey::in_file(id, file.clone())),
            (None, None) => Err(Error::new(
                Code::NotAuthenticated,
                "Not authenticated with GitHub CLI or token: the app's private key is not given.",
                "Set app_key_file or RUNNER_KIT_APP_KEY.",
            )),
        }
        .map(Credential::App);
    }
    token(config, env).await.map(Credential::Token)
}

async fn token(config: &RunnerConfig, env: &Environment) -> Result<SecretString> {
    let set = ["GITHUB_TOKEN", "GH_TOKEN"].iter().find_map(|name| env.get(name));
    if let Some(token) = set {
        return usable(token);
    }
    if let Some(file) = &config.token_file {
        return usable(&read_secret("token_file", file)?);
    }
    match from_gh(config, env).await {
        Some(token) => usable(&token),
        None => Err(Error::new(
            Code::NotAuthenticated,
            "Not authenticated with GitHub CLI, and no other credential is given.",
            WAYS,
        )),
    }
}

/// A token that can be sent as a header; its text is never shown.
fn usable(token: &str) -> Result<SecretString> {
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message =
            "Not authenticated with GitHub CLI: the credential is empty or has blanks in it.";
        return Err(Error::new(Code::NotAuthenticated, message, WAYS));
    }
    Ok(SecretString::from(token))
}

async fn from_gh(config: &RunnerConfig, env: &Environment) -> Option<String> {
    let host = config.server_url.split("://").nth(1)?.split(['/', ':']).next()?;
    let mut gh = tokio::process::Command::new("gh");
    gh.args(["auth", "token", "--hostname", host]).stdin(std::process::Stdio::null());
    if let Some(path) = env.get("PATH") {
        gh.env("PATH", path);
    }
    // It may wait for a key ring that nobody opens.
    let output = tokio::time::timeout(GH_PATIENCE, gh.kill_on_drop(true).output());
    let output = output.await.ok()?.ok()?;
    let token = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !token.trim().is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::{Sources, StartInput, load};

    fn config(file: Option<&Path>) -> RunnerConfig {
        let env = [("HOME", "/nowhere")].into_iter().collect();
        let sources = Sources { env, ..Sources::default() };
        let mut config = load(&sources, &StartInput::default()).unwrap().config;
        config.token_file = file.map(Path::to_path_buf);
        config
    }

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().copied().collect()
    }

    #[tokio::test]
    async fn the_environment_comes_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, "from-file\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let config = config(Some(&file));
        let found = async |pairs: &[(&str, &str)]| {
            token(&config, &env(pairs)).await.unwrap().expose_secret().to_owned()
        };
        assert_eq!(found(&[("GITHUB_TOKEN", "one"), ("GH_TOKEN", "two")]).await, "one");
        assert_eq!(found(&[("GH_TOKEN", "two")]).await, "two");
        assert_eq!(found(&[]).await, "from-file");
    }

    #[tokio::test]
    async fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, "secret-text").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = credential(&config(Some(&file)), &env(&[])).await.unwrap_err();
        assert!(error.remedy.starts_with("Run `chmod 600"), "{error}");
        assert!(!error.to_string().contains("secret-text"));
    }

    #[tokio::test]
    async fn a_credential_with_blanks_is_refused_without_being_shown() {
        let error =
            credential(&config(None), &env(&[("GITHUB_TOKEN", "gh p_x")])).await.unwrap_err();
        assert!(error.message.starts_with("Not authenticated with GitHub CLI"));
        assert!(!error.to_string().contains("p_x"));
    }

    /// A directory in which `gh` is this script, or is not.
    fn path(script: Option<&str>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        if let Some(script) = script {
            let gh = directory.path().join("gh");
            fs::write(&gh, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&gh, fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }

    async fn by_gh(script: Option<&str>, server_url: &str) -> Result<SecretString> {
        let directory = path(script);
        let config = RunnerConfig { server_url: server_url.into(), ..config(None) };
        token(&config, &env(&[("PATH", directory.path().to_str().unwrap())])).await
    }

    #[tokio::test]
    async fn githubs_own_command_line_is_asked_last_and_for_the_right_server() {
        let script = Some("echo \"$1-$2-$3-$4\"");
        for (server, host) in
            [("https://github.com", "github.com"), ("http://ghes.example:8443", "ghes.example")]
        {
            let token = by_gh(script, server).await.unwrap();
            assert_eq!(token.expose_secret(), format!("auth-token---hostname-{host}"));
        }
    }

    #[tokio::test]
    async fn without_any_credential_the_error_names_every_way_to_give_one() {
        for script in [None, Some("exit 1"), Some("true")] {
            let error = by_gh(script, "https://github.com").await.unwrap_err();
            assert_eq!(error.code, Code::NotAuthenticated);
            assert!(error.message.starts_with("Not authenticated with GitHub CLI"), "{error}");
            for way in ["GITHUB_TOKEN", "GH_TOKEN", "token_file", "gh auth login"] {
                assert!(error.remedy.contains(way), "{error}");
            }
        }
    }
}
