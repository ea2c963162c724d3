//! How a job ended.

use super::heartbeat::COMPLETED;

/// How a job ended, in the words of scale sets, which the Actions Runner Controller's metrics have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobResult {
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// Somebody, or a limit, ended it.
    Canceled,
    /// It was not run at all.
    Skipped,
    /// Its runner was lost.
    Abandoned,
}

impl JobResult {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Abandoned => "abandoned",
        }
    }

    /// The result that is called so by a scale set (`result` of `JobCompleted`), a webhook (`conclusion`
    /// of `workflow_job`) or the runner itself.
    pub fn named(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "succeeded" | "succeededwithissues" | "success" | "neutral" => Some(Self::Succeeded),
            "failed" | "failure" | "timed_out" => Some(Self::Failed),
            "canceled" | "cancelled" => Some(Self::Canceled),
            "skipped" => Some(Self::Skipped),
            "abandoned" | "stale" => Some(Self::Abandoned),
            _ => None,
        }
    }

    /// What the runner said of its job, at the end of its log. Jobs have names of strangers' choice:
    /// only what follows counts.
    ///
    /// Source: actions/runner, `JobDispatcher` ("Job … completed with result: …").
    pub fn in_log(tail: &str) -> Option<Self> {
        let said = |line: &str| Self::named(line.rsplit_once(COMPLETED)?.1.trim());
        tail.lines().rev().find_map(said)
    }
}

/// The end of a job, by the name of its runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The runner that had it.
    pub runner: String,
    /// How it ended.
    pub result: JobResult,
}

impl Ending {
    /// The end that is told in these words, where they say enough.
    pub fn told(runner: &str, word: Option<&str>) -> Option<Self> {
        let result = JobResult::named(word?)?;
        (!runner.is_empty()).then(|| Self { runner: runner.to_owned(), result })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_one_name_whoever_tells_it() {
        use JobResult::{Canceled, Failed, Succeeded};
        for (word, result) in [
            ("success", Some(Succeeded)),
            ("Succeeded", Some(Succeeded)),
            ("failure", Some(Failed)),
            ("Canceled", Some(Canceled)),
            ("cancelled", Some(Canceled)),
            ("", None),
            ("gone\"} 1", None),
        ] {
            assert_eq!(JobResult::named(word), result, "{word}");
        }
        for result in [Succeeded, Failed, Canceled, JobResult::Skipped, JobResult::Abandoned] {
            assert_eq!(JobResult::named(result.as_str()), Some(result));
        }
    }

    #[test]
    fn the_runners_last_word_on_its_job_is_found_whatever_the_job_is_called() {
        let log = "√ Connected to GitHub\n2026-01-01 00:00:00Z: Listening for Jobs\n\
                   2026-01-01 00:00:01Z: Running job: x\n\
                   2026-01-01 00:00:09Z: Job x completed with result: Canceled completed with result: Failed\n";
        assert_eq!(JobResult::in_log(log), Some(JobResult::Failed));
        assert_eq!(JobResult::in_log("Runner: Listening for Jobs\n"), None);
        assert_eq!(JobResult::in_log("Job x completed with result: anything else"), None);
    }
}
