//! A service that is a member of the docker group and not root. These tests run themselves again
//! as such a user, for which they must be root.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use runner_kit::error::Code;

use super::*;

/// Neither root nor the runner, and nobody's on any machine.
const USER: &str = "54321";

/// Says to a test that it runs for the second time.
const AGAIN: &str = "RUNNER_KIT_TEST_AGAIN";

/// Runs the test `name` as [`USER`] with the extra group `group`; whether this is that run.
fn again(name: &str, group: &str) -> bool {
    if std::env::var_os(AGAIN).is_some() {
        assert_eq!(rustix::process::geteuid().as_raw().to_string(), USER);
        return true;
    }
    assert!(rustix::process::geteuid().is_root(), "this test must be run by root");
    // The build directory may be closed to others.
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let tmp = directory.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    for (path, mode) in [(directory.path(), 0o755), (&program, 0o755), (&tmp, 0o1777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let output = Command::new("setpriv")
        .args(["--reuid", USER, "--regid", USER, "--groups", group, "--"])
        .arg(&program)
        .args(["--exact", &format!("engine::unprivileged::{name}")])
        .env(AGAIN, "1")
        .env("TMPDIR", &tmp)
        .env("HOME", &tmp)
        .current_dir("/")
        .output()
        .expect("setpriv of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

#[tokio::test]
async fn a_member_of_the_docker_group_can_delete_what_the_runners_user_wrote() {
    runner_image().await;
    let group = fs::metadata("/var/run/docker.sock").unwrap().gid().to_string();
    let name = "a_member_of_the_docker_group_can_delete_what_the_runners_user_wrote";
    if !again(name, &group) {
        return;
    }
    let script = r#"cd "$RUNNER_WORKDIR" && mkdir a && touch a/b && chmod 700 a && id"#;
    let world = World::new("member", script).await;
    let container = world.run().await;
    let path = world.work.join(&container.name);
    assert_eq!(fs::metadata(path.join("a")).unwrap().uid(), 1001);
    assert_eq!(fs::metadata(&world.work).unwrap().mode() & 0o777, 0o700);
    assert!(fs::remove_dir_all(path.join("a")).is_err(), "it takes more than a plain deletion");
    assert_eq!(world.engine.stop(&container).await.unwrap().exit_code, Some(0));
    world.engine.remove(&container).await.unwrap();
    world.assert_nothing_is_left().await;
}

#[tokio::test]
async fn who_is_not_in_the_docker_group_is_told_how_to_get_in() {
    if !again("who_is_not_in_the_docker_group_is_told_how_to_get_in", USER) {
        return;
    }
    let config = config("outsider", "/nonexistent".into(), "true");
    let engine = DockerEngine::connect(&config, |_| None).unwrap();
    let error = engine.host().await.unwrap_err();
    assert_eq!(error.code, Code::DockerUnreachable);
    assert!(error.message.starts_with("Docker is not accessible: permission denied"), "{error}");
    assert!(error.remedy.contains("usermod -aG docker"), "{error}");
}
