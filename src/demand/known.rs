//! What is known of the demand, and how it is joined.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use super::events::Events;
use super::looked::{Listed, Looked, not_ahead};
use super::{Assigned, Heard, JobState, LAG, Standing, Watched};
use crate::error::Error;
use crate::model::{Counted, Demand, Job, Repo, RepoDemand, RunningJob, Scope};

/// An end is remembered for this long, whatever polls say: an ended job does not come back.
const ENDED: TimeDelta = TimeDelta::hours(1);
/// So long a job is believed to wait that a poll saw, where no other can be made: for less than what
/// it may have been given to is remembered.
const BELIEVED: TimeDelta = TimeDelta::minutes(25);
/// Polls overtake each other by less than this: none takes as long. One that is further ahead was told
/// before the clock was set back.
const OVERTAKEN: TimeDelta = TimeDelta::seconds(60);
/// A job that GitHub lists for this long and gives to no scale set of its scope is looked after
/// without it.
const OVERDUE: TimeDelta = TimeDelta::seconds(60);

#[derive(Debug, Default)]
pub(super) struct Known {
    watched: Option<BTreeSet<Repo>>,
    looked: BTreeMap<Repo, Looked>,
    lost: BTreeMap<Repo, Error>,
    unlisted: BTreeMap<String, Error>,
    blind: Option<Error>,
    heard: Events,
    pub(super) sets: BTreeMap<Scope, Assigned>,
    taken: Taken,
    /// Since when a scale set always had jobs of which only the number is known.
    counted_since: BTreeMap<Scope, DateTime<Utc>>,
    /// For how long in all a scale set has had room for more jobs, until it last spoke.
    roomy: BTreeMap<Scope, TimeDelta>,
    pub(super) standing: Standing,
    pub(super) revision: u64,
}

/// Jobs, by run and name, that a scale set was given and that wait no more, and when that was told:
/// polls and events know them by another id, and may not have heard of it yet.
type Taken = HashMap<u64, BTreeMap<String, DateTime<Utc>>>;

/// Jobs by run and name, and until when it is news that they have begun.
type Begun<'a> = HashMap<(u64, &'a str), DateTime<Utc>>;

impl Known {
    fn news(&mut self, is_news: bool) -> bool {
        self.revision += u64::from(is_news);
        is_news
    }

    pub(super) fn watch(&mut self, watched: Watched) -> bool {
        let Watched { repos, lost, unlisted, at } = watched;
        // What an account had is there still, for all we know.
        let is_hidden = |repo: &Repo| unlisted.contains_key(&repo.owner().to_ascii_lowercase());
        let is_there = |repo: &Repo| repos.contains(repo) || is_hidden(repo);
        self.looked.retain(|repo, _| repos.contains(repo));
        // One that was made just now may be heard of before it is listed.
        self.heard.keep_elsewhere(is_there, |heard| at - heard.at < LAG);
        let same =
            self.watched.as_ref() == Some(&repos) && self.lost == lost && self.unlisted == unlisted;
        (self.watched, self.lost, self.unlisted) = (Some(repos), lost, unlisted);
        self.news(!same)
    }

    pub(super) fn saw(
        &mut self,
        repo: &Repo,
        seen: Result<RepoDemand, Error>,
        began: DateTime<Utc>,
    ) -> bool {
        if self.looked.get(repo).is_some_and(|looked| is_overtaken(began, looked.began)) {
            return false;
        }
        if let Ok(seen) = &seen {
            // A job that was seen to begin does not wait again when nothing can be seen any more.
            for RunningJob { job, runner_name, started_at } in &seen.in_progress {
                let heard = self.heard.get_mut(job.id);
                let begun = JobState::InProgress {
                    runner_name: runner_name.clone(),
                    started_at: *started_at,
                };
                if let Some(heard) = heard.filter(|heard| heard.state.rank() < begun.rank()) {
                    heard.state = begun;
                }
            }
            // What comes from the future was told before the clock was set back.
            let counts = |heard: &Heard| outlasts(heard, began) && heard.at - began < OVERTAKEN;
            self.heard.keep(repo, counts);
        }
        let roomy = |scope: &Scope| self.roomy(scope, began);
        let looked = Looked::after(self.looked.get(repo), began, seen, roomy);
        let before = self.looked.insert(repo.clone(), looked);
        let now = self.looked.get(repo).map(|looked| &looked.seen);
        // A job that is seen again still waits: what it was given before may have come to nothing.
        let idle = now.is_some_and(|seen| seen.as_ref().is_ok_and(|seen| seen.queued.is_empty()));
        let same = idle && before.as_ref().map(|before| &before.seen) == now;
        self.news(!same)
    }

    pub(super) fn blind(&mut self, why: Option<Error>) -> bool {
        let same = self.blind == why;
        self.blind = why;
        self.news(!same)
    }

    pub(super) fn hear(&mut self, mut heard: Heard) -> bool {
        heard.job.queued_at = not_ahead(heard.job.queued_at, heard.at);
        let outlived = |looked: &Looked| looked.seen.is_ok() && !outlasts(&heard, looked.began);
        if self.looked.get(&heard.job.repo).is_some_and(outlived) {
            return false;
        }
        let known = self.heard.get(heard.job.id);
        if known.is_some_and(|known| known.state.rank() >= heard.state.rank()) {
            return false;
        }
        self.heard.insert(heard);
        self.news(true)
    }

    pub(super) fn assign(&mut self, scope: &Scope, assigned: Option<Assigned>) -> bool {
        if let Some(assigned) = &assigned {
            self.take(scope, assigned);
        }
        match assigned.as_ref().filter(|assigned| assigned.more > 0) {
            Some(Assigned { at, .. }) => {
                let since = self.counted_since.entry(scope.clone()).or_insert(*at);
                // What comes from the future was told before the clock was set back.
                *since = (*since).min(*at);
            }
            None => drop(self.counted_since.remove(scope)),
        }
        match &assigned {
            Some(Assigned { at, .. }) => {
                let roomy = self.roomy(scope, *at);
                self.roomy.insert(scope.clone(), roomy);
            }
            None => drop(self.roomy.remove(scope)),
        }
        let before = match assigned {
            Some(assigned) => self.sets.insert(scope.clone(), assigned),
            None => self.sets.remove(scope),
        };
        let same = self.sets.get(scope) == before.as_ref();
        self.news(!same)
    }

    /// Remembers which jobs the set of `scope` no longer waits with.
    fn take(&mut self, scope: &Scope, set: &Assigned) {
        self.taken.retain(|_, names| {
            names.retain(|_, at| set.at - *at < ENDED);
            !names.is_empty()
        });
        let before = self.sets.get(scope).into_iter();
        let before = before.flat_map(|set| set.queued.iter().map(|job| (job.run_id, &job.name)));
        let begun = set.in_progress.iter().map(|(_, running)| &running.job);
        let begun = begun.map(|job| (job.run_id, &job.name));
        for (run, name) in before.chain(begun) {
            self.taken.entry(run).or_default().entry(name.clone()).or_insert(set.at);
        }
        for job in &set.queued {
            if let Some(names) = self.taken.get_mut(&job.run_id) {
                names.remove(&job.name);
            }
        }
    }

    /// For how long in all the set of `scope` has had room for more jobs. However the clock was set,
    /// no longer went by between two words of it than they are apart.
    fn roomy(&self, scope: &Scope, now: DateTime<Utc>) -> TimeDelta {
        let before = self.roomy.get(scope).copied().unwrap_or_default();
        let since = self.sets.get(scope).filter(|set| !set.is_full).map(|set| now - set.at);
        before + since.unwrap_or_default().clamp(TimeDelta::zero(), OVERDUE)
    }

    /// Whether `job` was listed for so long, by polls, that the set of its scope should have been given
    /// it; and whether that had room for it meanwhile.
    fn is_overdue(&self, job: &Job, now: DateTime<Utc>) -> (bool, bool) {
        let listed = self.looked.get(&job.repo).and_then(|looked| looked.listed.get(&job.id));
        let Some(Listed { since, roomy }) = listed else { return (false, false) };
        let had_room = self.roomy(&job.scope, now) - *roomy >= LAG;
        let is_full = self.sets.get(&job.scope).is_some_and(|set| set.is_full);
        // While it is full it is given nothing; when it is no more, it may be in a moment.
        (now - *since >= OVERDUE && (is_full || had_room), had_room)
    }

    pub(super) fn restless(&self) -> BTreeSet<Repo> {
        let open = self.heard.iter().filter(|heard| heard.state != JobState::Completed);
        open.map(|heard| heard.job.repo.clone()).collect()
    }

    /// Jobs of which others tell that they have begun or are over, by run and name, and until when
    /// that is news: a scale set that speaks later knows better. A poll that is told now may have begun a
    /// little before.
    fn begun(&self) -> Begun<'_> {
        let mut begun = Begun::new();
        let mut tell = |run, name, until: DateTime<Utc>| {
            let known = begun.entry((run, name)).or_insert(until);
            *known = until.max(*known);
        };
        for Heard { job, state, at, .. } in self.heard.iter() {
            if state.rank() > JobState::Queued.rank() {
                tell(job.run_id, job.name.as_str(), *at);
            }
        }
        for Looked { began, seen, .. } in self.looked.values() {
            // So much later it is too late.
            let until = *began + OVERTAKEN - TimeDelta::nanoseconds(1);
            for RunningJob { job, .. } in seen.iter().flat_map(|seen| &seen.in_progress) {
                tell(job.run_id, &job.name, until);
            }
        }
        begun
    }

    pub(super) fn demand(&self, now: DateTime<Utc>) -> Demand {
        let mut unseen = self.lost.clone();
        let looks = self.looked.iter();
        let looks = looks.filter_map(|(repo, looked)| {
            match self.blind.as_ref().map_or(looked.seen.as_ref(), Err) {
                Ok(seen) => Some((repo.clone(), seen.clone())),
                Err(error) => {
                    unseen.insert(repo.clone(), error.clone());
                    None
                }
            }
        });
        // Collected: they are in order already, and there may be thousands.
        let mut repos: BTreeMap<Repo, RepoDemand> = looks.collect();
        for seen in repos.values_mut() {
            seen.queued.retain(|job| now - job.seen_at < BELIEVED);
        }
        for heard in self.heard.iter() {
            correct(of(&mut repos, &heard.job.repo), heard);
        }
        if !self.taken.is_empty() {
            let waits = |job: &Job| !is_taken(&self.taken, job);
            repos.values_mut().for_each(|seen| seen.queued.retain(waits));
        }
        let begun = if self.sets.is_empty() { Begun::new() } else { self.begun() };
        let counted = self.sets.iter().map(|(scope, set)| {
            let since = self.counted_since.get(scope).copied().unwrap_or(set.at);
            give(&mut repos, scope, set, &begun, since, &|job| self.is_overdue(job, now))
        });
        let counted = counted.filter(|counted| counted.jobs > 0).collect();
        let mut looked = self.looked.keys().peekable();
        let is_new = |repo: &&Repo| {
            // Both are in the order of their names.
            while looked.next_if(|looked| looked < repo).is_some() {}
            looked.peek() != Some(repo) && !unseen.contains_key(*repo)
        };
        Demand {
            repos: repos.into_values().collect(),
            counted,
            unlooked: self.watched.iter().flatten().filter(is_new).cloned().collect(),
            is_listed: self.watched.is_some(),
            is_partial: self.blind.is_some(),
            unseen,
            unlisted: self.unlisted.clone(),
            rate_limit: self.standing.rate_limit.clone(),
            allowance: self.standing.allowance,
            go_on_at: self.standing.go_on_at,
            warnings: Vec::new(),
            revision: self.revision,
        }
    }
}

/// Whether what was heard still counts beside a poll that began at `began`.
fn outlasts(heard: &Heard, began: DateTime<Utc>) -> bool {
    let patience = if heard.state == JobState::Completed { ENDED } else { LAG };
    began - heard.at < patience
}

/// Whether a poll that began at `began` knows less than one that began at `other`.
fn is_overtaken(began: DateTime<Utc>, other: DateTime<Utc>) -> bool {
    other > began && other - began < OVERTAKEN
}

/// Whether `job` was last seen before a scale set told that it waits no more.
fn is_taken(taken: &Taken, job: &Job) -> bool {
    let at = taken.get(&job.run_id).and_then(|names| names.get(&job.name));
    at.is_some_and(|at| job.seen_at - *at < LAG)
}

/// What `repo` asks for; nothing yet where nobody has looked.
fn of<'r>(repos: &'r mut BTreeMap<Repo, RepoDemand>, repo: &Repo) -> &'r mut RepoDemand {
    repos.entry(repo.clone()).or_insert_with(|| {
        let (queued, in_progress) = (Vec::new(), Vec::new());
        RepoDemand { repo: repo.clone(), running: 0, failed: 0, pending: 0, queued, in_progress }
    })
}

/// Brings what a poll saw of a repository up to what was heard of one of its jobs.
fn correct(seen: &mut RepoDemand, heard: &Heard) {
    let Heard { job, state, .. } = heard;
    let knows_run = |seen: &RepoDemand| {
        seen.queued.iter().any(|queued| queued.run_id == job.run_id)
            || seen.in_progress.iter().any(|running| running.job.run_id == job.run_id)
    };
    match state {
        JobState::Waiting => {}
        JobState::Queued => {
            let known = seen.in_progress.iter().any(|running| running.job.id == job.id);
            if let Some(queued) = seen.queued.iter_mut().find(|queued| queued.id == job.id) {
                queued.seen_at = queued.seen_at.max(job.seen_at);
            } else if !known {
                seen.pending += u32::from(!knows_run(seen));
                seen.queued.push(job.clone());
            }
        }
        JobState::InProgress { runner_name, started_at } => {
            seen.running += u32::from(!knows_run(seen));
            seen.queued.retain(|queued| queued.id != job.id);
            if !seen.in_progress.iter().any(|running| running.job.id == job.id) {
                seen.in_progress.push(RunningJob {
                    job: job.named(),
                    runner_name: runner_name.clone(),
                    started_at: *started_at,
                });
            }
        }
        JobState::Completed => {
            seen.queued.retain(|queued| queued.id != job.id);
            seen.in_progress.retain(|running| running.job.id != job.id);
        }
    }
}

/// Lets the scale set of `scope` say which of its scope's jobs wait. Those that it could have and
/// was not given stay when they are overdue: GitHub may have lost them, or never meant them for it.
/// If it had room meanwhile, its runners will not get them either.
fn give(
    repos: &mut BTreeMap<Repo, RepoDemand>,
    scope: &Scope,
    set: &Assigned,
    begun: &Begun<'_>,
    since: DateTime<Utc>,
    is_overdue: &dyn Fn(&Job) -> (bool, bool),
) -> Counted {
    // Several legs of a matrix may have one name.
    let mut told: HashMap<u64, HashMap<&str, usize>> = HashMap::new();
    for job in &set.queued {
        *told.entry(job.run_id).or_default().entry(&job.name).or_default() += 1;
    }
    let mut unnamed = set.more;
    let whose: Box<dyn Iterator<Item = &mut RepoDemand>> = match scope {
        Scope::Repo(repo) => Box::new(repos.get_mut(repo).into_iter()),
        Scope::Org(_) => Box::new(repos.values_mut()),
    };
    for seen in whose {
        seen.queued.retain_mut(|job| {
            if job.scope != *scope {
                return true;
            }
            if !job.labels.is_subset(&set.labels) {
                job.beside_sets = true;
                return true;
            }
            let legs = told.get_mut(&job.run_id).and_then(|legs| legs.get_mut(job.name.as_str()));
            if let Some(left) = legs.filter(|left| **left > 0) {
                *left -= 1;
                return false;
            }
            let (is_overdue, had_room) = is_overdue(job);
            if !is_overdue {
                return false;
            }
            // It is one of those that are only counted.
            let counted = unnamed > 0;
            unnamed = unnamed.saturating_sub(1);
            job.beside_sets = had_room;
            !counted
        });
    }
    let has_begun = |job: &Job| {
        let until = begun.get(&(job.run_id, job.name.as_str()));
        until.is_some_and(|until| *until >= set.at)
    };
    let waits = |job: &&Job| !has_begun(job);
    for job in set.queued.iter().filter(waits) {
        let seen = of(repos, &job.repo);
        seen.queued.push(job.clone());
        seen.pending = seen.pending.max(1);
    }
    for (repo, running) in &set.in_progress {
        let seen = of(repos, repo);
        let same = |other: &RunningJob| other.runner_name == running.runner_name;
        if !seen.in_progress.iter().any(same) {
            seen.in_progress.push(running.clone());
            seen.running = seen.running.max(1);
        }
    }
    let (scope, labels) = (scope.clone(), set.labels.clone());
    Counted { scope, labels, jobs: set.more, since, seen_at: set.at }
}
