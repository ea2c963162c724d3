//! What we read of GitHub's answers. Lenient: unknown words and nulls lose nothing else.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::ToldJob;

/// One page of a list.
pub(crate) trait Page: DeserializeOwned + Serialize + 'static {
    /// What is listed.
    type Item;

    /// What is on this page.
    fn items(self) -> Vec<Self::Item>;
}

impl<T: DeserializeOwned + Serialize + 'static> Page for Vec<T> {
    type Item = T;

    fn items(self) -> Vec<T> {
        self
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Account {
    pub(crate) login: String,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
}

impl Account {
    pub(crate) fn is_org(&self) -> bool {
        self.kind.as_deref() == Some("Organization")
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Repository {
    pub(crate) full_name: String,
    pub(crate) owner: Account,
    #[serde(default)]
    pub(crate) archived: Option<bool>,
    #[serde(default)]
    pub(crate) disabled: Option<bool>,
    pub(crate) pushed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Runs {
    workflow_runs: Vec<Run>,
}

impl Page for Runs {
    type Item = Run;

    fn items(self) -> Vec<Run> {
        self.workflow_runs
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) status: Option<String>,
    pub(crate) created_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Jobs {
    jobs: Vec<ToldJob>,
}

impl Page for Jobs {
    type Item = ToldJob;

    fn items(self) -> Vec<ToldJob> {
        self.jobs
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Runners {
    runners: Vec<Runner>,
}

impl Page for Runners {
    type Item = Runner;

    fn items(self) -> Vec<Runner> {
        self.runners
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Runner {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) status: Option<String>,
    #[serde(default)]
    pub(crate) busy: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Token {
    pub(crate) token: secrecy::SecretString,
    pub(crate) expires_at: DateTime<Utc>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct App {
    pub(crate) html_url: Option<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) account: Account,
    pub(crate) html_url: Option<String>,
    pub(crate) suspended_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct InstalledRepositories {
    repositories: Vec<Repository>,
}

impl Page for InstalledRepositories {
    type Item = Repository;

    fn items(self) -> Vec<Repository> {
        self.repositories
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct JitConfig {
    pub(crate) runner: JitRunner,
    pub(crate) encoded_jit_config: secrecy::SecretString,
}

#[derive(Debug, Deserialize)]
pub(crate) struct JitRunner {
    pub(crate) id: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Groups {
    runner_groups: Vec<Group>,
}

impl Page for Groups {
    type Item = Group;

    fn items(self) -> Vec<Group> {
        self.runner_groups
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) name: String,
}
