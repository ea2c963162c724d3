//! Where GitHub is: `GITHUB_API_URL` and `GITHUB_SERVER_URL`, each derived from the other.
//!
//! Facts: docs.github.com, "REST API: Getting started": `https://HOST/api/v3` for Enterprise
//! Server, `https://api.SUBDOMAIN.ghe.com` for Enterprise Cloud with data residency.

use http::Uri;

use super::layers::Environment;
use crate::error::{Error, Result};

/// GitHub's two addresses, without a slash at the end, each with where it came from.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Base of the REST API.
    pub(super) api: (String, String),
    /// Base of the pages.
    pub(super) server: (String, String),
}

/// The addresses that the environment says.
pub(super) fn addresses(env: &Environment) -> Result<Addresses> {
    let api = base(env, "GITHUB_API_URL")?;
    let server = base(env, "GITHUB_SERVER_URL")?;
    let from = |name: &str| format!("environment {name}");
    let derived = |name: &str| format!("derived from environment {name}");
    let (api_origin, server_origin) = match (&api, &server) {
        (None, None) => ("default".to_owned(), "default".to_owned()),
        (Some(_), None) => (from("GITHUB_API_URL"), derived("GITHUB_API_URL")),
        (None, Some(_)) => (derived("GITHUB_SERVER_URL"), from("GITHUB_SERVER_URL")),
        (Some(_), Some(_)) => (from("GITHUB_API_URL"), from("GITHUB_SERVER_URL")),
    };
    let (api, server) = match (api, server) {
        (None, None) => ("https://api.github.com".to_owned(), "https://github.com".to_owned()),
        (Some(api), None) => (api.clone(), server_of(&api)),
        (None, Some(server)) => (api_of(&server), server),
        (Some(api), Some(server)) => (api, server),
    };
    Ok(Addresses { api: (api, api_origin), server: (server, server_origin) })
}

fn base(env: &Environment, name: &str) -> Result<Option<String>> {
    let Some(text) = env.get(name) else { return Ok(None) };
    let plausible = text.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
            && !text.contains('#')
    });
    match plausible {
        Some(_) => Ok(Some(text.trim_end_matches('/').to_owned())),
        // Not shown: what is wrong with it may be a credential in it.
        None => Err(Error::invalid(
            name,
            "the variable does not hold a plain http or https address.",
            "Set it to something like https://github.example.com, without user, password, query \
             or fragment.",
        )),
    }
}

fn api_of(server: &str) -> String {
    let host = server.split_once("://").map_or(server, |(_, host)| host).to_ascii_lowercase();
    if host == "github.com" || host == "www.github.com" {
        "https://api.github.com".to_owned()
    } else if host.ends_with(".ghe.com") {
        format!("https://api.{host}")
    } else {
        format!("{server}/api/v3")
    }
}

fn server_of(api: &str) -> String {
    let host = api.split_once("://").map_or(api, |(_, host)| host).to_ascii_lowercase();
    match host.strip_prefix("api.") {
        Some(rest) if rest == "github.com" || rest.ends_with(".ghe.com") => {
            format!("https://{rest}")
        }
        _ => api.strip_suffix("/api/v3").unwrap_or(api).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pairs: &[(&str, &str)]) -> (String, String) {
        let found = addresses(&pairs.iter().copied().collect()).unwrap();
        (found.api.0, found.server.0)
    }

    #[test]
    fn without_variables_it_is_github_com() {
        assert_eq!(found(&[]), ("https://api.github.com".into(), "https://github.com".into()));
    }

    #[test]
    fn either_address_follows_from_the_other() {
        let pairs = [
            ("https://api.github.com", "https://github.com"),
            ("https://api.octo.ghe.com", "https://octo.ghe.com"),
            ("https://ghes.example.org:8443/api/v3", "https://ghes.example.org:8443"),
        ];
        for (api, server) in pairs {
            let both = (api.to_owned(), server.to_owned());
            assert_eq!(found(&[("GITHUB_API_URL", api)]), both);
            assert_eq!(found(&[("GITHUB_SERVER_URL", &format!("{server}/"))]), both);
        }
    }

    #[test]
    fn a_simulator_without_a_path_serves_both() {
        let address = "http://127.0.0.1:9999".to_owned();
        assert_eq!(found(&[("GITHUB_API_URL", &address)]), (address.clone(), address));
    }

    #[test]
    fn two_addresses_stay_as_they_are_and_an_empty_variable_says_nothing() {
        let given = [("GITHUB_API_URL", "http://a:1/x"), ("GITHUB_SERVER_URL", "http://b:2")];
        assert_eq!(found(&given), ("http://a:1/x".into(), "http://b:2".into()));
        assert_eq!(found(&[("GITHUB_API_URL", "")]).0, "https://api.github.com");
    }

    #[test]
    fn an_address_with_a_credential_in_it_is_refused_and_never_shown() {
        for wrong in ["https://me:s3cret@host", "github.com", "ftp://host", "https://h/?t=s3cret"] {
            let env = [("GITHUB_API_URL", wrong)].into_iter().collect();
            let error = addresses(&env).unwrap_err().to_string();
            assert!(error.contains("GITHUB_API_URL") && !error.contains("s3cret"), "{error}");
        }
    }
}
