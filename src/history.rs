//! The runners that have ended: how, and with what last words. A file of JSON lines in the state
//! directory, bounded in number, size and age; not needed for any decision, so it may be lost.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::Ended;

/// How many ended runners are remembered.
const MOST: usize = 1_000;
/// How long they are.
const OLDEST: TimeDelta = TimeDelta::days(30);

/// A runner that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The engine's id of its container.
    pub container_id: String,
    /// Its name.
    pub runner_name: String,
    /// The repository, or the organisation, that it was for.
    pub repo: String,
    /// When it was cleaned up.
    pub at: DateTime<Utc>,
    /// Why it was removed.
    pub why: String,
    /// Exit code and last lines.
    #[serde(flatten)]
    pub ended: Ended,
}

/// The memory of ended runners.
#[derive(Debug)]
pub struct History {
    file: Option<PathBuf>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    /// Lines of the file.
    lines: usize,
}

impl History {
    /// A history that ends with the process.
    pub fn in_memory() -> Self {
        Self { file: None, kept: Mutex::default() }
    }

    /// The history in `directory`, which is made when it is missing. Lines that can't be read (a
    /// write that was cut short) are left out.
    pub fn open(directory: &Path, now: DateTime<Utc>) -> Result<Self> {
        let file = directory.join("history.jsonl");
        let failed = |error| cannot_write(&file, error);
        // Last words of jobs are nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let entries = compact(&file, now).map_err(failed)?;
        let lines = entries.len();
        Ok(Self { file: Some(file), kept: Mutex::new(Kept { entries, lines }) })
    }

    /// Remembers `entry`. A container is remembered once, however often its end is reported.
    pub fn record(&self, entry: Entry) -> Result<()> {
        let mut kept = self.lock();
        let Kept { entries, lines } = &mut *kept;
        if entries.iter().any(|known| known.container_id == entry.container_id) {
            return Ok(());
        }
        entries.push_back(entry.clone());
        if entries.len() > MOST {
            entries.pop_front();
        }
        let Some(file) = &self.file else { return Ok(()) };
        let failed = |error| cannot_write(file, error);
        append(file, &entry).map_err(failed)?;
        *lines += 1;
        if *lines >= 2 * MOST {
            // Read anew: another process may have written there too.
            *lines = compact(file, entry.at).map_err(failed)?.len();
        }
        Ok(())
    }

    /// The runner whose name is `key`, or whose container id alone begins with it.
    pub fn find(&self, key: &str) -> Option<Entry> {
        let entries = &self.lock().entries;
        let named = entries.iter().rev().find(|entry| entry.runner_name == key);
        let mut begun = entries.iter().filter(|entry| entry.container_id.starts_with(key));
        let only = begun.next().filter(|_| begun.next().is_none());
        named.or(only).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the file, and leaves in it what is to be remembered.
fn compact(file: &Path, now: DateTime<Utc>) -> std::io::Result<VecDeque<Entry>> {
    let mut lines = 0;
    let mut entries = VecDeque::new();
    if file.exists() {
        for line in BufReader::new(File::open(file)?).lines() {
            lines += 1;
            if let Ok(entry) = serde_json::from_str::<Entry>(&line?) {
                entries.push_back(entry);
            }
        }
    }
    entries.retain(|entry| now - entry.at < OLDEST);
    entries.drain(..entries.len().saturating_sub(MOST));
    if lines > entries.len() {
        rewrite(file, &entries)?;
    }
    Ok(entries)
}

fn append(file: &Path, entry: &Entry) -> std::io::Result<()> {
    let mut line = serde_json::to_string(entry)?;
    line.push('\n');
    // One write, so that two processes can't mix their lines.
    OpenOptions::new().create(true).append(true).mode(0o600).open(file)?.write_all(line.as_bytes())
}

fn rewrite(file: &Path, entries: &VecDeque<Entry>) -> std::io::Result<()> {
    let new = file.with_extension("jsonl.new");
    let mut out =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    for entry in entries {
        writeln!(out, "{}", serde_json::to_string(entry)?)?;
    }
    fs::rename(new, file)
}

fn cannot_write(file: &Path, error: std::io::Error) -> Error {
    Error::internal(
        format!("The history {} cannot be kept: {error}.", file.display()),
        "Free disk space, or choose another state_dir.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize, day: i64) -> Entry {
        Entry {
            container_id: format!("{number:012}"),
            runner_name: format!("ipfs-{number}"),
            repo: "o/r".into(),
            at: DateTime::UNIX_EPOCH + TimeDelta::days(day),
            why: "it has finished".into(),
            ended: Ended { exit_code: Some(0), log_tail: "bye\n".into() },
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(40)
    }

    #[test]
    fn what_was_recorded_is_found_by_prefix_or_name_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        History::open(directory.path(), now()).unwrap().record(entry(7, 39)).unwrap();
        let again = History::open(directory.path(), now()).unwrap();
        assert_eq!(again.find("00000000000"), Some(entry(7, 39)));
        again.record(entry(8, 39)).unwrap();
        assert_eq!(again.find("00000000000"), None, "it may mean two");
        assert_eq!(again.find("ipfs-7"), Some(entry(7, 39)));
        assert_eq!(again.find("ipfs-9"), None);
    }

    #[test]
    fn the_end_of_a_container_is_recorded_once() {
        let history = History::in_memory();
        history.record(entry(1, 39)).unwrap();
        history.record(Entry { why: "again".into(), ..entry(1, 39) }).unwrap();
        assert_eq!(history.lock().entries.len(), 1);
        assert_eq!(history.find("ipfs-1").unwrap().why, "it has finished");
    }

    #[test]
    fn it_keeps_the_last_thousand_and_nothing_older_than_thirty_days() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(directory.path(), now()).unwrap();
        history.record(entry(5_000, 1)).unwrap();
        (0..1_100).for_each(|number| history.record(entry(number, 39)).unwrap());
        assert_eq!(history.lock().entries.len(), 1_000);
        let again = History::open(directory.path(), now()).unwrap();
        assert_eq!((again.find("ipfs-5000"), again.find("ipfs-99")), (None, None));
        assert!(again.find("ipfs-100").is_some());
        let lines = fs::read_to_string(directory.path().join("history.jsonl")).unwrap();
        assert_eq!(lines.lines().count(), 1_000);
    }

    #[test]
    fn the_file_is_bounded_while_the_service_runs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("history.jsonl");
        let history = History::open(directory.path(), now()).unwrap();
        let lines = || fs::read_to_string(&file).unwrap().lines().count();
        (0..1_999).for_each(|number| history.record(entry(number, 39)).unwrap());
        assert_eq!(lines(), 1_999);
        (1_999..4_500).for_each(|number| history.record(entry(number, 39)).unwrap());
        assert!((1_000..2_000).contains(&lines()), "{} lines", lines());
        let again = History::open(directory.path(), now()).unwrap();
        assert!(again.find("ipfs-4499").is_some() && again.find("ipfs-3499").is_none());
    }

    #[test]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("made/state");
        History::open(&state, now()).unwrap().record(entry(1, 39)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join("history.jsonl"))), (0o700, 0o600));
    }

    #[test]
    fn a_line_that_was_cut_short_costs_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(directory.path(), now()).unwrap();
        history.record(entry(1, 39)).unwrap();
        let file = directory.path().join("history.jsonl");
        let whole = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{whole}{}", &whole[..20])).unwrap();
        assert!(History::open(directory.path(), now()).unwrap().find("ipfs-1").is_some());
    }
}
