//! The newest records of the log's files, page by page. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::Record;
use crate::error::{Error, Result};
use crate::views::Page;

/// Where a line begins: in which file, known by its first line since files are renamed, and after
/// how many bytes. It holds whatever is added later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    file: u64,
    offset: usize,
}

impl Place {
    fn parse(cursor: &str) -> Result<Self> {
        let parsed = cursor.split_once('.').and_then(|(file, offset)| {
            Some(Self { file: u64::from_str_radix(file, 16).ok()?, offset: offset.parse().ok()? })
        });
        parsed.ok_or_else(|| {
            Error::invalid(
                "cursor",
                "it is none that a page ended with.",
                "Give the cursor that the page before named, or none.",
            )
        })
    }

    fn cursor(self) -> String {
        format!("{:016x}.{}", self.file, self.offset)
    }
}

/// At most `limit` of the records in `files`, the newest first, from before `cursor`.
pub(super) fn latest(
    files: &[Vec<u8>],
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<Record>> {
    let from = cursor.map(Place::parse).transpose()?;
    let mut named: Vec<(u64, &[u8])> = files.iter().map(|bytes| (name(bytes), &**bytes)).collect();
    named.dedup_by_key(|(name, _)| *name);
    if let Some(from) = from {
        // Where the file is gone, all that was before is gone too.
        let skipped = named.iter().take_while(|(name, _)| *name != from.file).count();
        named.drain(..skipped);
    }
    let end = |file: u64| from.filter(|from| from.file == file).map(|from| from.offset);
    let mut records = named.into_iter().flat_map(|(file, bytes)| {
        let lines = lines_before(bytes, end(file).unwrap_or(bytes.len()));
        lines.filter_map(move |(offset, line)| {
            Some((Place { file, offset }, serde_json::from_slice::<Record>(line).ok()?))
        })
    });
    let shown: Vec<_> = records.by_ref().take(limit.max(1)).collect();
    let more = records.next().is_some();
    let next_cursor = shown.last().filter(|_| more).map(|(place, _)| place.cursor());
    Ok(Page { items: shown.into_iter().map(|(_, record)| record).collect(), next_cursor })
}

fn name(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.split(|byte| *byte == b'\n').next().hash(&mut hasher);
    hasher.finish()
}

/// The lines of `bytes` that begin before `end`, the last first, each with where it begins.
fn lines_before(bytes: &[u8], end: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let mut begin = end.min(bytes.len()) + 1;
    let part = bytes.get(..end).unwrap_or(bytes);
    part.rsplit(|byte| *byte == b'\n').map(move |line| {
        begin = begin.saturating_sub(line.len() + 1);
        (begin, line)
    })
}
