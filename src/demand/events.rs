//! What events have told of jobs, found by job, by repository and by age: thousands are remembered,
//! and each further one must not cost a look at all of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::Heard;
use crate::model::Repo;

/// Events are remembered for at most this long, without a poll that knows better: GitHub lets a job
/// wait for 24 hours (docs.github.com: actions limits).
const MEMORY: TimeDelta = TimeDelta::hours(24);
/// Jobs that events have told of; beyond it the oldest are left to polls.
const MOST: usize = 20_000;

/// The last event of each job.
#[derive(Debug, Default)]
pub(super) struct Events {
    jobs: BTreeMap<u64, Heard>,
    of_repo: BTreeMap<Repo, BTreeSet<u64>>,
    by_age: BTreeSet<(DateTime<Utc>, u64)>,
}

impl Events {
    pub(super) fn get(&self, job: u64) -> Option<&Heard> {
        self.jobs.get(&job)
    }

    /// For a change of what is known of the job; when it was told must stay as it is.
    pub(super) fn get_mut(&mut self, job: u64) -> Option<&mut Heard> {
        self.jobs.get_mut(&job)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Heard> {
        self.jobs.values()
    }

    /// Remembers `heard` instead of what was heard of the job before, and forgets what is too old for
    /// it, or too much.
    pub(super) fn insert(&mut self, heard: Heard) {
        let (job, at) = (heard.job.id, heard.at);
        self.remove(job);
        let is_too_much =
            |(age, _): &&(DateTime<Utc>, u64), count| count >= MOST || at - *age >= MEMORY;
        while let Some((_, oldest)) =
            self.by_age.first().filter(|one| is_too_much(one, self.jobs.len())).copied()
        {
            self.remove(oldest);
        }
        self.by_age.insert((at, job));
        match self.of_repo.get_mut(&heard.job.repo) {
            Some(jobs) => drop(jobs.insert(job)),
            None => drop(self.of_repo.insert(heard.job.repo.clone(), [job].into())),
        }
        self.jobs.insert(job, heard);
    }

    /// Forgets those of `repo` that do not count any more.
    pub(super) fn keep(&mut self, repo: &Repo, counts: impl Fn(&Heard) -> bool) {
        let jobs = self.of_repo.get(repo).into_iter().flatten();
        let over = jobs.filter(|job| self.jobs.get(job).is_some_and(|heard| !counts(heard)));
        for job in over.copied().collect::<Vec<_>>() {
            self.remove(job);
        }
    }

    /// Forgets those that do not count any more in repositories that are not `watched`.
    pub(super) fn keep_elsewhere(
        &mut self,
        is_watched: impl Fn(&Repo) -> bool,
        counts: impl Fn(&Heard) -> bool,
    ) {
        let elsewhere = self.of_repo.keys().filter(|repo| !is_watched(repo));
        for repo in elsewhere.cloned().collect::<Vec<_>>() {
            self.keep(&repo, &counts);
        }
    }

    fn remove(&mut self, job: u64) {
        let Some(heard) = self.jobs.remove(&job) else { return };
        self.by_age.remove(&(heard.at, job));
        if let Some(jobs) = self.of_repo.get_mut(&heard.job.repo) {
            jobs.remove(&job);
            if jobs.is_empty() {
                self.of_repo.remove(&heard.job.repo);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::JobState;
    use crate::model::{Job, Labels, Scope};

    fn heard(id: u64, repo: &str, second: i64) -> Heard {
        let (repo, at): (Repo, _) =
            (repo.parse().unwrap(), DateTime::UNIX_EPOCH + TimeDelta::seconds(second));
        let job = Job {
            id,
            run_id: 1,
            scope: Scope::Repo(repo.clone()),
            repo,
            name: String::new(),
            url: String::new(),
            labels: Labels::default(),
            queued_at: at,
            seen_at: at,
            beside_sets: false,
        };
        Heard { job, state: JobState::Queued, ending: None, at }
    }

    fn of(events: &Events) -> Vec<u64> {
        let ids: Vec<u64> = events.iter().map(|heard| heard.job.id).collect();
        let found: usize = events.of_repo.values().map(BTreeSet::len).sum();
        assert_eq!((found, events.by_age.len()), (ids.len(), ids.len()), "found in every way");
        assert!(events.of_repo.values().all(|jobs| !jobs.is_empty()));
        ids
    }

    #[test]
    fn a_job_is_remembered_once_under_its_repository_and_age() {
        let mut events = Events::default();
        for (id, repo, second) in [(1, "o/a", 1), (2, "o/a", 2), (3, "o/b", 3), (1, "o/b", 4)] {
            events.insert(heard(id, repo, second));
        }
        assert_eq!(of(&events), [1, 2, 3]);
        events.keep(&"o/a".parse().unwrap(), |_| false);
        assert_eq!(of(&events), [1, 3], "the first has moved with its repository");
        events.keep_elsewhere(|_| false, |heard| heard.job.id == 3);
        assert_eq!(of(&events), [3]);
    }

    #[test]
    fn what_is_too_old_or_too_much_is_forgotten_the_oldest_first() {
        let mut events = Events::default();
        for id in 0..MOST as u64 + 10 {
            events.insert(heard(id, "o/a", id as i64));
        }
        assert_eq!((of(&events).len(), of(&events)[0]), (MOST, 10));
        events.insert(heard(99_999, "o/b", 15_000 + MEMORY.num_seconds()));
        assert_eq!(of(&events)[0], 15_001);
    }
}
