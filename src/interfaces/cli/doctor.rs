//! `doctor`: looks at everything and prints what it found.

use std::net::SocketAddr;

use clap::ArgMatches;

use super::output::Output;
use crate::config::{Sources, StartInput, load};
use crate::doctor::{self, Check};
use crate::error::Result;
use crate::interfaces::http;
use crate::interfaces::service::{Places, Presence};
use crate::model::Repo;
use crate::webhook::Secrets;

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
    checks.push(webhooks(http::webhook_secrets(&loaded), loaded.http));
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

fn webhooks(secrets: Result<Option<Secrets>>, address: Option<SocketAddr>) -> Check {
    const NAME: &str = "webhooks";
    match (secrets, address) {
        (Err(error), _) => Check::failed(NAME, &error),
        (Ok(None), _) => {
            Check::ok(NAME, "No secret of webhooks is configured: polls find the jobs.")
        }
        (Ok(Some(_)), None) => Check::warning(
            NAME,
            "There is a secret of webhooks, but HTTP is not served, so none can come.",
            "Set http, for example to 127.0.0.1:8080, and put a proxy with TLS before it.",
        ),
        (Ok(Some(_)), Some(address)) => {
            Check::ok(NAME, format!("Webhooks are taken at http://{address}/webhooks/github."))
        }
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

    #[test]
    fn a_secret_of_webhooks_must_be_sound_and_is_no_use_without_http() {
        let secret = |text| Secrets::of(text, "webhook_secret_file").map(Some);
        let address = Some(([127, 0, 0, 1], 8080).into());
        assert_eq!(webhooks(Ok(None), None).outcome, Outcome::Ok);
        assert_eq!(webhooks(secret("0123456789abcdef"), address).outcome, Outcome::Ok);
        assert_eq!(webhooks(secret("0123456789abcdef"), None).outcome, Outcome::Warning);
        assert_eq!(webhooks(secret("short"), address).outcome, Outcome::Failure);
    }
}
