//! A Docker engine of one's own, that can be stopped, killed and frozen without harm to others.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::Child;

/// What the engine does with its containers when it ends or comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Containers {
    /// They live on (`--live-restore`).
    Live,
    /// They are ended, which is the engine's default.
    End,
}

pub(crate) struct Daemon {
    place: TempDir,
    containers: Containers,
    child: Option<Child>,
    /// As on a host with packages from a distribution, it is not the engine's child, and survives it.
    _containerd: Child,
}

impl Daemon {
    /// Starts an engine without a network of its own; the containers have the host's.
    pub(crate) async fn start(containers: Containers) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| place.path().join(name);
        std::fs::write(
            at("containerd.toml"),
            "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
        )
        .expect("a file");
        let mut command = tokio::process::Command::new("containerd");
        for (option, name) in [
            ("--config", "containerd.toml"),
            ("--root", "containerd"),
            ("--state", "state"),
            ("--address", "containerd.sock"),
        ] {
            command.arg(option).arg(at(name));
        }
        let log = File::create(at("containerd.log")).expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let _containerd = command.spawn().expect("containerd starts");
        let mut daemon = Self { place, containers, child: None, _containerd };
        daemon.up().await;
        daemon
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// What `DOCKER_HOST` has to say.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.at("docker.sock").display())
    }

    pub(crate) fn client(&self) -> Docker {
        Docker::connect_with_unix(&self.address(), 60, API_DEFAULT_VERSION).expect("a client")
    }

    /// Starts the engine again, and waits until it answers.
    pub(crate) async fn up(&mut self) {
        let log = File::options().create(true).append(true).open(self.at("log")).expect("a log");
        // One that was killed leaves it, and the number may be somebody else's by now.
        let _ = std::fs::remove_file(self.at("pid"));
        let mut command = tokio::process::Command::new("dockerd");
        command.args(["--debug", "--iptables=false", "--bridge=none", "--shutdown-timeout=1"]);
        if let Ok(group) = std::env::var("CHAOS_CGROUP") {
            // `tests/chaos` removes it: one that is killed leaves the groups of its containers.
            command.arg(format!("--cgroup-parent=/{group}"));
        }
        command.arg("--host").arg(self.address());
        command.arg("--containerd").arg(self.at("containerd.sock"));
        for (option, name) in
            [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")]
        {
            command.arg(option).arg(self.at(name));
        }
        if self.containers == Containers::Live {
            command.arg("--live-restore");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let child = command.spawn().expect("dockerd starts: these tests run as root");
        self.child = Some(child);
        let answers = async {
            // Nobody can be a client before there is a socket.
            while !self.at("docker.sock").exists() || self.client().ping().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), answers).await.is_err() {
            panic!("the engine does not answer: {}", self.log());
        }
    }

    /// What the engine has said, in all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// Sends the engine a signal, as `kill` does.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        if let Some(process) = id.and_then(Pid::from_raw) {
            kill_process(process, signal).expect("the engine is ours");
        }
    }

    /// Ends the engine by `signal`, and waits until it has ended.
    pub(crate) async fn down(&mut self, signal: Signal) {
        self.signal(signal);
        if let Some(mut child) = self.child.take() {
            let ended = tokio::time::timeout(Duration::from_secs(60), child.wait()).await;
            ended.expect("the engine ends").expect("a child");
        }
    }
}

impl Drop for Daemon {
    /// Ends the engine, what it has started, and what its containers run, whatever became of the test.
    fn drop(&mut self) {
        let Some(place) = self.place.path().to_str() else { return };
        let own = processes(|_, line| line.contains(place));
        let mut all = processes(|parent, _| own.contains(&parent));
        all.extend(own);
        for process in all.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(process, Signal::KILL);
        }
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mounts = mounts.lines().filter_map(|line| line.split_whitespace().nth(1));
        for mount in mounts.filter(|mount| mount.starts_with(place)) {
            let _ = Command::new("umount").args(["--lazy", mount]).status();
        }
    }
}

/// The processes whose parent and command line are such.
fn processes(are: impl Fn(i32, &str) -> bool) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number| {
            let read = |name| std::fs::read(format!("/proc/{number}/{name}")).unwrap_or_default();
            let (stat, line) = (read("stat"), read("cmdline"));
            let stat = String::from_utf8_lossy(&stat);
            // "PID (NAME) STATE PARENT ...", and the name may have spaces and brackets.
            let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
            let parent = after.split(' ').nth(1).and_then(|parent| parent.parse().ok());
            parent.is_some_and(|parent| are(parent, &String::from_utf8_lossy(&line)))
        })
        .collect()
}
