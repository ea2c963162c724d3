//! Bad input and bad days: one clear message with a remedy, and the right exit code.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use runner_kit::simulator::{
    Fault, JobSpec, JobStatus, Often, Options, Permission, RepoSpec, RunSpec, Simulator, TOKEN,
};
use serde_json::Value;

use crate::support::program::{Done, Home};
use crate::support::world::World;

struct Hub {
    github: Simulator,
    home: Home,
}

/// A home that knows a simulated GitHub, and no engine: these tests must not need one.
async fn hub(token: Option<&str>) -> Hub {
    let github = Simulator::start(Options::default()).await.unwrap();
    let mut env = vec![
        ("GITHUB_API_URL", github.api_url()),
        ("GITHUB_SERVER_URL", github.url()),
        ("DOCKER_HOST", "unix:///nonexistent/docker.sock".to_owned()),
    ];
    env.extend(token.map(|token| ("GITHUB_TOKEN", token.to_owned())));
    let home = Home::new(env);
    Hub { github, home }
}

fn is_failure(done: &Done, code: i32, name: &str, words: &[&str]) {
    let error = done.error();
    assert_eq!((done.code, &error["code"]), (code, &Value::from(name)), "{done:?}");
    let remedy = error["remedy"].as_str().unwrap();
    assert!(!remedy.is_empty(), "no remedy: {done:?}");
    let text = format!("{} {remedy}", error["message"].as_str().unwrap());
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    assert_eq!(done.stdout, "", "nothing but data goes to stdout");
}

#[tokio::test]
async fn mistakes_on_the_line_exit_with_two_and_name_what_is_allowed() {
    let home = Home::new([]);
    for (line, words) in [
        ("runner start --max-runners -1", &["max_runners", "0 to 1000"][..]),
        ("runner start --max-runners many", &["0 to 1000"]),
        ("runner start --interval 0", &["poll_interval", "1 to 86400"]),
        ("runner provision --repo noslash", &["noslash", "owner/name"]),
        ("runner start --ownr x", &["--ownr", "--owner"]),
        ("runner stop-container", &["--container"]),
        ("runner list-workflows --limit 0", &["limit", "1 to 1000"]),
        ("runner frobnicate", &["frobnicate"]),
        ("runner start --memory-limit lots", &["memory_limit"]),
    ] {
        is_failure(&home.run(line).await, 2, "invalid_argument", words);
    }
}

#[tokio::test]
async fn a_broken_configuration_file_is_refused_with_its_line_or_key() {
    let home = Home::new([]);
    let file = home.path().join("config.toml");
    let line = format!("runner status --config {}", file.display());
    for (text, words) in [
        ("max_runners = = 3\n", &["config.toml", "1"][..]),
        ("max_runers = 3\n", &["max_runers", "max_runners"]),
        ("max_runners = 5000\n", &["max_runners", "0 to 1000"]),
    ] {
        std::fs::write(&file, text).unwrap();
        is_failure(&home.run(&line).await, 2, "invalid_argument", words);
    }
    is_failure(
        &home.run("runner status --config /nonexistent.toml").await,
        2,
        "invalid_argument",
        &["/nonexistent.toml"],
    );
}

#[tokio::test]
async fn without_docker_every_command_says_so_and_exits_with_one() {
    let Hub { github, home } = hub(Some(TOKEN)).await;
    github.add_repo(RepoSpec::new("octocat/home"));
    for line in ["runner start", "runner provision --repo octocat/home", "runner list-containers"] {
        is_failure(
            &home.run(line).await,
            1,
            "docker_unreachable",
            &["Docker is not accessible", "/nonexistent/docker.sock"],
        );
    }
    // What does not need it works.
    assert_eq!(home.run("runner list-workflows").await.code, 0);
    let status = home.run("runner status").await.data();
    assert_eq!(
        (&status["running"], &status["last_error"]["code"]),
        (&false.into(), &"docker_unreachable".into())
    );
}

#[tokio::test]
async fn without_a_credential_the_ways_to_give_one_are_named() {
    let Hub { home, github: _github } = hub(None).await;
    let words = ["Not authenticated with GitHub CLI", "GITHUB_TOKEN", "gh auth login"];
    is_failure(&home.run("runner list-workflows").await, 1, "not_authenticated", &words);
}

#[tokio::test]
async fn a_credential_that_github_refuses_is_told_and_not_shown() {
    let Hub { home, github: _github } = hub(Some("ghp_somebodys_old_token")).await;
    let done = home.run("runner list-workflows --verbose").await;
    is_failure(&done, 1, "not_authenticated", &["Not authenticated"]);
    assert!(!done.stderr.contains("ghp_somebodys_old_token"));
}

#[tokio::test]
async fn an_organisation_that_does_not_exist_is_not_found() {
    let Hub { home, github: _github } = hub(Some(TOKEN)).await;
    is_failure(
        &home.run("runner list-workflows --owner nobody-here").await,
        1,
        "not_found",
        &["nobody-here"],
    );
}

#[tokio::test]
async fn a_github_that_is_down_is_told() {
    let Hub { github, home } = hub(Some(TOKEN)).await;
    github.inject(Fault::Status(502), "GET *", Often::Always).unwrap();
    is_failure(&home.run("runner list-workflows").await, 1, "github_unreachable", &["502"]);
}

#[tokio::test]
async fn a_token_without_rights_is_told_which_right_for_which_repository() {
    let world = World::new("bad-rights", &[]).await;
    world.github.add_repo(RepoSpec::new("octocat/home").denies(Permission::Administration));
    let done = world.home.run("runner provision --repo octocat/home").await;
    let words = ["Failed to generate runner token", "octocat/home", "administration=write"];
    is_failure(&done, 1, "token_denied", &words);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told_with_the_command_that_gets_it() {
    let env = [("RUNNER_KIT_RUNNER_IMAGE", "ipfs-accelerate-test/nowhere:1")];
    let world = World::new("bad-image", &env).await;
    world.github.add_repo(RepoSpec::new("octocat/home"));
    let done = world.home.run("runner provision --repo octocat/home").await;
    is_failure(
        &done,
        1,
        "container_failed",
        &["Container failed to start", "docker pull ipfs-accelerate-test/nowhere:1"],
    );
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_told() {
    let Hub { home, github: _github } = hub(Some(TOKEN)).await;
    let file = home.path().join("occupied");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let line = format!("runner start --state-dir {}/state", file.display());
    is_failure(&home.run(&line).await, 1, "internal", &["state_dir"]);
}

#[tokio::test]
async fn errors_for_people_are_sentences() {
    let home = Home::new([]);
    let done = home.run("runner start --max-runners -1 --format text").await;
    assert_eq!(done.code, 2);
    assert!(done.stderr.starts_with("error: ") && done.stderr.contains("max_runners"), "{done:?}");
    assert!(!done.stderr.contains('{'), "{done:?}");
}

/// A file system with no room for one more file, for as long as it is held.
struct Full(std::path::PathBuf);

impl Full {
    fn new(home: &Home) -> Self {
        let place = home.path().join("full");
        std::fs::create_dir(&place).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=64k,nr_inodes=2,mode=0700", "tmpfs"];
        let mounted = std::process::Command::new("mount").args(mount).arg(&place).status().unwrap();
        assert!(mounted.success(), "these tests mount a small file system, and so run as root");
        std::fs::write(place.join("last"), "").unwrap();
        Self(place)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_launches_nothing_and_the_loop_goes_on() {
    let world = World::new("bad-disk", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let full = Full::new(&world.home);
    let provision =
        format!("runner provision --repo octo-org/a --runner-work-dir {}", full.0.display());
    for (least, reason) in [("2g", "0 MiB free"), ("0", "No space left")] {
        is_failure(
            &world.home.run(&format!("{provision} --min-free-disk {least}")).await,
            1,
            "container_failed",
            &["Container failed to start", reason],
        );
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());

    // The service says what is wrong as long as it is, and serves the job when there is room.
    let job = JobSpec::new("build").labels(["self-hosted"]).takes(Duration::from_millis(100));
    world.github.queue_run("octo-org/a", RunSpec::new("ci").job(job)).unwrap();
    let line = "runner start --max-runners 1 --min-free-disk 0 --runner-work-dir";
    let line = format!("{line} {}", full.0.display());
    let mut service = world.home.serve(&line).await;
    let told = loop {
        let status = world.home.run("runner status").await.data();
        if !status["last_error"].is_null() {
            break status;
        }
    };
    assert_eq!(
        (&told["last_error"]["code"], &told["running"]),
        (&"container_failed".into(), &true.into())
    );
    assert_eq!(told["provisioned_runners"], 0);
    let room = std::process::Command::new("mount")
        .args(["-o", "remount,size=8m,nr_inodes=100"])
        .arg(&full.0)
        .status()
        .unwrap();
    assert!(room.success());
    world.until("the job is done", |state| state.count(JobStatus::Completed) == 1).await;
    world.until_nothing_is_left().await;
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_slow_github_delays_and_loses_nothing() {
    let world = World::new("bad-slow", &[]).await;
    world.github.add_org("octo-org");
    world.github.add_repo(RepoSpec::new("octo-org/a"));
    let slow = Fault::Delay(Duration::from_millis(300));
    world.github.inject(slow, "* *", Often::Always).unwrap();
    let job =
        |name: &str| JobSpec::new(name).labels(["self-hosted"]).takes(Duration::from_millis(100));
    let run = RunSpec::new("ci").job(job("one")).job(job("two"));
    world.github.queue_run("octo-org/a", run).unwrap();
    let mut service = world.home.serve(&world.start_line(2)).await;
    world.until("both are done", |state| state.count(JobStatus::Completed) == 2).await;
    world.until_nothing_is_left().await;
    assert_eq!(world.home.run("runner status").await.data()["provisioned_runners"], 2);
    service.kill().await.unwrap();
}

#[tokio::test]
async fn a_provision_that_takes_too_long_for_its_caller_can_be_interrupted() {
    let world = World::new("bad-patience", &[]).await;
    world.github.add_repo(RepoSpec::new("octocat/home"));
    world.github.inject(Fault::Hang, "POST *", Often::Always).unwrap();
    let line = format!(
        "runner provision --repo octocat/home --runner-work-dir {}",
        world.work_dir().display()
    );
    let mut command = world.home.command(&line);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let hangs = |journal: &runner_kit::simulator::Journal| journal.under_way() > 0;
    world.github.wait_for_requests(hangs).await;
    let pid = child.id().unwrap().to_string();
    std::process::Command::new("kill").args(["-s", "INT", &pid]).status().unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
