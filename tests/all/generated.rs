//! What is derived from the table of operations and the options, and committed, is up to date.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use runner_kit::interfaces::generate;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_generated_files_are_up_to_date() {
    if env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
        generate::write(Some(project())).unwrap();
    }
    let stale: Vec<_> = generate::files(project())
        .unwrap()
        .into_iter()
        .filter(|file| {
            // A file that is missing is as stale as one that differs.
            fs::read_to_string(project().join(&file.path)).unwrap_or_default() != file.text
        })
        .map(|file| file.path)
        .collect();
    assert!(stale.is_empty(), "{stale:?} differ: run `cargo run -- generate`");
}

#[test]
fn no_schema_is_left_of_an_operation_that_is_gone() {
    let listed = fs::read_dir(project().join("schemas")).unwrap();
    let there: BTreeSet<PathBuf> =
        listed.map(|entry| Path::new("schemas").join(entry.unwrap().file_name())).collect();
    let generated = generate::files(project()).unwrap().into_iter().map(|file| file.path);
    let generated: BTreeSet<PathBuf> =
        generated.filter(|path| path.starts_with("schemas")).collect();
    assert_eq!(there, generated, "delete what is too much, or run `cargo run -- generate`");
}

#[test]
fn the_readme_has_a_row_for_each_operation_and_each_option() {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    for entry in runner_kit::operations::OPERATIONS.iter() {
        assert!(readme.contains(&format!("| `{}` |", entry.tool)), "{}", entry.tool);
    }
    for option in runner_kit::config::options() {
        assert!(readme.contains(&format!("| `{}` |", option.name)), "{}", option.name);
    }
}

#[test]
fn the_readme_shows_the_clients_configurations_as_the_examples_have_them() {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let blocks: Vec<&str> =
        readme.split("```json\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    for name in ["claude_desktop_config", "cursor_mcp"] {
        let file = project().join(format!("examples/mcp/{name}.json"));
        let text = fs::read_to_string(file).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        assert!(blocks.contains(&text.as_str()), "{name} differs from the README");
    }
    let script = fs::read_to_string(project().join("examples/mcp/claude_code.sh")).unwrap();
    let command = script.lines().find_map(|line| line.strip_prefix("exec ")).unwrap();
    assert!(readme.contains(command.trim_end_matches(" \"$@\"")), "{command}");
}
