//! Our labels: written at launch, read at every listing. They are the only state there is.

use std::collections::HashMap;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as State};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::model::{Container, Labels, Origin, Repo, Scope, clean_text};
use crate::ports::{Launch, Registration};

/// What all our labels begin with.
pub(super) const PREFIX: &str = "io.ipfs-accelerate.runner.";

/// After this long a container that was created and never started will not be, whoever launched it
/// from wherever: a launch takes seconds, and each of its calls is bounded by
/// [`CALL`](super::failure::CALL). Launches on this host are known to have broken off at once, by
/// [`Workspaces::is_let_go`](super::workspace::Workspaces::is_let_go).
pub(super) const HALF_MADE: TimeDelta = TimeDelta::seconds(60);

/// The full name of our label `name`.
pub(super) fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// What marks a container, volume or helper of ours: who made it, for which runner, and when.
pub(super) fn mark(instance: &str, runner: &str, now: DateTime<Utc>) -> HashMap<String, String> {
    HashMap::from([
        (key("managed"), "true".to_owned()),
        (key("instance"), instance.to_owned()),
        (key("name"), runner.to_owned()),
        (key("created"), now.to_rfc3339_opts(SecondsFormat::Nanos, true)),
    ])
}

/// All labels of a runner's container.
pub(super) fn of(launch: &Launch, instance: &str, now: DateTime<Utc>) -> HashMap<String, String> {
    let runner = &launch.runner;
    let mut labels = mark(instance, &runner.name, now);
    labels.insert(key("labels"), runner.labels.to_string());
    labels.insert(key("origin"), runner.origin.as_str().to_owned());
    if let Scope::Org(org) = &runner.scope {
        labels.insert(key("scope"), org.clone());
    }
    let of_scope = match &runner.scope {
        Scope::Repo(repo) => Some(repo),
        Scope::Org(_) => None,
    };
    if let Some(repo) = runner.repo.as_ref().or(of_scope) {
        labels.insert(key("repo"), repo.to_string());
    }
    if let Registration::Jit { runner_id, .. } = &launch.registration {
        labels.insert(key("id"), runner_id.to_string());
    }
    labels
}

/// The engine's filter for what `instance` made, of one runner if `runner` is given.
pub(super) fn filter(instance: &str, runner: Option<&str>) -> HashMap<String, Vec<String>> {
    let mut wanted =
        vec![format!("{}=true", key("managed")), format!("{}={instance}", key("instance"))];
    wanted.extend(runner.map(|name| format!("{}={name}", key("name"))));
    HashMap::from([("label".to_owned(), wanted)])
}

/// Whether `container` was created and not started when it was listed.
pub(super) fn is_half_made(container: &Container) -> bool {
    container.status == State::CREATED.as_ref()
}

/// When a thing of ours was made, by its label.
pub(super) fn created(labels: &HashMap<String, String>) -> Option<DateTime<Utc>> {
    let text = labels.get(&key("created"))?;
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}

/// A listed container. Labels that can't be read cost what they tell, not the container: one that
/// nobody lists is one that nobody removes.
pub(super) fn read(summary: ContainerSummary, now: DateTime<Utc>) -> Option<Container> {
    let labels = summary.labels.unwrap_or_default();
    let label = |name: &str| labels.get(&key(name)).map(String::as_str);
    let id = summary.id?;
    let engine_name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    let name = label("name").unwrap_or(engine_name.trim_start_matches('/'));
    let repo: Option<Repo> = label("repo").and_then(|text| text.parse().ok());
    let scope = match (label("scope"), &repo) {
        (Some(org), _) => Scope::org(org),
        (None, Some(repo)) => Scope::Repo(repo.clone()),
        (None, None) => Scope::Org(String::new()),
    };
    let state = summary.state.unwrap_or(State::EMPTY);
    let created_at = created(&labels)
        .or_else(|| DateTime::from_timestamp(summary.created?, 0))
        .unwrap_or(DateTime::UNIX_EPOCH);
    let ended = match state {
        State::EXITED | State::DEAD | State::REMOVING => true,
        State::CREATED => now - created_at > HALF_MADE,
        _ => false,
    };
    Some(Container {
        id,
        name: clean_text(name, 100),
        scope,
        repo,
        labels: Labels::new(label("labels").unwrap_or_default().split(',')),
        created_at,
        origin: match label("origin") {
            Some("manual") => Origin::Manual,
            Some("warm") => Origin::Warm,
            _ => Origin::Queue,
        },
        runner_id: label("id").and_then(|text| text.parse().ok()),
        status: state.to_string(),
        ended,
    })
}

#[cfg(test)]
mod tests {
    use super::super::spec::tests::{launch, now};
    use super::*;

    fn summary(labels: HashMap<String, String>, state: State) -> ContainerSummary {
        ContainerSummary {
            id: Some("c0ffee".to_owned()),
            names: Some(vec!["/r-1".to_owned()]),
            created: Some(now().timestamp()),
            labels: Some(labels),
            state: Some(state),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn what_is_written_at_launch_is_read_back_at_the_next_listing() {
        let mut launch = launch();
        launch.runner.origin = Origin::Warm;
        launch.registration = Registration::Jit { runner_id: 42, config: "secret".into() };
        let written = of(&launch, "default", now());
        assert!(written.values().all(|value| !value.contains("secret")));
        let container = read(summary(written, State::RUNNING), now()).unwrap();
        assert_eq!(container.name, launch.runner.name);
        assert_eq!(container.scope, launch.runner.scope);
        assert_eq!(container.repo, launch.runner.repo);
        assert_eq!(container.labels, launch.runner.labels);
        assert_eq!(container.created_at, now());
        assert_eq!((container.origin, container.runner_id), (Origin::Warm, Some(42)));
        assert_eq!((container.status.as_str(), container.ended), ("running", false));
    }

    #[test]
    fn an_organisations_runner_keeps_both_its_scope_and_the_repository_that_it_is_for() {
        let mut launch = launch();
        launch.runner.scope = Scope::org("Octo-Org");
        let container = read(summary(of(&launch, "i", now()), State::RUNNING), now()).unwrap();
        assert_eq!(container.scope, Scope::Org("octo-org".to_owned()));
        assert_eq!(container.repo, launch.runner.repo);
    }

    #[test]
    fn a_container_whose_labels_are_spoilt_is_listed_all_the_same() {
        let spoilt = HashMap::from([
            (key("repo"), "no slash".to_owned()),
            (key("created"), "yesterday".to_owned()),
            (key("id"), "many".to_owned()),
        ]);
        let container = read(summary(spoilt, State::EXITED), now()).unwrap();
        assert_eq!((container.name.as_str(), container.repo.clone()), ("r-1", None));
        assert_eq!(container.created_at.timestamp(), now().timestamp());
        assert!(container.ended);
    }

    #[test]
    fn a_half_made_container_has_ended_once_its_launch_must_be_over() {
        let half_made = || summary(mark("i", "r-1", now()), State::CREATED);
        assert!(!read(half_made(), now() + HALF_MADE).unwrap().ended);
        assert!(read(half_made(), now() + HALF_MADE + TimeDelta::seconds(1)).unwrap().ended);
    }
}
