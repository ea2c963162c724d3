//! The bearer tokens of HTTP clients: one to operate, one to look.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::session::Key;
use crate::config::{Loaded, read_secret};
use crate::error::{Error, Result};

/// Fewest characters of a token that somebody chose.
const SHORTEST: usize = 16;

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Operate,
    /// Look.
    Look,
}

impl Role {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operate => "operate",
            Self::Look => "look",
        }
    }
}

/// The tokens in force.
#[derive(Debug)]
pub(super) struct Tokens {
    operate: Token,
    /// None where the operator chose one to operate and none to look.
    look: Option<Token>,
    /// Where the one to operate was made; none when the operator chose it.
    made: Option<PathBuf>,
}

#[derive(Debug)]
struct Token {
    secret: SecretString,
    digest: Fingerprint,
    key: Key,
}

/// What is compared instead of secrets: equally long whatever they are.
#[derive(Debug, Clone)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Compares in constant time.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Token {
    fn new(secret: SecretString) -> Self {
        let digest = Fingerprint::of(secret.expose_secret());
        Self { digest, key: Key::of(&secret), secret }
    }
}

impl Tokens {
    /// The tokens that the operator chose, or those of the state directory, made at first use.
    pub(super) fn of(loaded: &Loaded) -> Result<Self> {
        let file = |name: &str| loaded.config.state_dir.join(name);
        let operate = chosen(&loaded.http_token, loaded.http_token_file.as_deref(), "http_token")?;
        let read = loaded.http_read_token_file.as_deref();
        let look = chosen(&loaded.http_read_token, read, "http_read_token")?;
        let made = operate.is_none().then(|| file("http-token"));
        let (operate, look) = match (operate, look) {
            // Who chose the one may not know that there is another.
            (Some(operate), look) => (operate, look),
            (None, look) => (
                read_or_make(&file("http-token"))?,
                Some(look.map_or_else(|| read_or_make(&file("http-token-read")), Ok)?),
            ),
        };
        Self::new(operate, look, made)
    }

    fn new(
        operate: SecretString,
        look: Option<SecretString>,
        made: Option<PathBuf>,
    ) -> Result<Self> {
        let tokens = Self { operate: Token::new(operate), look: look.map(Token::new), made };
        if tokens.look.as_ref().is_some_and(|look| look.digest.is(&tokens.operate.digest)) {
            let remedy = "Choose two that differ, or leave the one to look out.";
            let reason = "it is the token to operate too, so nobody could only look.";
            return Err(Error::invalid("http_read_token", reason, remedy));
        }
        Ok(tokens)
    }

    /// The file of the token that was made for the user.
    pub(super) fn file(&self) -> Option<&Path> {
        self.made.as_deref()
    }

    /// The bearer token to operate.
    pub(super) fn operate(&self) -> &SecretString {
        &self.operate.secret
    }

    /// Whether anybody can be `role`.
    pub(super) fn know(&self, role: Role) -> bool {
        self.token(role).is_some()
    }

    fn token(&self, role: Role) -> Option<&Token> {
        match role {
            Role::Operate => Some(&self.operate),
            Role::Look => self.look.as_ref(),
        }
    }

    /// What whoever shows the bearer token or session token `given` may do at `now`.
    pub(super) fn role(&self, given: &str, now: DateTime<Utc>) -> Option<Role> {
        let bearer = self.bearer(given);
        // All are compared, whatever is found.
        let sessions = [Role::Operate, Role::Look].map(|role| {
            let admits = |token: &Token| token.key.admits(given, role, now);
            self.token(role).filter(|token| admits(token)).map(|_| role)
        });
        bearer.or(sessions.into_iter().flatten().next())
    }

    /// The role whose bearer token `given` is; a session token is none.
    pub(super) fn bearer(&self, given: &str) -> Option<Role> {
        let given = Fingerprint::of(given);
        let is = [Role::Operate, Role::Look]
            .map(|role| self.token(role).filter(|token| token.digest.is(&given)).map(|_| role));
        is.into_iter().flatten().next()
    }

    /// A session of `role` that begins at `now`, and when it ends; none where nobody may have it.
    pub(super) fn session(
        &self,
        role: Role,
        now: DateTime<Utc>,
    ) -> Option<(SecretString, DateTime<Utc>)> {
        self.token(role).map(|token| token.key.issue(role, now))
    }

    /// Refuses a public `address` unless the operator chose the token.
    pub(super) fn must_be_chosen(&self, address: SocketAddr) -> Result<()> {
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

/// The token in the header `authorization` (RFC 6750, 2.1).
pub(super) fn shown(authorization: &str) -> Option<&str> {
    let (scheme, given) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| given.trim()).filter(|given| !given.is_empty())
}

/// A new secret, in letters that may stand in a URL.
pub(super) fn secret() -> std::result::Result<String, getrandom::Error> {
    let mut secret = [0u8; 32];
    getrandom::fill(&mut secret)?;
    Ok(secret.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn chosen(
    token: &Option<SecretString>,
    file: Option<&Path>,
    option: &str,
) -> Result<Option<SecretString>> {
    let (token, option) = match (token, file) {
        (Some(token), _) => (token.clone(), format!("RUNNER_KIT_{}", option.to_ascii_uppercase())),
        (None, Some(file)) => {
            let option = format!("{option}_file");
            (read(file, &option)?, option)
        }
        (None, None) => return Ok(None),
    };
    if token.expose_secret().len() < SHORTEST {
        let remedy = "Give at least 16 characters, for example from `openssl rand -hex 32`.";
        return Err(Error::invalid(&option, "the token is too short to be a secret", remedy));
    }
    Ok(Some(token))
}

fn read(file: &Path, option: &str) -> Result<SecretString> {
    read_secret(option, file).map(|text| SecretString::from(text.trim()))
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
    let secret = secret().map_err(|error| failed(&error))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut new) => {
            new.write_all(secret.as_bytes()).map_err(|error| failed(&error))?;
            Ok(SecretString::from(secret))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // What is shorter was cut off when it was made, and would be easy to guess.
            let there = read(file, "http_token_file")?;
            if there.expose_secret().len() < SHORTEST {
                return Err(failed(&"it is there, and holds no token; delete it"));
            }
            Ok(there)
        }
        Err(error) => Err(failed(&error)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    pub(in super::super) fn tokens() -> Tokens {
        Tokens::new("operate-secret".into(), Some("look-secret".into()), None).unwrap()
    }

    #[test]
    fn each_token_gives_its_own_role_and_nothing_else_gives_any() {
        let role = |header: &str| tokens().role(shown(header)?, Utc::now());
        assert_eq!(role("Bearer operate-secret"), Some(Role::Operate));
        assert_eq!(role("bearer look-secret"), Some(Role::Look));
        for wrong in
            ["Bearer ", "Bearer operate-secre", "Basic operate-secret", "operate-secret", ""]
        {
            assert_eq!(role(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_session_gives_the_role_that_it_was_made_for_and_is_no_bearer_token() {
        let now = Utc::now();
        for role in [Role::Operate, Role::Look] {
            let (session, end) = tokens().session(role, now).unwrap();
            let session = session.expose_secret();
            assert_eq!(tokens().role(session, now), Some(role));
            assert_eq!(tokens().role(session, end), None);
            assert_eq!(tokens().bearer(session), None);
        }
        let without = Tokens::new("operate-secret".into(), None, None).unwrap();
        assert!(without.session(Role::Look, now).is_none());
        let (looking, _) = tokens().session(Role::Look, now).unwrap();
        assert_eq!(without.role(looking.expose_secret(), now), None);
    }

    #[test]
    fn one_token_for_both_roles_is_refused() {
        let same = Tokens::new("same".into(), Some("same".into()), None);
        assert!(same.unwrap_err().message.contains("http_read_token"));
    }

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state/http-token");
        let made = read_or_make(&file).unwrap();
        assert_eq!(made.expose_secret().len(), 64);
        assert_eq!(read_or_make(&file).unwrap().expose_secret(), made.expose_secret());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "").unwrap();
        assert!(read_or_make(&file).unwrap_err().message.contains("holds no token"));
    }

    #[test]
    fn a_token_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, "0123456789abcdef0123").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = chosen(&None, Some(&file), "http_read_token").unwrap_err();
        assert!(error.message.contains("others can read it"));
        assert!(error.message.contains("`http_read_token_file`"));
    }

    #[test]
    fn a_chosen_token_must_be_long_enough_and_the_environment_goes_before_the_file() {
        let given = |token: &str| chosen(&Some(token.into()), Some(Path::new("/no")), "http_token");
        assert!(given("0123456789abcde").unwrap_err().message.contains("RUNNER_KIT_HTTP_TOKEN"));
        assert!(given("0123456789abcdef").unwrap().is_some());
    }

    #[test]
    fn a_public_address_needs_a_token_that_the_operator_chose() {
        let address: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        assert!(tokens().must_be_chosen(address).is_ok());
        let made = Tokens { made: Some("/x".into()), ..tokens() };
        assert!(made.must_be_chosen(address).unwrap_err().message.contains("other machines"));
    }
}
