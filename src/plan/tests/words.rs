//! What people read of a decision.

use super::world::at;
use crate::model::Labels;
use crate::plan::*;

#[test]
fn why_a_job_waits_is_told_in_words() {
    let unmatched = |missing: &[&str]| Held::Unmatched { missing: Labels::new(missing) };
    let told = [
        (Held::Covered { runner: "r".into() }, "runner r is about to take it"),
        (Held::AtCapacity { max: 4 }, "max_runners is 4 and no more may run"),
        (
            Held::RepoAtCapacity { max: 2 },
            "max_per_repo is 2 and its repository has as many runners",
        ),
        (
            Held::Backoff { until: at(0) },
            "launches for its repository failed; next try at 00:00:00Z",
        ),
        (Held::Paused("The disk is full.".into()), "The disk is full."),
        (unmatched(&["gpu"]), "no runner here has the labels gpu"),
        (unmatched(&[]), "it asks for no label at all"),
    ];
    for (held, words) in told {
        assert_eq!(held.to_string(), words);
    }
}
