//! `server.json`, the entry of the MCP registry, and the image that it names.

use serde_json::Value;

use super::{file, is_known, json_of, serves};
use crate::support::program::Home;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}

/// The rules of the schema 2025-12-11 (server.schema.json of modelcontextprotocol/registry, its
/// definitions ServerDetail, Package, KeyValueInput, Argument) and of the official registry's
/// package types, for the members that we have.
fn follows_the_schema(server: &Value) {
    let schema = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";
    assert_eq!(text(server, "$schema"), schema);
    let (space, name) = text(server, "name").split_once('/').unwrap();
    let plain = |text: &str, also: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
        !text.is_empty() && text.chars().all(fits)
    };
    assert!(plain(space, ".-") && plain(name, "._-"), "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$");
    assert!((1..=100).contains(&text(server, "description").len()), "1 to 100 characters");
    assert!((1..=100).contains(&text(server, "title").len()), "1 to 100 characters");
    // A namespace that GitHub proves is the account of the repository.
    let account = space.strip_prefix("io.github.").unwrap();
    let repository = &server["repository"];
    let url = text(repository, "url");
    assert_eq!((text(repository, "source"), url.split('/').nth(3)), ("github", Some(account)));
    for package in server["packages"].as_array().unwrap() {
        assert_eq!(package["transport"]["type"], "stdio");
        let identifier = text(package, "identifier");
        let version = text(server, "version");
        match text(package, "registryType") {
            "mcpb" => {
                let release = format!("{url}/releases/download/v{version}/");
                assert!(identifier.starts_with(&release) && identifier.contains("mcp"));
                assert!(identifier.ends_with(runner_kit::interfaces::bundle::FILE));
            }
            "oci" => {
                assert!(identifier.starts_with("ghcr.io/"), "{identifier}");
                assert!(identifier.ends_with(&format!(":{version}")), "{identifier}");
                // Both belong together.
                assert_eq!(text(package, "runtimeHint"), "docker");
            }
            other => panic!("{other}"),
        }
        for list in ["runtimeArguments", "packageArguments"] {
            for argument in package[list].as_array().into_iter().flatten() {
                match text(argument, "type") {
                    "named" => assert!(text(argument, "name").starts_with("--")),
                    "positional" => assert!(argument["value"].is_string()),
                    other => panic!("{other}"),
                }
            }
        }
        for variable in package["environmentVariables"].as_array().unwrap() {
            assert!(["string", "filepath"].contains(&text(variable, "format")));
            assert!(!text(variable, "description").is_empty());
            assert!(variable["isRequired"].is_boolean() && variable["isSecret"].is_boolean());
        }
    }
}

/// The registry wants the bundle's hash, which whoever publishes adds when it is packed.
pub(super) fn takes_the_hash(hash: &str) {
    let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    assert!(hash.len() == 64 && hash.chars().all(hexadecimal), "^[a-f0-9]{{64}}$: {hash}");
}

fn package(kind: &str) -> Value {
    let server = json_of("server.json");
    let all = server["packages"].as_array().unwrap();
    all.iter().find(|package| package["registryType"] == kind).unwrap().clone()
}

#[test]
fn the_registrys_entry_follows_its_schema_and_the_package() {
    let server = json_of("server.json");
    follows_the_schema(&server);
    assert!(text(&server, "name").ends_with(&format!("/{}", env!("CARGO_PKG_NAME"))));
    for (name, value) in
        [("version", env!("CARGO_PKG_VERSION")), ("description", env!("CARGO_PKG_DESCRIPTION"))]
    {
        assert_eq!(text(&server, name), value);
    }
}

#[tokio::test]
async fn the_registrys_entry_names_variables_that_the_program_reads_and_marks_secrets() {
    for kind in ["mcpb", "oci"] {
        for variable in package(kind)["environmentVariables"].as_array().unwrap() {
            let name = text(variable, "name");
            is_known(name).await;
            assert_eq!(variable["isSecret"] == true, name.contains("TOKEN"), "{name}");
        }
    }
}

#[tokio::test]
async fn the_image_is_the_registrys_and_starts_the_program_with_its_arguments() {
    let package = package("oci");
    let dockerfile = std::fs::read_to_string(file("Dockerfile")).unwrap();
    let name = json_of("server.json")["name"].clone();
    let label = format!("LABEL io.modelcontextprotocol.server.name={name}\n");
    assert!(dockerfile.contains(&label), "the registry looks for {label}");
    assert!(dockerfile.contains("ENTRYPOINT [\"ipfs-accelerate\"]"));
    let arguments = package["packageArguments"].as_array().unwrap();
    let arguments: Vec<String> =
        arguments.iter().map(|argument| text(argument, "value").to_owned()).collect();
    serves("dist-image", &arguments).await;
}

#[tokio::test]
async fn the_image_is_given_the_directories_that_the_program_in_it_uses() {
    let package = package("oci");
    let volumes = package["runtimeArguments"].as_array().unwrap();
    let mounted: Vec<_> = volumes.iter().map(|volume| text(volume, "value")).collect();
    let home = Home::new([]);
    let dockerfile = std::fs::read_to_string(file("Dockerfile")).unwrap();
    let state = dockerfile.lines().find_map(|line| line.strip_prefix("ENV XDG_STATE_HOME="));
    let mut command = home.command("runner start --print-config");
    command.env("XDG_STATE_HOME", state.unwrap());
    let rows: Value = serde_json::from_slice(&command.output().await.unwrap().stdout).unwrap();
    let option = |name: &str| {
        let row = rows.as_array().unwrap().iter().find(|row| row["option"] == name).unwrap();
        text(row, "value").to_owned()
    };
    let work = option("runner_work_dir");
    // The engine mounts work directories by the host's path, so it has to be the same inside.
    assert!(mounted.contains(&&*format!("{work}:{work}")), "{mounted:?}");
    let state = option("state_dir");
    assert!(mounted.iter().any(|volume| volume.ends_with(&format!(":{state}"))), "{mounted:?}");
}
