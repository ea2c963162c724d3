//! The simulated runner's program: what the entry point of a runner image does, in small.
//!
//! It reads the same environment as `myoung34/github-runner` (token mode) and as
//! `actions/actions-runner` (`ACTIONS_RUNNER_INPUT_JITCONFIG`), prints the lines that the real
//! runner prints, and "runs" a job by writing a file into its work directory and letting the job's
//! time pass. Limits: http only, no steps, no self-update, no runner groups.

mod client;
mod settings;

use std::{future::Future, io, time::Duration};

use chrono::{SecondsFormat, Utc};

use self::{client::Client, settings::Settings};
use super::{
    model::Conclusion,
    runner_side::{Told, Work},
    shapes::RUNNER_VERSION,
};

/// `Runner.Listener`'s exit code after its work (actions/runner: `Constants.Runner.ReturnCode`).
const SUCCESS: i32 = 0;

/// `Runner.Listener`'s exit code for an error that a restart would not cure.
const TERMINATED: i32 = 1;

/// Runs as a runner until its work is done or the process is told to end (SIGTERM, SIGINT). The
/// answer is the exit code: 0 after an ephemeral runner's job, or when it was told to end; 1 when it
/// is misconfigured, refused, or was deleted.
pub async fn run(env: impl Fn(&str) -> Option<String>) -> i32 {
    use std::io::Write;
    let stop = match told_to_end() {
        Ok(stop) => stop,
        Err(error) => {
            let _ = writeln!(io::stderr(), "Signals cannot be handled: {error}.");
            return TERMINATED;
        }
    };
    run_until(env, stop, |line| {
        // Nobody listening is no reason to stop working.
        let _ = writeln!(io::stdout(), "{line}");
    })
    .await
}

/// As [`run`], with the signal to end and the place for the output chosen by the caller; dropping
/// the future is to the simulator what `kill -9` is.
pub async fn run_until(
    env: impl Fn(&str) -> Option<String>,
    stop: impl Future<Output = ()>,
    say: impl FnMut(&str),
) -> i32 {
    let mut say = say;
    let settings = match Settings::read(env) {
        Ok(settings) => settings,
        Err(reason) => {
            say(&reason);
            return TERMINATED;
        }
    };
    let client = match Client::register(&settings).await {
        Ok(client) => client,
        Err(error) => {
            say(&format!("Http response code: {error}"));
            return TERMINATED;
        }
    };
    say("\n√ Connected to GitHub\n");
    say(&format!("Current runner version: '{RUNNER_VERSION}'"));
    Program { settings, client, say }.listen(stop).await
}

/// How long a runner at work waits before it looks for GitHub again.
const RECONNECT: Duration = Duration::from_secs(5);

struct Program<S> {
    settings: Settings,
    client: Client,
    say: S,
}

impl<S: FnMut(&str)> Program<S> {
    async fn listen(mut self, stop: impl Future<Output = ()>) -> i32 {
        let mut stop = std::pin::pin!(stop);
        self.say("Listening for Jobs");
        loop {
            let told = tokio::select! {
                told = self.client.poll() => told,
                () = &mut stop => return self.leave().await,
            };
            match told {
                Ok(Some(Told::Job(work))) => {
                    let stopped = self.perform(work, stop.as_mut()).await;
                    match stopped {
                        Ok(true) if self.settings.ephemeral => return SUCCESS,
                        Ok(_) => {}
                        Err(Stopped) => return SUCCESS,
                    }
                }
                Ok(Some(Told::Deleted)) => {
                    self.say("The runner registration has been deleted from the server.");
                    return TERMINATED;
                }
                Ok(Some(Told::Cancel) | None) => {}
                Err(error) => {
                    self.say(&format!("Runner connect error: {error}."));
                    return TERMINATED;
                }
            }
        }
    }

    /// Runs a job to its end. False when it is not this runner's after all.
    async fn perform(
        &mut self,
        work: Work,
        stop: impl Future<Output = ()>,
    ) -> Result<bool, Stopped> {
        if !matches!(self.client.started(work.id).await, Ok(true)) {
            return Ok(false);
        }
        self.client.witness(Some(work.id)).await;
        self.say(&format!("Running job: {}", work.name));
        if let Err(error) = self.write_file(&work) {
            let folder = self.settings.work_folder.display();
            self.say(&format!("The work directory {folder} cannot be written: {error}."));
            self.complete(&work, Conclusion::Failure).await;
            return Ok(true);
        }
        let (conclusion, stopped) = tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(work.takes_ms)) => {
                (work.conclusion, false)
            }
            () = interrupted(&self.client) => (Conclusion::Cancelled, false),
            () = stop => (Conclusion::Failure, true),
        };
        if stopped {
            self.say("The runner has received a shutdown signal.");
        }
        self.complete(&work, conclusion).await;
        if stopped { Err(Stopped) } else { Ok(true) }
    }

    /// The directories and the file that a checkout would leave, so that ownership is exercised. At
    /// once, or a runner that is ended meanwhile would write after its end.
    fn write_file(&self, work: &Work) -> io::Result<()> {
        let name = work.repo.rsplit('/').next().unwrap_or("repository");
        let folder = self.settings.work_folder.join(name).join(name);
        std::fs::create_dir_all(&folder)?;
        let text = format!("{} by {}\n", work.name, self.settings.name);
        std::fs::write(folder.join(format!("job-{}.txt", work.id)), text)
    }

    async fn complete(&mut self, work: &Work, conclusion: Conclusion) {
        let result = match conclusion {
            Conclusion::Success => "Succeeded",
            Conclusion::Cancelled => "Canceled",
            Conclusion::Skipped => "Skipped",
            Conclusion::Failure | Conclusion::TimedOut => "Failed",
        };
        if let Err(error) = self.client.completed(work.id, conclusion).await {
            self.say(&format!("The job's end could not be reported: {error}."));
        }
        self.say(&format!("Job {} completed with result: {result}", work.name));
    }

    /// Ends without a job. Only the image's entry point removes the registration, and only when it
    /// was not told otherwise; a JIT runner's stays until GitHub or its owner removes it.
    async fn leave(&mut self) -> i32 {
        if self.settings.deregisters {
            self.say("\n# Runner removal\n");
            match self.client.remove().await {
                Ok(()) => self.say("√ Runner removed successfully"),
                Err(error) => self.say(&format!("The runner could not be removed: {error}.")),
            }
        }
        self.say("Exiting...");
        SUCCESS
    }

    fn say(&mut self, line: &str) {
        if line.starts_with(['\n', '√']) {
            (self.say)(line);
        } else {
            let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ");
            (self.say)(&format!("{now}: {line}"));
        }
    }
}

/// The process was told to end while it ran a job.
struct Stopped;

/// Resolves when the job that runs is to be stopped; keeps the runner's connection until then.
async fn interrupted(client: &Client) {
    loop {
        match client.poll().await {
            Ok(Some(Told::Cancel | Told::Deleted)) => return,
            // The job goes on without a connection, and GitHub may meanwhile give it up.
            Err(_) => tokio::time::sleep(RECONNECT).await,
            Ok(_) => {}
        }
    }
}

fn told_to_end() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
