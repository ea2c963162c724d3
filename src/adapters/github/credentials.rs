//! Where the credential comes from: the environment, a file, or GitHub's own command line.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;

use crate::config::{Environment, RunnerConfig};
use crate::error::{Code, Error, Result};

const WAYS: &str =
    "Set GITHUB_TOKEN or GH_TOKEN, name a file with token_file, or run `gh auth login`.";

/// The credential: GITHUB_TOKEN, GH_TOKEN, token_file, then `gh auth token`.
pub async fn credential(config: &RunnerConfig, env: &Environment) -> Result<SecretString> {
    let set = ["GITHUB_TOKEN", "GH_TOKEN"].iter().find_map(|name| env.get(name));
    if let Some(token) = set {
        return usable(token);
    }
    if let Some(file) = &config.token_file {
        return usable(&read(file)?);
    }
    match from_gh(config).await {
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

fn read(file: &Path) -> Result<String> {
    let name = file.display();
    let failed = |error: std::io::Error| {
        let remedy = format!("Check that {name} exists and can be read by this user.");
        Error::invalid("token_file", format!("{name}: {error}"), remedy)
    };
    let mode = std::fs::metadata(file).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        let remedy = format!("Run `chmod 600 {name}`.");
        return Err(Error::invalid("token_file", format!("others can read {name}"), remedy));
    }
    std::fs::read_to_string(file).map_err(failed)
}

async fn from_gh(config: &RunnerConfig) -> Option<String> {
    let host = config.server_url.split("://").nth(1)?.split(['/', ':']).next()?;
    let mut gh = tokio::process::Command::new("gh");
    gh.args(["auth", "token", "--hostname", host]).stdin(std::process::Stdio::null());
    let output = gh.kill_on_drop(true).output().await.ok()?;
    let token = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !token.trim().is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
            credential(&config, &env(pairs)).await.unwrap().expose_secret().to_owned()
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
}
