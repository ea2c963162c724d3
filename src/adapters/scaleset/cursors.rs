//! What a restart has to know of each scope: its set, the session to take down, the last message.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::Scope;

/// Where a listener was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The set that the rest is about.
    pub(super) set: u64,
    /// The session that is, or was, ours.
    pub(super) session: Option<String>,
    /// The last message that was decided upon and acknowledged.
    pub(super) last_message: u64,
}

/// The cursors of an instance, in one file.
pub(super) struct Cursors {
    file: PathBuf,
    known: Mutex<BTreeMap<String, Cursor>>,
}

impl Cursors {
    /// The cursors in `file`. One that cannot be read is no reason not to begin: messages that were
    /// not acknowledged are told again.
    pub(super) fn open(file: PathBuf) -> Self {
        let text = fs::read(&file).unwrap_or_default();
        let known = match serde_json::from_slice(&text) {
            Ok(known) => known,
            Err(_) if text.is_empty() => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the cursors cannot be read");
                BTreeMap::new()
            }
        };
        Self { file, known: Mutex::new(known) }
    }

    pub(super) fn get(&self, scope: &Scope) -> Cursor {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&scope.to_string().to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    pub(super) fn set(&self, scope: &Scope, cursor: Cursor) -> Result<()> {
        // Held while writing, so that an older state never replaces a newer one.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(scope.to_string().to_ascii_lowercase(), cursor.clone());
        if before.as_ref() == Some(&cursor) {
            return Ok(());
        }
        write(&self.file, &serde_json::to_vec(&*known).unwrap_or_default()).map_err(|error| {
            let file = self.file.display();
            Error::internal(
                format!("{file} cannot be written: {error}."),
                "Check the state directory's owner and free space.",
            )
        })
    }
}

/// Replaces `file` in one step; nobody else can read it.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("json.new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut open = options.open(&new)?;
    open.write_all(bytes)?;
    drop(open);
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn cursors_survive_a_restart_and_nobody_else_reads_them() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("default.scalesets.json");
        let (acme, other) = (Scope::org("acme"), Scope::Repo("o/R".parse().unwrap()));
        let cursor = Cursor { set: 3, session: Some("s".into()), last_message: 9 };
        let cursors = Cursors::open(file.clone());
        assert_eq!(cursors.get(&acme), Cursor::default());
        cursors.set(&acme, cursor.clone()).unwrap();
        cursors.set(&other, Cursor { set: 4, ..Cursor::default() }).unwrap();
        let again = Cursors::open(file.clone());
        assert_eq!((again.get(&acme), again.get(&other).set), (cursor, 4));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::write(&file, "not json").unwrap();
        assert_eq!(Cursors::open(file).get(&acme), Cursor::default());
    }
}
