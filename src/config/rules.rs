//! What the texts among the options admit, each as a check and in words.
//!
//! Plausibility only: whether an image, a network or an owner exists is found out when it is used.

use std::net::{Ipv4Addr, SocketAddr};

use crate::model::is_owner;

/// What a text must be.
pub(super) struct Rule {
    /// Finishes the sentence "… is not".
    pub(super) noun: &'static str,
    /// Finishes the sentence "Allowed: ".
    pub(super) allowed: &'static str,
    /// Whether a text is that.
    pub(super) holds: fn(&str) -> bool,
}

/// The rule for the option `name`: for each element where it is a list.
pub(super) fn rule(name: &str) -> Rule {
    let (noun, allowed, holds): (_, _, fn(&str) -> bool) = match name {
        "owner" => (
            "a user or an organisation",
            "a login of GitHub: letters, digits and dashes, 100 at most, for example octo-org",
            is_owner,
        ),
        "runner_image" => (
            "an image's name",
            "a reference such as myoung34/github-runner:latest, with its registry and digest or \
             without",
            is_image,
        ),
        "repos" | "exclude_repos" | "allowed_repos" => (
            "a valid glob",
            "globs of full names such as octo-org/web-*, separated by commas",
            is_glob,
        ),
        "allowed_owners" => {
            ("a valid glob", "globs of logins such as octo-*, separated by commas", is_glob)
        }
        "allowed_images" => (
            "a valid glob",
            "globs of images such as ghcr.io/actions/*, separated by commas",
            is_glob,
        ),
        "labels" => ("a label", "labels of 1 to 256 characters, separated by commas", |text| {
            (1..=256).contains(&text.chars().count()) && !text.contains(char::is_control)
        }),
        "memory_limit" => (
            "a size in that range",
            "bytes, or a number with the unit k, m, g or t, from 6m to 1024t, for example 512m",
            |text| size(text).is_some(),
        ),
        "min_free_disk" => (
            "a size in that range",
            "0, bytes, or a number with the unit k, m, g or t, from 6m to 1024t, for example 10g",
            |text| size_or_none(text).is_some(),
        ),
        "network_mode" => {
            ("a network's name", "host, bridge, none or the name of a network", is_network)
        }
        "runner_user" => (
            "a user",
            "a name or number, with a group after a colon or without, for example 1001:121",
            is_user,
        ),
        "instance" => ("an instance's name", "1 to 20 of the characters a-z, 0-9 and -", |text| {
            let tame = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=20).contains(&text.len()) && text.bytes().all(tame)
        }),
        "http" => (
            "an address to listen on",
            "ADDRESS:PORT or a port alone, for example 127.0.0.1:8080",
            |text| address(text).is_some(),
        ),
        "http_hosts" => (
            "a host",
            "names with their port unless it is the scheme's, for example runners.example.org",
            is_host,
        ),
        "http_origins" => (
            "an origin",
            "http or https, a name and its port unless it is the scheme's, for example \
             https://board.example.org",
            |text| {
                let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
                host.is_some_and(is_host)
            },
        ),
        "scale_set" => (
            "the name of a scale set",
            "1 to 64 of the characters a-z, A-Z, 0-9, dot, - and _, for example docker-pool",
            |text| {
                let tame = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
                (1..=64).contains(&text.len()) && text.bytes().all(tame)
            },
        ),
        "app_id" => (
            "an app's id",
            "the app id or the client id that the app's page shows, for example 123456",
            |text| {
                let tame = |b: u8| b.is_ascii_alphanumeric() || b == b'.';
                (1..=100).contains(&text.len()) && text.bytes().all(tame)
            },
        ),
        "runner_work_dir"
        | "token_file"
        | "app_key_file"
        | "state_dir"
        | "http_token_file"
        | "http_read_token_file"
        | "webhook_secret_file" => {
            ("a path", "a path, ~/ at its beginning is the home directory", |text| {
                !text.trim().is_empty() && !text.contains(char::is_control)
            })
        }
        _ => ("a name", "1 to 100 characters, none of them a control character", |text| {
            (1..=100).contains(&text.trim().chars().count()) && !text.contains(char::is_control)
        }),
    };
    Rule { noun, allowed, holds }
}

/// The bytes that `text` says, where Docker would take them: it admits no less than 6 MiB.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(1 << shift)?,
        // A fraction of a byte is a unit that was forgotten.
        Err(_) if shift > 0 => (number.parse::<f64>().ok()? * (1_u64 << shift) as f64) as u64,
        Err(_) => return None,
    };
    (6 << 20..=1024 << 40).contains(&bytes).then_some(bytes)
}

/// The same, or 0.
pub(super) fn size_or_none(text: &str) -> Option<u64> {
    if text.trim() == "0" { Some(0) } else { size(text) }
}

/// `bytes` in the largest unit that says them exactly.
pub(super) fn size_text(bytes: u64) -> String {
    for (shift, unit) in [(40, "t"), (30, "g"), (20, "m"), (10, "k")] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// The address that `text` says; a port alone is one of this host only.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    let local = |port: &str| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)));
    match text.strip_prefix("localhost:") {
        Some(port) => local(port),
        None => text.parse().ok().or_else(|| local(text)),
    }
}

fn is_glob(text: &str) -> bool {
    !text.contains(char::is_control) && globset::Glob::new(text).is_ok()
}

/// A name or an address (RFC 3986 has those of version 6 in brackets), with a port or without.
fn is_host(text: &str) -> bool {
    let authority = text.parse::<http::uri::Authority>().ok();
    authority.is_some_and(|authority| {
        let port = text.strip_prefix(authority.host());
        let whole = |port: &str| port.is_empty() || authority.port_u16().is_some();
        // A star would stand for nothing: names are compared as they are.
        !authority.host().is_empty() && !text.contains(['@', '*', '%']) && port.is_some_and(whole)
    })
}

fn is_network(text: &str) -> bool {
    let tame = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    text.len() <= 128
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(tame)
}

fn is_user(text: &str) -> bool {
    let name = |part: &str| {
        let first = part.bytes().next();
        let number = part.len() <= 10 && part.bytes().all(|b| b.is_ascii_digit());
        let tame = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        first.is_some_and(|b| number || b.is_ascii_lowercase() || b == b'_')
            && part.len() <= 32
            && part.bytes().all(tame)
    };
    match text.split_once(':') {
        Some((user, group)) => name(user) && name(group),
        None => name(text),
    }
}

/// The grammar of github.com/distribution/reference, without the bound on single components.
fn is_image(text: &str) -> bool {
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (Some(first), rest)
        }
        _ => (None, name),
    };
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let component = |part: &str| {
        part.bytes().all(|b| word(b) || matches!(b, b'.' | b'_' | b'-'))
            && part.bytes().next().is_some_and(word)
            && part.bytes().next_back().is_some_and(word)
    };
    let host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    let tagged = |tag: &str| {
        let tame = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        (1..=128).contains(&tag.len()) && tag.bytes().all(tame) && !tag.starts_with(['.', '-'])
    };
    let digested = |digest: &str| {
        digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        })
    };
    text.len() <= 512
        && path.split('/').all(component)
        && registry.is_none_or(|registry| registry.bytes().all(host))
        && tag.is_none_or(tagged)
        && digest.is_none_or(digested)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_plain_numbers_are_bytes() {
        assert_eq!(size("4g"), Some(4 << 30));
        assert_eq!(size("512M"), Some(512 << 20));
        assert_eq!(size("1.5g"), Some(3 << 29));
        assert_eq!(size("2 GiB"), Some(2 << 30));
        assert_eq!(size("8388608"), Some(8 << 20));
        let wrong =
            ["", "g", "-1", "4x", "1.5", "1..5g", "5m", "0", "99999999999999999999", "2048t"];
        for wrong in wrong {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_size_is_shown_in_the_largest_exact_unit() {
        for text in ["4g", "1536m", "1t", "8388609"] {
            assert_eq!(size_text(size(text).unwrap()), text);
        }
    }

    #[test]
    fn images_are_told_from_nonsense() {
        let digest = format!("ghcr.io/actions/actions-runner@sha256:{}", "0a".repeat(32));
        let good = [
            "tiny",
            "myoung34/github-runner:latest",
            "localhost:5000/Tiny".to_lowercase().as_str(),
            "Mirror.Example:5000/a/b__c:2.336.0-ubuntu",
            digest.as_str(),
        ]
        .map(str::to_owned);
        assert!(good.iter().all(|image| is_image(image)));
        for bad in ["", "Upper/case", "a b", "-x", "a:", "a/", "/a", "a@sha256:1", "a:b:c", "a;b"] {
            assert!(!is_image(bad), "{bad}");
        }
    }

    #[test]
    fn users_networks_and_addresses_are_told_from_nonsense() {
        assert!(["root", "1001", "1001:121", "runner:docker"].iter().all(|text| is_user(text)));
        assert!(!["", ":", "1:", "a:b:c", "-x", "a b", "12a"].iter().any(|text| is_user(text)));
        assert!(["host", "my_net-1.2"].iter().all(|text| is_network(text)));
        assert!(!["", "container:x", "-a", "a b"].iter().any(|text| is_network(text)));
        assert_eq!(address("9000"), address("localhost:9000"));
        assert_eq!(address("[::1]:80").unwrap().port(), 80);
        assert!(address("example.org").is_none() && address("70000").is_none());
        for good in ["runners.example.org", "localhost:8443", "[::1]:80", "192.0.2.7"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", ":80", "a b", "me@host", "*.example.org", "host:", "host:70000", "h/x"] {
            assert!(!is_host(bad), "{bad}");
        }
        let origin = |text| (rule("http_origins").holds)(text);
        assert!(origin("https://board.example.org") && origin("http://localhost:3000"));
        for bad in ["null", "board.example.org", "https://", "https://a/", "ftp://a", "*"] {
            assert!(!origin(bad), "{bad}");
        }
    }
}
