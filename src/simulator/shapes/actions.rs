//! Runs, jobs and runners.

use serde_json::{Value, json};

use super::{RUNNER_VERSION, Shapes, node_id, second};
use crate::simulator::model::{Account, Job, JobStatus, Repo, Run, Runner};

/// Labels that GitHub marks as its own.
const BUILT_IN: [&str; 7] = ["self-hosted", "linux", "macos", "windows", "x64", "arm", "arm64"];

impl Shapes {
    /// `workflow-run`.
    pub(in crate::simulator) fn run(
        &self,
        run: &Run,
        repo: &Repo,
        owner: Option<&Account>,
        actor: Option<&Account>,
    ) -> Value {
        let of_repo = format!("{}/repos/{}", self.api_url, run.repo);
        let api = format!("{of_repo}/actions/runs/{}", run.id);
        let (workflow_id, suite) = (repo.id + 1, run.id + 1);
        let repository = self.repo(repo, owner, true);
        let actor = self.owner(actor);
        json!({
            "id": run.id,
            "name": run.named.then_some(&run.workflow),
            "node_id": node_id("WFR", run.id),
            "head_branch": run.branch,
            "head_sha": sha(run.id),
            "path": format!(".github/workflows/{}.yml", run.workflow),
            "display_title": format!("Change number {}", run.number),
            "run_number": run.number,
            "run_attempt": 1,
            "event": run.event,
            "status": run.status.as_str(),
            "conclusion": run.conclusion.map(|conclusion| conclusion.as_str()),
            "workflow_id": workflow_id,
            "check_suite_id": suite,
            "check_suite_node_id": node_id("CS", suite),
            "url": api,
            "html_url": format!("{}/{}/actions/runs/{}", self.url, run.repo, run.id),
            "pull_requests": [],
            "created_at": second(run.created_at),
            "updated_at": second(run.updated_at),
            "run_started_at": second(run.created_at),
            "actor": actor,
            "triggering_actor": actor,
            "jobs_url": format!("{api}/jobs"),
            "logs_url": format!("{api}/logs"),
            "check_suite_url": format!("{of_repo}/check-suites/{suite}"),
            "artifacts_url": format!("{api}/artifacts"),
            "cancel_url": format!("{api}/cancel"),
            "rerun_url": format!("{api}/rerun"),
            "previous_attempt_url": null,
            "workflow_url": format!("{of_repo}/actions/workflows/{workflow_id}"),
            "head_commit": {
                "id": sha(run.id),
                "tree_id": sha(suite),
                "message": format!("Change number {}", run.number),
                "timestamp": second(run.created_at),
                "author": {"name": "Mona", "email": "mona@example.com"},
                "committer": {"name": "Mona", "email": "mona@example.com"},
            },
            "repository": repository,
            "head_repository": repository,
        })
    }

    /// `job`.
    pub(in crate::simulator) fn job(&self, job: &Job, run: &Run) -> Value {
        let of_repo = format!("{}/repos/{}", self.api_url, job.repo);
        // Groups are told with the runner: GitHub's own machines are in group 0.
        let group = job.runner_id.map(|_| match job.is_hosted() {
            true => (0, "GitHub Actions"),
            false => (1, "Default"),
        });
        json!({
            "id": job.id,
            "run_id": job.run_id,
            "run_url": format!("{of_repo}/actions/runs/{}", job.run_id),
            "run_attempt": 1,
            "node_id": node_id("CR", job.id),
            "head_sha": sha(job.run_id),
            "url": format!("{of_repo}/actions/jobs/{}", job.id),
            "html_url":
                format!("{}/{}/actions/runs/{}/job/{}", self.url, job.repo, job.run_id, job.id),
            "status": job.status.as_str(),
            "conclusion": job.conclusion.map(|conclusion| conclusion.as_str()),
            "created_at": second(job.created_at),
            // GitHub fills it before the job has begun, and the description says it is never null.
            "started_at": second(job.started_at.unwrap_or(job.created_at)),
            "completed_at": job.completed_at.map(second),
            "name": job.name,
            "steps": steps(job),
            "check_run_url": format!("{of_repo}/check-runs/{}", job.id),
            "labels": job.labels,
            "runner_id": job.runner_id,
            "runner_name": job.runner_name,
            "runner_group_id": group.map(|(id, _)| id),
            "runner_group_name": group.map(|(_, name)| name),
            "workflow_name": run.named.then_some(&run.workflow),
            "head_branch": run.branch,
        })
    }

    /// `runner`.
    pub(in crate::simulator) fn runner(&self, runner: &Runner, online: bool) -> Value {
        let labels = runner.labels.iter().enumerate().map(|(place, name)| {
            let built_in = BUILT_IN.iter().any(|known| known.eq_ignore_ascii_case(name));
            json!({
                "id": place + 1,
                "name": name,
                "type": if built_in { "read-only" } else { "custom" },
            })
        });
        json!({
            "id": runner.id,
            "name": runner.name,
            // GitHub learns these from the process, which for a JIT runner comes later.
            "os": if runner.connected_once { "Linux" } else { "unknown" },
            "version": runner.connected_once.then_some(RUNNER_VERSION),
            "status": if online { "online" } else { "offline" },
            "busy": runner.job.is_some(),
            "ephemeral": runner.ephemeral,
            "runner_group_id": runner.group_id,
            "labels": labels.collect::<Vec<_>>(),
        })
    }
}

fn steps(job: &Job) -> Value {
    if job.status != JobStatus::InProgress && job.runner_id.is_none() {
        return json!([]);
    }
    json!([{
        "name": "Set up job",
        "status": job.status.as_str(),
        "conclusion": job.conclusion.map(|conclusion| conclusion.as_str()),
        "number": 1,
        "started_at": job.started_at.map(second),
        "completed_at": job.completed_at.map(second),
    }])
}

/// Something that looks like the hash of a commit.
fn sha(id: u64) -> String {
    format!("{id:040x}")
}
