//! `lessons.md` says which tests reproduce what others suffered from; here that is held against the
//! sources. And one failure that takes a real engine to reproduce.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::query_parameters::KillContainerOptionsBuilder;
use runner_kit::simulator::{JobSpec, JobStatus, RepoSpec, RunSpec};

use crate::support::docker;
use crate::support::world::World;

const TABLE: &str = include_str!("lessons.md");

/// A test as the sources have it.
struct Found {
    /// The lines above it: comments and attributes.
    above: String,
}

/// The rows of the table: reports, and the paths of their tests.
fn rows() -> Vec<(BTreeSet<String>, Vec<String>)> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| ") && line.contains('#'));
    let cells = rows.map(|row| row.trim_matches('|').split('|').collect::<Vec<_>>());
    cells
        .map(|cells| {
            let [reports, _, tests] = cells[..] else { panic!("three cells: {cells:?}") };
            let reports = reports.split(',').map(|report| report.trim().to_owned()).collect();
            let tests = tests.split('`').filter(|test| test.contains("::"));
            (reports, tests.map(str::to_owned).collect())
        })
        .collect()
}

/// All tests of the sources, by their paths; those of this binary are below `tests`.
fn tests() -> BTreeMap<String, Found> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for (directory, prefix) in [("src", None), ("tests/all", Some("tests"))] {
        let base = root.join(directory);
        for file in files(&base) {
            let module = file.strip_prefix(&base).unwrap().with_extension("");
            let mut path: Vec<_> = prefix.into_iter().map(str::to_owned).collect();
            path.extend(module.iter().map(|part| part.to_str().unwrap().to_owned()));
            if path.last().is_some_and(|last| last == "mod") {
                path.pop();
            }
            add(&std::fs::read_to_string(&file).unwrap(), &path.join("::"), &mut found);
        }
    }
    assert!(found.len() > 500, "the sources are not where they were");
    found
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let inner = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(inner).filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

/// Adds the tests of one file, which is `module`; those in a module of it belong to `module::tests`.
fn add(text: &str, module: &str, found: &mut BTreeMap<String, Found>) {
    let mut above = String::new();
    for line in text.lines() {
        let code = line.trim_start();
        if code.starts_with("//") || code.starts_with("#[") {
            above.push_str(code);
            above.push('\n');
            continue;
        }
        let function = code.trim_start_matches("async ").strip_prefix("fn ");
        let is_test = ["#[test]", "#[tokio::test"].iter().any(|mark| above.contains(mark));
        if let Some(rest) = function.filter(|_| is_test) {
            let name = rest.split('(').next().unwrap();
            let inner = if line == code { "" } else { "::tests" };
            let above = std::mem::take(&mut above);
            found.insert(format!("{module}{inner}::{name}"), Found { above });
        }
        above.clear();
    }
}

/// What looks like a report in a comment: a name, `#` and a number.
fn reports(text: &str) -> BTreeSet<String> {
    let is_in_name = |c: char| c.is_alphanumeric() || "-./#".contains(c);
    let words = text.split(|c: char| !is_in_name(c)).map(|word| word.trim_matches(['.', '/']));
    let is_report = |word: &&str| {
        word.split_once('#').is_some_and(|(name, number)| {
            !name.is_empty() && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
        })
    };
    words.filter(is_report).map(str::to_owned).collect()
}

#[test]
fn every_report_is_reproduced_by_tests_that_are_there_and_name_it() {
    let (rows, tests) = (rows(), tests());
    let all: BTreeSet<_> = rows.iter().flat_map(|(reports, _)| reports).collect();
    assert!(all.len() >= 25, "the table is not read: {all:?}");
    let mut wrong = Vec::new();
    for (reports, named) in &rows {
        if named.is_empty() {
            wrong.push(format!("{reports:?}: no test"));
        }
        for name in named {
            match tests.get(name) {
                None => wrong.push(format!("{reports:?}: there is no {name}")),
                Some(Found { above }) if above.contains("#[ignore") => {
                    wrong.push(format!("{reports:?}: {name} is ignored"));
                }
                Some(Found { above }) => {
                    let said = self::reports(above);
                    let unsaid = reports.iter().filter(|report| !said.contains(*report));
                    wrong.extend(unsaid.map(|report| format!("{name} does not name {report}")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_test_names_a_report_that_the_table_lacks() {
    let listed: BTreeMap<_, BTreeSet<_>> = rows()
        .into_iter()
        .flat_map(|(reports, tests)| tests.into_iter().map(move |test| (test, reports.clone())))
        .fold(BTreeMap::new(), |mut all, (test, reports)| {
            all.entry(test).or_insert_with(BTreeSet::new).extend(reports);
            all
        });
    let mut wrong = Vec::new();
    for (name, Found { above }) in tests() {
        let known = listed.get(&name).cloned().unwrap_or_default();
        let unknown = reports(&above).into_iter().filter(|report| !known.contains(report));
        wrong.extend(unknown.map(|report| format!("{name} names {report}")));
    }
    assert!(wrong.is_empty(), "not in the table:\n{}", wrong.join("\n"));
}

#[test]
fn tests_and_reports_are_found_in_the_sources() {
    let text = "/// a/b#12, (ARC#3).\n#[tokio::test(start_paused = true)]\nasync fn one() {}\n\
                /// x#5\nfn none() {}\nmod tests {\n    // y#7: `#8`\n    #[test]\n    fn two() {}\n}";
    let mut found = BTreeMap::new();
    add(text, "m", &mut found);
    let found: Vec<_> =
        found.iter().map(|(name, test)| (name.as_str(), reports(&test.above))).collect();
    let named = |reports: &[&str]| reports.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [("m::one", named(&["ARC#3", "a/b#12"])), ("m::tests::two", named(&["y#7"]))]
    );
}

/// actions/runner#1364: runners that were killed stayed on GitHub's list, offline.
#[tokio::test]
async fn of_runners_that_are_killed_nothing_is_left_here_or_on_github() {
    for registration in ["token", "jit"] {
        let env = [("RUNNER_KIT_REGISTRATION", registration)];
        let world = World::new(&format!("lessons-killed-{registration}"), &env).await;
        world.github.add_repo(RepoSpec::new("octo-org/a"));
        let mut service = world.home.serve(&world.start_line(4)).await;
        let long = |job: JobSpec| job.labels(["self-hosted"]).takes(Duration::from_secs(600));
        let run = RunSpec::new("ci").matrix("test", 3, long);
        world.github.queue_run("octo-org/a", run).unwrap();
        world.until("they are at work", |state| state.count(JobStatus::InProgress) == 3).await;
        let listed = world.home.run("runner list-containers").await.data();
        for container in listed.as_array().unwrap() {
            let kill = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
            let id = container["container_id"].as_str().unwrap();
            docker().kill_container(id, Some(kill)).await.unwrap();
        }
        // GitHub gives their jobs up, as it does when it has not heard of a runner for long.
        world.until("the jobs are over", |state| state.count(JobStatus::Completed) == 3).await;
        world.until_nothing_is_left().await;
        service.kill().await.unwrap();
    }
}
