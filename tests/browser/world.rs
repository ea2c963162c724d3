//! The world of the dashboard's tests: a simulated GitHub, and an image of its runners made of the
//! program that is given. It prints one line of JSON with both, does what each line of JSON on its
//! standard input says, and takes the image away when that is closed.

use std::{env, error::Error, path::Path, time::Duration};

use bollard::Docker;
use runner_kit::interfaces::demo::image;
use runner_kit::simulator::{JobSpec, JobStatus, Options, RepoSpec, RunSpec, Simulator, TOKEN};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

/// What can be asked for; each is answered by a line.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wish {
    /// Adds repositories.
    Repos(Vec<String>),
    /// Queues runs.
    Runs(Vec<Run>),
    /// Tells how many jobs are queued, in progress and completed.
    Jobs(()),
}

#[derive(Deserialize)]
struct Run {
    repo: String,
    workflow: String,
    job: String,
    #[serde(default = "one")]
    legs: u32,
    #[serde(default = "labels")]
    labels: Vec<String>,
    #[serde(default)]
    seconds: f64,
}

fn one() -> u32 {
    1
}

fn labels() -> Vec<String> {
    vec!["self-hosted".to_owned()]
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let program = arguments.next().ok_or("Give the path of ipfs-accelerate.")?;
    let tag = arguments.next().unwrap_or_else(|| "browser".to_owned());
    let github = Simulator::start(Options::default()).await?;
    let docker = Docker::connect_with_local_defaults()?;
    // The one of an earlier run would stay as an image without a name.
    let _ = image::remove(&docker, &format!("ipfs-accelerate/demo-runner:{tag}")).await;
    let image = image::make(&docker, Path::new(&program), &tag).await?;
    let env = json!({
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_API_URL": github.api_url(),
        "GITHUB_SERVER_URL": github.url(),
        "RUNNER_KIT_RUNNER_IMAGE": image,
    });
    println!("{env}");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        println!("{}", grant(&github, serde_json::from_str(&line)?)?);
    }
    image::remove(&docker, &image).await?;
    Ok(())
}

fn grant(github: &Simulator, wish: Wish) -> Result<serde_json::Value, Box<dyn Error>> {
    match wish {
        Wish::Repos(names) => {
            for name in names {
                github.add_repo(RepoSpec::new(name));
            }
        }
        Wish::Runs(runs) => {
            for Run { repo, workflow, job, legs, labels, seconds } in runs {
                let takes = Duration::try_from_secs_f64(seconds)?;
                let described = |job: JobSpec| job.labels(labels.clone()).takes(takes);
                let run = RunSpec::new(workflow);
                let run = match legs {
                    1 => run.job(described(JobSpec::new(job))),
                    legs => run.matrix(&job, legs, described),
                };
                github.queue_run(&repo, run)?;
            }
        }
        Wish::Jobs(()) => {}
    }
    let jobs = github.jobs();
    let count = |status| jobs.iter().filter(|job| job.status == status).count();
    Ok(json!({
        "queued": count(JobStatus::Queued),
        "in_progress": count(JobStatus::InProgress),
        "completed": count(JobStatus::Completed),
    }))
}
