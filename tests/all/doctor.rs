//! `ipfs-accelerate doctor` as a process, with a real engine.

use runner_kit::simulator::RepoSpec;
use serde_json::Value;

use super::support::world::World;

fn outcome<'a>(checks: &'a Value, name: &str) -> &'a str {
    let checks = checks.as_array().expect("an array");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {checks:?}"))["outcome"].as_str().unwrap()
}

#[tokio::test]
async fn the_doctor_finds_a_sound_set_up_well_and_a_broken_one_not() {
    let world = World::new("e2e-doctor", &[]).await;
    world.github.add_repo(RepoSpec::new("octo-org/web"));
    world.github.add_repo(RepoSpec::new("octo-org/vault").forbidden());
    let sound =
        world.home.run("doctor --repo octo-org/web --memory-limit 64m --cpu-limit 0.5").await;
    let checks = sound.data();
    for name in ["credential", "github", "clock", "permissions", "image", "network", "state_dir"] {
        assert_eq!(outcome(&checks, name), "ok", "{checks:#}");
    }
    // An engine on a host with old control groups is worth a warning.
    assert_ne!(outcome(&checks, "docker"), "failure", "{checks:#}");
    // How full this machine's disk is, is no matter of this test.
    let failed: Vec<_> =
        checks.as_array().unwrap().iter().filter(|one| one["outcome"] == "failure").collect();
    assert!(failed.iter().all(|check| check["name"] == "disk"), "{failed:?}");
    assert_eq!(sound.code, i32::from(!failed.is_empty()), "{sound:?}");

    let broken = world.home.run("doctor --repo octo-org/vault --format text").await;
    assert_eq!(broken.code, 1, "{broken:?}");
    let line = broken.stdout.lines().find(|line| line.contains("permissions")).unwrap();
    assert!(line.starts_with("FAILED   permissions  "), "{}", broken.stdout);
    assert!(broken.stdout.contains("administration=read"), "{}", broken.stdout);
    assert!(broken.stderr.is_empty(), "{}", broken.stderr);

    let wrong = world.home.run("doctor --repo nonsense").await;
    assert_eq!(wrong.code, 2, "{wrong:?}");

    let mut service = world.home.serve(&world.start_line(1)).await;
    let beside = world.home.run("doctor --format text").await;
    assert!(beside.stdout.contains("A service runs, and answers."), "{}", beside.stdout);
    assert_eq!(world.home.run("runner stop").await.code, 0);
    assert!(service.wait().await.unwrap().success());
    // It has left nothing behind.
    assert!(world.github.runners().is_empty());
}
