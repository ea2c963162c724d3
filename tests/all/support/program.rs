//! The program as its users have it: a process with an environment of its own.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The program under test.
pub(crate) const EXECUTABLE: &str = env!("CARGO_BIN_EXE_ipfs-accelerate");

/// A user's home with its own state, configuration and environment.
pub(crate) struct Home {
    directory: TempDir,
    env: Vec<(String, String)>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Standard output as JSON.
    pub(crate) fn data(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error on standard error.
    pub(crate) fn error(&self) -> Value {
        let start = self.stderr.find('{').unwrap_or_else(|| panic!("no error: {self:?}"));
        let whole: Value = serde_json::from_str(&self.stderr[start..])
            .unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(whole["success"], false);
        whole["error"].clone()
    }
}

impl Home {
    /// A home whose environment has what `env` names and next to nothing else.
    pub(crate) fn new<'a>(env: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut all: Vec<(String, String)> =
            env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        all.push(("HOME".into(), at("home")));
        all.push(("XDG_STATE_HOME".into(), at("state")));
        all.push(("XDG_RUNTIME_DIR".into(), at("run")));
        all.push(("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into()));
        Self { directory, env: all }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The program with the words of `line`, not started yet.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(EXECUTABLE);
        command.args(line.split_whitespace()).env_clear().envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, line: &str) -> Done {
        let Output { status, stdout, stderr } =
            self.command(line).output().await.expect("the program runs");
        Done {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Starts the service in the foreground, in a process of its own.
    pub(crate) fn spawn(&self, line: &str) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("service.log"))
            .expect("a log");
        let mut command = self.command(line);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        command.spawn().expect("the program runs")
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn serve(&self, line: &str) -> Child {
        let mut child = self.spawn(line);
        loop {
            let status = self.run("runner status").await;
            if status.code == 0 && status.data()["running"] == true {
                return child;
            }
            if let Some(ended) = child.try_wait().expect("a child") {
                panic!("the service ended with {ended}: {}", self.service_log());
            }
        }
    }

    pub(crate) fn service_log(&self) -> String {
        std::fs::read_to_string(self.path().join("service.log")).unwrap_or_default()
    }
}
