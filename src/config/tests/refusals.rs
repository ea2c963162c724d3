//! What is refused, and how.

use secrecy::ExposeSecret;

use super::*;

#[test]
fn a_number_out_of_range_is_refused_alike_from_every_layer() {
    let allowed = "[invalid_argument] Allowed: a whole number from 0 to 1000.";
    let says = |error: String, origin: &str, why: &str| {
        let start = format!("Invalid value for `max_runners`: `{why}");
        assert!(error.starts_with(&start) && error.ends_with(allowed), "{error}");
        assert!(error.contains(&format!("from {origin} is ")), "{error}");
    };
    let (_guard, file) = with_file("max_runners = 1001");
    let origin = file.file.as_ref().unwrap().display().to_string();
    says(refused(&file).to_string(), &origin, "1001` from");
    let variable = "environment RUNNER_KIT_MAX_RUNNERS";
    says(refused_env("RUNNER_KIT_MAX_RUNNERS", "many"), variable, "many` from");
    let flags = Sources { start: start(&["--max-runners", "-1"]), ..sources(&[]) };
    says(refused(&flags).to_string(), "flag --max-runners", "-1` from");
    let asked = StartInput { max_runners: Some(-5), ..StartInput::default() };
    let error = load(&sources(&[]), &asked).unwrap_err().to_string();
    says(error, "argument max_runners", "-5` from");
}

#[test]
fn a_wrong_value_is_refused_even_where_a_later_layer_covers_it() {
    let mut sources = sources(&[("RUNNER_KIT_MAX_RUNNERS", "-3")]);
    sources.start = start(&["--max-runners", "3"]);
    assert!(refused(&sources).message.contains("`-3` from environment"));
}

#[test]
fn impossible_values_are_refused_with_what_is_allowed() {
    let wrong = [
        ("POLL_INTERVAL", "0", "1 to 86400"),
        ("POLL_INTERVAL", "86401", "1 to 86400"),
        ("SINCE_DAYS", "366", "1 to 365"),
        ("CPU_LIMIT", "0", "0.01 to 1024"),
        ("CPU_LIMIT", "inf", "0.01 to 1024"),
        ("MEMORY_LIMIT", "lots", "512m"),
        ("MEMORY_LIMIT", "1k", "from 6m"),
        ("IDLE_TIMEOUT", "1.5", "a whole number"),
        ("PIDS_LIMIT", "-1", "16 to 4194304"),
        ("MAX_PER_REPO", "0", "1 to 1000"),
        ("OWNER", "octo org", "octo-org"),
        ("REPOS", "a/[", "globs"),
        ("EXCLUDE_REPOS", "ok/*,{", "globs"),
        ("LABELS", ",", "labels"),
        ("RUNNER_IMAGE", "Not An Image", "reference"),
        ("NETWORK_MODE", "container:x", "host, bridge, none"),
        ("INSTANCE", "Über", "a-z, 0-9 and -"),
        ("SCALE_SET", "my pool", "docker-pool"),
        ("INSTANCE", "123456789012345678901", "1 to 20"),
        ("RUNNER_USER", "a:b:c", "1001:121"),
        ("REGISTRATION", "jitt", "auto, jit, token"),
        ("DOCKER_ACCESS", "rootless", "none, socket"),
        ("PULL", "Always", "missing, always, never"),
        ("ENGINE", "podman", "docker"),
        ("READ_ONLY", "maybe", "true or false"),
        ("HTTP", "example.org:80", "127.0.0.1:8080"),
        ("HTTP_HOSTS", "https://example.org", "runners.example.org"),
        ("HTTP_ORIGINS", "example.org", "https://board.example.org"),
    ];
    for (option, value, allowed) in wrong {
        let name = format!("RUNNER_KIT_{option}");
        let error = refused_env(&name, value);
        assert!(error.contains(&format!("`{}`", option.to_lowercase())), "{error}");
        assert!(error.contains(&name) && error.contains("Allowed: "), "{error}");
        assert!(error.contains(allowed), "{error}");
    }
}

#[test]
fn bounds_themselves_are_allowed() {
    let env = [
        ("RUNNER_KIT_POLL_INTERVAL", "86400"),
        ("RUNNER_KIT_MAX_RUNNERS", "0"),
        ("RUNNER_KIT_SINCE_DAYS", "365"),
        ("RUNNER_KIT_CPU_LIMIT", "0.01"),
        ("RUNNER_KIT_INSTANCE", "12345678901234567890"),
    ];
    assert_eq!(loaded(&env).config.max_runners, 0);
}

#[test]
fn options_must_agree_with_each_other() {
    let idle = [("RUNNER_KIT_MIN_IDLE", "5"), ("RUNNER_KIT_MAX_RUNNERS", "4")];
    let error = refused(&sources(&idle)).message;
    assert!(error.contains("`min_idle`") && error.contains("max_runners (4, environment"));
    let org = ("RUNNER_KIT_SCOPE", "org");
    assert!(refused(&sources(&[org])).remedy.starts_with("Set owner"));
    let group = ("RUNNER_KIT_RUNNER_GROUP", "builders");
    assert!(refused(&sources(&[group])).remedy.starts_with("Set scope to org"));
    let config = loaded(&[org, group, ("RUNNER_KIT_OWNER", "octo-org")]).config;
    assert_eq!((config.scope, config.runner_group.as_deref()), (ScopeKind::Org, Some("builders")));
}

#[test]
fn a_scale_set_needs_an_organisation_or_repositories_that_are_named_one_by_one() {
    let set = ("RUNNER_KIT_SCALE_SET", "docker-pool");
    for env in [vec![set], vec![set, ("RUNNER_KIT_REPOS", "o/a,o/web-*")]] {
        let error = refused(&sources(&env));
        assert!(error.message.contains("one by one"), "{error}");
        assert!(error.remedy.contains("repos") && error.remedy.contains("scope"), "{error}");
    }
    for env in [
        vec![set, ("RUNNER_KIT_REPOS", "o/a,o/b")],
        vec![set, ("RUNNER_KIT_SCOPE", "org"), ("RUNNER_KIT_OWNER", "octo-org")],
    ] {
        assert_eq!(loaded(&env).config.scale_set.as_deref(), Some("docker-pool"));
    }
    assert!(refused_env("RUNNER_KIT_SCALE_SET", "my pool").contains("docker-pool"));
}

#[test]
fn an_app_needs_both_its_id_and_its_key_and_the_key_is_never_shown() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\\nMIIEow";
    let key = ("RUNNER_KIT_APP_KEY", pem);
    let file = ("RUNNER_KIT_APP_KEY_FILE", "/key.pem");
    let id = ("RUNNER_KIT_APP_ID", "123456");
    for (env, key) in [(vec![id], "app_id"), (vec![file], "app_key_file"), (vec![key], key.0)] {
        let error = refused(&sources(&env));
        assert!(error.message.contains(key), "{error}");
        assert!(
            error.message.contains("needs") && !error.to_string().contains("MIIEow"),
            "{error}"
        );
    }
    let loaded = loaded(&[id, key]);
    assert_eq!(loaded.config.app_id.as_deref(), Some("123456"));
    let rows = serde_json::to_string(&loaded.rows).unwrap();
    assert!(rows.contains("RUNNER_KIT_APP_KEY") && !rows.contains("MIIEow"));
    assert!(!format!("{loaded:?}").contains("MIIEow"));
    assert!(refused_env("RUNNER_KIT_APP_ID", "my app").contains("client id"));
}

#[test]
fn the_secret_of_webhooks_is_taken_and_never_shown() {
    let env = [
        ("RUNNER_KIT_WEBHOOK_SECRET", "only-github-knows-it"),
        ("RUNNER_KIT_WEBHOOK_SECRET_FILE", "~/hook"),
    ];
    let loaded = loaded(&env);
    let secret = loaded.webhook_secret.as_ref().map(ExposeSecret::expose_secret);
    assert_eq!(secret, Some("only-github-knows-it"));
    assert!(loaded.webhook_secret_file.as_ref().is_some_and(|file| file.is_absolute()));
    let rows = serde_json::to_string(&loaded.rows).unwrap();
    assert!(rows.contains("RUNNER_KIT_WEBHOOK_SECRET") && !rows.contains("only-github"));
    assert!(!format!("{loaded:?}").contains("only-github"));
}
