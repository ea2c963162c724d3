//! `doctor`: looks at everything and prints what it found.

use clap::ArgMatches;

use super::output::Output;
use crate::config::{Sources, StartInput, load};
use crate::doctor::{self, Check};
use crate::error::Result;
use crate::interfaces::service::{Places, Presence};
use crate::model::Repo;

/// Whether nothing failed.
pub(super) async fn doctor(
    matches: &ArgMatches,
    sources: &Sources,
    output: &Output,
) -> Result<bool> {
    let repo = matches.get_one::<Repo>("repo");
    let asked = StartInput {
        owner: repo.map(|repo| repo.owner().to_owned()),
        repos: repo.map(|repo| vec![repo.to_string()]),
        ..StartInput::default()
    };
    let loaded = load(sources, &asked)?;
    let mut checks = doctor::examine(&loaded.config, &sources.env).await;
    checks.push(service(Places::of(&loaded.config, &sources.env).look().await));
    output.checks(&checks)?;
    Ok(doctor::is_well(&checks))
}

fn service(presence: Presence) -> Check {
    match presence {
        Presence::Answers => Check::ok("service", "A service runs, and answers."),
        Presence::Absent => Check::ok("service", "No service runs; `runner start` would."),
        Presence::Silent => Check::warning(
            "service",
            "A process of this instance is at work, and does not answer.",
            "It may be starting or ending; if that lasts, look into its log in the state directory.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn a_service_that_does_not_answer_is_worth_a_warning() {
        let outcome = |presence| service(presence).outcome;
        assert_eq!(outcome(Presence::Answers), Outcome::Ok);
        assert_eq!(outcome(Presence::Absent), Outcome::Ok);
        assert_eq!(outcome(Presence::Silent), Outcome::Warning);
    }
}
