//! Who changed something here: an append-only log of the calls that may change something, as JSON
//! lines in the state directory.
//!
//! It may be kept by several processes at once: each line is one write to a file opened for
//! appending, and a file that has grown large is set aside under a lock. A record is written when
//! the call has ended, for it tells the outcome. Where that fails the record goes to the program's
//! own log, and the answer to the caller stands: turned into an error it would have the caller do
//! again what is done already, and nobody could stop runners on a full disk. That the log can be
//! kept at all is found out by [`Audit::open`], before anything is done.

mod pages;
mod record;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use record::{Caller, Outcome, Record, Transport};

use crate::error::{Error, Result};
use crate::views::Page;

/// The size at which a file is set aside; there are two of them at most.
const LARGEST: u64 = 8 << 20;

/// The log.
#[derive(Debug, Clone)]
pub struct Audit {
    file: PathBuf,
    largest: u64,
}

impl Audit {
    /// The log in `state_dir`, which is made when it is missing. Fails where nothing can be
    /// written.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let audit = Self { file: state_dir.join("audit.jsonl"), largest: LARGEST };
        // What was done here is nobody else's business.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
        made.and_then(|()| audit.appendable()).map_err(|error| audit.cannot("kept", &error))?;
        Ok(audit)
    }

    /// Adds `record`, cleaned: without control characters and credentials, and bounded in size.
    /// One that can't be written is logged.
    pub fn record(&self, record: Record) -> Result<()> {
        let mut line = serde_json::to_vec(&record.cleaned())
            .map_err(|error| self.cannot("kept", &error.into()))?;
        line.push(b'\n');
        self.append(&line).map_err(|error| {
            let record = String::from_utf8_lossy(&line);
            tracing::error!(record = record.trim_end(), "a call could not be recorded");
            self.cannot("kept", &error)
        })
    }

    /// At most `limit` records, the newest first, from before `cursor`. Lines that can't be read
    /// (a write that was cut short) are left out.
    pub fn latest(&self, limit: usize, cursor: Option<&str>) -> Result<Page<Record>> {
        // The current one first: should it be set aside meanwhile it is seen twice, not missed.
        let files = [&self.file, &self.before()].map(|file| match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|error| self.cannot("read", &error)),
        });
        let [current, before] = files;
        pages::latest(&[current?, before?], limit, cursor)
    }

    /// The file that was set aside last.
    fn before(&self) -> PathBuf {
        self.file.with_extension("jsonl.1")
    }

    fn appendable(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&self.file)
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        self.make_room(line.len() as u64)?;
        let mut file = self.appendable()?;
        // After a write that a full disk cut short: it must not take this line with it.
        let begin: &[u8] = if cut_short(&mut file)? { b"\n" } else { b"" };
        file.write_all(&[begin, line].concat())
    }

    /// Makes room for `more` bytes. Whoever has the file open still adds to it.
    fn make_room(&self, more: u64) -> io::Result<()> {
        if self.full(more)? { self.set_aside(more) } else { Ok(()) }
    }

    fn full(&self, more: u64) -> io::Result<bool> {
        match fs::metadata(&self.file) {
            Ok(metadata) => Ok(metadata.len() + more > self.largest),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn set_aside(&self, more: u64) -> io::Result<()> {
        let lock = self.file.with_extension("lock");
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(lock)?;
        match lock.try_lock() {
            // Another process may have been first, between the question and the lock.
            Ok(()) if self.full(more)? => fs::rename(&self.file, self.before()),
            // Another process is about to: a line more does no harm.
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn cannot(&self, what: &str, error: &io::Error) -> Error {
        Error::internal(
            format!("The log of calls {} cannot be {what}: {error}.", self.file.display()),
            "Free disk space, or choose another state_dir that is writable.",
        )
    }
}

/// Whether the last line of `file` has no end.
fn cut_short(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests;
