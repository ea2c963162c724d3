//! What failed lately, and who has to wait for it: looks, the image, single repositories.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{Code, Error};
use crate::model::{Demand, Repo, RepoDemand};
use crate::pace;
use crate::views::LastError;

#[derive(Default)]
pub(super) struct Troubles {
    /// The demand cannot be seen.
    look: Option<Trouble>,
    /// The runners cannot be seen.
    engine: Option<Trouble>,
    image: Option<Trouble>,
    repos: BTreeMap<Repo, Trouble>,
    /// Repositories and scopes that alone could not be seen: the first of them.
    unseen: Option<LastError>,
}

struct Trouble {
    failures: u32,
    until: DateTime<Utc>,
    last: LastError,
    sentence: String,
}

impl Trouble {
    fn after(before: Option<&Self>, error: &Error, now: DateTime<Utc>) -> Self {
        // Launches that run side by side fail together: that is one failure.
        let again = before.is_some_and(|trouble| trouble.until <= now);
        let failures = before.map_or(1, |trouble| trouble.failures + u32::from(again));
        let until = now + pace::after_failure(failures, error);
        let sentence = format!("{} {}", error.message, error.remedy);
        Self { failures, until, last: LastError::new(error, now), sentence }
    }
}

impl Troubles {
    /// The time to wait before the next look.
    pub(super) fn look_failed(&mut self, error: &Error, now: DateTime<Utc>) -> Duration {
        let trouble = Trouble::after(self.look.as_ref(), error, now);
        let wait = (trouble.until - now).to_std().unwrap_or_default();
        self.look = Some(trouble);
        wait
    }

    /// The clock was set forward by `jump`, or back: nobody waits longer for it, or shorter.
    pub(super) fn shift(&mut self, jump: TimeDelta) {
        let all = [&mut self.look, &mut self.engine, &mut self.image].into_iter().flatten();
        for trouble in all.chain(self.repos.values_mut()) {
            trouble.until += jump;
        }
    }

    /// The time to wait before the next look at the runners.
    pub(super) fn engine_failed(&mut self, error: &Error, now: DateTime<Utc>) -> Duration {
        let trouble = Trouble::after(self.engine.as_ref(), error, now);
        let wait = (trouble.until - now).to_std().unwrap_or_default();
        self.engine = Some(trouble);
        wait
    }

    /// Why nothing is decided while the runners are not seen.
    pub(super) fn unsighted(&self) -> String {
        let why = self.engine.as_ref().map(|trouble| trouble.sentence.as_str());
        why.unwrap_or("The runners have not been looked at yet.").to_owned()
    }

    /// The runners are seen. After an engine was away, nobody waits for it any longer.
    pub(super) fn engine_succeeded(&mut self) {
        if self.engine.take().is_none() {
            return;
        }
        let waits_for_it = |trouble: &Trouble| trouble.last.code == Code::DockerUnreachable;
        self.repos.retain(|_, trouble| !waits_for_it(trouble));
        self.image = self.image.take().filter(|trouble| !waits_for_it(trouble));
    }

    /// Forgets what is over. Returns the time until the next retry of a launch, if there is one.
    pub(super) fn look_succeeded(
        &mut self,
        demand: &Demand,
        trouble: Option<&Error>,
        now: DateTime<Utc>,
    ) -> Option<Duration> {
        self.look = None;
        let unseen = demand.unseen.values().chain(demand.unlisted.values()).next().or(trouble);
        self.unseen = unseen.map(|error| LastError::new(error, now));
        let is_it = |seen: &RepoDemand, repo: &Repo| !seen.queued.is_empty() && seen.repo == *repo;
        let waits = |repo: &Repo| demand.repos.iter().any(|seen| is_it(seen, repo));
        self.repos.retain(|repo, trouble| trouble.until > now || waits(repo));
        if demand.jobs().next().is_none()
            && self.image.as_ref().is_some_and(|image| image.until <= now)
        {
            self.image = None;
        }
        self.next_retry(now)
    }

    pub(super) fn image_failed(&mut self, error: &Error, now: DateTime<Utc>) {
        self.image = Some(Trouble::after(self.image.as_ref(), error, now));
    }

    pub(super) fn launch_failed(&mut self, repo: Option<&Repo>, error: &Error, now: DateTime<Utc>) {
        let Some(repo) = repo else {
            // An organisation's runner: nobody else's launches there would fare better.
            return self.image_failed(error, now);
        };
        self.image = None;
        let trouble = Trouble::after(self.repos.get(repo), error, now);
        self.repos.insert(repo.clone(), trouble);
    }

    /// The image is there; whether its runner comes online is another matter.
    pub(super) fn image_succeeded(&mut self) {
        self.image = None;
    }

    /// A runner came online, or did its job.
    pub(super) fn launch_succeeded(&mut self, repo: Option<&Repo>) {
        if let Some(repo) = repo {
            self.repos.remove(repo);
        }
    }

    /// Repositories whose launches failed, and until when they wait.
    pub(super) fn backoff(&self) -> BTreeMap<Repo, DateTime<Utc>> {
        self.repos.iter().map(|(repo, trouble)| (repo.clone(), trouble.until)).collect()
    }

    /// Why nothing can be launched now.
    pub(super) fn paused(&self, now: DateTime<Utc>) -> Option<&str> {
        self.image.as_ref().filter(|image| image.until > now).map(|image| image.sentence.as_str())
    }

    /// The time until the first wait is over.
    pub(super) fn next_retry(&self, now: DateTime<Utc>) -> Option<Duration> {
        let waits = self.repos.values().chain(&self.image);
        let first = waits.map(|trouble| trouble.until).filter(|until| *until > now).min()?;
        (first - now).to_std().ok()
    }

    /// The failure that a person should know of first.
    pub(super) fn last(&self) -> Option<LastError> {
        let launch =
            self.image.iter().chain(self.repos.values()).max_by_key(|trouble| trouble.last.at);
        let look = self
            .engine
            .as_ref()
            .or(self.look.as_ref())
            .or(launch)
            .map(|trouble| trouble.last.clone());
        look.or_else(|| self.unseen.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn error(message: &str) -> Error {
        Error::new(Code::ContainerFailed, message, "Look.")
    }

    #[test]
    fn a_repository_waits_longer_after_each_failure_and_not_at_all_after_a_success() {
        let mut troubles = Troubles::default();
        let repo: Repo = "o/r".parse().unwrap();
        troubles.launch_failed(Some(&repo), &error("a"), at(0));
        troubles.launch_failed(Some(&repo), &error("a"), at(1));
        assert_eq!(troubles.backoff()[&repo], at(6), "failures side by side count once");
        troubles.launch_failed(Some(&repo), &error("a"), at(6));
        assert_eq!(troubles.backoff()[&repo], at(16));
        troubles.launch_succeeded(Some(&repo));
        assert!(troubles.backoff().is_empty() && troubles.last().is_none());
    }

    #[test]
    fn who_waits_for_an_engine_that_was_away_waits_no_longer_once_it_is_seen() {
        let mut troubles = Troubles::default();
        let [away, broken]: [Repo; 2] = ["o/away", "o/broken"].map(|repo| repo.parse().unwrap());
        let unreachable = Error::new(Code::DockerUnreachable, "away.", "Wait.");
        troubles.launch_failed(Some(&broken), &error("a"), at(0));
        troubles.launch_failed(Some(&away), &unreachable, at(0));
        troubles.image_failed(&unreachable, at(0));
        troubles.engine_succeeded();
        assert_eq!(troubles.backoff().len(), 2, "the looks never failed: it is not the engine");

        troubles.engine_failed(&unreachable, at(1));
        troubles.engine_succeeded();
        assert_eq!(troubles.backoff().into_keys().collect::<Vec<_>>(), [broken]);
        assert_eq!(troubles.paused(at(1)), None);
    }

    #[test]
    fn a_missing_image_holds_everything_until_its_time() {
        let mut troubles = Troubles::default();
        troubles.image_failed(&error("no image."), at(0));
        assert_eq!(troubles.paused(at(4)), Some("no image. Look."));
        assert_eq!(troubles.paused(at(5)), None);
        assert_eq!(troubles.next_retry(at(2)), Some(Duration::from_secs(3)));
    }

    /// The demand when a job of `repo` waits.
    fn waiting(repo: &Repo) -> Demand {
        let job = crate::model::Job {
            id: 1,
            run_id: 1,
            scope: crate::model::Scope::Repo(repo.clone()),
            repo: repo.clone(),
            name: "build".into(),
            url: String::new(),
            labels: crate::model::Labels::new(["self-hosted"]),
            queued_at: at(0),
            seen_at: at(0),
            beside_sets: false,
        };
        let (running, failed, pending, in_progress) = (0, 0, 1, vec![]);
        let (repo, queued) = (repo.clone(), vec![job]);
        let seen = RepoDemand { repo, running, failed, pending, queued, in_progress };
        Demand { repos: vec![seen], ..Demand::default() }
    }

    #[test]
    fn an_image_that_is_missing_still_when_jobs_wait_is_waited_for_longer_each_time() {
        let waiting = waiting(&"o/r".parse().unwrap());
        for (demand, second) in [(waiting, 19), (Demand::default(), 14)] {
            let mut troubles = Troubles::default();
            troubles.image_failed(&error("no image."), at(0));
            troubles.look_succeeded(&demand, None, at(9));
            troubles.image_failed(&error("no image."), at(9));
            assert!(
                troubles.paused(at(second - 1)).is_some() && troubles.paused(at(second)).is_none()
            );
        }
    }

    #[test]
    fn a_launch_for_a_whole_organisation_that_failed_is_told_and_waits_too() {
        let mut troubles = Troubles::default();
        troubles.launch_failed(None, &error("no group."), at(0));
        assert_eq!(troubles.paused(at(4)), Some("no group. Look."));
        assert_eq!(troubles.last().unwrap().message, "no group. Look.");
    }

    #[test]
    fn a_failure_is_told_while_it_lasts() {
        let mut troubles = Troubles::default();
        troubles.look_failed(&error("down."), at(0));
        assert_eq!(troubles.last().unwrap().message, "down. Look.");
        let demand = Demand {
            repos: vec![],
            unseen: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            rate_limit: None,
            is_listed: true,
            ..Demand::default()
        };
        troubles.look_succeeded(&demand, None, at(1));
        assert_eq!(troubles.last(), None);
    }

    #[test]
    fn a_repository_in_which_nothing_waits_any_more_is_forgotten_when_its_time_is_over() {
        let mut troubles = Troubles::default();
        let repo: Repo = "o/r".parse().unwrap();
        troubles.launch_failed(Some(&repo), &error("a"), at(0));
        let mut left = |second| troubles.look_succeeded(&Demand::default(), None, at(second));
        assert_eq!([left(4), left(5)], [Some(Duration::from_secs(1)), None]);
        assert!(troubles.backoff().is_empty());
        troubles.launch_failed(Some(&repo), &error("a"), at(10));
        troubles.look_succeeded(&waiting(&repo), None, at(20));
        assert_eq!(troubles.backoff().len(), 1);
        troubles.look_succeeded(&waiting(&"o/another".parse().unwrap()), None, at(20));
        assert!(troubles.backoff().is_empty());
    }
}
