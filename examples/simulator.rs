//! A simulated GitHub to try the product against, without a token and without GitHub:
//!
//! ```text
//! cargo run --example simulator -- 8765
//! ```
//!
//! It listens on this port (a free one without argument), prints what to set in the environment of
//! `ipfs-accelerate`, and serves a small world until its standard input is closed. With the argument
//! `runner` it is a simulated runner instead, which reads the environment of a runner container.
//! An app, with the id 7, is there when `SIMULATOR_APP_PUBLIC_KEY` holds the public half of its key.
//! Webhooks are sent to `SIMULATOR_WEBHOOK_URL`, signed with `SIMULATOR_WEBHOOK_SECRET`.

use std::{env, error::Error, net::SocketAddr, process, time::Duration};

use chrono::Days;
use runner_kit::simulator::{
    AppSpec, Conclusion, JobSpec, JobStatus, Options, Permission, RepoSpec, RunSpec, Simulator,
    TOKEN, runner,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let argument = env::args().nth(1);
    if argument.as_deref() == Some("runner") {
        process::exit(runner::run(|name| env::var(name).ok()).await);
    }
    let port = argument.map_or(Ok(0), |port| port.parse())?;
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let github = Simulator::start(Options { listen, ..Options::default() }).await?;
    if let (Ok(url), Ok(secret)) =
        (env::var("SIMULATOR_WEBHOOK_URL"), env::var("SIMULATOR_WEBHOOK_SECRET"))
    {
        github.hook(&url, &secret);
    }
    populate(&github)?;
    if let Ok(public_key) = env::var("SIMULATOR_APP_PUBLIC_KEY") {
        github.add_app(AppSpec::new(7, public_key));
        github.install_app(7, "acme", Some(&["acme/api", "acme/web"]))?;
        let suspended = github.install_app(7, "hubot", None)?;
        github.suspend(suspended, true)?;
    }
    println!("GITHUB_SERVER_URL={}", github.url());
    println!("GITHUB_API_URL={}", github.api_url());
    println!("GITHUB_TOKEN={TOKEN}");
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Something of everything that an autoscaler may meet.
fn populate(github: &Simulator) -> Result<(), Box<dyn Error>> {
    let last_month = github.now() - Days::new(30);
    github.add_org("acme");
    github.add_user("hubot");
    github.add_repo(RepoSpec::new("acme/api"));
    github.add_repo(RepoSpec::new("acme/web").private());
    github.add_repo(RepoSpec::new("acme/quiet").pushed_at(last_month));
    github.add_repo(RepoSpec::new("acme/empty").never_pushed());
    github.add_repo(RepoSpec::new("acme/attic").archived());
    github.add_repo(RepoSpec::new("acme/switched-off").disabled());
    github.add_repo(RepoSpec::new("acme/vault").private().forbidden());
    github.add_repo(RepoSpec::new("acme/read-only").denies(Permission::Administration));
    github.add_repo(RepoSpec::new("octocat/hello-world"));
    // The names in the guide's examples.
    github.add_org("myorg");
    github.add_repo(RepoSpec::new("owner/repo"));
    github.add_repo(RepoSpec::new("hubot/shared").private().shared_with("octocat"));

    let minute = Duration::from_secs(60);
    let linux = ["self-hosted", "linux"];
    let hosted = || JobSpec::new("lint").labels(["ubuntu-latest"]);
    github.queue_run(
        "acme/api",
        RunSpec::new("ci")
            .job(hosted())
            .matrix("test", 12, |job| job.labels(linux).takes(minute))
            .job(JobSpec::new("publish").labels(linux).needs(["test"])),
    )?;
    github.queue_run(
        "acme/web",
        RunSpec::new("deploy")
            .job(hosted().takes(60 * minute))
            .job(JobSpec::new("build").labels(linux))
            .job(JobSpec::new("gate").labels(linux).held(JobStatus::Waiting)),
    )?;
    github.queue_run(
        "acme/web",
        RunSpec::new("train").job(JobSpec::new("fit").labels(["self-hosted", "gpu"])),
    )?;
    github.queue_run(
        "octocat/hello-world",
        RunSpec::new("greet")
            .without_name()
            .without_branch()
            .event("workflow_dispatch")
            .job(hosted().concludes(Conclusion::Failure)),
    )?;
    let cancelled =
        github.queue_run("acme/api", RunSpec::new("nightly").job(JobSpec::new("soak")))?;
    github.cancel_run(cancelled)?;
    Ok(())
}
