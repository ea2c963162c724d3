//! One sentence about each result: what a person would ask next. Numbers and our own words only,
//! never text that strangers wrote.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::Phase;
use crate::views::{
    LongestWait, Page, ProvisionedRunner, RunnerContainer, Started, Status, Stopped,
    StoppedContainer, WorkflowQueue,
};

pub(super) fn started(started: &Started) -> String {
    let what =
        if started.changed { "The autoscaler started" } else { "The autoscaler ran already" };
    let Started { status, .. } = started;
    format!("{what}; {} of {} runners active.", status.active_runners, status.capacity.max)
}

pub(super) fn stopped(stopped: &Stopped) -> String {
    let what =
        if stopped.changed { "The autoscaler stopped" } else { "The autoscaler was not running" };
    match stopped.runners_left {
        0 => format!("{what}; no runner is left."),
        left => format!(
            "{what}; {} on until {} done.",
            goes(left, "runner"),
            if left == 1 { "its job is" } else { "their jobs are" }
        ),
    }
}

pub(super) fn status(
    status: &Status,
    busy: usize,
    wait: Option<&LongestWait>,
    now: DateTime<Utc>,
) -> String {
    let Status { active_runners, capacity, queued_jobs, .. } = status;
    let runners = format!("{active_runners} of {} runners active", capacity.max);
    if !status.running {
        return format!(
            "The autoscaler is not running; {runners}. runner_start_autoscaler starts it."
        );
    }
    let waiting = match (*queued_jobs, wait) {
        (0, _) if status.last_check.is_none() => "the queues were not seen yet".to_owned(),
        (0, _) => "no job waits".to_owned(),
        (jobs, Some(LongestWait { since, reason })) => {
            let reason = reason.trim_end_matches('.');
            let waits = if jobs == 1 { "for" } else { "the oldest for" };
            format!("{}, {waits} {}: {reason}", waiting_jobs(jobs), span(now - *since))
        }
        (jobs, None) => waiting_jobs(jobs),
    };
    let trouble =
        status.last_error.as_ref().map(|error| format!(" Last error: {}.", error.code.as_str()));
    let trouble = trouble.unwrap_or_default();
    format!("{runners}, {busy} busy; {waiting}.{trouble}{}", unseen(status, now))
}

/// An outage must not look like an empty queue: how old what is told of the queues is.
pub(super) fn unseen(status: &Status, now: DateTime<Utc>) -> String {
    match (&status.last_error, status.last_check) {
        (Some(error), Some(seen)) if status.running && error.at > seen => {
            format!(" The queues were last seen {} ago.", span(now - seen))
        }
        _ => String::new(),
    }
}

pub(super) fn queues(page: &Page<WorkflowQueue>) -> String {
    let queues = &page.items;
    let jobs: usize = queues.iter().map(|queue| queue.queued_jobs).sum();
    let stuck: usize = queues.iter().flat_map(|queue| &queue.unmatched).map(|u| u.jobs).sum();
    let shown = many(queues.len(), "repository", "repositories");
    let stuck = match stuck {
        0 => String::new(),
        jobs => format!(", and {} for labels that no runner here has", waiting_jobs(jobs)),
    };
    format!("{shown}; {} for a runner{stuck}.{}", waiting_jobs(jobs), more(page))
}

pub(super) fn provisioned(launched: &[ProvisionedRunner], told: usize) -> String {
    let all = launched.len();
    if all == 0 {
        return "No job waits for a runner, so none was launched.".to_owned();
    }
    let online = |runner: &&ProvisionedRunner| matches!(runner.status, Phase::Idle | Phase::Busy);
    let online = match launched.iter().filter(online).count() {
        0 => String::new(),
        count if count == all => " and online".to_owned(),
        count => format!(", {count} of them online"),
    };
    let ended = match launched.iter().filter(|runner| runner.status == Phase::Exited).count() {
        0 => String::new(),
        count if count == all => ", and ended already: see the log".to_owned(),
        count => format!(", {count} of them ended already: see their logs"),
    };
    let rest = if told < all {
        format!(" The first {told} are shown; runner_list_containers has them all.")
    } else {
        String::new()
    };
    format!("{} launched{online}{ended}.{rest}", many(all, "runner", "runners"))
}

pub(super) fn containers(page: &Page<RunnerContainer>) -> String {
    let containers = &page.items;
    let count = |phase| containers.iter().filter(|container| container.phase == phase).count();
    let phases = [Phase::Busy, Phase::Idle, Phase::Starting, Phase::Exited];
    let counts = phases.map(|phase| format!("{} {}", count(phase), phase.as_str()));
    let shown = many(containers.len(), "container", "containers");
    format!("{shown}: {}.{}", counts.join(", "), more(page))
}

/// How to see the rest of a list.
fn more<T>(page: &Page<T>) -> &'static str {
    match page.next_cursor {
        Some(_) => " There are more: give next_cursor as cursor.",
        None => "",
    }
}

pub(super) fn container_stopped(stopped: &StoppedContainer) -> String {
    let StoppedContainer { container_id, was, changed, .. } = stopped;
    if *changed {
        format!("Container {container_id} was {} and is stopped and removed.", was.as_str())
    } else {
        format!("Container {container_id} had ended before.")
    }
}

fn many(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn goes(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what} goes") } else { format!("{count} {what}s go") }
}

fn waiting_jobs(jobs: usize) -> String {
    if jobs == 1 { "1 job waits".to_owned() } else { format!("{jobs} jobs wait") }
}

/// A time span as people say it: its largest unit, rounded down.
fn span(span: TimeDelta) -> String {
    let (seconds, minutes, hours, days) =
        (span.num_seconds().max(0), span.num_minutes(), span.num_hours(), span.num_days());
    match (days, hours, minutes) {
        (1.., ..) => format!("{days} d"),
        (_, 1.., _) => format!("{hours} h"),
        (_, _, 1..) => format!("{minutes} min"),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::{Capacity, Mode};

    fn busy() -> Status {
        Status {
            running: true,
            start_time: None,
            iterations: 1,
            active_runners: 3,
            queued_workflows: 1,
            queued_jobs: 5,
            repositories_monitored: 1,
            last_check: None,
            provisioned_runners: 3,
            capacity: Capacity { max: 3, used: 3, free: 0 },
            mode: Mode::Service,
            last_error: None,
            warnings: vec![],
            rate_limit: None,
        }
    }

    #[test]
    fn the_status_sentence_says_who_waits_for_how_long_and_why() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(260);
        let wait = LongestWait {
            since: DateTime::UNIX_EPOCH,
            reason: "max_runners is 3 and no more may run".into(),
        };
        assert_eq!(
            status(&busy(), 2, Some(&wait), now),
            "3 of 3 runners active, 2 busy; 5 jobs wait, the oldest for 4 min: max_runners is 3 and \
             no more may run."
        );
        let at = DateTime::UNIX_EPOCH;
        let error = crate::error::Error::new(crate::error::Code::GithubUnreachable, "", "");
        let last_error = Some(crate::views::LastError::new(&error, now));
        let dark = Status { queued_jobs: 0, last_check: Some(at), last_error, ..busy() };
        assert_eq!(
            status(&dark, 2, None, now),
            "3 of 3 runners active, 2 busy; no job waits. Last error: github_unreachable. \
             The queues were last seen 4 min ago."
        );
        let never = Status { last_check: None, ..dark };
        assert!(status(&never, 2, None, now).contains("busy; the queues were not seen yet. Last"));
        let off = Status { running: false, ..busy() };
        assert!(status(&off, 0, None, now).starts_with(
            "The autoscaler is not running; 3 of 3 runners active. runner_start_autoscaler"
        ));
    }

    #[test]
    fn the_launch_sentence_says_what_the_runners_are_doing() {
        let told = |phases: &[Phase]| {
            let runner = |status: &Phase| ProvisionedRunner {
                repo: "o/r".into(),
                container_id: "c0ffee".into(),
                runner_name: "ipfs-1".into(),
                labels: Default::default(),
                status: *status,
                origin: crate::model::Origin::Manual,
            };
            let launched: Vec<_> = phases.iter().map(runner).collect();
            provisioned(&launched, launched.len())
        };
        assert_eq!(told(&[Phase::Starting]), "1 runner launched.");
        assert_eq!(told(&[Phase::Idle, Phase::Busy]), "2 runners launched and online.");
        assert_eq!(told(&[Phase::Exited]), "1 runner launched, and ended already: see the log.");
        assert_eq!(
            told(&[Phase::Idle, Phase::Exited, Phase::Starting]),
            "3 runners launched, 1 of them online, 1 of them ended already: see their logs."
        );
    }

    #[test]
    fn the_stop_sentence_counts_in_the_singular_and_the_plural() {
        let left = |runners_left| stopped(&Stopped { running: false, changed: true, runners_left });
        assert_eq!(left(1), "The autoscaler stopped; 1 runner goes on until its job is done.");
        assert_eq!(left(2), "The autoscaler stopped; 2 runners go on until their jobs are done.");
    }
}
