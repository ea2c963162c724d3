//! From GitHub's answers to errors that say what is missing.

use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode};

use super::limits::header;
use crate::error::{Code, Error};
use crate::model::clean_text;

/// How the message begins when a runner could not be made known: the guide's phrase.
pub(super) const TOKEN_FAILED: &str = "Failed to generate runner token";

/// The error that the answer `status` to `method path` means.
pub(super) fn refused(
    method: &Method,
    path: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Error {
    let said = said(body);
    let id = header(headers, "x-github-request-id")
        .map(|id| format!(" (request {id})"))
        .unwrap_or_default();
    let subject = subject(path);
    // GitHub answers 404 where a credential must not even know that something exists.
    let registration = path.contains("/actions/runners");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::FORBIDDEN
            if path.starts_with("/app") =>
        {
            refused_app(path, status, headers, &said, &id)
        }
        StatusCode::FORBIDDEN if said.contains("installation has been suspended") => {
            suspended(owner_of(path).unwrap_or("this account"), None)
        }
        StatusCode::UNAUTHORIZED => Error::new(
            Code::NotAuthenticated,
            format!(
                "Not authenticated with GitHub CLI or token: GitHub refused the credential{id}."
            ),
            "Renew the token (GITHUB_TOKEN, GH_TOKEN or token_file), or run `gh auth login`.",
        ),
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND if registration && method == Method::POST => {
            Error::new(
                Code::TokenDenied,
                format!("{TOKEN_FAILED} for {subject}: {said}{id}."),
                right(method, path, headers),
            )
        }
        StatusCode::FORBIDDEN => {
            let act = match *method {
                _ if !registration => "read",
                Method::DELETE => "remove runners of",
                _ => "list the runners of",
            };
            Error::new(
                Code::TokenDenied,
                format!("The credential may not {act} {subject}: {said}{id}."),
                right(method, path, headers),
            )
        }
        StatusCode::NOT_FOUND => Error::new(
            Code::NotFound,
            format!("GitHub knows no {subject}, or does not show it to this credential{id}."),
            if registration {
                right(method, path, headers)
            } else {
                "Check the spelling and what the credential can see.".to_owned()
            },
        ),
        StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => Error::new(
            Code::ContainerFailed,
            format!("GitHub refused the request for {subject}: {said}{id}."),
            "It is tried again with another name; see the runners' page of the repository.",
        ),
        status => Error::new(
            Code::GithubUnreachable,
            format!("GitHub answered {status} for {subject}{id}."),
            "Nothing has to be done if it passes; see githubstatus.com.",
        ),
    }
}

/// What GitHub says to the app itself: about its token, or about one of its installations.
fn refused_app(path: &str, status: StatusCode, headers: &HeaderMap, said: &str, id: &str) -> Error {
    let not_authenticated = |remedy: String| {
        let message = format!(
            "Not authenticated with GitHub CLI or token: GitHub refused the app: {said}{id}."
        );
        Error::new(Code::NotAuthenticated, message, remedy)
    };
    if said.contains("claim") {
        let off = header(headers, "date")
            .and_then(|date| DateTime::parse_from_rfc2822(date).ok())
            .map(|date| (Utc::now() - date.to_utc()).num_seconds());
        let off = match off {
            Some(off) if off > 1 => format!(", which is {off} s ahead of GitHub's"),
            Some(off) if off < -1 => format!(", which is {} s behind GitHub's", -off),
            _ => String::new(),
        };
        return not_authenticated(format!(
            "Set this host's clock{off}: `timedatectl set-ntp true`."
        ));
    }
    if path.contains("/access_tokens") && status != StatusCode::UNAUTHORIZED {
        return Error::new(
            Code::TokenDenied,
            format!("The app was given no token for its installation: {said}{id}."),
            "Look at the app's page among the account's installed apps: it may have been removed or \
             suspended; a new installation is found within a minute.",
        );
    }
    not_authenticated(
        "Check app_id and the private key: both are on the app's own page, where a new key can be \
         made."
            .to_owned(),
    )
}

/// An installation that its account has switched off.
pub(super) fn suspended(owner: &str, address: Option<&str>) -> Error {
    let at = address.map(|address| format!(" at {}", clean_text(address, 200)));
    Error::new(
        Code::TokenDenied,
        format!("The app's installation on {owner} has been suspended."),
        format!(
            "Have an owner of {owner} unsuspend it{}, or leave {owner} out.",
            at.unwrap_or_default()
        ),
    )
}

/// An app that is not where it is needed.
pub(super) fn not_installed(owner: Option<&str>, address: Option<&str>) -> Error {
    let on = owner.map_or("any account".to_owned(), |owner| owner.to_owned());
    let at = address.map_or("on its page".to_owned(), |address| {
        format!("at {}/installations/new", clean_text(address, 200))
    });
    let account = owner.unwrap_or("the account whose repositories are to be watched");
    Error::new(
        Code::TokenDenied,
        format!("The app is not installed on {on}."),
        format!("Install it {at} for {account}; it is found within a minute."),
    )
}

/// The account that a path is about.
pub(super) fn owner_of(path: &str) -> Option<&str> {
    let path = path.split('?').next().unwrap_or(path);
    let mut parts = path.trim_start_matches('/').split('/');
    match parts.next() {
        Some("repos" | "orgs" | "users") => parts.next().filter(|owner| !owner.is_empty()),
        _ => None,
    }
}

/// The repository or organisation that a path is about.
pub(super) fn whom(path: &str) -> Option<&str> {
    let path = path.split('?').next().unwrap_or(path).trim_start_matches('/');
    let (kind, rest) = path.split_once('/')?;
    let parts = match kind {
        "repos" => 2,
        "orgs" => 1,
        _ => return None,
    };
    let end = rest.match_indices('/').nth(parts - 1).map_or(rest.len(), |(at, _)| at);
    rest.get(..end)
}

/// No answer, or none that can be read.
pub(super) fn unreachable(path: &str, reason: &str) -> Error {
    Error::new(
        Code::GithubUnreachable,
        format!("GitHub did not answer for {}: {}.", subject(path), clean_text(reason, 200)),
        "Check the network, GITHUB_API_URL and githubstatus.com.",
    )
}

/// What a path is about, for people: a repository, an organisation, or the account.
fn subject(path: &str) -> String {
    let path = path.split('?').next().unwrap_or(path);
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("repos"), Some(owner), Some(name)) => format!("repository {owner}/{name}"),
        (Some("orgs"), Some(org), _) => format!("organisation {org}"),
        (Some("users"), Some(user), _) => format!("account {user}"),
        _ => "account of this credential".to_owned(),
    }
}

/// The right that is missing: as GitHub says, else as its documentation does.
fn right(method: &Method, path: &str, headers: &HeaderMap) -> String {
    let accepted = header(headers, "x-accepted-github-permissions").filter(|text| !text.is_empty());
    let access = if method == Method::GET { "read" } else { "write" };
    let needed = match accepted {
        Some(accepted) => clean_text(accepted, 120),
        None if path.contains("/actions/runners") && path.starts_with("/orgs/") => {
            format!("organization_self_hosted_runners={access} (classic token: admin:org)")
        }
        None if path.contains("/actions/runners") => {
            format!("administration={access} (classic token: repo)")
        }
        None if path.contains("/actions/") => "actions=read (classic token: repo)".to_owned(),
        None => "metadata=read".to_owned(),
    };
    format!("Give the credential the permission {needed} for it, or exclude it with exclude_repos.")
}

fn said(body: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|json| {
        json.get("message").and_then(|message| message.as_str()).map(str::to_owned)
    });
    let message = message.unwrap_or_else(|| "no reason given".to_owned());
    clean_text(message.trim_end_matches('.'), 160)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(method: Method, path: &str, status: u16, accepted: Option<&str>) -> Error {
        let mut headers = HeaderMap::new();
        headers.insert("x-github-request-id", "ABCD:1".parse().unwrap());
        if let Some(accepted) = accepted {
            headers.insert("x-accepted-github-permissions", accepted.parse().unwrap());
        }
        let body = br#"{"message":"Resource not accessible by personal access token"}"#;
        refused(&method, path, StatusCode::from_u16(status).unwrap(), &headers, body)
    }

    #[test]
    fn a_path_is_about_a_repository_an_organisation_or_neither() {
        for (path, about) in [
            ("/repos/o/r/actions/runs?per_page=1", Some("o/r")),
            ("/repos/o/r?x=/y", Some("o/r")),
            ("/orgs/o/actions/runners", Some("o")),
            ("/user/repos?page=1", None),
            ("/app", None),
        ] {
            assert_eq!(whom(path), about, "{path}");
        }
    }

    #[test]
    fn a_missing_right_is_named_with_the_repository_and_the_request() {
        let denied = error(Method::GET, "/repos/o/r/actions/runs?x=1", 403, Some("actions=read"));
        assert_eq!(denied.code, Code::TokenDenied);
        assert!(denied.message.contains("repository o/r") && denied.message.contains("ABCD:1"));
        assert!(denied.remedy.contains("actions=read"));
    }

    #[test]
    fn a_token_that_github_hides_is_a_missing_right_with_the_guides_phrase() {
        let denied = error(Method::POST, "/orgs/o/actions/runners/registration-token", 404, None);
        assert_eq!(denied.code, Code::TokenDenied);
        assert!(denied.message.starts_with("Failed to generate runner token for organisation o"));
        assert!(denied.remedy.contains("admin:org"));
    }

    #[test]
    fn runners_that_may_not_be_listed_or_removed_are_a_missing_right_too() {
        let listing = error(Method::GET, "/repos/o/r/actions/runners?page=1", 403, None);
        assert_eq!(listing.code, Code::TokenDenied);
        assert!(
            listing.message.contains("may not list the runners of repository o/r"),
            "{listing}"
        );
        assert!(listing.remedy.contains("administration=read"), "{listing}");
        let removal = error(Method::DELETE, "/repos/o/r/actions/runners/7", 403, None);
        assert!(removal.message.contains("may not remove runners"), "{removal}");
        assert!(removal.remedy.contains("administration=write"), "{removal}");
        // The repository may be gone, which ends what is left of its runners.
        let hidden = error(Method::GET, "/repos/o/r/actions/runners?page=1", 404, None);
        assert_eq!(hidden.code, Code::NotFound);
        assert!(hidden.remedy.contains("administration=read"), "{hidden}");
    }

    #[test]
    fn other_answers_have_the_code_that_a_caller_can_act_upon() {
        let code = |status| error(Method::GET, "/orgs/o/repos", status, None).code;
        assert_eq!(code(401), Code::NotAuthenticated);
        assert_eq!(code(404), Code::NotFound);
        assert_eq!(code(502), Code::GithubUnreachable);
    }
}
