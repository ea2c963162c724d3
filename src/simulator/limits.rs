//! GitHub's rate limits (docs.github.com: "Rate limits for the REST API").

use std::{collections::HashMap, hash::Hash, time::Duration};

use chrono::{DateTime, Utc};

use super::options::Options;

/// docs.github.com: the secondary limit counts points per minute.
const MINUTE: Duration = Duration::from_secs(60);

/// What requests count for (`x-ratelimit-resource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Resource {
    /// All else.
    Core,
    /// Tokens and just-in-time configurations of runners.
    Registration,
}

impl Resource {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Registration => "actions_runner_registration",
        }
    }
}

/// What one login has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    used: u64,
    ends_at: DateTime<Utc>,
}

/// Where a login stands with the primary limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) resource: Resource,
    pub(super) limit: u64,
    pub(super) used: u64,
    pub(super) resets_at: DateTime<Utc>,
}

impl Standing {
    pub(super) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    Primary,
    Secondary { retry_after: u64 },
}

/// The limits of all logins.
#[derive(Debug)]
pub(super) struct Limits {
    limit: u64,
    registrations: Option<u64>,
    window: Duration,
    points: Option<u64>,
    primary: HashMap<(String, Resource), Window>,
    secondary: HashMap<String, Window>,
}

impl Limits {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            limit: options.rate_limit,
            registrations: options.registration_limit,
            window: options.rate_limit_window,
            points: options.secondary_limit,
            primary: HashMap::new(),
            secondary: HashMap::new(),
        }
    }

    /// What a request counts for.
    pub(super) fn resource(&self, method: &str, path: &str) -> Resource {
        let registers = method == "POST" && path.contains("/actions/runners/");
        match self.registrations {
            Some(_) if registers => Resource::Registration,
            _ => Resource::Core,
        }
    }

    /// Whether this login may make a request with this method now. It counts for the secondary
    /// limit at once, and for the primary one, unless it is free, when it is
    /// [charged](Self::charge).
    pub(super) fn admit(
        &mut self,
        login: &str,
        method: &str,
        resource: Resource,
        free: bool,
        now: DateTime<Utc>,
    ) -> Result<(), Exceeded> {
        if let Some(points) = self.points {
            let window = current(&mut self.secondary, login.to_owned(), MINUTE, now);
            let cost = if matches!(method, "GET" | "HEAD" | "OPTIONS") { 1 } else { 5 };
            if window.used + cost > points {
                let left = (window.ends_at - now).to_std().unwrap_or_default();
                return Err(Exceeded::Secondary { retry_after: left.as_secs() + 1 });
            }
            window.used += cost;
        }
        if !free && self.standing(login, resource, now).remaining() == 0 {
            return Err(Exceeded::Primary);
        }
        Ok(())
    }

    /// Counts a request for the primary limit.
    pub(super) fn charge(&mut self, login: &str, resource: Resource, now: DateTime<Utc>) {
        current(&mut self.primary, (login.to_owned(), resource), self.window, now).used += 1;
    }

    pub(super) fn standing(
        &mut self,
        login: &str,
        resource: Resource,
        now: DateTime<Utc>,
    ) -> Standing {
        let window = current(&mut self.primary, (login.to_owned(), resource), self.window, now);
        let limit = match resource {
            Resource::Core => self.limit,
            Resource::Registration => self.registrations.unwrap_or(self.limit),
        };
        Standing { resource, limit, used: window.used, resets_at: window.ends_at }
    }
}

/// The login's window, a new one when the last has ended.
fn current<K: Eq + Hash>(
    windows: &mut HashMap<K, Window>,
    key: K,
    length: Duration,
    now: DateTime<Utc>,
) -> &mut Window {
    let fresh = Window { used: 0, ends_at: now + length };
    let window = windows.entry(key).or_insert(fresh);
    if window.ends_at <= now {
        *window = fresh;
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn limits(rate_limit: u64, secondary_limit: Option<u64>) -> Limits {
        Limits::new(&Options { rate_limit, secondary_limit, ..Options::default() })
    }

    #[test]
    fn the_primary_limit_is_per_login_and_ends_with_its_window() {
        let mut limits = limits(1, None);
        assert_eq!(limits.admit("mona", "GET", Resource::Core, false, at(0)), Ok(()));
        limits.charge("mona", Resource::Core, at(0));
        assert_eq!(
            limits.admit("mona", "GET", Resource::Core, false, at(3_599)),
            Err(Exceeded::Primary)
        );
        assert_eq!(limits.admit("hubot", "GET", Resource::Core, false, at(3_599)), Ok(()));
        assert_eq!(limits.admit("mona", "GET", Resource::Core, false, at(3_600)), Ok(()));
    }

    #[test]
    fn what_is_free_is_admitted_when_nothing_remains() {
        let mut limits = limits(0, None);
        assert_eq!(limits.admit("mona", "GET", Resource::Core, true, at(0)), Ok(()));
    }

    #[test]
    fn a_change_costs_five_points_of_the_secondary_limit() {
        let mut limits = limits(100, Some(6));
        assert_eq!(limits.admit("mona", "POST", Resource::Core, false, at(0)), Ok(()));
        let refused = Err(Exceeded::Secondary { retry_after: 41 });
        assert_eq!(limits.admit("mona", "DELETE", Resource::Core, false, at(20)), refused);
        assert_eq!(limits.admit("mona", "GET", Resource::Core, false, at(20)), Ok(()));
        assert_eq!(limits.admit("mona", "GET", Resource::Core, false, at(20)), refused);
        assert_eq!(limits.admit("mona", "GET", Resource::Core, false, at(60)), Ok(()));
    }
}
