use super::*;

fn left(limits: &Limits, second: i64) -> Option<(u32, DateTime<Utc>)> {
    limits.allowance(at(second)).map(|allowance| (allowance.left, allowance.reset_at))
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        ((*name).parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
    };
    pairs.iter().map(pair).collect()
}

const LOOK: Purpose = Purpose { urgency: Urgency::Look, registers: false };
const LAUNCH: Purpose = Purpose { urgency: Urgency::Act, registers: true };
const REMOVAL: Purpose = Purpose { urgency: Urgency::Act, registers: false };

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
    let mut limits = Limits::of(50);
    assert_eq!(wait(&mut limits, 429, &[("retry-after", "30")], ""), Some(30));
    assert_eq!(limits.check(LOOK, at(29)).unwrap_err().code, Code::RateLimited);
    assert!(limits.check(LOOK, at(30)).is_ok());
}

#[test]
fn a_clock_that_is_set_back_makes_a_wait_no_longer() {
    let mut limits = Limits::of(50);
    assert!(limits.check(LOOK, at(10_000)).is_ok());
    let asked = headers(&[("retry-after", "30")]);
    limits.learn(StatusCode::TOO_MANY_REQUESTS, &asked, b"", at(10_000)).unwrap_err();
    assert!(limits.check(LOOK, at(10_020)).is_err());
    // It is an hour earlier now, and ten seconds are left.
    assert_eq!(limits.check(LOOK, at(6_420)).unwrap_err().retry_after, Some(10));
    assert!(limits.check(LOOK, at(6_430)).is_ok());
}

#[test]
fn an_exhausted_budget_waits_for_its_reset() {
    let exhausted =
        [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "900")];
    assert_eq!(wait(&mut Limits::of(50), 403, &exhausted, ""), Some(900));
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
    let mut limits = Limits::of(50);
    assert_eq!(wait(&mut limits, 200, &last("core"), ""), None);
    assert!(limits.check(LOOK, at(899)).is_err() && limits.check(LOOK, at(900)).is_ok());
    let mut limits = Limits::of(50);
    let registration = last("actions_runner_registration");
    assert_eq!(wait(&mut limits, 403, &registration, ""), Some(900));
    assert!(limits.check(LOOK, at(0)).is_ok(), "looks have a budget of their own");
}

#[test]
fn an_absurd_wait_is_shortened() {
    for (asked, expected) in [("4294967295", 86_400), ("99999999999999999999", 60), ("-1", 60)] {
        let headers = [("retry-after", asked)];
        assert_eq!(wait(&mut Limits::of(50), 429, &headers, ""), Some(expected));
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
    let mut limits = Limits::of(50);
    assert_eq!(strike(&mut limits, 0), Some(60));
    assert_eq!(strike(&mut limits, 60), Some(120));
    limits.learn(StatusCode::OK, &HeaderMap::new(), b"", at(180)).unwrap();
    assert_eq!(strike(&mut limits, 181), Some(60));
}

#[test]
fn requests_under_way_that_meet_the_same_limit_do_not_lengthen_it() {
    let mut limits = Limits::of(50);
    assert!((0..16).all(|_| strike(&mut limits, 0) == Some(60)));
    limits.learn(StatusCode::OK, &HeaderMap::new(), b"", at(1)).unwrap();
    assert_eq!(strike(&mut limits, 61), Some(120), "an answer overtaken by the limit ends nothing");
}

#[test]
fn of_answers_out_of_order_the_one_that_left_least_is_believed() {
    let mut limits = Limits::of(50);
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
    let left =
        [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "900")];
    assert_eq!(wait(&mut Limits::of(50), 403, &left, body), None);
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

#[test]
fn looks_stop_at_their_share_and_launches_and_removals_go_on() {
    let told = [
        ("x-ratelimit-limit", "100"),
        ("x-ratelimit-remaining", "95"),
        ("x-ratelimit-reset", "900"),
    ];
    let mut limits = Limits::of(2);
    assert_eq!(limits.allowance(at(0)), None, "nothing is known yet");
    assert!(limits.begin(LOOK, at(0)).unwrap());
    assert_eq!(wait(&mut limits, 200, &told, ""), None);
    limits.end(LOOK, true);
    assert_eq!(left(&limits, 0), Some((1, at(900))));
    assert!(limits.begin(LOOK, at(0)).unwrap());
    assert!(!limits.begin(LOOK, at(0)).unwrap(), "it waits for what becomes of the other one");
    limits.end(LOOK, false);
    assert!(limits.begin(LOOK, at(0)).unwrap(), "what is not modified leaves the share as it was");
    limits.end(LOOK, true);
    let refused = limits.begin(LOOK, at(0)).unwrap_err();
    assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(900)));
    assert!(refused.message.ends_with("go on at 00:15:00Z."), "{refused}");
    assert!(limits.begin(LAUNCH, at(0)).unwrap() && limits.begin(REMOVAL, at(0)).unwrap());
    let forecast = limits.budget(at(0)).unwrap().forecast;
    assert!(forecast.starts_with("Looks have used their share of 2 of 100"), "{forecast}");
    assert_eq!(left(&limits, 900), Some((2, at(4_500))));
    assert!(limits.begin(LOOK, at(900)).unwrap(), "a new hour");
}

#[test]
fn where_registrations_are_used_up_only_they_are_not_sent() {
    let used_up = [
        ("x-ratelimit-limit", "10000"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "900"),
        ("x-ratelimit-resource", REGISTRATION),
    ];
    // Whether the last one was answered, or one too many refused, with a time or without.
    let with_time = [&used_up[..], &[("retry-after", "900")]].concat();
    for (status, told) in [(201, &used_up[..]), (403, &used_up[..]), (403, &with_time[..])] {
        let mut limits = Limits::of(50);
        assert_eq!(wait(&mut limits, status, told, ""), (status == 403).then_some(900));
        let refused = limits.check(LAUNCH, at(899)).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(1)));
        assert!(limits.check(REMOVAL, at(0)).is_ok() && limits.check(LOOK, at(0)).is_ok());
        assert!(limits.check(LAUNCH, at(900)).is_ok());
        assert_eq!(limits.budget(at(0)), None, "another budget than that of all else");
    }
}

#[test]
fn only_a_request_that_makes_a_runner_known_counts_as_one() {
    let of = |method, path| Purpose::of(Urgency::Act, method, path);
    assert_eq!(of(&Method::POST, "/orgs/o/actions/runners/generate-jitconfig"), LAUNCH);
    assert_eq!(of(&Method::POST, "/repos/o/r/actions/runners/registration-token"), LAUNCH);
    assert_eq!(of(&Method::DELETE, "/repos/o/r/actions/runners/7"), REMOVAL);
    assert_eq!(of(&Method::POST, "/app/installations/7/access_tokens"), REMOVAL);
}

#[test]
fn a_server_is_spared_when_its_answers_tell_of_limits_or_one_was_met() {
    let counted = headers(&[("x-ratelimit-limit", "5000")]);
    let enterprise =
        headers(&[("x-ratelimit-limit", "5000"), ("x-github-enterprise-version", "3.18.0")]);
    let mut limits = Limits::of(50);
    let told = |limits: &Limits, status, headers: &HeaderMap| {
        limits.is_limited(StatusCode::from_u16(status).unwrap(), headers)
    };
    assert_eq!(told(&limits, 200, &counted), Some(true));
    assert_eq!(told(&limits, 404, &HeaderMap::new()), Some(false));
    assert_eq!(told(&limits, 200, &enterprise), Some(false));
    assert_eq!(told(&limits, 502, &HeaderMap::new()), None, "a proxy's answer");
    assert_eq!(wait(&mut limits, 429, &[("retry-after", "5")], ""), Some(5));
    assert_eq!(told(&limits, 200, &enterprise), Some(true), "an administrator switched it on");
}
