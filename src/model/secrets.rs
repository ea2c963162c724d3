//! Credentials in text that was not meant to hold any.
//!
//! Facts: docs.github.com, "About authentication to GitHub": GitHub's tokens begin with one of the
//! prefixes below, followed by letters, digits and underscores.

/// What stands for a secret.
pub const REDACTED: &str = "(redacted)";

const PREFIXES: [&str; 6] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"];

/// Characters after the prefix without which it is no token: GitHub's have 36 at least, and a name
/// must not be hidden because it begins like one.
const SHORTEST: usize = 20;

/// `text` with what looks like a token of GitHub replaced.
pub fn redacted(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, prefix)) = first(rest) {
        let (before, found) = rest.split_at(start);
        // Dots and dashes too: some tokens are signed, and have three parts.
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = found.find(|c| !part(c)).unwrap_or(found.len());
        let (token, after) = found.split_at(end);
        clean.push_str(before);
        clean.push_str(if end - prefix.len() < SHORTEST { token } else { REDACTED });
        rest = after;
    }
    clean + rest
}

/// Where the first token of `text` may begin, and how.
fn first(text: &str) -> Option<(usize, &'static str)> {
    let found = PREFIXES.iter().filter_map(|prefix| Some((text.find(prefix)?, *prefix)));
    found.min()
}

/// Whether a member called `name` is there to hold a secret.
pub fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "password", "credential", "authorization", "api_key", "apikey"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_github_are_replaced_wherever_they_stand() {
        for token in [
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "gho_0123456789abcdefghijABCDEFGHIJ012345",
            "ghu_0123456789abcdefghijABCDEFGHIJ012345",
            "ghs_0123_eyJhbGci-x.eyJpc3M.abcdefgh_ijk",
            "ghr_0123456789abcdefghijABCDEFGHIJ012345",
            "github_pat_11ABCDEFG0abcdefghijkl_0123456789",
        ] {
            assert_eq!(redacted(token), REDACTED);
            let text = format!("https://me:{token}@host, {token}");
            assert_eq!(redacted(&text), format!("https://me:{REDACTED}@host, {REDACTED}"));
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in ["", "octo-org/ghp", "o/ghs_tools", "ghx_1", "an élan of ✓ signs"] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn a_member_for_a_secret_is_known_by_its_name() {
        assert!(
            ["github_token", "X-Authorization", "PASSWORD"].map(names_a_secret).iter().all(|s| *s)
        );
        assert!(!names_a_secret("max_runners"));
    }
}
