//! The last day in numbers, one sample a minute, for charts. Kept as JSON lines in the state
//! directory, so that a restart shows what was before it, with a gap; not needed for any decision,
//! so it may be lost, and a failure to write it is only logged.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Between two samples.
pub const INTERVAL: Duration = Duration::from_secs(60);
/// How long samples are kept: a day, in seconds.
const OLDEST: i64 = 24 * 60 * 60;
/// How many are kept: one a minute of a day.
const MOST: usize = 1_440;
/// The names of a row's numbers, in its order.
const COLUMNS: [&str; 6] =
    ["at", "queued_jobs", "active_runners", "busy_runners", "capacity", "api_remaining"];

/// What was so at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Sample {
    /// When, in seconds since 1970.
    pub at: i64,
    /// Queued jobs that runners here can serve.
    pub queued_jobs: usize,
    /// Runner containers that had not ended.
    pub active_runners: usize,
    /// Those with a job.
    pub busy_runners: usize,
    /// `max_runners`.
    pub capacity: usize,
    /// What was left of GitHub's hourly budget, where that was known.
    pub api_remaining: Option<u32>,
}

/// A sample as it is written: a day of objects would be mostly names.
type Row = (i64, usize, usize, usize, usize, Option<u32>);

impl From<Row> for Sample {
    fn from(row: Row) -> Self {
        let (at, queued_jobs, active_runners, busy_runners, capacity, api_remaining) = row;
        Self { at, queued_jobs, active_runners, busy_runners, capacity, api_remaining }
    }
}

impl From<Sample> for Row {
    fn from(sample: Sample) -> Self {
        let Sample { at, queued_jobs, active_runners, busy_runners, capacity, api_remaining } =
            sample;
        (at, queued_jobs, active_runners, busy_runners, capacity, api_remaining)
    }
}

/// The samples of a day, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Series {
    /// Seconds between two samples, where nothing was in the way.
    pub interval_s: u64,
    /// The names of a row's numbers.
    pub columns: [&'static str; 6],
    /// The samples.
    pub rows: Vec<Sample>,
}

/// The memory of samples.
#[derive(Debug)]
pub struct Samples {
    file: Option<PathBuf>,
    kept: Mutex<Kept>,
    /// When the latest was taken.
    latest: watch::Sender<i64>,
}

#[derive(Debug, Default)]
struct Kept {
    ring: VecDeque<Sample>,
    /// Lines in the file; none while it is not as it should be and is to be written anew.
    lines: Option<usize>,
}

impl Samples {
    /// Samples that are lost with the process.
    pub fn in_memory() -> Self {
        Self::of(None, Kept::default())
    }

    /// Samples in `file`, with those of the day before `now` (in seconds since 1970) that it has.
    /// Lines that can't be read (a write that was cut short) are left out.
    pub fn open(file: PathBuf, now: i64) -> Self {
        let mut kept = Kept::default();
        match fs::read(&file) {
            Ok(bytes) => {
                let mut lines = 0;
                // Not as text: the bytes of a damaged line may be any.
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    lines += 1;
                    if let Ok(sample) = serde_json::from_slice::<Sample>(line)
                        && sample.at <= now
                    {
                        kept.push(sample);
                    }
                }
                kept.forget(now);
                let whole = bytes.last().is_none_or(|last| *last == b'\n');
                kept.lines = whole.then_some(lines);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "{} cannot be read", file.display()),
        }
        Self::of(Some(file), kept)
    }

    fn of(file: Option<PathBuf>, kept: Kept) -> Self {
        let latest = kept.ring.back().map_or(0, |sample| sample.at);
        Self { file, kept: Mutex::new(kept), latest: watch::Sender::new(latest) }
    }

    /// Adds `sample`, forgetting what is too old, or too much.
    pub fn record(&self, sample: Sample) {
        let mut kept = self.lock();
        kept.push(sample);
        kept.forget(sample.at);
        if let Some(file) = &self.file {
            let before = kept.lines;
            let written = match before {
                Some(lines) if lines < 2 * MOST => append(file, &sample).map(|()| lines + 1),
                _ => rewrite(file, &kept.ring).map(|()| kept.ring.len()),
            };
            kept.lines = match written {
                Ok(lines) => Some(lines),
                Err(error) => {
                    // Once is enough: a full disk may stay full for long.
                    if before.is_some() {
                        tracing::warn!(%error, "{} cannot be written", file.display());
                    }
                    None
                }
            };
        }
        drop(kept);
        self.latest.send_replace(sample.at);
    }

    /// Those of the day before `now` (in seconds since 1970).
    pub fn series(&self, now: i64) -> Series {
        let young = |sample: &&Sample| now - sample.at < OLDEST;
        let rows = self.lock().ring.iter().filter(young).copied().collect();
        Series { interval_s: INTERVAL.as_secs(), columns: COLUMNS, rows }
    }

    /// When the latest was taken (in seconds since 1970), and each time that there is another.
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.latest.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Adds `sample` as the latest.
    fn push(&mut self, sample: Sample) {
        // A clock that was set back has seen them too early; charts need times that grow.
        while self.ring.back().is_some_and(|before| before.at >= sample.at) {
            self.ring.pop_back();
        }
        self.ring.push_back(sample);
        if self.ring.len() > MOST {
            self.ring.pop_front();
        }
    }

    fn forget(&mut self, now: i64) {
        while self.ring.front().is_some_and(|sample| now - sample.at >= OLDEST) {
            self.ring.pop_front();
        }
    }
}

fn append(file: &Path, sample: &Sample) -> io::Result<()> {
    let line = line(sample)?;
    OpenOptions::new().append(true).open(file)?.write_all(line.as_bytes())
}

fn rewrite(file: &Path, ring: &VecDeque<Sample>) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let lines: String = ring.iter().map(line).collect::<io::Result<_>>()?;
    let new = file.with_extension("jsonl.new");
    let mut out =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(lines.as_bytes())?;
    fs::rename(new, file)
}

fn line(sample: &Sample) -> io::Result<String> {
    Ok(serde_json::to_string(sample)? + "\n")
}

#[cfg(test)]
mod tests;
