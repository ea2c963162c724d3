//! What the operator allows at most.

use super::*;

/// What is loaded, or refused, when the file says `file` and a tool is called with `asked`.
fn asked(file: &str, asked: StartInput) -> Result<Loaded, Error> {
    let (_guard, sources) = with_file(file);
    load(&sources, &asked)
}

#[test]
fn a_value_outside_its_bound_is_refused_alike_from_every_layer() {
    let cases = [
        ("allowed_owners", "octo-*", "owner", "evil"),
        ("allowed_repos", "octo-org/*", "repos", "evil/web"),
        ("allowed_owners", "octo-*", "repos", "evil/web"),
        ("allowed_images", "ghcr.io/actions/*", "runner_image", "ghcr.io/evil/runner"),
        ("max_runners_allowed", "4", "max_runners", "5"),
    ];
    for (bound, allowed, option, value) in cases {
        let variable = |name: &str| format!("RUNNER_KIT_{}", name.to_ascii_uppercase());
        let flag = format!("--{}", option.replace('_', "-"));
        // The default image is outside the bound of images, and must not be what is refused.
        let env = [(variable(bound), allowed.to_owned()), ("HOME".into(), "/home/octo".into())];
        let says = |sources: Sources, asked: StartInput, origin: &str| {
            let error = load(&sources, &asked).unwrap_err();
            assert_eq!((error.code, error.exit_code()), (Code::InvalidArgument, 2));
            let begins = format!("Invalid value for `{option}`: `{value}` from {origin} is ");
            assert!(error.message.starts_with(&begins), "{error}");
            assert!(error.message.contains(bound) && error.message.ends_with('.'), "{error}");
            assert!(error.remedy.starts_with("The operator allows "), "{error}");
            assert!(error.remedy.contains(allowed), "{error}");
        };
        let bounded = || Sources { env: env.iter().cloned().collect(), ..Sources::default() };
        let (_guard, file) = with_file(&format!("{option} = '{value}'"));
        let origin = file.file.as_ref().unwrap().display().to_string();
        says(Sources { file: file.file, ..bounded() }, StartInput::default(), &origin);
        let set = env.iter().cloned().chain([(variable(option), value.to_owned())]).collect();
        let origin = format!("environment {}", variable(option));
        says(Sources { env: set, ..bounded() }, StartInput::default(), &origin);
        let given = start(&[&flag, value]);
        let flags = Sources { start: given.clone(), ..bounded() };
        says(flags, StartInput::default(), &format!("flag {flag}"));
        says(bounded(), given, &format!("argument {option}"));
    }
}

#[test]
fn a_bound_holds_whatever_layer_it_comes_from() {
    let asked = || StartInput { owner: Some("evil".into()), ..StartInput::default() };
    let (_guard, file) = with_file("allowed_owners = ['octo-*', 'acme']");
    let operator: OperatorOptions = parsed(&["--allowed-owners", "octo-*,acme"]).unwrap();
    let flags = Sources { operator, ..sources(&[]) };
    let env = sources(&[("RUNNER_KIT_ALLOWED_OWNERS", "octo-*,acme")]);
    for sources in [file, flags, env] {
        let error = load(&sources, &asked()).unwrap_err();
        assert_eq!(error.remedy, "The operator allows octo-*, acme.");
        let fine = StartInput { owner: Some("OCTO-org".into()), ..StartInput::default() };
        assert!(load(&sources, &fine).is_ok(), "case does not count");
    }
}

#[test]
fn the_image_that_is_the_default_is_bounded_too() {
    let error = asked("allowed_images = 'ghcr.io/*'", StartInput::default()).unwrap_err();
    let begin = "Invalid value for `runner_image`: `myoung34/github-runner:latest` from default";
    assert!(error.message.starts_with(begin), "{error}");
}

#[test]
fn a_star_in_allowed_images_stands_for_slashes_and_colons_too() {
    let allows = |glob: &str, image: &str| {
        let input = StartInput { runner_image: Some(image.into()), ..StartInput::default() };
        asked(&format!("allowed_images = '{glob}'"), input).is_ok()
    };
    assert!(allows("ghcr.io/*", "ghcr.io/actions/actions-runner:2.336.0"));
    assert!(allows("localhost*", "localhost:5000/a/b"));
    assert!(allows("ghcr.io/actions/runner:2.*", "ghcr.io/actions/runner:2.336.0"));
    assert!(!allows("ghcr.io/actions/*", "ghcr.io/actions-evil/runner"));
    assert!(!allows("ghcr.io/*", "evil.example/ghcr.io/runner"), "it begins otherwise");
    assert!(!allows("ghcr.io/a/runner:v1", "ghcr.io/a/runner:V1"), "another tag");
    assert!(!allows("ghcr.io/a/runner:v1", "ghcr.io/a/runner"), "that is latest");
}

#[test]
fn globs_of_repositories_are_no_demand_for_what_is_not_allowed() {
    let repos = StartInput { repos: Some(vec!["*/web".into()]), ..StartInput::default() };
    let bounds = asked("allowed_repos = 'octo-org/*'", repos).unwrap().config.bounds;
    let admits = |name: &str| bounds.admit(&name.parse().unwrap());
    assert!(admits("Octo-Org/web") && !admits("evil/web"));
}

#[test]
fn a_default_that_nobody_chose_gives_way_to_the_bound_of_max_runners() {
    let loaded = asked("max_runners_allowed = 4", StartInput::default()).unwrap();
    assert_eq!(loaded.config.max_runners, 4);
    assert_eq!(row(&loaded, "max_runners"), (json!(4), "default".into()));
    let fine = StartInput { max_runners: Some(3), ..StartInput::default() };
    assert_eq!(asked("max_runners_allowed = 4", fine).unwrap().config.max_runners, 3);
}

#[test]
fn without_bounds_all_is_allowed_and_a_list_that_was_emptied_allows_nothing() {
    assert_eq!(loaded(&[]).config.bounds, Bounds::default());
    assert!(Bounds::default().admit(&"any-body/any.thing".parse().unwrap()));
    assert!(Bounds::default().allowed_images.admit("localhost:5000/a/b@sha256:00"));
    let owner = || StartInput { owner: Some("octo-org".into()), ..StartInput::default() };
    let error = asked("allowed_owners = []", owner()).unwrap_err();
    assert_eq!(error.remedy, "The operator allows none.");
    assert!(asked("", owner()).is_ok());
}

#[test]
fn bounds_are_the_operators_and_wrong_ones_are_refused_themselves() {
    for name in ["allowed_owners", "allowed_repos", "allowed_images"] {
        let refused = serde_json::from_value::<StartInput>(json!({ name: ["*"] }));
        assert!(refused.is_err(), "{name}");
        let error = refused_env(&format!("RUNNER_KIT_{}", name.to_ascii_uppercase()), "a/[");
        assert!(error.contains("globs of"), "{error}");
    }
    for name in ["max_runners_allowed", "provision_rate"] {
        assert!(serde_json::from_value::<StartInput>(json!({ name: 1 })).is_err(), "{name}");
        let error = refused_env(&format!("RUNNER_KIT_{}", name.to_ascii_uppercase()), "1001");
        assert!(error.contains("0 to 1000"), "{error}");
    }
}

#[test]
fn a_detached_service_is_told_the_bounds_that_its_starter_was_given() {
    let line = ["--allowed-owners=a,b", "--allowed-images=", "--provision-rate=0"];
    let given: OperatorOptions = parsed(&line).unwrap();
    let flags = given.to_flags();
    let again: OperatorOptions =
        parsed(&flags.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let bounds = |operator: OperatorOptions| {
        let start = start(&["--image", "tiny"]);
        load(&Sources { operator, start, ..sources(&[]) }, &StartInput::default()).unwrap_err()
    };
    assert_eq!(bounds(given).remedy, "The operator allows none.");
    assert_eq!(bounds(again).remedy, "The operator allows none.");
}
