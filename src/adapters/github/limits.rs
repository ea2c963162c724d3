//! GitHub's limits, as its answers tell them, and the waits that they ask for.
//!
//! Source: docs.github.com, "Rate limits for the REST API": after a 403 or 429 obey `retry-after`;
//! else, with nothing remaining, wait for the reset; else at least a minute, then longer.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, Method, StatusCode};

use super::share::{Primary, Share};
use super::window::Urgency;
use crate::error::{Code, Error, Result};
use crate::model::{Allowance, RateLimit};

/// The first wait after a secondary limit that names none.
const SECONDARY_WAIT: TimeDelta = TimeDelta::seconds(60);
/// The longest such wait.
const LONGEST_WAIT: TimeDelta = TimeDelta::seconds(3_600);
/// The longest wait that is believed: a wrong number must not end the service.
const LONGEST_ASKED: TimeDelta = TimeDelta::days(1);
/// The length of the window of the primary limit.
const WINDOW: TimeDelta = TimeDelta::seconds(3_600);

/// What answers to registrations count for, apart from all else (`x-ratelimit-resource`).
const REGISTRATION: &str = "actions_runner_registration";

/// What is known of the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    primary: Option<Primary>,
    /// Nothing is sent before.
    until: Option<DateTime<Utc>>,
    /// No registration is sent before.
    no_registration_until: Option<DateTime<Utc>>,
    /// Secondary limits in a row.
    strikes: u32,
    /// Whether one was ever met.
    met: bool,
    share: Share,
    /// When they were last looked at.
    latest: DateTime<Utc>,
}

/// What a request counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Purpose {
    pub(super) urgency: Urgency,
    /// Whether it makes a runner known.
    pub(super) registers: bool,
}

impl Purpose {
    pub(super) fn of(urgency: Urgency, method: &Method, path: &str) -> Self {
        let registers = method == Method::POST && path.contains("/actions/runners/");
        Self { urgency, registers }
    }
}

impl Limits {
    /// Limits of which looks may use so many percent.
    pub(super) fn of(percent: u32) -> Self {
        let (primary, until, no_registration_until) = (None, None, None);
        Self {
            primary,
            until,
            no_registration_until,
            strikes: 0,
            met: false,
            share: Share::of(percent),
            latest: DateTime::<Utc>::MIN_UTC,
        }
    }

    /// A clock that was set back makes no wait longer.
    fn follow(&mut self, now: DateTime<Utc>) {
        let back = self.latest - now;
        if back > TimeDelta::zero() {
            for until in [&mut self.until, &mut self.no_registration_until] {
                *until = until.map(|until| until - back);
            }
        }
        self.latest = now;
    }

    /// Whether a request may be sent now.
    pub(super) fn check(&mut self, purpose: Purpose, now: DateTime<Utc>) -> Result<()> {
        self.follow(now);
        let registration = self.no_registration_until.filter(|_| purpose.registers);
        if let Some(until) = self.until.max(registration).filter(|until| *until > now) {
            return Err(limited(until, now));
        }
        if self.share.turn(now)
            && let Some(primary) = &mut self.primary
        {
            primary.remaining = primary.limit;
        }
        match &self.primary {
            Some(primary)
                if purpose.urgency == Urgency::Look && self.share.unused(primary) == 0 =>
            {
                Err(share_used(primary, now))
            }
            _ => Ok(()),
        }
    }

    /// A request is about to be sent: until it [ends](Self::end), a look counts as charged. False
    /// where it has to wait for one that may have used up what is left.
    pub(super) fn begin(&mut self, purpose: Purpose, now: DateTime<Utc>) -> Result<bool> {
        self.check(purpose, now)?;
        if purpose.urgency == Urgency::Look {
            if self.primary.is_some_and(|primary| self.share.left(&primary) == 0) {
                return Ok(false);
            }
            self.share.begin(now);
        }
        Ok(true)
    }

    /// It was answered, or was given up.
    pub(super) fn end(&mut self, purpose: Purpose, charged: bool) {
        if purpose.urgency == Urgency::Look {
            self.share.end(charged);
        }
    }

    /// What looks may still cost, when an answer has told the budget.
    pub(super) fn allowance(&self, now: DateTime<Utc>) -> Option<Allowance> {
        let primary = self.primary?;
        let mut share = self.share.clone();
        if share.turn(now) {
            let primary = Primary { remaining: primary.limit, ..primary };
            return Some(share.allowance(&primary, now + WINDOW));
        }
        Some(share.allowance(&primary, primary.reset_at))
    }

    /// Learns from an answer; an error when it was a limit and not a lack of rights.
    pub(super) fn learn(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.follow(now);
        // Other resources, such as search, have budgets of their own.
        let core = is_core(headers);
        let told = primary(headers);
        if let Some(new) = told.filter(|new| core && self.share.told(new.reset_at, now)) {
            // Answers may overtake each other; within a window the budget only shrinks.
            let before = self.primary.filter(|old| old.reset_at == new.reset_at);
            let remaining = before.map_or(new.remaining, |old| old.remaining.min(new.remaining));
            self.primary = Some(Primary { remaining, ..new });
        }
        let exhausted =
            told.filter(|told| told.remaining == 0).map(|told| told.reset_at.min(now + WINDOW));
        // Requests are under way side by side: what they meet is one limit, and an answer to one
        // that was sent before it began ends nothing.
        let on = self.until.filter(|until| *until > now);
        if !matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
            if on.is_none() {
                self.strikes = 0;
            }
            // This one was answered; the next would be refused, and asking counts against us.
            match resource(headers) {
                Some(REGISTRATION) => self.stop_registrations(exhausted),
                _ if core => self.until = self.until.max(exhausted),
                _ => {}
            }
            return Ok(());
        }
        let asked = header(headers, "retry-after").and_then(|text| text.parse::<u32>().ok());
        let until = if let Some(reset_at) = exhausted.filter(|_| !core) {
            if resource(headers) == Some(REGISTRATION) {
                self.stop_registrations(exhausted);
            }
            return Err(limited(reset_at, now));
        } else if let Some(seconds) = asked {
            now + TimeDelta::seconds(seconds.into()).min(LONGEST_ASKED)
        } else if let Some(reset_at) = exhausted {
            reset_at
        } else if status == StatusCode::TOO_MANY_REQUESTS || speaks_of_a_limit(body) {
            on.unwrap_or_else(|| {
                let doubled = SECONDARY_WAIT * 2_i32.pow(self.strikes.min(6));
                self.strikes += 1;
                now + doubled.min(LONGEST_WAIT)
            })
        } else {
            return Ok(());
        };
        let until = until.max(now + TimeDelta::seconds(1));
        self.until = self.until.max(Some(until));
        self.met = true;
        Err(limited(until, now))
    }

    fn stop_registrations(&mut self, until: Option<DateTime<Utc>>) {
        self.no_registration_until = self.no_registration_until.max(until);
    }

    /// Whether a server that gave this answer has a secondary limit; nothing where that is not told.
    ///
    /// An Enterprise Server has none unless its administrator wants one, with numbers of their own
    /// (docs.github.com, "Configuring rate limits"): nothing is held back there until one is met. Its
    /// answers say what it is (docs.github.com, "Endpoints for GitHub Enterprise administration").
    pub(super) fn is_limited(&self, status: StatusCode, headers: &HeaderMap) -> Option<bool> {
        if self.met {
            return Some(true);
        }
        // What stands before GitHub and answers for it knows nothing of limits.
        let told = !status.is_server_error();
        let counts = headers.contains_key("x-ratelimit-limit");
        told.then(|| counts && !headers.contains_key("x-github-enterprise-version"))
    }

    /// The hourly budget, when an answer has told it.
    pub(super) fn budget(&self, now: DateTime<Utc>) -> Option<RateLimit> {
        let primary = self.primary?;
        let Primary { limit, remaining, reset_at } = primary;
        let of_looks = self.share.forecast(&primary, now);
        let forecast = of_looks.unwrap_or_else(|| forecast(limit, remaining, reset_at, now));
        Some(RateLimit { limit, remaining, reset_at, forecast })
    }
}

fn limited(until: DateTime<Utc>, now: DateTime<Utc>) -> Error {
    let wait = (until - now).to_std().unwrap_or(Duration::from_secs(1));
    Error::new(
        Code::RateLimited,
        format!("GitHub asks to wait until {}.", until.format("%H:%M:%SZ")),
        "Nothing has to be done; a longer poll_interval or a GitHub App with a larger budget avoids it.",
    )
    .retry_after(wait)
}

fn share_used(primary: &Primary, now: DateTime<Utc>) -> Error {
    let Primary { limit, reset_at, .. } = primary;
    let wait = (*reset_at - now).to_std().unwrap_or(Duration::from_secs(1));
    Error::new(
        Code::RateLimited,
        format!(
            "Looks have used their part of GitHub's {limit} requests an hour and go on at {}.",
            reset_at.format("%H:%M:%SZ")
        ),
        "Launches go on; raise api_budget or poll_interval, watch fewer repositories, or use a \
         GitHub App, which has a budget of its own.",
    )
    .retry_after(wait.max(Duration::from_secs(1)))
}

/// Whether an answer counts for the budget that all but a few requests share.
pub(super) fn is_core(headers: &HeaderMap) -> bool {
    resource(headers).is_none_or(|name| name == "core")
}

fn resource(headers: &HeaderMap) -> Option<&str> {
    header(headers, "x-ratelimit-resource")
}

fn speaks_of_a_limit(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    text.contains("rate limit") || text.contains("abuse")
}

fn primary(headers: &HeaderMap) -> Option<Primary> {
    let number = |name| header(headers, name)?.parse::<u32>().ok();
    let reset = header(headers, "x-ratelimit-reset")?.parse().ok()?;
    Some(Primary {
        limit: number("x-ratelimit-limit")?,
        remaining: number("x-ratelimit-remaining")?,
        reset_at: DateTime::from_timestamp(reset, 0)?,
    })
}

pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// One sentence: whether the budget lasts until it is renewed, if requests go on at their rate.
fn forecast(limit: u32, remaining: u32, reset_at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let left = (reset_at - now).max(TimeDelta::zero());
    let passed = (WINDOW - left).max(TimeDelta::seconds(60));
    let used = f64::from(limit.saturating_sub(remaining));
    let rate = used / passed.as_seconds_f64();
    let needed = rate * left.as_seconds_f64();
    let renewal = reset_at.format("%H:%M");
    if needed <= f64::from(remaining) {
        let unused = f64::from(remaining) - needed;
        return format!(
            "Lasts: about {unused:.0} of {limit} requests will be left at {renewal} UTC."
        );
    }
    let end = now + TimeDelta::seconds((f64::from(remaining) / rate) as i64);
    format!("Used up at about {} UTC at this rate, renewed at {renewal} UTC.", end.format("%H:%M"))
}

#[cfg(test)]
mod tests;
