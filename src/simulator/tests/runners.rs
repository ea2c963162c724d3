use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{Client, REPO, github};
use crate::simulator::{
    Conclusion, Deed, Fault, JobSpec, JobStatus, LostJob, Often, Options, RunSpec, Simulator,
    runner,
};

type Env = HashMap<&'static str, String>;

/// A runner that lives in this process.
struct Process {
    task: JoinHandle<i32>,
    stop: Option<oneshot::Sender<()>>,
    output: Arc<Mutex<Vec<String>>>,
}

impl Process {
    fn start(env: Env) -> Self {
        let (stop, stopped) = oneshot::channel();
        let output = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&output);
        let task = tokio::spawn(async move {
            let stopped = async {
                if stopped.await.is_err() {
                    pending::<()>().await;
                }
            };
            let say = |line: &str| lines.lock().unwrap().push(line.trim().to_owned());
            runner::run_until(|name| env.get(name).cloned(), stopped, say).await
        });
        Self { task, stop: Some(stop), output }
    }

    fn terminate(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits for the end; the exit code and the lines without their time.
    async fn end(self) -> (i32, Vec<String>) {
        let code = self.task.await.unwrap();
        let lines = self.output.lock().unwrap().clone();
        let bare =
            |line: &String| line.split_once("Z: ").map_or(line.clone(), |(_, text)| text.into());
        (code, lines.iter().map(bare).collect())
    }
}

async fn token_env(github: &Simulator, name: &str, work: &TempDir) -> Env {
    let path = "/repos/acme/api/actions/runners/registration-token";
    let token = Client::new(github).post(path, "").await.json()["token"].clone();
    HashMap::from([
        ("REPO_URL", format!("{}/{REPO}", github.url())),
        ("RUNNER_TOKEN", token.as_str().unwrap().to_owned()),
        ("RUNNER_NAME", name.to_owned()),
        ("LABELS", "docker,LINUX".to_owned()),
        ("RUNNER_WORKDIR", work.path().display().to_string()),
        ("EPHEMERAL", "true".to_owned()),
    ])
}

async fn jit_env(github: &Simulator, scope: &str, name: &str, work: &TempDir) -> Env {
    let body = json!({
        "name": name, "runner_group_id": 1, "labels": ["self-hosted"],
        "work_folder": work.path().display().to_string(),
    });
    let path = format!("{scope}/actions/runners/generate-jitconfig");
    let answer = Client::new(github).post(&path, &body.to_string()).await.json();
    let config = answer["encoded_jit_config"].as_str().unwrap().to_owned();
    HashMap::from([("ACTIONS_RUNNER_INPUT_JITCONFIG", config)])
}

fn build(takes: Duration) -> RunSpec {
    RunSpec::new("ci").job(JobSpec::new("build").takes(takes))
}

#[tokio::test]
async fn a_runner_registers_by_token_runs_one_job_and_goes() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    let process = Process::start(token_env(&github, "one", &work).await);
    github.wait_until(|state| state.runners().any(|runner| runner.connections == 1)).await;
    let labels = github.runners()[0].labels.clone();
    let architecture = labels[2].clone();
    assert_eq!(labels, ["self-hosted", "Linux", &architecture, "docker"]);
    let listed = Client::new(&github).get("/repos/acme/api/actions/runners").await.json();
    assert_eq!(listed["runners"][0]["status"], "online");
    assert_eq!(listed["runners"][0]["ephemeral"], true);
    github.queue_run(REPO, build(Duration::ZERO)).unwrap();
    let (code, lines) = process.end().await;
    assert_eq!(code, 0);
    assert_eq!(
        lines,
        [
            "√ Connected to GitHub",
            "Current runner version: '2.336.0'",
            "Listening for Jobs",
            "Running job: build",
            "Job build completed with result: Succeeded",
        ]
    );
    let job = &github.jobs()[0];
    assert_eq!(job.runner_name.as_deref(), Some("one"));
    assert!(job.started_at.unwrap() >= job.created_at && job.completed_at >= job.started_at);
    assert!(work.path().join(format!("api/api/job-{}.txt", job.id)).is_file());
    assert!(github.runners().is_empty());
    let said = [None, Some(job.id)].map(|job| Deed { runner: "one".to_owned(), job });
    assert_eq!(github.deeds(), said);
}

#[tokio::test]
async fn a_jit_runner_of_an_organisation_runs_one_job_and_its_configuration_is_used_up() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    let env = jit_env(&github, "/orgs/acme", "jit", &work).await;
    github.queue_run(REPO, build(Duration::ZERO)).unwrap();
    assert_eq!(Process::start(env.clone()).end().await.0, 0);
    assert!(github.look(|state| state.is_all_done()));
    let (code, lines) = Process::start(env).end().await;
    assert_eq!((code, github.look(|state| state.departed().len())), (1, 1));
    assert!(lines[0].contains("401"), "{lines:?}");
}

#[tokio::test]
async fn many_runners_share_a_matrix_and_no_job_runs_twice() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    github.queue_run(REPO, RunSpec::new("ci").matrix("test", 12, |job| job)).unwrap();
    let mut processes = Vec::new();
    for number in 0..12 {
        let env = token_env(&github, &format!("runner-{number}"), &work).await;
        processes.push(Process::start(env));
    }
    github.wait_until(|state| state.is_all_done() && state.runners().next().is_none()).await;
    let done: Vec<_> =
        github.look(|state| state.departed().iter().map(|one| one.done.len()).collect());
    assert_eq!(done, [1; 12]);
    for process in processes {
        assert_eq!(process.end().await.0, 0);
    }
}

#[tokio::test]
async fn an_expired_registration_token_is_refused() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    let env = token_env(&github, "late", &work).await;
    github.skip(Duration::from_secs(3_600));
    assert_eq!(Process::start(env).end().await.0, 1);
    assert!(github.runners().is_empty());
}

#[tokio::test]
async fn a_runner_without_settings_says_what_is_missing() {
    let (code, lines) = Process::start(Env::new()).end().await;
    assert_eq!((code, lines), (1, vec!["REPO_URL is required but missing.".to_owned()]));
}

#[tokio::test]
async fn a_runner_that_is_deleted_on_github_ends() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    let process = Process::start(jit_env(&github, "/repos/acme/api", "one", &work).await);
    github.wait_until(|state| state.runners().any(|runner| runner.connections == 1)).await;
    let path = format!("/repos/acme/api/actions/runners/{}", github.runners()[0].id);
    assert_eq!(Client::new(&github).delete(&path).await.status, 204);
    assert_eq!(process.end().await.0, 1);
}

#[tokio::test]
async fn an_idle_runner_that_is_told_to_end_removes_its_registration_unless_told_otherwise() {
    for (disabled, left) in [("false", 0), ("true", 1)] {
        let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
        let mut env = token_env(&github, "one", &work).await;
        env.insert("DISABLE_AUTOMATIC_DEREGISTRATION", disabled.into());
        let mut process = Process::start(env);
        github.wait_until(|state| state.runners().any(|runner| runner.connections == 1)).await;
        process.terminate();
        assert_eq!(process.end().await.0, 0);
        assert_eq!(github.runners().len(), left);
    }
}

#[tokio::test]
async fn a_busy_runner_that_is_told_to_end_fails_its_job() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    let run = github.queue_run(REPO, build(Duration::from_secs(3_600))).unwrap();
    let mut process = Process::start(token_env(&github, "one", &work).await);
    github.wait_until(|state| state.count(JobStatus::InProgress) == 1).await;
    let path = format!("/repos/acme/api/actions/runners/{}", github.runners()[0].id);
    assert_eq!(Client::new(&github).delete(&path).await.status, 422);
    process.terminate();
    assert_eq!(process.end().await.0, 0);
    let conclusion = github.look(|state| state.run(run).unwrap().conclusion);
    assert_eq!(conclusion, Some(Conclusion::Failure));
}

#[tokio::test]
async fn a_cancelled_run_stops_its_runners_job() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    let run = github.queue_run(REPO, build(Duration::from_secs(3_600))).unwrap();
    let process = Process::start(token_env(&github, "one", &work).await);
    github.wait_until(|state| state.count(JobStatus::InProgress) == 1).await;
    github.cancel_run(run).unwrap();
    let (code, lines) = process.end().await;
    assert_eq!(code, 0);
    assert_eq!(lines.last().unwrap(), "Job build completed with result: Canceled");
    assert!(github.look(|state| state.is_all_done()));
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_was_cut_off_at_work_hears_of_the_end_when_it_is_back() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    let run = github.queue_run(REPO, build(Duration::from_secs(3_600))).unwrap();
    let process = Process::start(token_env(&github, "one", &work).await);
    github.wait_until(|state| state.count(JobStatus::InProgress) == 1).await;
    github.inject(Fault::Reset, "POST /_runner/poll", Often::Always).unwrap();
    github.wait_until(|state| state.runners().all(|runner| runner.connections == 0)).await;
    // Longer than it tries at a time.
    tokio::time::sleep(Duration::from_secs(10)).await;
    github.cancel_run(run).unwrap();
    github.clear_faults();
    let (code, lines) = process.end().await;
    assert_eq!(code, 0);
    assert_eq!(lines.last().unwrap(), "Job build completed with result: Canceled");
}

#[tokio::test]
async fn a_killed_runners_job_is_queued_again_for_the_next_runner() {
    let options = Options {
        lost_job: LostJob::IsQueuedAgain,
        // Longer than a runner that lives is ever away between two polls.
        lost_after: Duration::from_millis(500),
        ..Options::default()
    };
    let (github, work) = (github(options).await, TempDir::new().unwrap());
    github.queue_run(REPO, build(Duration::from_secs(3_600))).unwrap();
    let killed = Process::start(token_env(&github, "killed", &work).await);
    github.wait_until(|state| state.count(JobStatus::InProgress) == 1).await;
    killed.task.abort();
    github.wait_until(|state| state.count(JobStatus::Queued) == 1).await;
    assert!(github.runners().is_empty());
    let _next = Process::start(token_env(&github, "next", &work).await);
    github.wait_until(|state| state.count(JobStatus::InProgress) == 1).await;
    assert_eq!(github.jobs()[0].runner_name.as_deref(), Some("next"));
}

#[tokio::test]
async fn a_lost_answer_to_a_poll_loses_no_job() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    github.inject(Fault::LostAfterEffect, "POST /_runner/poll", Often::Times(1)).unwrap();
    github.queue_run(REPO, build(Duration::ZERO)).unwrap();
    let process = Process::start(token_env(&github, "one", &work).await);
    assert_eq!(process.end().await.0, 0);
    assert_eq!(github.jobs()[0].conclusion, Some(Conclusion::Success));
}

#[tokio::test]
async fn a_work_directory_that_cannot_be_written_fails_the_job() {
    let (github, work) = (github(Options::default()).await, TempDir::new().unwrap());
    let mut env = token_env(&github, "one", &work).await;
    let file = work.path().join("file");
    std::fs::write(&file, "").unwrap();
    env.insert("RUNNER_WORKDIR", file.display().to_string());
    github.queue_run(REPO, build(Duration::ZERO)).unwrap();
    let (code, lines) = Process::start(env).end().await;
    assert_eq!((code, github.jobs()[0].conclusion), (0, Some(Conclusion::Failure)));
    assert!(lines.iter().any(|line| line.contains("cannot be written")), "{lines:?}");
}
