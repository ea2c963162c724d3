//! The bearer tokens of HTTP clients: one to operate, one to look.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::config::Loaded;
use crate::error::{Error, Result};

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Operate,
    /// Look.
    Look,
}

/// The tokens in force.
#[derive(Debug)]
pub struct Tokens {
    operate: SecretString,
    look: Option<SecretString>,
    /// Where they were made; none when the operator chose one.
    made: Option<PathBuf>,
}

impl Tokens {
    /// The token that the operator chose, or those of the state directory, made at first use.
    pub fn of(loaded: &Loaded) -> Result<Self> {
        if let Some(token) = &loaded.http_token {
            return Self::chosen(token.clone(), "RUNNER_KIT_HTTP_TOKEN");
        }
        if let Some(file) = &loaded.http_token_file {
            return Self::chosen(read(file)?, "http_token_file");
        }
        let file = |name: &str| loaded.config.state_dir.join(name);
        let operate = read_or_make(&file("http-token"))?;
        let look = Some(read_or_make(&file("http-token-read"))?);
        Ok(Self { operate, look, made: Some(file("http-token")) })
    }

    fn chosen(token: SecretString, option: &str) -> Result<Self> {
        if token.expose_secret().len() < 16 {
            let remedy = "Give at least 16 characters, for example from `openssl rand -hex 32`.";
            return Err(Error::invalid(option, "the token is too short to be a secret", remedy));
        }
        Ok(Self { operate: token, look: None, made: None })
    }

    /// The file of the token that was made for the user.
    pub fn file(&self) -> Option<&Path> {
        self.made.as_deref()
    }

    /// What whoever sends the header `authorization` may do.
    pub fn role(&self, authorization: &str) -> Option<Role> {
        let (scheme, given) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let is = |token: &SecretString| {
            bool::from(token.expose_secret().as_bytes().ct_eq(given.trim().as_bytes()))
        };
        if is(&self.operate) {
            return Some(Role::Operate);
        }
        self.look.as_ref().filter(|look| is(look)).map(|_| Role::Look)
    }

    /// Refuses a public `address` unless the operator chose the token.
    pub fn must_be_chosen(&self, address: SocketAddr) -> Result<()> {
        if self.made.is_none() || address.ip().is_loopback() {
            return Ok(());
        }
        Err(Error::invalid(
            "http",
            format!("{address} can be reached from other machines"),
            "Listen on 127.0.0.1, or choose a token with RUNNER_KIT_HTTP_TOKEN or http_token_file.",
        ))
    }
}

fn read(file: &Path) -> Result<SecretString> {
    let failed = |reason: String| {
        let remedy = format!("Run `chmod 600 {}` and check that you own it.", file.display());
        Error::invalid("http_token_file", format!("{}: {reason}", file.display()), remedy)
    };
    let mode = fs::metadata(file).map_err(|error| failed(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(failed("others can read it".to_owned()));
    }
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    Ok(SecretString::from(text.trim()))
}

fn read_or_make(file: &Path) -> Result<SecretString> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::internal(
            format!("The token file {} cannot be made: {error}.", file.display()),
            "Choose another state_dir.",
        )
    };
    if let Some(directory) = file.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| failed(&error))?;
    }
    let mut secret = [0u8; 32];
    getrandom::fill(&mut secret).map_err(|error| failed(&error))?;
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut new) => {
            new.write_all(secret.as_bytes()).map_err(|error| failed(&error))?;
            Ok(SecretString::from(secret))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(file),
        Err(error) => Err(failed(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens { operate: "operate-secret".into(), look: Some("look-secret".into()), made: None }
    }

    #[test]
    fn each_token_gives_its_own_role_and_nothing_else_gives_any() {
        let role = |header: &str| tokens().role(header);
        assert_eq!(role("Bearer operate-secret"), Some(Role::Operate));
        assert_eq!(role("bearer look-secret"), Some(Role::Look));
        for wrong in
            ["Bearer ", "Bearer operate-secre", "Basic operate-secret", "operate-secret", ""]
        {
            assert_eq!(role(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state/http-token");
        let made = read_or_make(&file).unwrap();
        assert_eq!(made.expose_secret().len(), 64);
        assert_eq!(read_or_make(&file).unwrap().expose_secret(), made.expose_secret());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_token_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, "0123456789abcdef0123").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&file).unwrap_err().message.contains("others can read it"));
    }

    #[test]
    fn a_public_address_needs_a_token_that_the_operator_chose() {
        let address: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        assert!(tokens().must_be_chosen(address).is_ok());
        let made = Tokens { made: Some("/x".into()), ..tokens() };
        assert!(made.must_be_chosen(address).unwrap_err().message.contains("other machines"));
    }
}
