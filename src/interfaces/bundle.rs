//! How the program is handed on: the MCP registry's `server.json`, and the MCP bundle, a zip of a
//! manifest and this very executable. Both follow from the package and the table of operations.
//!
//! Formats: server.json's schema 2025-12-11 and its package types (modelcontextprotocol/registry),
//! and MANIFEST.md 0.3 (modelcontextprotocol/mcpb).

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::config::options;
use crate::error::{Error, Result};
use crate::operations::OPERATIONS;

/// The bundle's usual name; its release has the same.
pub const FILE: &str = "ipfs-accelerate-linux-x64.mcpb";

/// What users read as the name.
const TITLE: &str = "GitHub Actions runner autoscaler";
/// The command line that clients start.
const ARGS: [&str; 2] = ["mcp", "start"];
/// Where the executable is in the bundle.
const EXECUTABLE: &str = "server/ipfs-accelerate";
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Something that clients ask their users for and hand on in a variable.
struct Asked {
    key: &'static str,
    variable: &'static str,
    title: &'static str,
    about: String,
    /// It names a file.
    file: bool,
    secret: bool,
}

fn asked() -> [Asked; 3] {
    let owner = options().iter().find(|option| option.name == "owner");
    [
        Asked {
            key: "github_token",
            variable: "GITHUB_TOKEN",
            title: "GitHub token",
            about: "Token that may read Actions and register runners; not needed where \
                    `gh auth login` was done."
                .to_owned(),
            file: false,
            secret: true,
        },
        Asked {
            key: "owner",
            variable: "RUNNER_KIT_OWNER",
            title: "Owner",
            about: owner.map(|owner| owner.description.clone()).unwrap_or_default(),
            file: false,
            secret: false,
        },
        Asked {
            key: "config_file",
            variable: "RUNNER_KIT_CONFIG",
            title: "Configuration file",
            about: "TOML file with further options; leave it out for the usual place.".to_owned(),
            file: true,
            secret: false,
        },
    ]
}

/// The entry of the MCP registry. The bundle's hash is known when it has been packed: whoever
/// publishes adds it as `fileSha256`.
pub fn server() -> Value {
    let variable = |asked: &Asked, required: bool| {
        json!({
            "name": asked.variable,
            "description": asked.about,
            "format": if asked.file { "filepath" } else { "string" },
            "isRequired": required,
            "isSecret": asked.secret,
        })
    };
    let asked = asked();
    let outside: Vec<_> = asked.iter().map(|asked| variable(asked, false)).collect();
    // In the container there is neither a file of the host nor who did `gh auth login`.
    let inside = asked.iter().filter(|asked| !asked.file);
    let inside: Vec<_> = inside.map(|asked| variable(asked, asked.secret)).collect();
    let arguments = ARGS.map(|word| json!({ "type": "positional", "value": word }));
    let path = REPOSITORY.trim_start_matches("https://github.com/");
    let volumes = [
        ("/var/run/docker.sock:/var/run/docker.sock", "The engine that runners are started on."),
        ("/tmp/_work:/tmp/_work", "The runners' work directories, which the engine mounts."),
        ("ipfs-accelerate:/var/lib/ipfs-accelerate", "History, and the way to a running service."),
    ];
    let volumes = volumes.map(|(volume, about)| {
        json!({ "type": "named", "name": "--volume", "value": volume, "description": about })
    });
    json!({
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": name(),
        "title": TITLE,
        "description": env!("CARGO_PKG_DESCRIPTION"),
        "version": VERSION,
        "repository": { "url": REPOSITORY, "source": "github" },
        "packages": [
            {
                "registryType": "mcpb",
                "identifier": format!("{REPOSITORY}/releases/download/v{VERSION}/{FILE}"),
                "transport": { "type": "stdio" },
                "environmentVariables": outside,
            },
            {
                "registryType": "oci",
                "identifier": format!("ghcr.io/{path}:{VERSION}"),
                "runtimeHint": "docker",
                "runtimeArguments": volumes,
                "packageArguments": arguments,
                "transport": { "type": "stdio" },
                "environmentVariables": inside,
            },
        ],
    })
}

/// The name in the registry, where GitHub's account is the namespace.
fn name() -> String {
    format!("io.github.{}", REPOSITORY.trim_start_matches("https://github.com/"))
}

/// The bundle's manifest.
pub fn manifest() -> Value {
    let mut env = Map::new();
    let mut user_config = Map::new();
    for asked in asked() {
        env.insert(asked.variable.into(), format!("${{user_config.{}}}", asked.key).into());
        let ask = json!({
            "type": if asked.file { "file" } else { "string" },
            "title": asked.title,
            "description": asked.about,
            "required": false,
            // Without one, clients hand on the placeholder itself; an empty variable says nothing.
            "default": "",
            "sensitive": asked.secret,
        });
        user_config.insert(asked.key.into(), ask);
    }
    let tools = OPERATIONS.iter();
    let tools = tools.map(|entry| json!({ "name": entry.tool, "description": entry.about }));
    json!({
        "manifest_version": "0.3",
        "name": env!("CARGO_PKG_NAME"),
        "display_name": TITLE,
        "version": VERSION,
        "description": env!("CARGO_PKG_DESCRIPTION"),
        "author": { "name": concat!("The authors of ", env!("CARGO_PKG_NAME")) },
        "repository": { "type": "git", "url": REPOSITORY },
        "license": env!("CARGO_PKG_LICENSE"),
        "keywords": ["github-actions", "self-hosted-runner", "autoscaler", "docker"],
        "privacy_policies": [
            "https://docs.github.com/en/site-policy/privacy-policies/github-general-privacy-statement",
        ],
        "compatibility": { "platforms": ["linux"] },
        "server": {
            "type": "binary",
            "entry_point": EXECUTABLE,
            "mcp_config": {
                "command": format!("${{__dirname}}/{EXECUTABLE}"),
                "args": ARGS,
                "env": env,
            },
        },
        "tools": tools.collect::<Vec<_>>(),
        "prompts_generated": true,
        "user_config": user_config,
    })
}

/// A bundle that was packed.
#[derive(Debug, Serialize)]
pub struct Bundle {
    /// Where it is.
    pub file: PathBuf,
    /// Its size.
    pub bytes: usize,
    /// Its hash, in hexadecimal digits: the registry's `fileSha256`.
    pub sha256: String,
}

/// Packs the running executable. The same executable makes the same bytes.
pub fn pack(file: &Path) -> Result<Bundle> {
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!("The bundle {} was not written: {error}.", file.display());
        Error::internal(message, "Check the directory, or name another file with --output.")
    };
    let executable = std::env::current_exe().and_then(fs::read).map_err(|error| failed(&error))?;
    let manifest = serde_json::to_vec_pretty(&manifest()).map_err(|error| failed(&error))?;
    let zip = zip(&[
        ("manifest.json", 0o644, &manifest),
        (EXECUTABLE, 0o755, &executable),
        ("LICENSE", 0o644, include_bytes!("../../LICENSE")),
    ]);
    let zip = zip.map_err(|error| failed(&error))?;
    fs::write(file, &zip).map_err(|error| failed(&error))?;
    let sha256 = Sha256::digest(&zip).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Bundle { file: file.to_owned(), bytes: zip.len(), sha256 })
}

/// A zip of `files`: name, mode and content each. Its times are all the format's first day.
fn zip(files: &[(&str, u32, &[u8])]) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, content) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(*mode);
        zip.start_file(*name, options)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_make_the_same_bytes() {
        let files: [(&str, u32, &[u8]); 2] = [("a", 0o644, b"text"), ("b/c", 0o755, &[7; 4096])];
        let packed = zip(&files).unwrap();
        assert_eq!(packed, zip(&files).unwrap());
        assert!(packed.len() < 1024, "it is compressed");
    }

    #[test]
    fn a_bundle_that_cannot_be_written_is_said_with_its_name() {
        let error = pack(Path::new("/nowhere/x.mcpb")).unwrap_err();
        assert!(error.message.contains("/nowhere/x.mcpb"), "{error}");
    }
}
