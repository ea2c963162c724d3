//! Names on GitHub: repositories, owners and what runners are registered with.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::clean_text;
use crate::error::{Error, Result};

/// A repository's full name, `owner/name`. Compared without regard to case, as GitHub does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repo(String);

/// What GitHub admits in the full name of a repository.
pub const REPO_PATTERN: &str = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}$";

impl Repo {
    /// The full name as GitHub spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user or organisation that owns the repository.
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The name without its owner.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

/// Whether `name` may name a user or an organisation.
pub fn is_owner(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 100
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl FromStr for Repo {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let valid = text.split_once('/').is_some_and(|(owner, name)| {
            let tame = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            is_owner(owner)
                && (1..=100).contains(&name.len())
                && name.bytes().all(tame)
                && !matches!(name, "." | "..")
        });
        if valid {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid(
            "repo",
            not_a_repo(text),
            "Give it as owner/name, for example octo-org/website.",
        ))
    }
}

fn not_a_repo(text: &str) -> String {
    format!("`{}` is not a repository's full name", clean_text(text, 80))
}

impl TryFrom<String> for Repo {
    /// The reason alone: who reads it as a part of something names the field.
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|_: Error| not_a_repo(&text))
    }
}

impl From<Repo> for String {
    fn from(repo: Repo) -> Self {
        repo.0
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for Repo {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Repo {}

impl PartialOrd for Repo {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Repo {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for Repo {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| state.write_u8(byte));
    }
}

impl JsonSchema for Repo {
    fn schema_name() -> Cow<'static, str> {
        "Repo".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": REPO_PATTERN, "examples": ["octo-org/website"] })
    }
}

/// Where runners are registered, and so which jobs they can take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One repository.
    Repo(Repo),
    /// A whole organisation, by its login in lower case.
    Org(String),
}

impl Scope {
    /// The organisation `login`.
    pub fn org(login: &str) -> Self {
        Self::Org(login.to_ascii_lowercase())
    }

    /// The scope that [`Display`](fmt::Display) wrote as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.contains('/') {
            true => text.parse().ok().map(Self::Repo),
            false => is_owner(text).then(|| Self::org(text)),
        }
    }

    /// Whether runners that are registered here may get jobs of `repo`.
    pub fn covers(&self, repo: &Repo) -> bool {
        match self {
            Self::Repo(own) => own == repo,
            Self::Org(org) => org.eq_ignore_ascii_case(repo.owner()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repo(repo) => repo.fmt(f),
            Self::Org(org) => f.write_str(org),
        }
    }
}
