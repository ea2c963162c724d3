//! Who may knock at all: the names by which this server is reached, and the pages that may call it.
//!
//! A browser sends both and no page can forge them, so a foreign page can neither call this server
//! nor reach it by a name of its own that it makes resolve to this host (DNS rebinding).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::refusal::{Refusal, discard};
use crate::error::Error;
use crate::model::clean_text;

/// How long a browser may remember what it is allowed.
const PREFLIGHT: Duration = Duration::from_secs(600);

/// Exact lists of hosts and origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    hosts: BTreeSet<String>,
    origins: BTreeSet<String>,
}

impl Door {
    /// The door of a server at `address` that is reached by `hosts` too, and called by the pages
    /// of `origins` too. Its own pages may always call it.
    pub(super) fn new(address: SocketAddr, hosts: &[String], origins: &[String]) -> Self {
        let own = ["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
        let itself = match address.ip() {
            ip if ip.is_unspecified() => None,
            IpAddr::V4(ip) => Some(ip.to_string()),
            IpAddr::V6(ip) => Some(format!("[{ip}]")),
        };
        // Browsers leave out the port of the scheme.
        let own: BTreeSet<String> = own
            .into_iter()
            .chain(itself)
            .flat_map(|name| {
                let plain = (address.port() == 80).then(|| name.clone());
                [Some(format!("{name}:{}", address.port())), plain]
            })
            .flatten()
            .collect();
        let given: BTreeSet<String> = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let with = |scheme: &str, hosts: &BTreeSet<String>| -> Vec<String> {
            hosts.iter().map(|host| format!("{scheme}://{host}")).collect()
        };
        let mut all: BTreeSet<String> =
            origins.iter().map(|origin| origin.to_ascii_lowercase()).collect();
        all.extend(with("http", &own));
        // Before these names there may be a proxy with TLS.
        all.extend(["http", "https"].iter().flat_map(|scheme| with(scheme, &given)));
        Self { hosts: own.into_iter().chain(given).collect(), origins: all }
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        let mut hosts = texts(headers, header::HOST);
        // A request line with a whole address speaks for itself (RFC 9112, 3.2.2).
        hosts.extend(uri.authority().map(|authority| Some(authority.as_str().to_owned())));
        let known = |list: &BTreeSet<String>, text: &Option<String>| {
            text.as_ref().is_some_and(|text| list.contains(&text.to_ascii_lowercase()))
        };
        if hosts.is_empty() || !hosts.iter().all(|host| known(&self.hosts, host)) {
            return Err(Error::invalid(
                "Host",
                format!("this server is not known as {}.", show(&hosts)),
                "Use the address that it printed, or name this one with http_hosts.",
            ));
        }
        let origins = texts(headers, header::ORIGIN);
        if origins.len() > 1 || !origins.iter().all(|origin| known(&self.origins, origin)) {
            return Err(Error::invalid(
                "Origin",
                format!("pages of {} may not call this server.", show(&origins)),
                "Name the page's origin with http_origins if it may.",
            ));
        }
        Ok(())
    }

    /// The answers to browsers about other origins' pages; the lists are those of the MCP
    /// specification's HTTP headers.
    pub(super) fn cors(&self) -> CorsLayer {
        let origins = self.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        let names = |names: &[&'static str]| -> Vec<HeaderName> {
            names.iter().copied().map(HeaderName::from_static).collect()
        };
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::POST, Method::GET, Method::DELETE, Method::OPTIONS])
            .allow_headers(names(&[
                "content-type",
                "accept",
                "authorization",
                "mcp-protocol-version",
                "mcp-method",
                "mcp-name",
                "mcp-session-id",
                "last-event-id",
            ]))
            .expose_headers(names(&["mcp-session-id", "mcp-protocol-version", "www-authenticate"]))
            .max_age(PREFLIGHT)
    }
}

/// Lets in whoever knocks with a known name and from a known page.
pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    match door.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            discard(request.into_body()).await;
            Refusal::new(StatusCode::FORBIDDEN, error).into_response()
        }
    }
}

/// The values of the header `name`; `None` where one is not even text.
fn texts(headers: &HeaderMap, name: HeaderName) -> Vec<Option<String>> {
    let values = headers.get_all(name).into_iter();
    values.map(|value| value.to_str().ok().map(str::to_owned)).collect()
}

fn show(values: &[Option<String>]) -> String {
    let known: Vec<_> = values.iter().flatten().map(|value| clean_text(value, 80)).collect();
    if known.is_empty() { "nothing".to_owned() } else { known.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(address: &str, hosts: &[&str], origins: &[&str]) -> Door {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Door::new(address.parse().unwrap(), &owned(hosts), &owned(origins))
    }

    fn admits(door: &Door, headers: &[(&'static str, &str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value): (_, HeaderValue)| {
            map.append(name, value);
        });
        door.check(&Uri::from_static("/mcp"), &map).is_ok()
    }

    #[test]
    fn by_default_only_the_loopback_names_with_the_port_are_known() {
        let door = door("127.0.0.1:8080", &[], &[]);
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:8080"] {
            assert!(admits(&door, &[("host", host)]), "{host}");
        }
        for host in [
            "localhost",
            "localhost:80",
            "evil.example:8080",
            "127.0.0.1.evil.example:8080",
            "user@localhost:8080",
            "localhost:8080.",
            "0.0.0.0:8080",
            "",
        ] {
            assert!(!admits(&door, &[("host", host)]), "{host}");
        }
        assert!(!admits(&door, &[]));
    }

    #[test]
    fn two_hosts_are_not_one_and_an_address_in_the_request_line_counts() {
        let door = door("127.0.0.1:8080", &[], &[]);
        let own = ("host", "localhost:8080");
        assert!(!admits(&door, &[own, ("host", "evil.example")]));
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost:8080"));
        assert!(door.check(&Uri::from_static("http://localhost:8080/mcp"), &headers).is_ok());
        assert!(door.check(&Uri::from_static("http://evil.example/mcp"), &headers).is_err());
    }

    #[test]
    fn an_origin_is_needed_by_nobody_and_must_be_listed() {
        let door = door("127.0.0.1:8080", &[], &["https://board.example"]);
        let with = |origin| admits(&door, &[("host", "localhost:8080"), ("origin", origin)]);
        for origin in ["http://localhost:8080", "http://127.0.0.1:8080", "https://board.example"] {
            assert!(with(origin), "{origin}");
        }
        for origin in [
            "null",
            "http://localhost:8081",
            "https://localhost:8080",
            "http://board.example",
            "https://board.example:8443",
            "https://board.example.evil.example",
            "https://board.example/",
            "",
        ] {
            assert!(!with(origin), "{origin}");
        }
        let twice = [
            ("host", "localhost:8080"),
            ("origin", "https://board.example"),
            ("origin", "https://board.example"),
        ];
        assert!(!admits(&door, &twice));
    }

    #[test]
    fn a_public_address_is_known_as_itself_and_by_the_names_that_were_given() {
        let door = door("192.0.2.7:8080", &["runners.example", "Other.Example:8443"], &[]);
        for host in ["192.0.2.7:8080", "runners.example", "other.example:8443"] {
            assert!(admits(&door, &[("host", host)]), "{host}");
        }
        let proxied = |origin| admits(&door, &[("host", "runners.example"), ("origin", origin)]);
        assert!(proxied("https://runners.example") && proxied("http://runners.example"));
        assert!(!proxied("https://runners.example:8443"));
    }

    #[test]
    fn the_port_of_the_scheme_may_be_left_out_and_brackets_stay() {
        let plain = door("[2001:db8::7]:80", &[], &[]);
        for host in ["[2001:db8::7]", "[2001:db8::7]:80", "localhost"] {
            assert!(admits(&plain, &[("host", host)]), "{host}");
        }
        assert!(!admits(&door("0.0.0.0:80", &[], &[]), &[("host", "0.0.0.0")]));
    }
}
