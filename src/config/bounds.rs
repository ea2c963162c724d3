//! What the operator allows at most, whatever layer a value comes from and whoever asks.
//!
//! A list that was emptied allows nothing: a mistake in a bound must not take the bound away.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::RunnerConfig;
use super::resolve::Values;
use crate::error::{Error, Result};
use crate::model::{Repo, clean_text};

/// Upper bounds on what may be watched, launched and provisioned.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// Users and organisations that may be watched and provisioned for.
    pub allowed_owners: Globs,
    /// Repositories that may be, by full name.
    pub allowed_repos: Globs,
    /// Images that runners may have.
    pub allowed_images: Globs,
    /// The most that `max_runners` may be.
    pub max_runners_allowed: usize,
    /// Runners that may be provisioned by hand within a minute.
    pub provision_rate: usize,
}

/// Globs, compiled. None of them matches nothing.
#[derive(Debug, Clone, Default)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Globs {
    /// The `patterns` of `option`, of logins or full names: case does not count, as for GitHub, and a star stays
    /// within one part.
    pub fn of_names(option: &str, patterns: &[String]) -> Result<Self> {
        Self::new(option, patterns, |glob| glob.case_insensitive(true).literal_separator(true))
    }

    /// The `patterns` of `option`, of images: a star stands for anything, `/` and `:` too. Case counts, since a tag
    /// in another case is another image.
    pub fn of_images(option: &str, patterns: &[String]) -> Result<Self> {
        Self::new(option, patterns, |glob| glob.literal_separator(false))
    }

    fn new(
        option: &str,
        patterns: &[String],
        habits: impl for<'a, 'b> Fn(&'a mut GlobBuilder<'b>) -> &'a mut GlobBuilder<'b>,
    ) -> Result<Self> {
        let failed = |error: globset::Error| {
            Error::invalid(option, error, "Give globs such as octo-org/web-*.")
        };
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(habits(&mut GlobBuilder::new(pattern)).build().map_err(failed)?);
        }
        Ok(Self { patterns: patterns.to_vec(), set: set.build().map_err(failed)? })
    }

    /// Whether one of them matches `text`.
    pub fn admit(&self, text: &str) -> bool {
        self.set.is_match(text)
    }
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Default for Bounds {
    /// What holds where nobody sets a bound.
    fn default() -> Self {
        // Should a pattern not compile, nothing would be allowed: the safe side.
        let all = |glob: &str| [glob.to_owned()];
        Self {
            allowed_owners: Globs::of_names("allowed_owners", &all("*")).unwrap_or_default(),
            allowed_repos: Globs::of_names("allowed_repos", &all("*/*")).unwrap_or_default(),
            allowed_images: Globs::of_images("allowed_images", &all("*")).unwrap_or_default(),
            max_runners_allowed: 1_000,
            provision_rate: 60,
        }
    }
}

impl Bounds {
    /// Whether `repo` may be watched and provisioned for.
    pub fn admit(&self, repo: &Repo) -> bool {
        self.outside(repo).is_none()
    }

    /// Refuses `repo` unless it may be provisioned for.
    pub fn check(&self, repo: &Repo) -> Result<()> {
        let Some((option, allowed)) = self.outside(repo) else { return Ok(()) };
        let reason = format!("`{repo}` is outside {option}, a bound that the operator has set.");
        Err(Error::invalid("repo", reason, remedy(allowed)))
    }

    /// The bound that `repo` is outside of.
    fn outside(&self, repo: &Repo) -> Option<(&'static str, &Globs)> {
        let (owners, repos) = (&self.allowed_owners, &self.allowed_repos);
        let bounds =
            [("allowed_owners", owners, repo.owner()), ("allowed_repos", repos, repo.as_str())];
        let outside = bounds.into_iter().find(|(_, allowed, text)| !allowed.admit(text));
        outside.map(|(option, allowed, _)| (option, allowed))
    }

    /// Refuses what `config` says outside these bounds.
    pub(super) fn hold(&self, config: &RunnerConfig, values: &Values) -> Result<()> {
        let refuse = |name: &str, text: &str, option: &str, allowed: &Globs| {
            let error = values.refuse_text(name, text, &format!("is outside {option}"));
            Err(Error { remedy: remedy(allowed), ..error })
        };
        if let Some(owner) = &config.owner
            && !self.allowed_owners.admit(owner)
        {
            return refuse("owner", owner, "allowed_owners", &self.allowed_owners);
        }
        // A glob is no demand: of what it stands for only what is allowed is watched.
        for repo in config.repos.iter().filter_map(|glob| glob.parse::<Repo>().ok()) {
            if let Some((option, allowed)) = self.outside(&repo) {
                return refuse("repos", repo.as_str(), option, allowed);
            }
        }
        if !self.allowed_images.admit(&config.runner_image) {
            let (image, allowed) = (&config.runner_image, &self.allowed_images);
            return refuse("runner_image", image, "allowed_images", allowed);
        }
        if config.max_runners > self.max_runners_allowed {
            let most = self.max_runners_allowed;
            let error = values.refuse("max_runners", "is more than max_runners_allowed");
            return Err(Error { remedy: format!("The operator allows at most {most}."), ..error });
        }
        Ok(())
    }
}

fn remedy(allowed: &Globs) -> String {
    match allowed.patterns.join(", ") {
        none if none.is_empty() => "The operator allows none.".to_owned(),
        some => format!("The operator allows {}.", clean_text(&some, 200)),
    }
}
