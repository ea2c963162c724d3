//! What GitHub says of the credential itself, for who wants to know why something does not work.

use chrono::{DateTime, Utc};
use http::{HeaderMap, Method};

use super::access::Access;
use super::client::GithubClient;
use super::limits::header;
use super::models::Account;
use super::retry::Tried;
use super::sending::{Asked, refused};
use super::window::Urgency;
use crate::error::{Code, Error, Result};

/// An answer's outcome and what its headers tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why GitHub refuses the credential, if it does.
    pub refused: Option<Error>,
    /// GitHub's clock.
    pub server_time: Option<DateTime<Utc>>,
    /// The scopes of a classic token.
    pub scopes: Option<Vec<String>>,
    /// When a fine-grained or short-lived token ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Who the credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A user, by login.
    User(String),
    /// A token that is nobody's, such as an installation's that somebody got elsewhere.
    Nobody,
    /// An app with the accounts that it is installed on, and whether each is suspended.
    App(Vec<(String, bool)>),
}

impl GithubClient {
    /// What GitHub answers to this credential, at no cost to its budget.
    pub async fn standing(&self) -> Result<Standing> {
        let (access, path) = match self.app() {
            Some(app) => (app.own.clone(), "/app"),
            None => (self.access("/rate_limit").await?, "/rate_limit"),
        };
        self.standing_of(&access, path).await
    }

    async fn standing_of(&self, access: &Access, path: &str) -> Result<Standing> {
        match self.follow(access, Asked::plain(&Method::GET, path)).await? {
            Tried::Done(answer) => {
                // A GitHub Enterprise Server without limits says 404, to a credential that it takes.
                let taken = answer.status.is_success()
                    || answer.status == http::StatusCode::NOT_FOUND && path == "/rate_limit";
                let refused = (!taken).then(|| refused(&Method::GET, path, &answer));
                Ok(Standing { refused, ..told(&answer.headers) })
            }
            Tried::Failed(error) | Tried::Unsent(error) => Err(error),
        }
    }

    /// Who the credential is.
    pub async fn identity(&self) -> Result<Identity> {
        if let Some(app) = self.app() {
            let all = self.installations(app).await?;
            let all = all.iter().map(|one| (one.account.login.clone(), one.suspended_at.is_some()));
            return Ok(Identity::App(all.collect()));
        }
        match self.get_as::<Account>(Urgency::Act, "/user").await {
            Ok(account) => Ok(Identity::User(account.login)),
            Err(Error { code: Code::TokenDenied | Code::NotFound, .. }) => Ok(Identity::Nobody),
            Err(error) => Err(error),
        }
    }
}

/// docs.github.com: `x-oauth-scopes` lists what a classic token may, `date` is GitHub's clock, and
/// `github-authentication-token-expiration` is when a token ends.
fn told(headers: &HeaderMap) -> Standing {
    let scopes = header(headers, "x-oauth-scopes").map(|text| {
        let scopes = text.split(',').map(str::trim).filter(|scope| !scope.is_empty());
        scopes.map(str::to_owned).collect()
    });
    let date = header(headers, "date").and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let expires = header(headers, "github-authentication-token-expiration");
    Standing {
        refused: None,
        server_time: date.map(|date| date.to_utc()),
        scopes,
        expires_at: expires.and_then(moment),
    }
}

/// `2026-12-01 10:00:00 UTC`, or with an offset such as `-0800`.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let text = text.replace("UTC", "+0000");
    DateTime::parse_from_str(text.trim(), "%Y-%m-%d %H:%M:%S %z").ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_tell_scopes_end_and_clock() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-oauth-scopes", "repo, admin:org"),
            ("date", "Tue, 01 Dec 2026 10:00:00 GMT"),
            ("github-authentication-token-expiration", "2026-12-02 02:00:00 -0800"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let told = told(&headers);
        assert_eq!(told.scopes.unwrap(), ["repo", "admin:org"]);
        assert_eq!(
            told.expires_at.unwrap() - told.server_time.unwrap(),
            chrono::TimeDelta::days(1)
        );
        assert_eq!(moment("2026-12-02 10:00:00 UTC"), told.expires_at);
        assert_eq!(super::told(&HeaderMap::new()), Standing::default());
    }
}
