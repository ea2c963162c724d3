//! The sets, whose jobs they have, and what their listeners are to be told: no IO, no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{ScaleSetOptions, Trouble, Troubles, shapes};
use crate::simulator::{
    model::{Job, Scope},
    random::Random,
    state::State,
};

pub(super) type Time = DateTime<Utc>;

/// A message has at most so many jobs; the rest is told by the statistics alone.
const MOST: usize = 50;

/// Where a set's job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It can be acquired.
    Offered,
    /// It waits for a runner of the set.
    Assigned,
    /// A runner works on it.
    Started,
}

/// A job that a set has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) request: u64,
    pub(super) stage: Stage,
    pub(super) at: Time,
}

/// A listener's hold on a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its identifier.
    pub id: String,
    /// Who opened it.
    pub owner: String,
    pub(super) token: String,
    pub(super) seen_at: Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: &'static str,
    pub(super) jobs: Vec<Value>,
}

/// A scale set, as a test sees it.
#[derive(Debug, Clone)]
pub struct ScaleSet {
    /// Its identifier.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whose jobs it gets.
    pub scope: Scope,
    /// What it can serve.
    pub labels: Vec<String>,
    /// The open session.
    pub session: Option<Session>,
    /// How many jobs its listener said that it can have at a time.
    pub capacity: Option<u64>,
    /// The messages that were delivered, again and again where they were, in this order.
    pub delivered: Vec<u64>,
    /// The messages that were acknowledged, in this order.
    pub acknowledged: Vec<u64>,
    /// How many sessions were opened.
    pub sessions: u32,
    /// How many were refused, since one was open.
    pub conflicts: u32,
    pub(super) created_at: Time,
    pub(super) deleted: bool,
    pub(super) book: BTreeMap<u64, Assignment>,
    pub(super) events: VecDeque<Value>,
    messages: BTreeMap<u64, Message>,
    last_message: u64,
}

impl ScaleSet {
    /// The jobs that it has, and where each stands.
    pub fn jobs(&self) -> impl Iterator<Item = (u64, Stage)> {
        self.book.iter().map(|(job, assignment)| (*job, assignment.stage))
    }

    pub(super) fn count(&self, stage: Stage) -> u64 {
        self.book.values().filter(|assignment| assignment.stage == stage).count() as u64
    }

    /// The message that follows `after`: one that was not acknowledged, else a new one.
    pub(super) fn next(&mut self, after: u64) -> Option<(u64, Message)> {
        let known = self.messages.range(after + 1..).next();
        if let Some((id, message)) = known.map(|(id, message)| (*id, message.clone())) {
            self.delivered.push(id);
            return Some((id, message));
        }
        if self.events.is_empty() {
            return None;
        }
        let jobs: Vec<_> = std::mem::take(&mut self.events).into_iter().take(MOST).collect();
        self.put(Message { kind: shapes::JOBS, jobs });
        self.next(after)
    }

    pub(super) fn send_unknown(&mut self) {
        self.put(Message { kind: "RunnerScaleSetWeather", jobs: Vec::new() });
    }

    fn put(&mut self, message: Message) {
        self.last_message += 1;
        self.messages.insert(self.last_message, message);
    }

    pub(super) fn acknowledge(&mut self, message: u64) {
        if self.messages.remove(&message).is_some() {
            self.acknowledged.push(message);
        }
    }

    /// Makes the offered ones of `requests` the set's own.
    pub(super) fn acquire(&mut self, requests: &[u64], state: &State, now: Time) -> Vec<u64> {
        let mut acquired = Vec::new();
        let wanted = |one: &Assignment| one.stage == Stage::Offered;
        for (job, one) in self.book.iter_mut().filter(|(_, one)| wanted(one)) {
            if !requests.contains(&one.request) {
                continue;
            }
            (one.stage, one.at) = (Stage::Assigned, now);
            acquired.push(one.request);
            if let Some(job) = state.job(*job) {
                self.events.push_back(shapes::job("JobAssigned", job, one.request, now));
            }
        }
        acquired
    }

    pub(super) fn is_attended(&self, now: Time, options: &ScaleSetOptions) -> bool {
        self.session.as_ref().is_some_and(|open| now < open.seen_at + options.session_timeout)
    }

    pub(super) fn covers(&self, job: &Job) -> bool {
        let own = |label: &String| self.labels.iter().any(|own| own.eq_ignore_ascii_case(label));
        State::covers(&self.scope, &job.repo) && job.labels.iter().all(own)
    }
}

pub(super) type Vain = (u32, Option<Time>);

/// All sets and what their clients hold.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Sets {
    pub(super) sets: BTreeMap<u64, ScaleSet>,
    /// By token: the scope that it is for, and its end.
    admins: HashMap<String, (Scope, Time)>,
    /// By job: how often it was assigned in vain, and until when it is not assigned again.
    pub(super) vain: HashMap<u64, Vain>,
    requests: HashMap<u64, u64>,
    pub(super) troubles: Troubles,
    random: Option<Random>,
}

impl Sets {
    pub(in crate::simulator) fn all(&self) -> impl Iterator<Item = &ScaleSet> {
        self.sets.values()
    }

    pub(super) fn named(&self, name: &str) -> Option<&ScaleSet> {
        self.sets.values().find(|set| set.name == name)
    }

    pub(super) fn named_mut(&mut self, name: &str) -> Option<&mut ScaleSet> {
        self.sets.values_mut().find(|set| set.name == name)
    }

    pub(super) fn get(&self, scope: &Scope, id: u64) -> Option<&ScaleSet> {
        self.sets.get(&id).filter(|set| set.scope == *scope)
    }

    pub(super) fn get_mut(&mut self, scope: &Scope, id: u64) -> Option<&mut ScaleSet> {
        self.sets.get_mut(&id).filter(|set| set.scope == *scope)
    }

    pub(super) fn add(
        &mut self,
        id: u64,
        name: String,
        scope: Scope,
        labels: Vec<String>,
        now: Time,
    ) {
        let labels = match self.strikes(Trouble::DroppedLabels) {
            true => labels.into_iter().take(1).collect(),
            false => labels,
        };
        let set = ScaleSet {
            id,
            name,
            scope,
            labels,
            session: None,
            capacity: None,
            delivered: Vec::new(),
            acknowledged: Vec::new(),
            sessions: 0,
            conflicts: 0,
            created_at: now,
            deleted: false,
            book: BTreeMap::new(),
            events: VecDeque::new(),
            messages: BTreeMap::new(),
            last_message: 0,
        };
        self.sets.insert(id, set);
    }

    /// Whether a set has this job: another runner than one of that set does not get it.
    pub(in crate::simulator) fn has(&self, job: u64) -> bool {
        self.sets.values().any(|set| set.book.contains_key(&job))
    }

    /// Whether this job waits for a runner of this set.
    pub(in crate::simulator) fn is_waiting(&self, set: u64, job: u64) -> bool {
        let assignment = self.sets.get(&set).and_then(|set| set.book.get(&job));
        assignment.is_some_and(|one| one.stage == Stage::Assigned)
    }

    pub(super) fn strikes(&mut self, trouble: Trouble) -> bool {
        let left = self.troubles.get_mut(&trouble).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }

    fn random(&mut self) -> &mut Random {
        self.random.get_or_insert_with(|| Random::new(0x5E75))
    }

    /// A token of the administration for `scope`.
    pub(super) fn admit(&mut self, scope: Scope, until: Time) -> String {
        let secret = self.random().secret("");
        let token = shapes::token(&secret, until);
        self.admins.insert(token.clone(), (scope, until));
        token
    }

    pub(super) fn admitted(&self, token: &str, now: Time) -> Option<Scope> {
        self.admins.get(token).filter(|(_, until)| now < *until).map(|(scope, _)| scope.clone())
    }

    pub(super) fn revoke(&mut self) {
        self.admins.clear();
    }

    /// Opens a session in place of any other.
    pub(super) fn open(&mut self, id: u64, owner: &str, now: Time) -> Option<()> {
        let token = self.queue_token(now + chrono::TimeDelta::hours(1));
        let random = self.random();
        let session =
            format!("{:08x}-0000-4000-8000-{:012x}", random.next() >> 32, random.next() >> 16);
        let set = self.sets.get_mut(&id)?;
        set.sessions += 1;
        // What an earlier listener could run says nothing of this one.
        set.capacity = Some(0);
        set.session = Some(Session { id: session, owner: owner.into(), token, seen_at: now });
        Some(())
    }

    pub(super) fn refuse(&mut self, id: u64) {
        if let Some(set) = self.sets.get_mut(&id) {
            set.conflicts += 1;
        }
    }

    pub(super) fn queue_token(&mut self, until: Time) -> String {
        let secret = self.random().secret("Q");
        shapes::token(&secret, until)
    }

    /// The set whose session of this identifier is open.
    pub(super) fn of_session(
        &mut self,
        session: &str,
        now: Time,
        options: &ScaleSetOptions,
    ) -> Option<&mut ScaleSet> {
        self.sets.values_mut().find(|set| {
            set.is_attended(now, options) && set.session.as_ref().is_some_and(|s| s.id == session)
        })
    }

    /// Whether somebody holds the set now.
    pub(super) fn is_held(&self, id: u64, now: Time, options: &ScaleSetOptions) -> bool {
        self.sets.get(&id).is_some_and(|set| set.is_attended(now, options))
    }

    pub(super) fn request(&mut self, job: u64) -> u64 {
        let next = 7_000 + self.requests.len() as u64;
        *self.requests.entry(job).or_insert(next)
    }
}
