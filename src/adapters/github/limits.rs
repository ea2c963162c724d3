//! GitHub's limits, as its answers tell them, and the waits that they ask for.
//!
//! Source: docs.github.com, "Rate limits for the REST API": after a 403 or 429 obey `retry-after`;
//! else, with nothing remaining, wait for the reset; else at least a minute, then longer.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, StatusCode};

use crate::error::{Code, Error, Result};
use crate::model::RateLimit;

/// The first wait after a secondary limit that names none.
const SECONDARY_WAIT: TimeDelta = TimeDelta::seconds(60);
/// The longest such wait.
const LONGEST_WAIT: TimeDelta = TimeDelta::seconds(3_600);
/// The longest wait that is believed: a wrong number must not end the service.
const LONGEST_ASKED: TimeDelta = TimeDelta::days(1);
/// The length of the window of the primary limit.
const WINDOW: TimeDelta = TimeDelta::seconds(3_600);

/// What is known of the limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Limits {
    primary: Option<Primary>,
    /// Nothing is sent before.
    until: Option<DateTime<Utc>>,
    /// Secondary limits in a row.
    strikes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Primary {
    limit: u32,
    remaining: u32,
    reset_at: DateTime<Utc>,
}

impl Limits {
    /// Whether a request may be sent now.
    pub(super) fn check(&self, now: DateTime<Utc>) -> Result<()> {
        match self.until.filter(|until| *until > now) {
            Some(until) => Err(limited(until, now)),
            None => Ok(()),
        }
    }

    /// Learns from an answer; an error when it was a limit and not a lack of rights.
    pub(super) fn learn(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<()> {
        // Other resources, such as search, have budgets of their own.
        let core = header(headers, "x-ratelimit-resource").is_none_or(|name| name == "core");
        let told = primary(headers);
        if core {
            // Answers may overtake each other; within a window the budget only shrinks.
            self.primary = match (self.primary, told) {
                (Some(old), Some(new)) if old.reset_at == new.reset_at => {
                    Some(Primary { remaining: old.remaining.min(new.remaining), ..new })
                }
                (old, new) => new.or(old),
            };
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
            if core {
                // This one was answered; the next would be refused, and asking counts against us.
                self.until = self.until.max(exhausted);
            }
            return Ok(());
        }
        let asked = header(headers, "retry-after").and_then(|text| text.parse::<u32>().ok());
        let until = if let Some(seconds) = asked {
            now + TimeDelta::seconds(seconds.into()).min(LONGEST_ASKED)
        } else if let Some(reset_at) = exhausted {
            if !core {
                return Err(limited(reset_at, now));
            }
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
        Err(limited(until, now))
    }

    /// The hourly budget, when an answer has told it.
    pub(super) fn budget(&self, now: DateTime<Utc>) -> Option<RateLimit> {
        let Primary { limit, remaining, reset_at } = self.primary?;
        Some(RateLimit {
            limit,
            remaining,
            reset_at,
            forecast: forecast(limit, remaining, reset_at, now),
        })
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
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            ((*name).parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn wait(
        limits: &mut Limits,
        status: u16,
        pairs: &[(&'static str, &'static str)],
        body: &str,
    ) -> Option<u64> {
        let status = StatusCode::from_u16(status).unwrap();
        limits
            .learn(status, &headers(pairs), body.as_bytes(), at(0))
            .err()
            .and_then(|error| error.retry_after)
    }

    #[test]
    fn retry_after_is_obeyed_and_nothing_is_sent_before() {
        let mut limits = Limits::default();
        assert_eq!(wait(&mut limits, 429, &[("retry-after", "30")], ""), Some(30));
        assert_eq!(limits.check(at(29)).unwrap_err().code, Code::RateLimited);
        assert!(limits.check(at(30)).is_ok());
    }

    #[test]
    fn an_exhausted_budget_waits_for_its_reset() {
        let exhausted = [
            ("x-ratelimit-limit", "60"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "900"),
        ];
        assert_eq!(wait(&mut Limits::default(), 403, &exhausted, ""), Some(900));
    }

    #[test]
    fn an_answer_that_used_up_the_budget_counts_and_nothing_is_sent_after_it() {
        let last = |resource| {
            [
                ("x-ratelimit-limit", "60"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "900"),
                ("x-ratelimit-resource", resource),
            ]
        };
        let mut limits = Limits::default();
        assert_eq!(wait(&mut limits, 200, &last("core"), ""), None);
        assert!(limits.check(at(899)).is_err() && limits.check(at(900)).is_ok());
        let mut limits = Limits::default();
        let registration = last("actions_runner_registration");
        assert_eq!(wait(&mut limits, 403, &registration, ""), Some(900));
        assert!(limits.check(at(0)).is_ok(), "looks have a budget of their own");
    }

    #[test]
    fn an_absurd_wait_is_shortened() {
        for (asked, expected) in [("4294967295", 86_400), ("99999999999999999999", 60), ("-1", 60)]
        {
            let headers = [("retry-after", asked)];
            assert_eq!(wait(&mut Limits::default(), 429, &headers, ""), Some(expected));
        }
    }

    const SECONDARY: &str = "You have exceeded a secondary rate limit.";

    fn strike(limits: &mut Limits, second: i64) -> Option<u64> {
        let none = HeaderMap::new();
        let answer = limits.learn(StatusCode::FORBIDDEN, &none, SECONDARY.as_bytes(), at(second));
        answer.err().and_then(|error| error.retry_after)
    }

    #[test]
    fn a_secondary_limit_that_names_no_time_waits_a_minute_and_then_longer() {
        let mut limits = Limits::default();
        assert_eq!(strike(&mut limits, 0), Some(60));
        assert_eq!(strike(&mut limits, 60), Some(120));
        limits.learn(StatusCode::OK, &HeaderMap::new(), b"", at(180)).unwrap();
        assert_eq!(strike(&mut limits, 181), Some(60));
    }

    #[test]
    fn requests_under_way_that_meet_the_same_limit_do_not_lengthen_it() {
        let mut limits = Limits::default();
        assert!((0..16).all(|_| strike(&mut limits, 0) == Some(60)));
        limits.learn(StatusCode::OK, &HeaderMap::new(), b"", at(1)).unwrap();
        assert_eq!(
            strike(&mut limits, 61),
            Some(120),
            "an answer overtaken by the limit ends nothing"
        );
    }

    #[test]
    fn of_answers_out_of_order_the_one_that_left_least_is_believed() {
        let mut limits = Limits::default();
        for remaining in ["7", "5", "6"] {
            let told = [
                ("x-ratelimit-limit", "60"),
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", "900"),
            ];
            assert_eq!(wait(&mut limits, 200, &told, ""), None);
        }
        assert_eq!(limits.budget(at(0)).map(|budget| budget.remaining), Some(5));
    }

    #[test]
    fn a_lack_of_rights_is_no_limit() {
        let body = "Resource not accessible by personal access token";
        let left = [
            ("x-ratelimit-limit", "60"),
            ("x-ratelimit-remaining", "5"),
            ("x-ratelimit-reset", "900"),
        ];
        assert_eq!(wait(&mut Limits::default(), 403, &left, body), None);
    }

    #[test]
    fn the_forecast_says_whether_the_budget_lasts() {
        // Half an hour gone, half an hour to go.
        assert_eq!(
            forecast(5_000, 4_000, at(1_800), at(0)),
            "Lasts: about 3000 of 5000 requests will be left at 00:30 UTC."
        );
        assert_eq!(
            forecast(5_000, 1_000, at(1_800), at(0)),
            "Used up at about 00:07 UTC at this rate, renewed at 00:30 UTC."
        );
    }
}
