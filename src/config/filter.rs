//! Which of the repositories there are is watched: one rule for every source of demand.

use super::{Bounds, Globs, RunnerConfig};
use crate::error::Result;
use crate::model::Repo;

/// The repositories that a configuration admits.
#[derive(Debug, Clone)]
pub struct RepoFilter {
    owner: Option<String>,
    include: Option<Globs>,
    exclude: Globs,
    /// What the operator allows, whatever is asked for.
    bounds: Bounds,
    /// Repositories that are named one by one.
    named: Vec<Repo>,
}

impl RepoFilter {
    /// What `config` admits.
    pub fn new(config: &RunnerConfig) -> Result<Self> {
        let RunnerConfig { owner, repos, exclude_repos, bounds, .. } = config;
        let named = repos.iter().filter_map(|glob| glob.parse().ok());
        let include = if repos.is_empty() { None } else { Some(Globs::of_names("repos", repos)?) };
        Ok(Self {
            owner: owner.clone(),
            include,
            exclude: Globs::of_names("exclude_repos", exclude_repos)?,
            named: named.filter(|repo| bounds.admit(repo)).collect(),
            bounds: bounds.clone(),
        })
    }

    /// The allowed repositories of the owner that are named one by one, not by a pattern.
    pub fn named(&self) -> impl Iterator<Item = &Repo> {
        self.named.iter().filter(|repo| self.owns(repo))
    }

    /// Whether `repo` is watched.
    pub fn admits(&self, repo: &Repo) -> bool {
        self.owns(repo) && self.chooses(repo)
    }

    /// Whether `repo` is watched, which GitHub lists for the owner, whatever that is called by now.
    pub fn chooses(&self, repo: &Repo) -> bool {
        let wanted = self.include.as_ref().is_none_or(|globs| globs.admit(repo.as_str()));
        wanted && self.allows(repo)
    }

    /// Whether `repo` may be watched when it was named, whatever it is called by now.
    pub fn allows(&self, repo: &Repo) -> bool {
        // Here and nowhere else: one that was renamed comes by here too.
        self.bounds.admit(repo) && !self.exclude.admit(repo.as_str())
    }

    fn owns(&self, repo: &Repo) -> bool {
        self.owner.as_ref().is_none_or(|owner| owner.eq_ignore_ascii_case(repo.owner()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Sources, StartInput, load};

    fn config(env: &[(&str, &str)]) -> RunnerConfig {
        let env: Environment = env.iter().copied().chain([("HOME", "/nowhere")]).collect();
        let sources = Sources { env, ..Sources::default() };
        load(&sources, &StartInput::default()).unwrap().config
    }

    fn filter(env: &[(&str, &str)]) -> RepoFilter {
        RepoFilter::new(&config(env)).unwrap()
    }

    fn admits(filter: &RepoFilter, name: &str) -> bool {
        filter.admits(&name.parse().unwrap())
    }

    #[test]
    fn globs_choose_repositories_without_regard_to_case_and_exclusion_wins() {
        assert!(admits(&filter(&[]), "o/web"));
        let web = filter(&[("RUNNER_KIT_REPOS", "O/web-*")]);
        assert!(admits(&web, "o/Web-1") && !admits(&web, "o/api"));
        let old = [("RUNNER_KIT_REPOS", "o/*"), ("RUNNER_KIT_EXCLUDE_REPOS", "o/*-archive")];
        assert!(!admits(&filter(&old), "o/old-archive"));
        let star = filter(&[("RUNNER_KIT_REPOS", "*")]);
        assert!(!admits(&star, "o/web"), "a star stays within one part of the name");
    }

    #[test]
    fn with_an_owner_nobody_elses_repositories_are_admitted_or_asked_for() {
        let env = [("RUNNER_KIT_OWNER", "Octo-Org"), ("RUNNER_KIT_REPOS", "*/*,octo-org/a,p/b")];
        let filter = filter(&env);
        assert!(admits(&filter, "octo-org/web") && !admits(&filter, "other/web"));
        assert!(filter.chooses(&"renamed-org/web".parse().unwrap()));
        assert_eq!(filter.named().collect::<Vec<_>>(), [&"octo-org/a".parse::<Repo>().unwrap()]);
    }

    #[test]
    fn what_the_operator_does_not_allow_is_not_watched_even_when_it_is_named_or_was_renamed() {
        let bounds =
            [("RUNNER_KIT_ALLOWED_OWNERS", "O,p"), ("RUNNER_KIT_ALLOWED_REPOS", "o/*,q/*")];
        let repos = ["o/web", "p/web", "q/web"].map(str::to_owned).to_vec();
        let filter = RepoFilter::new(&RunnerConfig { repos, ..config(&bounds) }).unwrap();
        let named: Vec<_> = filter.named().map(Repo::as_str).collect();
        assert_eq!(named, ["o/web"], "others are not even asked for");
        for (name, allowed) in [("o/Web", true), ("p/web", false), ("q/web", false)] {
            assert_eq!(admits(&filter, name), allowed, "{name}");
            assert_eq!(filter.allows(&name.parse().unwrap()), allowed, "{name}");
        }
    }
}
