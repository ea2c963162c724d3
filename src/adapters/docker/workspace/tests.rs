use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::error::Code;

const ENGINE: &str = "unix:///engine.sock";

fn us() -> Owner {
    Owner::User(rustix::process::geteuid().as_raw(), None)
}

fn world() -> (tempfile::TempDir, Workspaces) {
    let directory = tempfile::tempdir().unwrap();
    let workspaces = Workspaces::new(&directory.path().join("work"), "one", ENGINE.to_owned());
    (directory, workspaces)
}

fn entries(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let (_directory, workspaces) = world();
    for name in ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a@b", "a\0", "ü"] {
        let error = workspaces.path(name).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument, "{name:?}");
        assert!(workspaces.create(name, us()).is_err(), "{name:?}");
        workspaces.delete(name).unwrap();
    }
    assert_eq!(workspaces.path("r-1.x_Y").unwrap(), workspaces.root().join("r-1.x_Y"));
}

#[test]
fn a_root_that_is_relative_or_climbs_is_refused() {
    for root in ["work", "/tmp/../etc"] {
        let workspaces = Workspaces::new(Path::new(root), "one", ENGINE.to_owned());
        assert!(workspaces.path("r-1").unwrap_err().message.contains("`runner_work_dir`"));
    }
}

#[test]
fn a_work_directory_is_private_and_leaves_nothing() {
    let (_directory, workspaces) = world();
    workspaces.create("r-1", us()).unwrap();
    let path = workspaces.path("r-1").unwrap();
    assert_eq!((mode(workspaces.root()), mode(&path)), (0o700, 0o700));
    fs::create_dir_all(path.join("a/b")).unwrap();
    workspaces.delete("r-1").unwrap();
    assert_eq!(entries(workspaces.root()), 0);
    workspaces.delete("r-1").unwrap();
}

#[test]
fn a_user_that_nobody_can_tell_gets_an_open_directory_in_a_closed_root() {
    let (_directory, workspaces) = world();
    workspaces.create("r-1", Owner::Anyone).unwrap();
    let path = workspaces.path("r-1").unwrap();
    assert_eq!((mode(workspaces.root()), mode(&path)), (0o700, 0o777));
    fs::set_permissions(workspaces.root(), Permissions::from_mode(0o755)).unwrap();
    let error = workspaces.create("r-2", Owner::Anyone).unwrap_err();
    assert!(error.message.contains("entered by others"), "{error}");
    workspaces.create("r-3", us()).unwrap();
}

#[test]
fn root_gives_the_directory_to_the_runners_user_and_others_open_it() {
    assert_eq!(access(Owner::User(1001, Some(121)), 0), (0o700, Some((1001, Some(121)))));
    assert_eq!(access(Owner::User(1001, None), 1001), (0o700, None));
    assert_eq!(access(Owner::User(1001, None), 1000), (0o777, None));
    assert_eq!(access(Owner::Anyone, 0), (0o777, None));
}

#[test]
fn the_owner_follows_from_the_containers_user() {
    assert_eq!(Owner::of("1001:121"), Owner::User(1001, Some(121)));
    assert_eq!(Owner::of("1001"), Owner::User(1001, None));
    assert_eq!(Owner::of("1001:docker"), Owner::User(1001, None));
    assert_eq!(Owner::of(""), Owner::User(0, None));
    assert_eq!(Owner::of("runner"), Owner::Anyone);
}

#[test]
fn a_root_that_others_can_change_is_refused() {
    let (directory, workspaces) = world();
    fs::create_dir(workspaces.root()).unwrap();
    fs::set_permissions(workspaces.root(), Permissions::from_mode(0o777)).unwrap();
    let error = workspaces.create("r-1", us()).unwrap_err();
    assert!(error.message.starts_with("Container failed to start"), "{error}");
    assert!(error.message.contains("written to by others"), "{error}");

    fs::remove_dir(workspaces.root()).unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, workspaces.root()).unwrap();
    let error = workspaces.create("r-1", us()).unwrap_err();
    assert!(error.message.contains("is not a directory"), "{error}");
    assert_eq!(entries(&elsewhere), 0);
}

#[test]
fn deletion_does_not_follow_links() {
    let (directory, workspaces) = world();
    let precious = directory.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "x").unwrap();

    workspaces.create("r-1", us()).unwrap();
    let path = workspaces.path("r-1").unwrap();
    symlink(&precious, path.join("inner")).unwrap();
    workspaces.delete("r-1").unwrap();

    workspaces.create("r-2", us()).unwrap();
    let path = workspaces.path("r-2").unwrap();
    fs::remove_dir(&path).unwrap();
    symlink(&precious, &path).unwrap();
    workspaces.delete("r-2").unwrap();

    assert!(precious.join("file").exists());
    assert_eq!(entries(workspaces.root()), 0);
}

#[test]
fn a_directory_that_is_not_marked_as_ours_is_neither_taken_nor_deleted() {
    let (_directory, workspaces) = world();
    workspaces.create("r-1", us()).unwrap();
    let foreign = workspaces.root().join("foreign");
    fs::create_dir(&foreign).unwrap();
    let error = workspaces.create("foreign", us()).unwrap_err();
    assert!(error.message.contains("there already"), "{error}");
    workspaces.delete("foreign").unwrap();
    assert!(foreign.exists());

    let other = Workspaces { instance: "two".to_owned(), ..workspaces.clone() };
    other.delete("r-1").unwrap();
    let elsewhere = Workspaces { endpoint: "tcp://far:1".to_owned(), ..workspaces.clone() };
    elsewhere.delete("r-1").unwrap();
    assert!(workspaces.root().join("r-1").exists());
}

#[test]
fn the_directory_of_a_living_runner_is_not_taken_by_a_second_of_its_name() {
    let (_directory, workspaces) = world();
    workspaces.create("r-1", us()).unwrap();
    let path = workspaces.path("r-1").unwrap();
    fs::write(path.join("file"), "x").unwrap();
    assert!(workspaces.create("r-1", us()).is_err());
    assert!(path.join("file").exists());
    workspaces.delete("r-1").unwrap();
    assert!(!path.exists());
}

#[test]
fn orphans_are_what_is_ours_old_enough_and_without_a_runner() {
    let (_directory, workspaces) = world();
    for name in ["alive", "orphan"] {
        workspaces.create(name, us()).unwrap();
    }
    let other = Workspaces { instance: "two".to_owned(), ..workspaces.clone() };
    other.create("theirs", us()).unwrap();
    let alive = HashSet::from(["alive".to_owned()]);
    let later = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(workspaces.orphans(&alive, later), ["orphan"]);
    let earlier = SystemTime::now() - Duration::from_secs(60);
    assert_eq!(workspaces.orphans(&alive, earlier), Vec::<String>::new());
}

#[test]
fn a_launch_is_let_go_when_the_process_that_holds_it_ends_and_not_before() {
    let (_directory, workspaces) = world();
    assert!(!workspaces.is_let_go("r-1"), "nobody here has begun it");
    let hold = workspaces.create("r-1", us()).unwrap();
    assert!(!workspaces.is_let_go("r-1"));
    drop(hold);
    assert!(workspaces.is_let_go("r-1"));
    let elsewhere = Workspaces::new(workspaces.root(), "one", "unix:///other.sock".to_owned());
    assert!(!elsewhere.is_let_go("r-1"), "it was launched on another engine");
    workspaces.delete("r-1").unwrap();
    assert!(!workspaces.is_let_go("r-1"));
}

#[test]
fn a_marker_that_was_never_written_is_an_orphan_and_takes_no_directory_with_it() {
    let (_directory, workspaces) = world();
    workspaces.create("r-1", us()).unwrap();
    // A kill between making the marker and writing it.
    fs::write(workspaces.marker("cut"), "").unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    let alive = HashSet::from(["r-1".to_owned()]);
    assert_eq!(workspaces.orphans(&alive, later), ["cut"]);
    workspaces.delete("cut").unwrap();
    assert!(!workspaces.marker("cut").exists());

    fs::write(workspaces.marker("odd"), "").unwrap();
    fs::create_dir(workspaces.root().join("odd")).unwrap();
    workspaces.delete("odd").unwrap();
    assert!(workspaces.root().join("odd").exists(), "nobody can tell whose it is");
    assert_eq!(workspaces.orphans(&alive, later), Vec::<String>::new());
}

#[test]
fn a_directory_of_another_engine_is_no_orphan() {
    let (_directory, workspaces) = world();
    let elsewhere = Workspaces { endpoint: "tcp://far:1".to_owned(), ..workspaces.clone() };
    elsewhere.create("theirs", us()).unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(workspaces.orphans(&HashSet::new(), later), Vec::<String>::new());
}
