//! Session tokens: what a browser holds instead of a bearer token.
//!
//! Nothing is kept of them. Role and expiry stand in the token, signed with a key that is derived
//! from the bearer token of that role: a restart signs nobody out, another bearer token everybody.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::tokens::Role;

/// How long somebody stays signed in.
const LIFE: TimeDelta = TimeDelta::hours(12);
/// What the derived key is for: it signs nothing else, and no other key signs this.
const PURPOSE: &[u8] = b"ipfs-accelerate session 1";

/// The key that signs the sessions of one role.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    /// The key of those who could also show `bearer`.
    pub(super) fn of(bearer: &SecretString) -> Self {
        let bearer = Sha256::digest(bearer.expose_secret().as_bytes());
        let derived = keyed(&bearer.into()).chain_update(PURPOSE).finalize();
        Self(keyed(&derived.into_bytes().into()))
    }

    /// A session that begins at `now`, and when it ends.
    pub(super) fn issue(&self, role: Role, now: DateTime<Utc>) -> (SecretString, DateTime<Utc>) {
        let end = now + LIFE;
        let claim = format!("{}.{}", role.as_str(), end.timestamp());
        let mac = self.0.clone().chain_update(&claim).finalize().into_bytes();
        let token = format!("{claim}.{}", URL_SAFE_NO_PAD.encode(mac));
        // Whole seconds are signed.
        (token.into(), DateTime::from_timestamp(end.timestamp(), 0).unwrap_or(end))
    }

    /// Whether `token` is one that this key signed for `role`, and has not ended at `now`.
    pub(super) fn admits(&self, token: &str, role: Role, now: DateTime<Utc>) -> bool {
        let read = || {
            let (claim, mac) = token.rsplit_once('.')?;
            let (name, end) = claim.split_once('.')?;
            let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
            // Compares in constant time.
            self.0.clone().chain_update(claim).verify_slice(&mac).ok()?;
            Some((name == role.as_str()).then_some(end.parse::<i64>().ok()?)? > now.timestamp())
        };
        read().unwrap_or(false)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// HMAC whose key is `secret`, filled up with zeros as RFC 2104 has it: so it can't be too long.
fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block.iter_mut().zip(secret).for_each(|(to, from)| *to = *from);
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> Key {
        Key::of(&secret.into())
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    #[test]
    fn a_session_holds_for_its_role_until_it_ends() {
        let (token, end) = key("secret").issue(Role::Look, now());
        let token = token.expose_secret();
        assert_eq!(end, now() + TimeDelta::hours(12));
        assert!(key("secret").admits(token, Role::Look, end - TimeDelta::seconds(1)));
        assert!(!key("secret").admits(token, Role::Look, end));
        assert!(!key("secret").admits(token, Role::Operate, now()));
    }

    #[test]
    fn another_bearer_token_ends_all_sessions() {
        let (token, _) = key("secret").issue(Role::Operate, now());
        assert!(!key("secret2").admits(token.expose_secret(), Role::Operate, now()));
    }

    #[test]
    fn nothing_in_a_session_can_be_changed() {
        let key = key("secret");
        let (token, _) = key.issue(Role::Look, now());
        let token = token.expose_secret();
        let later = token.replacen("1800043200", "1900000000", 1);
        let role = token.replacen("look", "operate", 1);
        assert!(later != token && role != token);
        let (claim, _) = token.rsplit_once('.').unwrap();
        let cut = &token[..token.len() - 1];
        for wrong in [&later, &role, cut, claim, &format!("{claim}."), "", ".", "..", "look.9.AA"] {
            for role in [Role::Look, Role::Operate] {
                assert!(!key.admits(wrong, role, now()), "{wrong}");
            }
        }
    }

    #[test]
    fn a_session_does_not_show_the_secret_and_the_key_shows_nothing() {
        let key = key("secret");
        let (token, _) = key.issue(Role::Look, now());
        assert!(!token.expose_secret().contains("secret"));
        assert_eq!(format!("{key:?}"), "Key");
    }
}
