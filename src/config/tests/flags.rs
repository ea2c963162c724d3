//! The command line, differences between configurations, and schemas.

use super::*;

#[test]
fn flags_have_the_guides_aliases_and_take_lists_in_both_forms() {
    let given = start(&["--interval", "60", "--image", "tiny", "--background"]);
    assert_eq!((given.poll_interval, given.background), (Some(60), Some(true)));
    assert_eq!(given.runner_image.as_deref(), Some("tiny"));
    let labels = start(&["--labels", "a,b", "--labels", "c", "--owner", "123"]);
    let sources = Sources { start: labels, ..sources(&[]) };
    let config = load(&sources, &StartInput::default()).unwrap().config;
    assert_eq!(config.labels.to_string(), "a,b,c");
    assert_eq!(config.owner.as_deref(), Some("123"));
}

#[test]
fn negative_numbers_reach_our_own_check_and_other_nonsense_names_the_range() {
    assert_eq!(start(&["--max-runners", "-0"]).max_runners, Some(0));
    assert_eq!(start(&["--cpu-limit", "-0.5"]).cpu_limit, Some(-0.5));
    for line in [["--max-runners", "abc"], ["--cpu-limit", "nan"], ["--max-runners", "1.5"]] {
        let error = parsed::<StartInput>(&line).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains(line[0]) && text.contains("allowed is a"), "{text}");
    }
    let operator: OperatorOptions = parsed(&["--pids-limit", "-1"]).unwrap();
    let error = refused(&Sources { operator, ..sources(&[]) });
    assert!(error.message.contains("flag --pids-limit is less than 16"), "{error}");
}

#[test]
fn switches_can_be_turned_off_too() {
    let off: OperatorOptions = parsed(&["--filter-by-arch", "false", "--read-only"]).unwrap();
    assert_eq!((off.filter_by_arch, off.read_only), (Some(false), Some(true)));
    let (_guard, mut sources) = with_file("background = true");
    assert_eq!(load(&sources, &StartInput::default()).unwrap().background, Some(true));
    sources.start = start(&["--background=false"]);
    assert_eq!(load(&sources, &StartInput::default()).unwrap().background, Some(false));
    assert_eq!(loaded(&[]).background, None);
}

#[test]
fn flags_made_from_options_say_the_same_when_they_are_read_again() {
    let line = ["--labels=a,b", "--repos=o/{x,y}", "--max-runners=-1", "--cpu-limit=2.5"];
    let given = StartInput { exclude_repos: Some(vec![]), ..start(&line) };
    let flags = given.to_flags();
    let again = start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let config = |start: StartInput| {
        let start = StartInput { max_runners: None, ..start };
        load(&Sources { start, ..sources(&[]) }, &StartInput::default()).unwrap().config
    };
    assert_eq!(again.max_runners, Some(-1));
    assert_eq!(config(given), config(again));
    let line = ["--read-only", "--http", "--scope=org", "--pull=never"];
    let given: OperatorOptions = parsed(&line).unwrap();
    let flags = given.to_flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    assert_eq!(parsed::<OperatorOptions>(&flags).unwrap(), given);
}

#[test]
fn the_options_leave_the_description_of_a_command_alone() {
    let command = clap::Command::new("start").about("Starts it");
    let command = OperatorOptions::augment_args(StartInput::augment_args(command));
    assert_eq!(command.get_about().map(ToString::to_string).as_deref(), Some("Starts it"));
    command.debug_assert();
}

// Differences and schemas.

#[test]
fn only_what_was_asked_for_and_is_different_is_a_difference() {
    let running = loaded(&[("RUNNER_KIT_MAX_RUNNERS", "4"), ("RUNNER_KIT_OWNER", "Octo")]).config;
    let same = StartInput {
        max_runners: Some(4),
        owner: Some("octo".into()),
        memory_limit: Some("4096m".into()),
        cpu_limit: Some(4.0),
        background: Some(true),
        ..start(&["--labels", "Docker,linux,self-hosted", "--labels", host()])
    };
    assert_eq!(difference(&same, &running), [""; 0]);
    let other = StartInput {
        max_runners: Some(8),
        repos: Some(vec!["a/*,b/*".into()]),
        ..StartInput::default()
    };
    let differences = ["max_runners: 4 runs, 8 asked", "repos: nothing runs, a/*, b/* asked"];
    assert_eq!(difference(&other, &running), differences);
}

fn host() -> &'static str {
    options::architecture(std::env::consts::ARCH)
}

#[test]
fn an_owner_asked_for_differs_from_none() {
    let asked = StartInput { owner: Some("octo".into()), ..StartInput::default() };
    assert_eq!(difference(&asked, &loaded(&[]).config), ["owner: none runs, octo asked"]);
}

#[test]
fn an_assistants_input_has_no_option_of_the_operator() {
    let schema = crate::schema::input::<StartInput>();
    let names: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 12);
    assert!(serde_json::from_value::<StartInput>(json!({ "docker_access": "none" })).is_err());
    assert_eq!(schema["additionalProperties"], json!(false));
    let interval = &schema["properties"]["poll_interval"];
    assert_eq!((&interval["type"], &interval["minimum"]), (&json!("integer"), &json!(1)));
    assert!(interval.get("format").is_none() && schema.get("required").is_none());
}

#[test]
fn the_files_schema_has_every_option_once_and_nothing_else() {
    let schema = file_schema();
    assert_eq!(schema["properties"].as_object().unwrap().len(), options().len());
    assert_eq!(options().len(), 48);
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["properties"]["max_runners"]["default"], json!(10));
    assert_eq!(schema["properties"]["labels"]["type"], json!(["array", "string"]));
    assert!(!schema.to_string().contains("null"), "{schema:#}");
}

#[test]
fn a_command_may_rename_the_flag_of_an_option_that_it_uses_otherwise() {
    // `mcp start --read-only` is about tools; the option of this name is about containers.
    let own = clap::Arg::new("look_only").long("read-only").action(clap::ArgAction::SetTrue);
    let command = OperatorOptions::augment_args(clap::Command::new("mcp").no_binary_name(true))
        .mut_arg("read_only", |arg| arg.long("read-only-containers"))
        .arg(own);
    let matches = command.try_get_matches_from(["--read-only"]).unwrap();
    assert!(matches.get_flag("look_only"));
    assert_eq!(OperatorOptions::from_arg_matches(&matches).unwrap().read_only, None);
}
