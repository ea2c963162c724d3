//! Joins what the engine and GitHub say of each runner into one [`Runner`], and remembers what
//! neither of them tells: since when it is so, and that it was once online.
//!
//! A runner that the two do not agree about has a third witness, its own log. What that says is
//! believed as far as nobody is harmed by it: a runner stops counting, or is spared for a while. Whether it
//! may be ended is GitHub's to say.
//!
//! Pure: the memory is a value. Losing it (a restart) costs some patience, never a runner.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{
    Container, Demand, Heartbeat, Labels, Phase, Registered, Repo, Runner, RunningJob, Said, Scope,
};

/// GitHub's list follows what it has told the runner, and not at once.
const LAG: TimeDelta = TimeDelta::seconds(30);
/// GitHub gives a job up whose runner was not heard of for as long as its lease lasts: ten minutes in
/// actions/runner#4668, actions/runner#4703, and in what the runner prints when it renews it.
const LEASE: TimeDelta = TimeDelta::minutes(10);
/// How long it is remembered what has gone: longer than any job is believed to wait unasked.
const MOURNED: TimeDelta = TimeDelta::minutes(30);

/// What was seen of each runner, by name.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    seen: BTreeMap<String, Seen>,
    spent: Vec<Spent>,
    /// Gone, and spent on nothing; a list that is a moment old may show them still.
    dismissed: BTreeSet<String>,
    unclaimed: BTreeMap<(Scope, u64), Unclaimed>,
    /// Gone, and GitHub may tell still that they work.
    bereft: Vec<Spent>,
    /// Jobs that GitHub tells of on runners that have gone.
    orphans: BTreeMap<Scope, usize>,
    /// When GitHub was last asked for its lists.
    listed_at: Option<DateTime<Utc>>,
}

/// A registration of ours that is offline and has no container: left by a killed service, or made
/// just now by another process of this instance, or by another host that takes itself for this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclaimed {
    /// The first of the looks that saw it so without a break.
    pub since: DateTime<Utc>,
    /// The last of them.
    pub seen: DateTime<Utc>,
}

impl Unclaimed {
    /// How long it was seen so.
    pub fn lasted(&self) -> TimeDelta {
        self.seen - self.since
    }
}

/// A runner that is no more, and may have had a job that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Its name.
    pub name: String,
    /// Where it was registered.
    pub scope: Scope,
    /// What it could serve.
    pub labels: Labels,
    /// When that was first seen.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
struct Seen {
    scope: Scope,
    labels: Labels,
    phase: Phase,
    since: DateTime<Utc>,
    /// It was online or busy at some time.
    known: bool,
    lost_since: Option<DateTime<Utc>>,
    /// When it was first seen at work or ended.
    spent_at: Option<DateTime<Utc>>,
    /// It was told on which job it works or worked.
    explained: bool,
    /// When it was first seen at all.
    first: DateTime<Utc>,
    heard: Option<Heard>,
}

/// What its log said, and when by our clock.
#[derive(Debug, Clone, Copy)]
struct Heard {
    beat: Heartbeat,
    at: DateTime<Utc>,
}

impl Memory {
    /// Whether the runner `name` was online or busy at some time.
    pub fn was_online(&self, name: &str) -> bool {
        self.seen.get(name).is_some_and(|seen| seen.known)
    }

    /// Runners that are no more, and may have taken a job that was waiting when they were there.
    pub fn spent(&self) -> &[Spent] {
        &self.spent
    }

    /// How many runners are remembered.
    pub(crate) fn len(&self) -> usize {
        self.seen.len() + self.spent.len() + self.bereft.len() + self.dismissed.len()
    }

    /// The clock was set forward by `jump`, or back: what has lasted so long has lasted no longer.
    pub fn shift(&mut self, jump: TimeDelta) {
        for seen in self.seen.values_mut() {
            seen.since += jump;
            seen.lost_since = seen.lost_since.map(|since| since + jump);
            seen.first += jump;
            seen.heard.iter_mut().for_each(|heard| heard.at += jump);
        }
        for unclaimed in self.unclaimed.values_mut() {
            unclaimed.since += jump;
            unclaimed.seen += jump;
        }
        self.listed_at = self.listed_at.map(|at| at + jump);
    }

    /// Registrations of ours that nobody may need any more, by GitHub's id.
    pub fn unclaimed(&self) -> &BTreeMap<(Scope, u64), Unclaimed> {
        &self.unclaimed
    }

    /// GitHub's runners were listed anew: which of ours are offline and have no container? A scope that could not be listed is begun with anew.
    pub fn look_for_unclaimed(
        &mut self,
        registered: &BTreeMap<Scope, Vec<Registered>>,
        containers: &[Container],
        is_ours: impl Fn(&str) -> bool,
        now: DateTime<Utc>,
    ) {
        let claimed: BTreeSet<&str> = containers.iter().map(|one| one.name.as_str()).collect();
        let before = std::mem::take(&mut self.unclaimed);
        for (scope, all) in registered {
            let ours = all.iter().filter(|one| is_ours(&one.name));
            for one in ours.filter(|one| !one.online && !one.busy) {
                if !claimed.contains(one.name.as_str()) {
                    let key = (scope.clone(), one.id);
                    let since = before.get(&key).map_or(now, |before| before.since.min(now));
                    self.unclaimed.insert(key, Unclaimed { since, seen: now });
                }
            }
        }
    }

    /// GitHub's lists were asked for at `at`.
    pub fn listed(&mut self, at: DateTime<Utc>) {
        self.listed_at = Some(at);
    }

    /// The log of the runner in `container` says `beat`.
    pub fn hear(&mut self, container: &Container, beat: Heartbeat, now: DateTime<Utc>) {
        let Some(seen) = self.seen.get_mut(&container.name) else { return };
        // By the engine's clock it is known how old the runner was then, by ours since when there is one.
        let age = beat.at.map(|at| (at - container.created_at).max(TimeDelta::zero()));
        let known = seen.heard.filter(|heard| heard.beat == beat);
        let at = age.map_or(now, |age| seen.first + age).min(now);
        seen.heard = Some(known.unwrap_or(Heard { beat, at }));
    }

    /// Jobs that GitHub takes for running on runners that have gone, by scope. It gives them up after minutes
    /// (actions/runner#4598, actions/runner#4668), and a scale set's place with them.
    pub fn orphans(&self) -> &BTreeMap<Scope, usize> {
        &self.orphans
    }

    /// The runner `name` is no more, and has certainly taken no job.
    pub fn dismiss(&mut self, name: &str) {
        self.dismissed.insert(name.to_owned());
        self.spent.retain(|spent| spent.name != name);
    }

    /// The runners as they are now. A scope that is missing in `registered` could not be listed:
    /// its runners keep the phase that they had, and are not certain.
    pub fn join(
        &mut self,
        containers: Vec<Container>,
        registered: &BTreeMap<Scope, Vec<Registered>>,
        demand: Option<&Demand>,
        now: DateTime<Utc>,
    ) -> Vec<Runner> {
        // Whoever may register runners elsewhere may give them the names of ours.
        let mut jobs: HashMap<&str, Vec<(&Repo, &RunningJob)>> = HashMap::new();
        for seen in demand.into_iter().flat_map(|demand| &demand.repos) {
            for job in &seen.in_progress {
                jobs.entry(&job.runner_name).or_default().push((&seen.repo, job));
            }
        }
        self.bury(&containers, now);
        let job_of = |name: &str, scope: &Scope| {
            let mut named = jobs.get(name).into_iter().flatten();
            named.find(|(repo, _)| scope.covers(repo)).map(|(_, job)| *job)
        };
        let is_told = |gone: &Spent| job_of(&gone.name, &gone.scope).is_some();
        demand.into_iter().for_each(|demand| self.mourn(demand, is_told, now));
        let listed: HashMap<(&Scope, &str), &Registered> = registered
            .iter()
            .flat_map(|(scope, all)| all.iter().map(move |one| ((scope, one.name.as_str()), one)))
            .collect();
        let listed_at = self.listed_at.unwrap_or(now);
        let join = |container: Container| {
            let certain = registered.contains_key(&container.scope);
            let found = listed.get(&(&container.scope, container.name.as_str())).copied();
            let job = job_of(&container.name, &container.scope);
            let before = self.seen.get(&container.name);
            let seen = look(&container, certain, found, job, before, listed_at, now);
            let heard = seen.heard;
            // Whoever told of its job tells of it no more, and has seen everything.
            let is_over = before.is_some_and(|before| before.explained)
                && job.is_none()
                && demand.is_some_and(|demand| demand.has_seen(&container.scope));
            let works = heard.filter(|heard| heard.beat.said == Said::Working && !is_over);
            let at_work_until = works.zip(seen.lost_since);
            let runner = Runner {
                job: job.cloned(),
                registered: found.cloned(),
                certain,
                phase: seen.phase,
                since: seen.since,
                lost_since: seen.lost_since,
                heartbeat: heard.map(|heard| heard.beat),
                at_work_until: at_work_until.map(|(works, since)| since.max(works.at) + LEASE),
                spent_at: seen.spent_at.filter(|_| !seen.explained),
                container,
            };
            self.seen.insert(runner.container.name.clone(), seen);
            runner
        };
        containers.into_iter().map(join).collect()
    }

    /// Remembers those that have gone since the last time.
    fn bury(&mut self, containers: &[Container], now: DateTime<Utc>) {
        for gone in [&mut self.spent, &mut self.bereft] {
            gone.retain(|gone| now - gone.at < MOURNED);
            // A clock that was set back must not let them cover what is seen from now on.
            gone.iter_mut().for_each(|gone| gone.at = gone.at.min(now));
        }
        let there: BTreeSet<&str> = containers.iter().map(|one| one.name.as_str()).collect();
        let gone: Vec<String> =
            self.seen.keys().filter(|name| !there.contains(name.as_str())).cloned().collect();
        for name in gone {
            let Some(seen) = self.seen.remove(&name) else { continue };
            let Seen { scope, labels, spent_at, explained, .. } = seen;
            let gone = Spent { name, scope, labels, at: now };
            if !explained && !self.dismissed.contains(&gone.name) {
                let at = spent_at.unwrap_or(now).min(now);
                self.spent.push(Spent { at, ..gone.clone() });
            }
            self.bereft.push(gone);
        }
        self.dismissed.retain(|name| there.contains(name.as_str()));
    }

    /// Counts the jobs that are told of on runners that have gone. Not at once: the news that a job has
    /// begun, or is over, may come after its runner's end.
    fn mourn(&mut self, demand: &Demand, is_told: impl Fn(&Spent) -> bool, now: DateTime<Utc>) {
        let is_late = |gone: &Spent| now - gone.at >= LAG;
        self.bereft.retain(|gone| is_told(gone) || !is_late(gone) || !demand.has_seen(&gone.scope));
        self.orphans.clear();
        for gone in self.bereft.iter().filter(|gone| is_late(gone) && is_told(gone)) {
            *self.orphans.entry(gone.scope.clone()).or_default() += 1;
        }
    }
}

fn look(
    container: &Container,
    certain: bool,
    found: Option<&Registered>,
    job: Option<&RunningJob>,
    before: Option<&Seen>,
    listed_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Seen {
    let known = before.is_some_and(|seen| seen.known);
    let is_away = found.is_none_or(|runner| !runner.online && !runner.busy);
    let heard = before.and_then(|seen| seen.heard);
    let said = heard.map(|heard| heard.beat.said);
    // It takes no other job.
    let is_done = said == Some(Said::Finished) || known && said == Some(Said::Ended);
    let has_listened =
        |heard: Heard| heard.beat.said == Said::Listening && listed_at - heard.at >= LAG;
    let (phase, online, lost) = match (container.ended, certain, found) {
        (true, ..) => (Phase::Exited, known, false),
        // GitHub says so in another way, and perhaps sooner.
        _ if job.is_some() => (Phase::Busy, true, known && certain && is_away),
        (false, false, _) => (before.map_or(Phase::Starting, |seen| seen.phase), known, false),
        (false, true, Some(runner)) if runner.busy => (Phase::Busy, true, false),
        _ if is_done => (Phase::Busy, true, true),
        (false, true, Some(runner)) if runner.online => (Phase::Idle, true, false),
        _ if said == Some(Said::Working) => (Phase::Busy, true, true),
        // Offline: not there yet, or there no more.
        (false, true, Some(_)) if known => (Phase::Idle, true, true),
        // GitHub removes a one-job runner after its job: it is on its way out.
        (false, true, None) if known => (Phase::Busy, true, true),
        // One that listens was online.
        (false, true, _) => (Phase::Starting, false, heard.is_some_and(has_listened)),
    };
    // The log knows since when; one that was online listens all the time.
    let since = heard.filter(|_| is_done || phase == Phase::Starting).map(|heard| heard.at);
    let lost_since = before.and_then(|seen| seen.lost_since).unwrap_or(now);
    let lost_since = since.map_or(lost_since, |since| since.min(lost_since));
    let is_spent = matches!(phase, Phase::Busy | Phase::Exited);
    Seen {
        scope: container.scope.clone(),
        labels: container.labels.clone(),
        phase,
        since: before.filter(|seen| seen.phase == phase).map_or(now, |seen| seen.since),
        known: known || online,
        lost_since: lost.then_some(lost_since),
        // One that is idle after all has taken nothing.
        spent_at: is_spent.then(|| before.and_then(|seen| seen.spent_at).unwrap_or(now).min(now)),
        explained: job.is_some() || is_spent && before.is_some_and(|seen| seen.explained),
        first: before.map_or(now, |seen| seen.first),
        heard,
    }
}

#[cfg(test)]
mod tests;
