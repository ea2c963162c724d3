//! The rules of the configuration, each through [`load`] as a user meets it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, FromArgMatches};
use serde_json::{Value as Json, json};

use super::*;
use crate::error::{Code, Error};

mod bounds;
mod flags;
mod refusals;

const HOME: (&str, &str) = ("HOME", "/home/octo");

fn sources(env: &[(&str, &str)]) -> Sources {
    Sources { env: env.iter().copied().chain([HOME]).collect(), ..Sources::default() }
}

fn loaded(env: &[(&str, &str)]) -> Loaded {
    load(&sources(env), &StartInput::default()).unwrap()
}

fn refused(sources: &Sources) -> Error {
    let error = load(sources, &StartInput::default()).unwrap_err();
    assert_eq!((error.code, error.exit_code()), (Code::InvalidArgument, 2));
    assert!(error.message.ends_with('.') && !error.remedy.is_empty(), "{error}");
    error
}

fn refused_env(name: &str, value: &str) -> String {
    refused(&sources(&[(name, value)])).to_string()
}

/// Sources with a configuration file of this text; the directory lives as long as the guard.
fn with_file(text: &str) -> (tempfile::TempDir, Sources) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("my.toml");
    fs::write(&path, text).unwrap();
    let sources = Sources { file: Some(path), ..sources(&[]) };
    (directory, sources)
}

fn parsed<T: Args + FromArgMatches>(line: &[&str]) -> Result<T, clap::Error> {
    let command = T::augment_args(clap::Command::new("start").no_binary_name(true));
    T::from_arg_matches(&command.try_get_matches_from(line)?)
}

fn start(line: &[&str]) -> StartInput {
    parsed(line).unwrap()
}

fn row(loaded: &Loaded, option: &str) -> (Json, String) {
    let row = loaded.rows.iter().find(|row| row.option == option).unwrap();
    (row.value.clone(), row.origin.clone())
}

// Defaults.

#[test]
fn with_nothing_given_the_defaults_of_the_contract_are_in_force() {
    let config = loaded(&[]).config;
    assert_eq!(config.owner, None);
    assert_eq!(config.poll_interval.as_secs(), 120);
    assert_eq!((config.since_days, config.max_runners, config.min_idle), (1, 10, 0));
    assert_eq!((config.filter_by_arch, config.enable_p2p, config.read_only), (true, false, false));
    assert_eq!(config.runner_image, "myoung34/github-runner:latest");
    assert_eq!(config.runner_work_dir, Path::new("/tmp/_work"));
    assert_eq!((config.network_mode.as_str(), config.instance.as_str()), ("host", "default"));
    assert_eq!((config.memory_limit, config.cpu_limit), (4 << 30, 4.0));
    assert_eq!((config.idle_timeout.as_secs(), config.job_timeout), (300, None));
    assert_eq!(config.state_dir, Path::new("/home/octo/.local/state/ipfs-accelerate"));
    assert_eq!(config.runner_user.as_deref(), Some("1001:121"));
    assert!(config.labels.contains("self-hosted") && config.labels.len() == 4);
    assert!(loaded(&[]).rows.iter().all(|row| row.origin == "default"));
}

#[test]
fn architectures_have_the_names_that_github_gives_them() {
    let names = ["x86_64", "aarch64", "arm"].map(options::architecture);
    assert_eq!(names, ["x64", "arm64", "arm"]);
}

#[test]
fn every_description_names_the_range_and_the_default_that_hold() {
    for option in options() {
        let text = &option.description;
        assert!(text.ends_with('.'), "{}: {text}", option.name);
        for key in ["minimum", "maximum"] {
            // The upper bound of min_idle is max_runners, whatever the schema admits.
            if let Some(bound) = option.schema.get(key).filter(|_| option.name != "min_idle") {
                let bound = bound.as_f64().unwrap();
                assert!(text.contains(&bound.to_string()), "{}: {bound}", option.name);
            }
        }
        let default = match &option.default {
            Json::Number(number) => number.as_f64().unwrap().to_string(),
            Json::String(text) => text.clone(),
            Json::Bool(truth) if option.name != "background" => truth.to_string(),
            _ => continue,
        };
        assert!(text.contains(&format!("default {default}")), "{}: {default}", option.name);
    }
}

// Precedence and origin.

#[test]
fn later_layers_win_and_each_value_knows_where_it_came_from() {
    let (_guard, mut sources) = with_file("max_runners = 2\npoll_interval = 20\nsince_days = 3\n");
    let env = [("RUNNER_KIT_MAX_RUNNERS", "4"), ("RUNNER_KIT_POLL_INTERVAL", "40"), HOME];
    sources.env = env.into_iter().collect();
    sources.start = start(&["--max-runners", "8"]);
    let file = sources.file.as_ref().unwrap().display().to_string();
    let loaded = load(&sources, &StartInput::default()).unwrap();
    assert_eq!(loaded.config.max_runners, 8);
    assert_eq!(row(&loaded, "max_runners"), (json!(8), "flag --max-runners".into()));
    let interval = (json!(40), "environment RUNNER_KIT_POLL_INTERVAL".into());
    assert_eq!(row(&loaded, "poll_interval"), interval);
    assert_eq!(row(&loaded, "since_days"), (json!(3), file));
    assert_eq!(row(&loaded, "min_idle"), (json!(0), "default".into()));
    let asked = StartInput { max_runners: Some(9), ..StartInput::default() };
    let row = row(&load(&sources, &asked).unwrap(), "max_runners");
    assert_eq!(row, (json!(9), "argument max_runners".into()));
}

#[test]
fn an_empty_variable_says_nothing_and_an_empty_list_empties_a_list() {
    let (_guard, mut sources) = with_file("repos = 'a/*'");
    sources.env = [("RUNNER_KIT_REPOS", ""), HOME].into_iter().collect();
    assert_eq!(load(&sources, &StartInput::default()).unwrap().config.repos, ["a/*"]);
    sources.start = start(&["--repos", ""]);
    assert!(load(&sources, &StartInput::default()).unwrap().config.repos.is_empty());
}

#[test]
fn the_guides_variable_for_the_network_counts_unless_ours_is_set() {
    let guide = ("RUNNER_DOCKER_NETWORK_MODE", "bridge");
    let origin = "environment RUNNER_DOCKER_NETWORK_MODE".to_owned();
    assert_eq!(row(&loaded(&[guide]), "network_mode"), (json!("bridge"), origin));
    let ours = ("RUNNER_KIT_NETWORK_MODE", "mine");
    assert_eq!(loaded(&[guide, ours]).config.network_mode, "mine");
}

#[test]
fn the_usual_file_is_read_where_xdg_or_home_say_and_may_be_missing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    for (name, below) in [("XDG_CONFIG_HOME", ""), ("HOME", ".config")] {
        let place = directory.path().join(below).join("ipfs-accelerate");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("config.toml"), "owner = 'octo-org'").unwrap();
        let env = [HOME, (name, root)].into_iter().collect();
        let sources = Sources { env, ..Sources::default() };
        let config = load(&sources, &StartInput::default()).unwrap().config;
        assert_eq!(config.owner.as_deref(), Some("octo-org"), "{name}");
    }
    let nowhere = [("XDG_CONFIG_HOME", "/dev/null")];
    assert_eq!(loaded(&nowhere).config.owner, None);
}

#[test]
fn a_relative_xdg_directory_is_ignored_as_its_specification_says() {
    let config = loaded(&[("XDG_STATE_HOME", "here")]).config;
    assert_eq!(config.state_dir, Path::new("/home/octo/.local/state/ipfs-accelerate"));
    let config = loaded(&[("XDG_STATE_HOME", "/var/state")]).config;
    assert_eq!(config.state_dir, Path::new("/var/state/ipfs-accelerate"));
}

#[test]
fn without_a_home_directory_the_state_directory_must_be_named() {
    assert!(refused(&Sources::default()).message.contains("state_dir"));
    let env = [("RUNNER_KIT_STATE_DIR", "/srv/state")].into_iter().collect();
    let sources = Sources { env, ..Sources::default() };
    assert!(load(&sources, &StartInput::default()).is_ok());
}

// The file.

#[test]
fn a_named_file_that_is_missing_is_an_error_whichever_way_it_was_named() {
    let flag = Sources { file: Some(PathBuf::from("/nowhere/a.toml")), ..sources(&[]) };
    assert!(refused(&flag).message.contains("/nowhere/a.toml"));
    assert!(refused_env("RUNNER_KIT_CONFIG", "/nowhere/b.toml").contains("/nowhere/b.toml"));
}

#[test]
fn a_broken_file_names_the_line_and_does_not_show_it() {
    let (_guard, sources) = with_file("max_runners = 4\nowner = s3cret words\n");
    let error = refused(&sources);
    assert!(error.message.contains("my.toml") && error.message.contains("line 2"), "{error}");
    assert!(!error.message.contains("s3cret"), "{error}");
}

#[test]
fn an_unknown_key_names_the_file_and_what_was_probably_meant() {
    for (key, meant) in [("max_runer", "max_runners"), ("interval", "poll_interval")] {
        let (_guard, sources) = with_file(&format!("{key} = 1"));
        let error = refused(&sources);
        assert!(error.message.contains(&format!("`{key}`")) && error.message.contains("my.toml"));
        assert_eq!(error.remedy, format!("Did you mean {meant}?"));
    }
    let (_guard, sources) = with_file("[zzz]\nx = 1");
    assert!(refused(&sources).remedy.starts_with("Known are: owner, poll_interval"));
}

#[test]
fn the_file_takes_lists_in_both_forms_and_a_numeric_owner_stays_a_text() {
    let text =
        "owner = 123\nrepos = ['a/{x,y}', 'b/*']\nlabels = 'GPU, linux'\nmemory_limit = 8388608";
    let (_guard, sources) = with_file(text);
    let config = load(&sources, &StartInput::default()).unwrap().config;
    assert_eq!(config.owner.as_deref(), Some("123"));
    assert_eq!(config.repos, ["a/{x,y}", "b/*"]);
    assert_eq!(config.labels.to_string(), "gpu,linux");
    assert_eq!(config.memory_limit, 8 << 20);
}

#[test]
fn values_of_the_wrong_type_are_refused_instead_of_bent() {
    let wrong = [
        ("max_runners = 1.7", "`1.7` from"),
        ("max_runners = true", "is not a whole number"),
        ("max_runners = [1]", "`a list` from"),
        ("read_only = 1", "is not true or false"),
        ("repos = [['a/b']]", "is not a list of texts"),
        ("owner = true", "is not a text"),
        ("cpu_limit = nan", "is not a number"),
        ("[cpu_limit]\nx = 1", "`a table` from"),
    ];
    for (text, reason) in wrong {
        let (_guard, sources) = with_file(text);
        let error = refused(&sources);
        assert!(error.message.contains(reason) && error.message.contains("my.toml"), "{error}");
    }
}

// The environment.

#[test]
fn an_unknown_variable_with_our_prefix_is_refused_with_a_suggestion() {
    let error = refused(&sources(&[("RUNNER_KIT_MAX_RUNNER", "4")]));
    assert!(
        error.message.contains("RUNNER_KIT_MAX_RUNNER") && error.message.contains("environment")
    );
    assert_eq!(error.remedy, "Did you mean RUNNER_KIT_MAX_RUNNERS?");
    assert!(refused_env("RUNNER_KIT_max_runners", "4").contains("RUNNER_KIT_MAX_RUNNERS"));
}

#[test]
fn variables_of_others_and_our_special_ones_are_no_options() {
    let special = [
        ("RUNNER_KIT_LOG", "debug"),
        ("RUNNER_KIT_HTTP_TOKEN", "s3cret"),
        ("RUNNER_KIT_HTTP_READ_TOKEN", "s3cret too"),
    ];
    let others = [("RUNNER_NAME", "x"), ("GITHUB_TOKEN", "s3cret")];
    let loaded = loaded(&[&special[..], &others].concat());
    assert!(loaded.http_token.is_some() && loaded.http_read_token.is_some());
    let shown = |name| row(&loaded, name).0 == "(redacted)";
    assert!(shown("RUNNER_KIT_HTTP_TOKEN") && shown("RUNNER_KIT_HTTP_READ_TOKEN"));
    assert!(!format!("{loaded:?}").contains("s3cret"));
}

#[test]
fn addresses_of_github_come_from_its_own_variables() {
    let loaded = loaded(&[("GITHUB_SERVER_URL", "https://octo.ghe.com/")]);
    assert_eq!(loaded.config.server_url, "https://octo.ghe.com");
    let api = (
        json!("https://api.octo.ghe.com"),
        "derived from environment GITHUB_SERVER_URL".to_owned(),
    );
    assert_eq!(row(&loaded, "api_url"), api);
}

#[test]
fn cache_variables_go_to_the_runners_and_their_values_are_never_shown() {
    let loaded = loaded(&[("CACHE_P2P_SHARED_SECRET", "s3cret"), ("CACHE_ENABLE_P2P", "")]);
    let passed = [("CACHE_P2P_SHARED_SECRET".to_owned(), "s3cret".to_owned())];
    assert_eq!(loaded.config.runner_env.0, passed);
    let shown = serde_json::to_string(&loaded.rows).unwrap();
    assert!(shown.contains("CACHE_P2P_SHARED_SECRET") && !shown.contains("s3cret"));
    let env = sources(&[("GITHUB_TOKEN", "s3cret")]);
    assert!(!format!("{env:?}").contains("s3cret"));
}

// What follows from other options.

#[test]
fn registration_and_user_follow_from_the_image_unless_they_are_named() {
    let official = ("RUNNER_KIT_RUNNER_IMAGE", "ghcr.io/actions/actions-runner:latest");
    let loaded = loaded(&[official]);
    assert_eq!(loaded.config.registration, RegistrationKind::Jit);
    assert_eq!(loaded.config.runner_user, None);
    assert_eq!(row(&loaded, "registration"), (json!("jit"), "default".into()));
    let named = [official, ("RUNNER_KIT_REGISTRATION", "token"), ("RUNNER_KIT_RUNNER_USER", "0")];
    let config = self::loaded(&named).config;
    assert_eq!(config.registration, RegistrationKind::Token);
    assert_eq!(config.runner_user.as_deref(), Some("0"));
    assert_eq!(self::loaded(&[]).config.registration, RegistrationKind::Token);
}

#[test]
fn paths_become_absolute_and_a_tilde_is_the_home_directory() {
    let env = [("RUNNER_KIT_TOKEN_FILE", "~/token"), ("RUNNER_KIT_RUNNER_WORK_DIR", "work")];
    let config = loaded(&env).config;
    assert_eq!(config.token_file.as_deref(), Some(Path::new("/home/octo/token")));
    assert!(config.runner_work_dir.is_absolute() && config.runner_work_dir.ends_with("work"));
}

#[test]
fn http_is_served_only_when_it_is_asked_for() {
    assert_eq!(loaded(&[]).http, None);
    let port = |line: &[&str]| {
        let sources = Sources { operator: parsed(line).unwrap(), ..sources(&[]) };
        load(&sources, &StartInput::default()).unwrap().http.unwrap().to_string()
    };
    assert_eq!(port(&["--http"]), "127.0.0.1:8080");
    assert_eq!(port(&["--http", "9000"]), "127.0.0.1:9000");
    assert_eq!(port(&["--http=[::1]:1"]), "[::1]:1");
}
