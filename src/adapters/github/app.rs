//! A GitHub App's identity: its private key, and the short tokens that it signs with it.
//!
//! Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App": RS256; issued 60 s
//! ago against clock drift; ends within 10 minutes; the issuer is the app id or the client id.

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::access::Issued;
use crate::config::read_secret;
use crate::error::{Code, Error, Result};

/// How far back a token is dated: this host's clock may be ahead.
const DRIFT: TimeDelta = TimeDelta::seconds(60);
/// How long a token lasts.
const LIFE: TimeDelta = TimeDelta::minutes(9);

/// An app and where its key is.
#[derive(Clone)]
pub struct AppKey {
    id: String,
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// Read whenever a token is signed, so that a key can be changed without a restart.
    File(PathBuf),
    Text(SecretString),
}

impl AppKey {
    /// The app `id` with the key in `file`.
    pub fn in_file(id: impl Into<String>, file: PathBuf) -> Self {
        Self { id: id.into(), source: Source::File(file) }
    }

    /// The app `id` with the key `pem`, whose lines may be told apart by `\n` in writing, as
    /// variables of an environment often have them.
    pub fn in_text(id: impl Into<String>, pem: &str) -> Self {
        Self { id: id.into(), source: Source::Text(pem.replace("\\n", "\n").into()) }
    }

    /// A token that says that we are the app.
    pub(super) fn sign(&self, now: DateTime<Utc>) -> Result<Issued> {
        let (pem, name) = match &self.source {
            Source::File(file) => (read_secret("app_key_file", file)?.into(), "app_key_file"),
            Source::Text(pem) => (pem.clone(), "RUNNER_KIT_APP_KEY"),
        };
        // What the libraries say of a key that they cannot use may show some of it.
        let unusable = || {
            Error::new(
                Code::NotAuthenticated,
                format!(
                    "Not authenticated with GitHub CLI or token: {name} holds no RSA private key."
                ),
                "Give the whole .pem file that GitHub made on the app's page.",
            )
        };
        let key = EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes());
        let key = key.map_err(|_| unusable())?;
        let until = now + LIFE;
        let issuer = self.id.parse::<u64>().map_or_else(|_| Value::from(&*self.id), Value::from);
        let claims = json!({
            "iss": issuer,
            "iat": (now - DRIFT).timestamp(),
            "exp": until.timestamp(),
        });
        let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key);
        Ok(Issued { token: token.map_err(|_| unusable())?.into(), until })
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppKey").field("id", &self.id).finish_non_exhaustive()
    }
}
