//! A simulated GitHub, a real engine, real containers whose runner is the simulated one, and the
//! program under test as a process of its own.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;
use runner_kit::interfaces::demo::image;
use runner_kit::simulator::{JobSpec, Options, RepoSpec, RunSpec, Simulator, TOKEN};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::program::{EXECUTABLE, Home};

/// Nothing in these tests takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) github: Simulator,
    pub(crate) home: Home,
    pub(crate) instance: String,
    most: Arc<AtomicUsize>,
    counting: JoinHandle<()>,
}

/// The image of the simulated runner, made once.
pub(crate) async fn runner_image() -> &'static str {
    static MADE: OnceCell<String> = OnceCell::const_new();
    let make = || async {
        let docker = super::docker();
        // The one of an earlier run would stay as an image without a name.
        let _ = image::remove(&docker, "ipfs-accelerate/demo-runner:tests").await;
        image::make(&docker, Path::new(EXECUTABLE), "tests")
            .await
            .expect("the runner image is made")
    };
    MADE.get_or_init(make).await
}

impl World {
    /// A world for the instance `instance`; further environment is `env`.
    pub(crate) async fn new(instance: &str, env: &[(&'static str, &str)]) -> Self {
        let image = runner_image().await;
        let github = Simulator::start(Options::default()).await.expect("the simulator starts");
        let own = [
            ("GITHUB_TOKEN", TOKEN.to_owned()),
            ("GITHUB_API_URL", github.api_url()),
            ("GITHUB_SERVER_URL", github.url()),
            ("RUNNER_KIT_RUNNER_IMAGE", image.to_owned()),
            ("RUNNER_KIT_PULL", "never".to_owned()),
            ("RUNNER_KIT_INSTANCE", instance.to_owned()),
            ("RUNNER_KIT_DOCKER_ACCESS", "none".to_owned()),
            ("RUNNER_KIT_POLL_INTERVAL", "1".to_owned()),
        ];
        let given = env.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let home = Home::new(own.into_iter().chain(given));
        let most = Arc::new(AtomicUsize::new(0));
        let counting = count(instance, most.clone()).await;
        Self { github, home, instance: instance.to_owned(), most, counting }
    }

    /// Where the runners' work directories are.
    pub(crate) fn work_dir(&self) -> std::path::PathBuf {
        self.home.path().join("work")
    }

    /// The line that starts the service with at most `max` runners.
    pub(crate) fn start_line(&self, max: usize) -> String {
        format!("runner start --max-runners {max} --runner-work-dir {}", self.work_dir().display())
    }

    /// Forty jobs over five repositories, twelve of them one matrix, each a fraction of a second.
    pub(crate) fn queue_forty_jobs(&self) {
        let short = |job: JobSpec| job.labels(["self-hosted"]).takes(Duration::from_millis(300));
        self.github.add_org("octo-org");
        for name in ["a", "b", "c", "d", "e"] {
            self.github.add_repo(RepoSpec::new(format!("octo-org/{name}")));
        }
        let queue = |name: &str, run: RunSpec| {
            self.github
                .queue_run(&format!("octo-org/{name}"), run)
                .expect("the repository is there");
        };
        queue("a", RunSpec::new("matrix").matrix("test", 12, short));
        for name in ["b", "c", "d", "e"] {
            for _ in 0..7 {
                queue(name, RunSpec::new("ci").job(short(JobSpec::new("build"))));
            }
        }
    }

    /// Waits until `is_so` in the simulated GitHub.
    pub(crate) async fn until(
        &self,
        what: &str,
        is_so: impl FnMut(&runner_kit::simulator::State) -> bool,
    ) {
        let reached = tokio::time::timeout(PATIENCE, self.github.wait_until(is_so)).await;
        if reached.is_err() {
            let jobs: Vec<_> = self.github.jobs().iter().map(|job| job.status).collect();
            panic!("never came about: {what}; {jobs:?}\n{}", self.home.service_log());
        }
    }

    /// Waits until no container, volume or directory of this instance is left.
    pub(crate) async fn until_nothing_is_left(&self) {
        let nothing = async {
            loop {
                if self.leftovers().await.is_empty() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, nothing).await.is_err() {
            panic!("left: {:?}\n{}", self.leftovers().await, self.home.service_log());
        }
    }

    /// What is left of this instance on this host and on GitHub.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let mut left = super::remains(&self.instance).await;
        let directories = std::fs::read_dir(self.work_dir()).into_iter().flatten().flatten();
        left.extend(directories.map(|entry| entry.path().display().to_string()));
        left.extend(
            self.github.runners().into_iter().map(|runner| format!("GitHub: {}", runner.name)),
        );
        left
    }

    /// The most containers of this instance that ran at once, by the engine's own events.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// The names of runners that did a job, once for each job.
    pub(crate) fn workers(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.github.jobs().into_iter().filter_map(|job| job.runner_name).collect();
        names.sort();
        names
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.counting.abort();
        drop(super::CleanUp(self.instance.clone()));
    }
}

/// Counts starts and ends as the engine tells them.
async fn count(instance: &str, most: Arc<AtomicUsize>) -> JoinHandle<()> {
    let docker = super::docker();
    let label = format!("io.ipfs-accelerate.runner.instance={instance}");
    let filters = HashMap::from([("type", vec!["container".to_owned()]), ("label", vec![label])]);
    let options = EventsOptionsBuilder::default().filters(&filters).build();
    let mut events = docker.events(Some(options));
    tokio::spawn(async move {
        let mut live = 0usize;
        while let Some(Ok(EventMessage { action, .. })) = events.next().await {
            match action.as_deref() {
                Some("start") => live += 1,
                Some("die") => live = live.saturating_sub(1),
                _ => {}
            }
            most.fetch_max(live, Ordering::SeqCst);
        }
    })
}
