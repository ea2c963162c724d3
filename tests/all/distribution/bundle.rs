//! The MCP bundle, unpacked and started as a client does.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::process::Command;
use zip::ZipArchive;

use super::{SECRET, is_known, json_of, served, words};
use crate::support::program::Home;

/// The members of `object`, all of which are `allowed` and of which none that is `required` lacks.
fn members(object: &Value, required: &[&str], allowed: &[&str]) {
    let members = object.as_object().unwrap_or_else(|| panic!("{object} is no object"));
    let missing: Vec<_> = required.iter().filter(|name| !members.contains_key(**name)).collect();
    let known = |name: &String| required.contains(&&**name) || allowed.contains(&&**name);
    let strange: Vec<_> = members.keys().filter(|name| !known(name)).collect();
    assert!(missing.is_empty() && strange.is_empty(), "lacks {missing:?}, has {strange:?}");
}

/// The rules of MCPB's manifest 0.3 (MANIFEST.md and mcpb-manifest-v0.3.schema.json of
/// modelcontextprotocol/mcpb) for the members that we have. `tests/run` has its own validator look.
fn follows_the_schema(manifest: &Value) {
    let required = ["manifest_version", "name", "version", "description", "author", "server"];
    let optional = [
        "compatibility",
        "display_name",
        "keywords",
        "license",
        "privacy_policies",
        "prompts_generated",
        "repository",
        "tools",
        "user_config",
    ];
    members(manifest, &required, &optional);
    assert_eq!(manifest["manifest_version"], "0.3");
    members(&manifest["author"], &["name"], &["email", "url"]);
    members(&manifest["repository"], &["type", "url"], &[]);
    members(&manifest["server"], &["type", "entry_point", "mcp_config"], &[]);
    members(&manifest["server"]["mcp_config"], &["command"], &["args", "env"]);
    assert_eq!(manifest["server"]["type"], "binary");
    let platforms = words(&manifest["compatibility"]["platforms"]);
    assert!(platforms.iter().all(|name| ["darwin", "linux", "win32"].contains(&&**name)));
    for tool in manifest["tools"].as_array().unwrap() {
        members(tool, &["name"], &["description"]);
    }
    for ask in manifest["user_config"].as_object().unwrap().values() {
        members(ask, &["type", "title", "description"], &["required", "default", "sensitive"]);
        assert!(["string", "file"].contains(&ask["type"].as_str().unwrap()), "{ask}");
        assert!(ask["title"] != "" && ask["description"] != "", "{ask}");
    }
}

/// The bundle, packed by the program in `home` and unpacked.
async fn unpacked(home: &Home) -> Value {
    let packed = home.path().join("x.mcpb");
    let line = format!("bundle --output {}", packed.display());
    let (first, again) = (home.run(&line).await.data(), home.run(&line).await.data());
    assert_eq!(first, again, "the same program makes the same bundle");
    let bytes = std::fs::read(&packed).unwrap();
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = json!({ "file": packed, "bytes": bytes.len(), "sha256": hash });
    assert_eq!(first, expected);
    let mut archive = ZipArchive::new(File::open(&packed).unwrap()).unwrap();
    let names: BTreeSet<String> =
        archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let expected = ["LICENSE", "manifest.json", "server/ipfs-accelerate"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(expected));
    archive.extract(home.path().join("bundle")).unwrap();
    first
}

/// `text` with MCPB's variables put in: the folder, and what the user answered.
fn filled(text: &str, folder: &Path, answers: &Value) -> String {
    let mut text = text.replace("${__dirname}", folder.to_str().unwrap());
    for (key, answer) in answers.as_object().unwrap() {
        text = text.replace(&format!("${{user_config.{key}}}"), answer.as_str().unwrap());
    }
    assert!(!text.contains("${"), "{text}: nothing is put in");
    text
}

#[tokio::test]
async fn the_bundle_is_what_its_manifest_says_and_starts() {
    let home = Home::new([("RUNNER_KIT_INSTANCE", "dist-bundle".to_owned())]);
    let packed = unpacked(&home).await;
    let folder = home.path().join("bundle");
    let text = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest, json_of("mcpb/manifest.json"), "the committed one is another");
    follows_the_schema(&manifest);
    let program = folder.join(manifest["server"]["entry_point"].as_str().unwrap());
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    super::registry::takes_the_hash(packed["sha256"].as_str().unwrap());

    // Once with what the manifest assumes, once with what a user might answer.
    let asked = manifest["user_config"].as_object().unwrap();
    let assumed: Value =
        asked.iter().map(|(key, ask)| (key.clone(), ask["default"].clone())).collect();
    let file = home.path().join("config.toml");
    std::fs::write(&file, "max_runners = 3\n").unwrap();
    let answered = json!({ "github_token": SECRET, "owner": "octo-org", "config_file": file });
    let config = &manifest["server"]["mcp_config"];
    for answers in [assumed, answered] {
        let command = filled(config["command"].as_str().unwrap(), &folder, &answers);
        assert_eq!(Path::new(&command), program);
        let mut start = Command::new(command);
        start.args(words(&config["args"]).iter().map(|word| filled(word, &folder, &answers)));
        start.env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin");
        for (name, value) in config["env"].as_object().unwrap() {
            start.env(name, filled(value.as_str().unwrap(), &folder, &answers));
        }
        let (info, tools) = served(start).await;
        let told = manifest["tools"].as_array().unwrap().iter();
        let told = told.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(tools, told);
        // Prompts that need live data can't be written down in a manifest, only announced.
        let prompts = manifest["prompts_generated"] == true;
        assert_eq!(info.capabilities.prompts.is_some(), prompts, "set `prompts_generated`");
        assert_eq!(info.server_info.unwrap().version, manifest["version"].as_str().unwrap());
    }
}

#[tokio::test]
async fn the_manifest_asks_for_what_the_program_reads_and_hides_the_token() {
    let manifest = json_of("mcpb/manifest.json");
    let env = manifest["server"]["mcp_config"]["env"].as_object().unwrap();
    let asked = manifest["user_config"].as_object().unwrap();
    assert_eq!(env.len(), asked.len());
    for (variable, value) in env {
        is_known(variable).await;
        let key = value.as_str().unwrap().strip_prefix("${user_config.").unwrap();
        let ask = &asked[key.trim_end_matches('}')];
        assert_eq!(ask["sensitive"] == true, variable.contains("TOKEN"), "{variable}");
        // What is not answered is handed on as it is written, if there is no default.
        assert_eq!((&ask["required"], &ask["default"]), (&false.into(), &"".into()));
    }
    for (name, value) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("name", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("license", env!("CARGO_PKG_LICENSE")),
    ] {
        assert_eq!(manifest[name], value);
    }
}
