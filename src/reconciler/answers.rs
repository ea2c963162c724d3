//! What those are told who asked for launches.

use std::collections::BTreeMap;

use super::{Outcome, Reply};
use crate::error::{Code, Error, Result};
use crate::plan::Held;

/// Tells those who asked for a runner for every queued job what became of it.
pub(super) fn answer(
    asked: Vec<Reply>,
    accepted: Result<Vec<Outcome>>,
    failed: Option<Error>,
    held: &BTreeMap<u64, Held>,
    used: usize,
) {
    // A covered job is no reason to complain, and one that nobody can serve no question of room.
    let refused =
        held.values().find(|why| !matches!(why, Held::Covered { .. } | Held::Unmatched { .. }));
    let outcome = match (failed, accepted) {
        (Some(error), _) | (None, Err(error)) => Err(error),
        (None, Ok(launches)) => match refused {
            Some(why) if launches.is_empty() => Err(refusal(why, used)),
            _ => Ok(launches),
        },
    };
    // Two who ask at once ask for the same: the launches are told to the first.
    let again = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
    let others = asked.len().saturating_sub(1);
    let told =
        std::iter::once(outcome).chain((0..others).map(|_| again.clone().map(|()| Vec::new())));
    for (reply, told) in asked.into_iter().zip(told) {
        let _ = reply.send(told);
    }
}

/// The error for a launch that `why` forbids.
pub(super) fn refusal(why: &Held, used: usize) -> Error {
    match why {
        Held::AtCapacity { max } => Error::new(
            Code::AtCapacity,
            format!("At capacity: {used}/{max} runners active."),
            "Increase max_runners, or stop containers that are not needed.",
        ),
        Held::RepoAtCapacity { max } => Error::new(
            Code::AtCapacity,
            format!("At capacity: {max}/{max} runners active for this repository."),
            "Increase max_per_repo, or stop containers of the repository that are not needed.",
        ),
        other => {
            const PHRASE: &str = "Container failed to start";
            let why = other.to_string();
            let why = why
                .strip_prefix(PHRASE)
                .map_or(why.as_str(), |rest| rest.trim_start_matches([':', ' ']));
            let message = format!("{PHRASE}: {}.", why.trim_end_matches('.'));
            Error::new(
                Code::ContainerFailed,
                message,
                "The next try is made by itself; see last_error in the status.",
            )
        }
    }
}

pub(super) fn stopping() -> Error {
    Error::new(Code::Internal, "The autoscaler is being stopped.", "Start it again.")
}

/// The end of a launch that nobody waited for any more.
pub(super) fn given_up() -> Error {
    Error::new(Code::Internal, "Whoever asked for it no longer waits.", "Ask again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_the_guides_phrase_once() {
        let paused = Held::Paused("Container failed to start: no image. Pull it.".into());
        assert_eq!(refusal(&paused, 0).message, "Container failed to start: no image. Pull it.");
        let backoff = Held::Backoff { until: chrono::DateTime::UNIX_EPOCH };
        assert!(refusal(&backoff, 0).message.starts_with("Container failed to start: launches"));
        assert_eq!(
            refusal(&Held::AtCapacity { max: 3 }, 3).message,
            "At capacity: 3/3 runners active."
        );
    }
}
