//! What happens in the simulated GitHub: repositories, and work that arrives as long as one looks.

use std::time::Duration;

use crate::simulator::{JobSpec, RepoSpec, RunSpec, Simulator, Unknown};

/// Between two arrivals.
pub(super) const PAUSE: Duration = Duration::from_millis(2_500);

const REPOS: [&str; 5] = ["acme/web", "acme/api", "acme/models", "acme/infra", "octocat/dotfiles"];

/// Makes the organisation and its repositories.
pub(super) fn populate(github: &Simulator) {
    github.add_org("acme");
    REPOS.iter().for_each(|name| github.add_repo(RepoSpec::new(*name)));
}

/// Queues what arrives at `step`: eight kinds of runs in turn, no two rounds quite alike.
pub(super) fn arrive(github: &Simulator, step: u64) -> Result<u64, Unknown> {
    let round = step / 8;
    let job = |name: &str, seconds: u64| {
        let takes = Duration::from_millis(seconds * 1_000 + (step * 370) % 900);
        JobSpec::new(name).labels(["self-hosted"]).takes(takes)
    };
    let hosted =
        |name: &str| JobSpec::new(name).labels(["ubuntu-latest"]).takes(Duration::from_secs(4));
    let (repo, run) = match step % 8 {
        0 => (
            "acme/web",
            RunSpec::new("ci")
                .job(hosted("lint"))
                .job(job("build", 3))
                .job(job("test", 4).needs(["build"])),
        ),
        1 => (
            "acme/api",
            RunSpec::new("ci").job(job("build", 4)).job(job("image", 3).needs(["build"])),
        ),
        2 => {
            let legs = if round.is_multiple_of(2) { 12 } else { 5 };
            (
                "acme/web",
                RunSpec::new("browsers").matrix("test", legs, |leg| {
                    leg.labels(["self-hosted", "linux"]).takes(Duration::from_secs(3))
                }),
            )
        }
        3 => ("octocat/dotfiles", RunSpec::new("check").job(job("shellcheck", 2))),
        4 if round == 0 => (
            "acme/models",
            RunSpec::new("train").job(JobSpec::new("train").labels(["self-hosted", "gpu"])),
        ),
        4 => ("acme/models", RunSpec::new("notebook").job(job("convert", 2))),
        5 => ("acme/infra", RunSpec::new("plan").job(job("plan", 5)).job(hosted("report"))),
        6 => ("acme/api", RunSpec::new("nightly").event("schedule").job(job("integration", 6))),
        _ => ("acme/models", RunSpec::new("ci").job(job("unit", 2)).job(job("docs", 2))),
    };
    github.queue_run(repo, run)
}
