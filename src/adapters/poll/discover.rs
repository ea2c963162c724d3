//! Which repositories are watched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::adapters::github::models::{Account, Repository};
use crate::adapters::github::{GithubClient, Installed};
use crate::config::{Bounds, Globs, RunnerConfig};
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
    filter: Filter,
}

struct Filter {
    include: Option<Globs>,
    exclude: Globs,
    /// What the operator allows, whatever is asked for.
    bounds: Bounds,
    /// Repositories that are named one by one.
    named: Vec<Repo>,
}

impl Discovery {
    pub(super) fn new(client: Arc<GithubClient>, config: &RunnerConfig) -> Result<Self> {
        let filter = Filter::new(&config.repos, &config.exclude_repos, &config.bounds)?;
        Ok(Self { client, owner: config.owner.clone(), filter })
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
        let admitted = listed.iter().filter_map(|repository| self.filter.admit(repository));
        let mut found: Vec<Found> = admitted.collect();
        let seen: BTreeSet<Repo> = found.iter().map(|found| found.repo.clone()).collect();
        let mut lost = BTreeMap::new();
        for repo in self.filter.named.iter().filter(|repo| !seen.contains(repo)) {
            if self.owner.as_ref().is_some_and(|owner| !owner.eq_ignore_ascii_case(repo.owner())) {
                continue;
            }
            match self.client.get::<Repository>(&format!("/repos/{repo}")).await {
                // Renamed perhaps, and still the one that was named.
                Ok(repository) => found.extend(self.filter.admit_named(&repository)),
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

impl Filter {
    fn new(include: &[String], exclude: &[String], bounds: &Bounds) -> Result<Self> {
        let named = include.iter().filter_map(|glob| glob.parse().ok());
        let named = named.filter(|repo| bounds.admit(repo)).collect();
        let include =
            if include.is_empty() { None } else { Some(Globs::of_names("repos", include)?) };
        let exclude = Globs::of_names("exclude_repos", exclude)?;
        Ok(Self { include, exclude, bounds: bounds.clone(), named })
    }

    fn admit(&self, repository: &Repository) -> Option<Found> {
        let wanted = |name: &str| self.include.as_ref().is_none_or(|globs| globs.admit(name));
        self.admit_named(repository).filter(|found| wanted(found.repo.as_str()))
    }

    fn admit_named(&self, repository: &Repository) -> Option<Found> {
        let repo: Repo = repository.full_name.parse().ok()?;
        let dead =
            repository.archived.unwrap_or_default() || repository.disabled.unwrap_or_default();
        // Here and nowhere else: one that was renamed comes by here too.
        let admitted = !dead && self.bounds.admit(&repo) && !self.exclude.admit(repo.as_str());
        let (pushed_at, in_org) = (repository.pushed_at, repository.owner.is_org());
        admitted.then_some(Found { repo, pushed_at, in_org })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(include: &[&str], exclude: &[&str], name: &str) -> bool {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let filter = Filter::new(&owned(include), &owned(exclude), &Bounds::default()).unwrap();
        filter.admit(&repository(name, false)).is_some()
    }

    fn repository(name: &str, archived: bool) -> Repository {
        let owner = Account { login: "o".into(), kind: Some("Organization".into()) };
        let (full_name, archived) = (name.to_owned(), Some(archived));
        Repository { full_name, owner, archived, disabled: None, pushed_at: None }
    }

    #[test]
    fn globs_choose_repositories_without_regard_to_case_and_exclusion_wins() {
        assert!(admitted(&[], &[], "o/web"));
        assert!(admitted(&["O/web-*"], &[], "o/Web-1"));
        assert!(!admitted(&["o/web-*"], &[], "o/api"));
        assert!(!admitted(&["o/*"], &["o/*-archive"], "o/old-archive"));
        assert!(!admitted(&["*"], &[], "o/web"), "a star stays within one part of the name");
    }

    #[test]
    fn what_the_operator_does_not_allow_is_not_watched_even_when_it_is_named_or_was_renamed() {
        let names = |option: &str, globs: &[&str]| {
            let globs: Vec<_> = globs.iter().map(ToString::to_string).collect();
            Globs::of_names(option, &globs).unwrap()
        };
        let bounds = Bounds {
            allowed_owners: names("allowed_owners", &["O", "p"]),
            allowed_repos: names("allowed_repos", &["o/*", "q/*"]),
            ..Bounds::default()
        };
        let include = ["o/web".to_owned(), "p/web".to_owned(), "q/web".to_owned()];
        let filter = Filter::new(&include, &[], &bounds).unwrap();
        assert_eq!(filter.named, ["o/web".parse().unwrap()], "others are not even asked for");
        for (name, allowed) in [("o/Web", true), ("p/web", false), ("q/web", false)] {
            assert_eq!(filter.admit(&repository(name, false)).is_some(), allowed, "{name}");
            assert_eq!(filter.admit_named(&repository(name, false)).is_some(), allowed, "{name}");
        }
    }

    #[test]
    fn archived_repositories_are_left_out() {
        let filter = Filter::new(&[], &[], &Bounds::default()).unwrap();
        assert!(filter.admit(&repository("o/web", true)).is_none());
        assert!(filter.admit(&repository("o/web", false)).is_some_and(|found| found.in_org));
    }
}
