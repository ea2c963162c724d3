//! Just-in-time configurations: base64 of a JSON object from file name to base64 of the file that
//! the runner would otherwise have written when it was configured (actions/runner:
//! `Runner.Listener/Runner.cs`, `JitConfig`).

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::{Runner, Scope};

const SETTINGS: &str = ".runner";
const CREDENTIALS: &str = ".credentials";
const KEY: &str = ".credentials_rsaparams";

/// The part of a runner's settings file that the simulated runner reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    pub(super) agent_id: u64,
    pub(super) agent_name: String,
    pub(super) pool_id: u64,
    pub(super) pool_name: String,
    pub(super) server_url: String,
    pub(super) git_hub_url: String,
    pub(super) work_folder: String,
    pub(super) ephemeral: bool,
    pub(super) disable_update: bool,
}

pub(super) fn encode(
    url: &str,
    runner: &Runner,
    work_folder: &str,
    secret: &str,
    padding: &str,
) -> String {
    let (Scope::Repo(path) | Scope::Org(path)) = &runner.scope;
    let settings = Settings {
        agent_id: runner.id,
        agent_name: runner.name.clone(),
        pool_id: runner.group_id,
        pool_name: "Default".into(),
        server_url: url.to_owned(),
        git_hub_url: format!("{url}/{path}"),
        work_folder: work_folder.to_owned(),
        ephemeral: runner.ephemeral,
        disable_update: true,
    };
    let credentials = json!({
        "scheme": "OAuth",
        "data": {
            "clientId": secret,
            "authorizationUrl": format!("{url}/_runner/register"),
            "requireFipsCryptography": "True",
        },
    });
    // The real file holds a private key; the simulator's protocol needs none.
    let key = json!({"modulus": padding, "exponent": "AQAB"});
    let files =
        BTreeMap::from([(SETTINGS, json!(settings)), (CREDENTIALS, credentials), (KEY, key)]);
    let files: BTreeMap<_, _> = files
        .into_iter()
        .map(|(name, content)| (name, BASE64_STANDARD.encode(content.to_string())))
        .collect();
    BASE64_STANDARD.encode(json!(files).to_string())
}

/// The settings and the secret of a configuration; none when it is not one.
pub(super) fn decode(encoded: &str) -> Option<(Settings, String)> {
    let files: BTreeMap<String, String> =
        serde_json::from_slice(&BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let file = |name: &str| BASE64_STANDARD.decode(files.get(name)?).ok();
    files.contains_key(KEY).then_some(())?;
    let settings = serde_json::from_slice(&file(SETTINGS)?).ok()?;
    let credentials: Value = serde_json::from_slice(&file(CREDENTIALS)?).ok()?;
    let secret = credentials.pointer("/data/clientId")?.as_str()?.to_owned();
    Some((settings, secret))
}
