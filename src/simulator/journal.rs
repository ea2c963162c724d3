//! What was asked of the simulated REST API, and how it was answered.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};

/// More entries than any test makes, few enough for a demonstration that runs for days.
const KEPT: usize = 100_000;

/// One REST request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Place in the sequence of all requests, from 0.
    pub number: u64,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// The method.
    pub method: String,
    /// The path below the API's base.
    pub path: String,
    /// The query without its question mark.
    pub query: String,
    /// Whose token it carried, when that was accepted.
    pub login: Option<String>,
    /// Whether it was conditional.
    pub conditional: bool,
    /// The answer's status; none while it is unanswered or when the connection was cut.
    pub status: Option<u16>,
    /// Whether it cost something of the primary limit.
    pub charged: bool,
}

/// Totals over all requests, those whose entries were dropped included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that arrived.
    pub total: u64,
    /// Requests that cost something of the primary limit.
    pub charged: u64,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// The most requests that were under way at the same moment.
    pub most_concurrent: u64,
}

/// The log of requests and their totals.
#[derive(Debug, Default)]
pub struct Journal {
    requests: VecDeque<Request>,
    counters: Counters,
    next: u64,
    under_way: u64,
}

impl Journal {
    /// The latest requests, oldest first.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter()
    }

    /// How many of them have a path that begins like this.
    pub fn count_under(&self, prefix: &str) -> usize {
        self.requests.iter().filter(|request| request.path.starts_with(prefix)).count()
    }

    /// The totals.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Requests that have arrived and are not yet answered.
    pub fn under_way(&self) -> u64 {
        self.under_way
    }

    pub(super) fn arrived(&mut self, request: Request) -> u64 {
        let number = self.next;
        self.next += 1;
        self.counters.total += 1;
        self.under_way += 1;
        self.counters.most_concurrent = self.counters.most_concurrent.max(self.under_way);
        self.requests.push_back(Request { number, ..request });
        if self.requests.len() > KEPT {
            self.requests.pop_front();
        }
        number
    }

    /// Writes down the answer; its status is none when the client never gets it.
    pub(super) fn answered(
        &mut self,
        number: u64,
        login: Option<String>,
        status: Option<u16>,
        charged: bool,
    ) {
        if let Some(status) = status {
            *self.counters.by_status.entry(status).or_default() += 1;
        }
        self.counters.charged += u64::from(charged);
        let found = self.requests.iter_mut().rev().find(|request| request.number == number);
        if let Some(request) = found {
            (request.login, request.status, request.charged) = (login, status, charged);
        }
    }

    pub(super) fn left(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    pub(super) fn clear(&mut self) {
        self.requests.clear();
        self.counters = Counters::default();
    }
}
