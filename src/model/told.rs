//! A job in GitHub's words, which are the same in answers and in webhooks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Ending, Job, JobRef, Labels, Repo, RunningJob, Scope, clean_text};

/// Names of jobs are cut to this length.
const NAME: usize = 100;

/// What we read of a job. Lenient: unknown words and nulls lose nothing else.
///
/// Source: the schema `job` of GitHub's REST description and `workflow_job` of that of its webhooks.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ToldJob {
    /// GitHub's id of the job.
    pub id: u64,
    /// The workflow run that it belongs to.
    pub run_id: u64,
    /// Where it stands.
    pub status: Option<String>,
    name: Option<String>,
    html_url: Option<String>,
    labels: Option<Vec<String>>,
    runner_name: Option<String>,
    /// How it ended.
    conclusion: Option<String>,
    /// When it was created.
    pub created_at: Option<DateTime<Utc>>,
    /// When it began; before that, mostly when it was created.
    pub started_at: Option<DateTime<Utc>>,
}

impl ToldJob {
    /// The job, which waits since `queued_at`, and did when this was told, at `seen_at`. Its page is
    /// shown if it is one of the server at `server_url`.
    pub fn job(
        &self,
        repo: &Repo,
        scope: &Scope,
        server_url: &str,
        queued_at: DateTime<Utc>,
        seen_at: DateTime<Utc>,
    ) -> Job {
        let JobRef { id, run_id, name, url } = self.reference(server_url);
        Job {
            id,
            run_id,
            repo: repo.clone(),
            scope: scope.clone(),
            name,
            url,
            labels: Labels::of_strangers(self.labels.iter().flatten()),
            queued_at,
            seen_at,
            beside_sets: false,
        }
    }

    /// The job with its runner, where one is named.
    pub fn running(&self, server_url: &str) -> Option<RunningJob> {
        Some(RunningJob {
            job: self.reference(server_url),
            runner_name: self.runner_name()?,
            started_at: self.started_at,
        })
    }

    /// The runner that has it; none where its name is not told.
    pub fn runner_name(&self) -> Option<String> {
        let name = self.runner_name.as_deref().filter(|name| !name.is_empty())?;
        let clean = clean_text(name, NAME);
        // Of ours or not: one that had to be changed must not become the name of one of ours.
        Some(if clean == name { clean } else { format!("{clean}…") })
    }

    /// How it ended, where that and its runner are told.
    pub fn ending(&self) -> Option<Ending> {
        Ending::told(&self.runner_name()?, self.conclusion.as_deref())
    }

    fn reference(&self, server_url: &str) -> JobRef {
        let url = self.html_url.as_deref().unwrap_or_default();
        let own = url.strip_prefix(server_url).is_some_and(|rest| rest.starts_with('/'));
        JobRef {
            id: self.id,
            run_id: self.run_id,
            name: clean_text(self.name.as_deref().unwrap_or_default(), NAME),
            url: if own { clean_text(url, 300) } else { String::new() },
        }
    }
}
