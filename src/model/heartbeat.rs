//! What a runner says of itself: the third witness, beside the engine and GitHub.
//!
//! The lines are those that actions/runner prints (`Runner.cs`, `JobDispatcher.cs`,
//! `BrokerMessageListener.cs`) and its `run-helper.sh`. Its official image prints its diagnostic log
//! beside them, as `[RUNNER time level source] text` and `[WORKER …] …`. A job can write to that log, too,
//! so nothing is ever done on its word alone.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};

/// What a runner said last of what it does, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// What it said.
    pub said: Said,
    /// When, by its own clock, which is the engine's.
    pub at: Option<DateTime<Utc>>,
}

/// What a runner can say of what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It listens for a job.
    Listening,
    /// It does not reach GitHub, and tries again.
    Disconnected,
    /// It works on a job.
    Working,
    /// Its job is done.
    Finished,
    /// It has given up.
    Ended,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listening => "it listens for jobs",
            Self::Disconnected => "it does not reach GitHub",
            Self::Working => "it works on a job",
            Self::Finished => "its job is done",
            Self::Ended => "it has given up",
        })
    }
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its log says that {}", self.said)?;
        self.at.map_or(Ok(()), |at| write!(f, " ({})", at.format("%H:%M:%SZ")))
    }
}

impl Heartbeat {
    /// What the end of a log says; nothing when none of its lines is known.
    pub fn read(log: &str) -> Option<Self> {
        let mut last: Option<Self> = None;
        let mut time = None;
        for line in log.lines() {
            let (process, traced_at, text) = traced(line.trim());
            let (stamped_at, text) = stamped(text);
            time = stamped_at.or(traced_at).or(time);
            let said = match process {
                Some(Process::Worker) => Some(Said::Working),
                _ => said(text, last.map(|last| last.said)),
            };
            last = said.map(|said| Self { said, at: time }).or(last);
        }
        last
    }
}

#[derive(Clone, Copy)]
enum Process {
    Listener,
    Worker,
}

/// Between the name of a job, of somebody's choice, and its result.
pub(super) const COMPLETED: &str = " completed with result: ";

/// What `text` says of a runner that has said `before`.
fn said(text: &str, before: Option<Said>) -> Option<Said> {
    let begins = |with: &str| text.starts_with(with);
    if text == "Listening for Jobs" {
        Some(Said::Listening)
    // The lease of its job is renewed every minute.
    } else if begins("Running job: ") || begins("Successfully renew job") {
        Some(Said::Working)
    } else if begins("Job ") && text.contains(COMPLETED) {
        Some(Said::Finished)
    } else if begins("Runner reconnected.") {
        (before == Some(Said::Disconnected)).then_some(Said::Listening)
    } else if begins("Runner connect error: ") {
        // Its job goes on meanwhile.
        matches!(before, None | Some(Said::Listening)).then_some(Said::Disconnected)
    } else if begins("Runner listener exit with") {
        Some(if text.contains("re-launch") { Said::Disconnected } else { Said::Ended })
    } else if begins("Failed to create a session. The runner registration has been deleted") {
        Some(Said::Ended)
    } else {
        None
    }
}

/// A line of the diagnostic log: whose it is, its time and what it says; otherwise the line.
fn traced(line: &str) -> (Option<Process>, Option<DateTime<Utc>>, &str) {
    let listener = line.strip_prefix("[RUNNER ").map(|rest| (Process::Listener, rest));
    let worker = || line.strip_prefix("[WORKER ").map(|rest| (Process::Worker, rest));
    let Some((process, rest)) = listener.or_else(worker) else { return (None, None, line) };
    let (Some(at), Some((_, text))) = (time(rest), rest.split_once("] ")) else {
        return (None, None, line);
    };
    let printed = ["WRITE LINE: ", "WRITE ERROR: "];
    let text = printed.iter().find_map(|mark| text.strip_prefix(mark)).unwrap_or(text);
    (Some(process), Some(at), text)
}

/// A line that begins with its time.
fn stamped(line: &str) -> (Option<DateTime<Utc>>, &str) {
    let rest = line.get(TIME..).and_then(|rest| rest.strip_prefix(": "));
    match (time(line), rest) {
        (Some(at), Some(rest)) => (Some(at), rest),
        _ => (None, line),
    }
}

/// How long a time is: `2026-08-04 10:11:12Z`.
const TIME: usize = 20;

fn time(text: &str) -> Option<DateTime<Utc>> {
    let parsed = NaiveDateTime::parse_from_str(text.get(..TIME)?, "%Y-%m-%d %H:%M:%SZ");
    parsed.ok().map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(clock: &str) -> Option<DateTime<Utc>> {
        Some(format!("2026-09-02T{clock}Z").parse().unwrap())
    }

    fn read(log: &str) -> Option<(Said, Option<DateTime<Utc>>)> {
        Heartbeat::read(log).map(|beat| (beat.said, beat.at))
    }

    const BEGIN: &str = "\n√ Connected to GitHub\n\nCurrent runner version: '2.337.0'\n\
        2026-09-02 13:58:18Z: Listening for Jobs\n";

    #[test]
    fn a_runner_listens_works_and_has_done_its_job_in_its_own_words() {
        assert_eq!(read("\n√ Connected to GitHub\nCurrent runner version: '2.337.0'"), None);
        assert_eq!(read(BEGIN), Some((Said::Listening, at("13:58:18"))));
        let works = format!("{BEGIN}2026-09-02 14:00:00Z: Running job: build (1, 2)\n");
        assert_eq!(read(&works), Some((Said::Working, at("14:00:00"))));
        let done = format!(
            "{works}2026-09-02 14:09:00Z: Job build (1, 2) completed with result: Failed\n"
        );
        assert_eq!(read(&done), Some((Said::Finished, at("14:09:00"))));
    }

    /// The end of the log in actions/runner#4668 and actions/runner#4703: the runner accepts a job and says no more.
    #[test]
    fn a_runner_that_has_accepted_a_job_and_not_begun_it_still_listens() {
        let log = "\
            [RUNNER 2026-09-02 13:58:18Z INFO Terminal] WRITE LINE: Current runner version: '2.337.0'\n\
            [RUNNER 2026-09-02 13:58:18Z INFO Terminal] WRITE LINE: 2026-09-02 13:58:18Z: Listening for Jobs\n\
            2026-09-02 13:58:18Z: Listening for Jobs\n\
            [RUNNER 2026-09-02 14:03:01Z INFO BrokerMessageListener] Acknowledging runner request 'a1'.\n\
            [RUNNER 2026-09-02 14:03:02Z INFO GitHubActionsService] AAD Correlation ID: Unknown";
        assert_eq!(read(log), Some((Said::Listening, at("13:58:18"))));
    }

    #[test]
    fn the_diagnostic_log_of_the_official_image_tells_that_a_job_moves() {
        let renewed = "\
            [RUNNER 2026-09-02 14:00:00Z INFO Terminal] WRITE LINE: 2026-09-02 14:00:00Z: Running job: b\n\
            [RUNNER 2026-09-02 14:07:00Z INFO JobDispatcher] Successfully renew job 5f, job is valid till 9/2/2026 2:17:00 PM";
        assert_eq!(read(renewed), Some((Said::Working, at("14:07:00"))));
        let worker = "[WORKER 2026-09-02 14:08:30Z INFO StepsRunner] Step result: Succeeded";
        assert_eq!(read(worker), Some((Said::Working, at("14:08:30"))));
        let ended = format!(
            "{worker}\nRunner listener exit with 0 return code, stop the service, no retry needed."
        );
        assert_eq!(read(&ended), Some((Said::Ended, at("14:08:30"))), "it has no time of its own");
    }

    #[test]
    fn a_connection_that_broke_is_told_from_one_that_is_back_and_says_nothing_of_a_job() {
        let broken =
            "2026-09-02 14:00:00Z: Runner connect error: Conflict. Retrying until reconnected.\n";
        let back = "2026-09-02 14:01:00Z: Runner reconnected.\n";
        assert_eq!(read(broken), Some((Said::Disconnected, at("14:00:00"))));
        let idle = format!("{BEGIN}{broken}");
        assert_eq!(read(&idle).unwrap().0, Said::Disconnected);
        assert_eq!(read(&format!("{idle}{back}")), Some((Said::Listening, at("14:01:00"))));
        let works = "2026-09-02 13:59:00Z: Running job: b\n";
        assert_eq!(read(&format!("{works}{broken}{back}")), Some((Said::Working, at("13:59:00"))));
        let again = "Runner listener exit with retryable error, re-launch runner in 5 seconds.";
        assert_eq!(read(again), Some((Said::Disconnected, None)));
    }

    #[test]
    fn a_runner_whose_registration_was_deleted_has_given_up() {
        let log = "Failed to create a session. The runner registration has been deleted from the \
            server, please re-configure.";
        assert_eq!(read(log), Some((Said::Ended, None)));
    }

    #[test]
    fn the_name_of_a_job_is_no_word_of_the_runner() {
        for name in ["Listening for Jobs", "Job x completed with result: y"] {
            let log = format!("2026-09-02 14:00:00Z: Running job: {name}");
            assert_eq!(read(&log), Some((Said::Working, at("14:00:00"))), "{name}");
        }
        let step = "echo 2026-09-02 14:00:00Z: Listening for Jobs";
        assert_eq!(read(step), None);
        assert_eq!(
            read("2026-09-02 14:00:00Zé: x\n[RUNNER é] Listening for Jobs\n[WORKER x] y"),
            None
        );
    }
}
