//! Which repositories are watched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::adapters::github::models::{Account, Repository};
use crate::adapters::github::{GithubClient, Installed};
use crate::config::{RepoFilter, RunnerConfig};
use crate::error::{Code, Error, Result};
use crate::model::Repo;

/// A repository that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) repo: Repo,
    pub(super) pushed_at: Option<DateTime<Utc>>,
    /// Whether an organisation owns it.
    pub(super) in_org: bool,
}

/// What there is to watch.
pub(super) struct Listing {
    pub(super) found: Vec<Found>,
    /// Named one by one, and not to be seen; the others are watched all the same.
    pub(super) lost: BTreeMap<Repo, Error>,
    /// Accounts, in small letters, whose repositories could not be listed, although others' could.
    pub(super) unlisted: BTreeMap<String, Error>,
}

pub(super) struct Discovery {
    client: Arc<GithubClient>,
    owner: Option<String>,
    filter: RepoFilter,
}

impl Discovery {
    pub(super) fn new(client: Arc<GithubClient>, config: &RunnerConfig) -> Result<Self> {
        Ok(Self { client, owner: config.owner.clone(), filter: RepoFilter::new(config)? })
    }

    /// The repositories, and those that are named and could not be found.
    /// `all`: also what changed without a push, which comes to no list's front.
    pub(super) async fn list(&self, all: bool) -> Result<Listing> {
        let (listed, unlisted) = match self.client.installed(self.owner.as_deref()).await? {
            Some(installed) => of_installations(installed)?,
            None => {
                let listed = match &self.owner {
                    Some(owner) => self.of_owner(owner, all).await?,
                    None => self.repositories("/user/repos?", all).await?,
                };
                (listed, BTreeMap::new())
            }
        };
        let mut found: Vec<Found> = listed
            .iter()
            .filter_map(alive)
            .filter(|found| self.filter.chooses(&found.repo))
            .collect();
        let seen: BTreeSet<Repo> = found.iter().map(|found| found.repo.clone()).collect();
        let mut lost = BTreeMap::new();
        for repo in self.filter.named().filter(|repo| !seen.contains(repo)) {
            match self.client.get::<Repository>(&format!("/repos/{repo}")).await {
                // Renamed perhaps, and still the one that was named.
                Ok(repository) => {
                    let allowed = |found: &Found| self.filter.allows(&found.repo);
                    found.extend(alive(&repository).filter(allowed));
                }
                Err(error) => drop(lost.insert(repo.clone(), error)),
            }
        }
        Ok(Listing { found, lost, unlisted })
    }

    async fn of_owner(&self, owner: &str, all: bool) -> Result<Vec<Repository>> {
        let account: Account = self.client.get(&format!("/users/{owner}")).await?;
        if account.is_org() {
            return self.repositories(&format!("/orgs/{owner}/repos?type=all&"), all).await;
        }
        match self.client.get::<Account>("/user").await {
            Ok(me) if me.login.eq_ignore_ascii_case(owner) => {
                self.repositories("/user/repos?affiliation=owner&", all).await
            }
            // A token that somebody got for an app is nobody's: then only what is public is listed.
            Ok(_) | Err(Error { code: Code::TokenDenied | Code::NotFound, .. }) => {
                self.repositories(&format!("/users/{owner}/repos?type=owner&"), all).await
            }
            Err(error) => Err(error),
        }
    }

    async fn repositories(&self, path: &str, all: bool) -> Result<Vec<Repository>> {
        let path = format!("{path}sort=pushed&direction=desc");
        match all {
            true => self.client.get_all::<Vec<_>>(&path).await,
            false => self.client.get_front::<Vec<_>>(&path).await,
        }
    }
}

/// What the installations of an app cover together. Where not one can be seen, that is the answer.
fn of_installations(
    installed: Vec<Installed>,
) -> Result<(Vec<Repository>, BTreeMap<String, Error>)> {
    let (mut listed, mut unlisted, mut seen) = (Vec::new(), BTreeMap::new(), 0);
    for Installed { owner, repositories } in installed {
        match repositories {
            Ok(repositories) => {
                listed.extend(repositories);
                seen += 1;
            }
            Err(error) => drop(unlisted.insert(owner.to_ascii_lowercase(), error)),
        }
    }
    match unlisted.values().next() {
        Some(error) if seen == 0 => Err(error.clone()),
        _ => Ok((listed, unlisted)),
    }
}

/// The repository, unless nothing can run there.
fn alive(repository: &Repository) -> Option<Found> {
    let dead = repository.archived.unwrap_or_default() || repository.disabled.unwrap_or_default();
    let repo = repository.full_name.parse().ok().filter(|_| !dead)?;
    Some(Found { repo, pushed_at: repository.pushed_at, in_org: repository.owner.is_org() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archived_and_disabled_repositories_are_left_out() {
        let repository = |archived: Option<bool>, disabled: Option<bool>| {
            let owner = Account { login: "o".into(), kind: Some("Organization".into()) };
            alive(&Repository {
                full_name: "o/web".into(),
                owner,
                archived,
                disabled,
                pushed_at: None,
            })
        };
        assert!(repository(Some(true), None).is_none() && repository(None, Some(true)).is_none());
        assert!(repository(Some(false), None).is_some_and(|found| found.in_org));
    }
}
