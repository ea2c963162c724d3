//! GitHub's webhooks: what is genuine, what is new, and what it tells of a job.
//!
//! A [`Delivery`] is only ever made of a body whose signature was right, so nothing is read before.
//! Only the body is signed: that a delivery comes again is known by its id, which a stranger who got
//! hold of one could change; what is told of a job is such that this does no harm.
//!
//! Facts: docs.github.com, "Webhook events and payloads" (delivery headers, `workflow_job`) and
//! "Validating webhook deliveries".

mod inbox;
mod payload;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub use self::inbox::{Delivered, Inbox};
use crate::error::{Error, Result};

/// Fewest characters of a secret.
const SHORTEST: usize = 16;
/// What a signature begins with.
const SCHEME: &str = "sha256=";
/// Bytes of a signature.
const LENGTH: usize = 32;

/// The secrets that deliveries may be signed with: while one is being changed, the old and the new.
#[derive(Clone)]
pub struct Secrets(Vec<Hmac<Sha256>>);

impl Secrets {
    /// The secrets in the lines of `text`, which `origin` has; refused where there is none, or one
    /// that could be guessed.
    pub fn of(text: &str, origin: &str) -> Result<Self> {
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() || lines.iter().any(|line| line.len() < SHORTEST) {
            return Err(Error::invalid(
                origin,
                "a secret of webhooks needs 16 characters at least.",
                "Make one with `openssl rand -hex 32`, and enter it at GitHub too.",
            ));
        }
        // Keys of every length are admitted.
        let keys = lines.into_iter().filter_map(|key| Hmac::new_from_slice(key.as_bytes()).ok());
        Ok(Self(keys.collect()))
    }

    /// The delivery, if `signature` (the header `X-Hub-Signature-256`) is one of its body.
    pub fn open(&self, envelope: Envelope, signature: &str) -> Option<Delivery> {
        let mac = unhex(signature.strip_prefix(SCHEME)?)?;
        let is_signed = |key: &Hmac<Sha256>| {
            // Compares in constant time.
            key.clone().chain_update(&envelope.body).verify_slice(&mac).is_ok()
        };
        // All are tried, whichever it is.
        let genuine = self.0.iter().fold(false, |genuine, key| genuine | is_signed(key));
        genuine.then_some(Delivery(envelope))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// What came, from whomever.
#[derive(Clone)]
pub struct Envelope {
    /// The header `X-GitHub-Event`.
    pub event: String,
    /// The header `X-GitHub-Delivery`; none where it is missing.
    pub id: Option<String>,
    /// The body as it was sent.
    pub body: Bytes,
}

/// What came from GitHub.
pub struct Delivery(Envelope);

fn unhex(text: &str) -> Option<[u8; LENGTH]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}
