//! One private directory per runner, at the same path in the host and in its container, so that
//! what jobs mount through the engine's socket is what they see.
//!
//! A marker beside each directory (`.INSTANCE@RUNNER`, holding the engine's address) says that it
//! is ours: only marked directories are ever deleted. It is written first and goes last, so a crash
//! in between leaves something that [`Workspaces::orphans`] finds: at the worst a marker that is
//! empty, and then there is no directory yet. Whoever launches the runner holds a lock on it
//! meanwhile, which the kernel takes back when that process ends, however it ends.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::failure::container_failed;
use crate::error::{Error, Result};
use crate::model::clean_text;

/// Whose a work directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A known user's, with a group if that is known too.
    User(u32, Option<u32>),
    /// Nobody can tell: open to all, within a root that is closed to others.
    Anyone,
}

impl Owner {
    /// The owner that a container's user (`1001`, `1001:121`, `runner`, empty for root) makes.
    pub(super) fn of(user: &str) -> Self {
        let (user, group) = user.split_once(':').unwrap_or((user, ""));
        match user.parse() {
            Ok(uid) => Self::User(uid, group.parse().ok()),
            Err(_) if user.is_empty() => Self::User(0, None),
            Err(_) => Self::Anyone,
        }
    }
}

/// What a marker says.
enum Whose {
    /// The directory is of this instance on this engine.
    Ours,
    /// Nothing, and there is no directory: whoever made it was killed before it was written.
    Unsaid,
    /// Another engine's, or nobody can tell whose.
    Others,
    /// There is no marker.
    Nobodys,
}

/// Says to every process of this host that a launch is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    _marker: File,
}

/// All work directories of one instance on one engine.
#[derive(Debug, Clone)]
pub(super) struct Workspaces {
    root: PathBuf,
    instance: String,
    endpoint: String,
}

impl Workspaces {
    pub(super) fn new(root: &Path, instance: &str, endpoint: String) -> Self {
        Self { root: root.to_owned(), instance: instance.to_owned(), endpoint }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the runner `name` works.
    ///
    /// # Errors
    /// When the name or the root could lead elsewhere.
    pub(super) fn path(&self, name: &str) -> Result<PathBuf> {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !self.root.is_absolute() || !self.root.components().all(plain) {
            return Err(Error::invalid(
                "runner_work_dir",
                "it must be an absolute path without `..`",
                "Give it as a path like /tmp/_work.",
            ));
        }
        if !is_name(name) || !is_name(&self.instance) {
            return Err(Error::invalid(
                "runner_name",
                format!("`{}` cannot be a runner's name", clean_text(name, 80)),
                "Use letters, digits, `_`, `-` and `.`, beginning with a letter or digit.",
            ));
        }
        Ok(self.root.join(name))
    }

    fn marker(&self, name: &str) -> PathBuf {
        self.root.join(format!(".{}@{name}", self.instance))
    }

    /// Makes the directory of the runner `name`, whose process is `owner`'s, and holds its launch.
    /// Blocking.
    pub(super) fn create(&self, name: &str, owner: Owner) -> Result<Hold> {
        let directory = self.path(name)?;
        let (mode, owner) = access(owner, rustix::process::geteuid().as_raw());
        self.open_root(mode)?;
        let failed = |error: io::Error| {
            let reason = match error.kind() {
                ErrorKind::AlreadyExists => {
                    format!("the work directory {} is there already", directory.display())
                }
                _ => format!("the work directory {}: {error}", directory.display()),
            };
            container_failed(&reason, "Look at runner_work_dir: its disk, and who may write to it.")
        };
        let mut marker = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.marker(name))
            .map_err(failed)?;
        // A file system without locks has none to be asked for either: the age decides then.
        let _ = marker.lock();
        let made = marker
            .write_all(self.endpoint.as_bytes())
            .and_then(|()| DirBuilder::new().mode(0o700).create(&directory));
        if let Err(error) = made {
            // The directory, if there is one, is somebody else's.
            let _ = fs::remove_file(self.marker(name));
            return Err(failed(error));
        }
        let opened = fs::set_permissions(&directory, Permissions::from_mode(mode))
            .and_then(|()| owner.map_or(Ok(()), |(uid, gid)| chown(&directory, Some(uid), gid)));
        if let Err(error) = opened {
            let _ = self.delete(name);
            return Err(failed(error));
        }
        Ok(Hold { _marker: marker })
    }

    /// Whether the launch of the runner `name` was begun by a process of this host, and is no more
    /// under way: it has ended, or its process has. Blocking.
    pub(super) fn is_let_go(&self, name: &str) -> bool {
        let Ok(mut marker) = File::open(self.marker(name)) else { return false };
        let mut endpoint = String::new();
        marker.try_lock_shared().is_ok()
            && marker.read_to_string(&mut endpoint).is_ok()
            && endpoint == self.endpoint
    }

    /// The root must be ours alone, or others could swap what is in it.
    fn open_root(&self, mode: u32) -> Result<()> {
        let root = self.root.display();
        let refused = |reason: &str| {
            let remedy = format!("Set runner_work_dir to a directory of your own: not {root}.");
            container_failed(&format!("the work directories' root {root} {reason}"), remedy)
        };
        if let Some(parent) = self.root.parent() {
            fs::create_dir_all(parent).map_err(|error| refused(&format!("failed: {error}")))?;
        }
        match DirBuilder::new().mode(0o700).create(&self.root) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(refused(&format!("failed: {error}")));
            }
            _ => {}
        }
        let metadata = fs::symlink_metadata(&self.root)
            .map_err(|error| refused(&format!("failed: {error}")))?;
        if !metadata.is_dir() {
            Err(refused("is not a directory"))
        } else if metadata.uid() != rustix::process::geteuid().as_raw() {
            Err(refused("belongs to another user"))
        } else if metadata.mode() & 0o022 != 0 {
            Err(refused("can be written to by others"))
        } else if mode & 0o002 != 0 && metadata.mode() & 0o011 != 0 {
            Err(refused("can be entered by others (`chmod 700` closes it)"))
        } else {
            Ok(())
        }
    }

    /// Deletes the directory of the runner `name` if it is ours, never following a link. One that
    /// is gone is a success. Blocking.
    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        let Ok(directory) = self.path(name) else { return Ok(()) };
        let absent = |error: &io::Error| error.kind() == ErrorKind::NotFound;
        match self.whose(name)? {
            Whose::Ours => {}
            Whose::Unsaid => return fs::remove_file(self.marker(name)),
            Whose::Others | Whose::Nobodys => return Ok(()),
        }
        // Resolves each entry relative to its opened parent, and unlinks links.
        fs::remove_dir_all(&directory)
            .or_else(|error| if absent(&error) { Ok(()) } else { Err(error) })?;
        fs::remove_file(self.marker(name))
    }

    /// What the marker of the runner `name` says.
    fn whose(&self, name: &str) -> io::Result<Whose> {
        let is_there = || fs::symlink_metadata(self.root.join(name)).is_ok();
        match fs::read_to_string(self.marker(name)) {
            Ok(endpoint) if endpoint == self.endpoint => Ok(Whose::Ours),
            Ok(endpoint) if endpoint.is_empty() && !is_there() => Ok(Whose::Unsaid),
            Ok(_) => Ok(Whose::Others),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Whose::Nobodys),
            Err(error) => Err(error),
        }
    }

    /// Runners that have a directory of ours, or a marker that is all there was of it, made before
    /// `before`, and are not among `alive`. Blocking.
    pub(super) fn orphans(&self, alive: &HashSet<String>, before: SystemTime) -> Vec<String> {
        let prefix = format!(".{}@", self.instance);
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let orphan = |entry: fs::DirEntry| {
            let name = entry.file_name().to_str()?.strip_prefix(&prefix)?.to_owned();
            let made = entry.metadata().ok()?.modified().ok()?;
            let is_left = made < before && !alive.contains(&name);
            let may_go =
                is_left && !matches!(self.whose(&name), Ok(Whose::Others | Whose::Nobodys));
            may_go.then_some(name)
        };
        entries.flatten().filter_map(orphan).collect()
    }
}

/// Mode and, where it has to be changed, owner of a directory for `owner`, made by user `us`.
fn access(owner: Owner, us: u32) -> (u32, Option<(u32, Option<u32>)>) {
    match owner {
        Owner::User(uid, _) if uid == us => (0o700, None),
        Owner::User(uid, gid) if us == 0 => (0o700, Some((uid, gid))),
        Owner::User(..) | Owner::Anyone => (0o777, None),
    }
}

/// Whether `name` is one part of a path, and a name that engines admit.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests;
