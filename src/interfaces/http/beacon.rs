//! Where the HTTP server of this user is: a file that others of the same user read.
//!
//! The server holds a lock on it as long as it lives, and the lock ends with the process, however
//! that ends. So a file that nobody holds is stale, and no token is sent to whoever listens at the
//! old address now.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::RunnerConfig;

/// How often, and with which pause, a lock is tried that only a reader can hold for a moment.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Light {
    /// Where the server is reached from this host.
    pub(super) address: SocketAddr,
    /// Its process.
    pub(super) pid: u32,
}

/// The file, held by the server that it names.
#[derive(Debug)]
pub(super) struct Beacon {
    // Closed, and so unlocked, after the file is gone.
    _held: File,
    path: PathBuf,
}

/// Where the file of the instance of `config` is.
pub(super) fn place(config: &RunnerConfig) -> PathBuf {
    config.state_dir.join(format!("{}.http.json", config.instance))
}

/// Where a server that listens at `address` is reached from this host.
pub(super) fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

impl Beacon {
    /// Says at `path` that this process serves at `address`; `None` when another server has said
    /// so, and goes on.
    pub(super) async fn light(path: &Path, address: SocketAddr) -> io::Result<Option<Self>> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        for _ in 0..TRIES {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            match file.try_lock() {
                // The one who had it removes it: then this is not the file that others find.
                Ok(()) if !is_at(&file, path) => continue,
                Ok(()) => {
                    let light = Light { address: reached(address), pid: std::process::id() };
                    file.set_len(0)?;
                    file.write_all(&serde_json::to_vec(&light)?)?;
                    return Ok(Some(Self { _held: file, path: path.to_owned() }));
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        // A file that stays is stale as soon as the lock is gone.
        let _ = fs::remove_file(&self.path);
    }
}

/// What the file at `path` says, if the server that it names lives.
pub(super) fn find(path: &Path) -> Option<Light> {
    let file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => serde_json::from_reader(file).ok(),
        _ => None,
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn address() -> SocketAddr {
        "0.0.0.0:8080".parse().unwrap()
    }

    #[tokio::test]
    async fn a_server_is_found_while_it_lives_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/default.http.json");
        assert_eq!(find(&path), None);
        let beacon = Beacon::light(&path, address()).await.unwrap().unwrap();
        let light = Light { address: "127.0.0.1:8080".parse().unwrap(), pid: std::process::id() };
        assert_eq!(find(&path), Some(light));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(beacon);
        assert!(find(&path).is_none() && !path.exists());
    }

    #[tokio::test]
    async fn what_a_killed_server_left_is_stale_and_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("default.http.json");
        let left = r#"{"address": "127.0.0.1:9", "pid": 1, "and more": "than is written next"}"#;
        fs::write(&path, left).unwrap();
        assert_eq!(find(&path), None);
        let _beacon = Beacon::light(&path, address()).await.unwrap().unwrap();
        assert_eq!(find(&path).unwrap().pid, std::process::id());
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_servers_the_first_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("default.http.json");
        let first = Beacon::light(&path, address()).await.unwrap();
        let other = "127.0.0.1:9".parse().unwrap();
        assert!(Beacon::light(&path, other).await.unwrap().is_none());
        assert_eq!(find(&path).unwrap().address.port(), 8080);
        drop(first);
        assert!(Beacon::light(&path, other).await.unwrap().is_some());
    }
}
