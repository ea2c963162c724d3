//! What is worth remembering after a kill and can be lost all the same: where registrations of ours
//! may be left, which images our runners have had. A directory with one small file for each; no
//! decision rests on one, they only tell where to look.
//!
//! A file comes into being and goes in one step each, so several processes may keep the same hints,
//! and a kill in between leaves no half of one. Where they can't be kept, that is logged once and
//! they last as long as the process.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// How many are kept: more would be more to look for than a look should cost.
const MOST: usize = 1_000;
/// The longest note that is read.
const LONGEST: u64 = 4_096;

#[derive(Debug)]
struct Hint {
    note: String,
    at: SystemTime,
}

/// Names, each with a note.
#[derive(Debug, Default)]
pub struct Hints {
    directory: Option<PathBuf>,
    known: Mutex<BTreeMap<String, Hint>>,
    /// Whether it was logged that they can't be kept.
    complained: AtomicBool,
}

impl Hints {
    /// Hints that are lost with the process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// The hints in `directory`, which is made with the first of them.
    pub fn open(directory: PathBuf) -> Self {
        Self { directory: Some(directory), ..Self::default() }
    }

    /// Remembers `name` with `note`, from `at` on.
    pub fn remember(&self, name: &str, note: &str, at: SystemTime) {
        if !is_name(name) {
            return;
        }
        let mut known = self.lock();
        if known.len() >= MOST && !known.contains_key(name) {
            drop(known);
            return self.complain(&"there are too many");
        }
        known.insert(name.to_owned(), Hint { note: note.to_owned(), at });
        drop(known);
        if let Some(directory) = &self.directory
            && let Err(error) = write(directory, &file_name(name), note, at)
        {
            self.complain(&error);
        }
    }

    /// Forgets `name`, unless it was remembered anew after `seen`, by whichever process. Tells whether this
    /// process knows it no more.
    pub fn forget(&self, name: &str, seen: SystemTime) -> bool {
        let mut known = self.lock();
        if known.get(name).is_some_and(|hint| hint.at > seen) {
            return false;
        }
        known.remove(name);
        drop(known);
        let Some(directory) = self.directory.as_ref().filter(|_| is_name(name)) else {
            return true;
        };
        let file = directory.join(file_name(name));
        let forgotten = fs::metadata(&file)
            .and_then(|found| found.modified())
            .and_then(|at| if at > seen { Ok(()) } else { fs::remove_file(&file) });
        match forgotten {
            Err(error) if error.kind() != ErrorKind::NotFound => self.complain(&error),
            _ => {}
        }
        true
    }

    /// Whether this process knows `name`.
    pub fn knows(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// Those that this process knows, without a look at the files.
    pub fn known(&self) -> BTreeMap<String, String> {
        self.lock().iter().map(|(name, hint)| (name.clone(), hint.note.clone())).collect()
    }

    /// All there are, those that other processes have left included; these are known from now on.
    pub fn all(&self) -> BTreeMap<String, String> {
        if let Some(directory) = &self.directory {
            match read(directory) {
                Ok(found) => {
                    let mut known = self.lock();
                    for (name, hint) in found {
                        if known.len() < MOST {
                            known.entry(name).or_insert(hint);
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => self.complain(&error),
            }
        }
        self.known()
    }

    fn complain(&self, why: &dyn std::fmt::Display) {
        // Once is enough: a full disk may stay full for long.
        if let Some(directory) = &self.directory
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "what may have to be cleaned up is not remembered in {}: {why}",
                directory.display()
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Hint>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `name` makes the name of a file, and of no other.
fn is_name(name: &str) -> bool {
    let tame = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/');
    name.len() <= 250 && !name.is_empty() && !name.starts_with('.') && name.bytes().all(tame)
}

fn file_name(name: &str) -> String {
    name.replace('/', "@")
}

fn write(directory: &Path, name: &str, note: &str, at: SystemTime) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let open = |path: &Path| {
        OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(path)
    };
    let file = directory.join(name);
    if note.is_empty() {
        return open(&file)?.set_modified(at);
    }
    // Always the same name: what a kill leaves of it is written over.
    let new = directory.join(format!(".{name}"));
    let mut out = open(&new)?;
    let written = out.set_len(0).and_then(|()| out.write_all(note.as_bytes()));
    let written = written.and_then(|()| out.set_modified(at));
    let written = written.and_then(|()| fs::rename(&new, &file));
    if written.is_err() {
        // The disk may be full of such.
        let _ = fs::remove_file(&new);
    }
    written
}

fn read(directory: &Path) -> io::Result<BTreeMap<String, Hint>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)?.take(2 * MOST) {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(|name| name.replace('@', "/")) else {
            continue;
        };
        let Ok(metadata) = entry.metadata() else { continue };
        if !is_name(&name) || !metadata.is_file() || metadata.len() > LONGEST {
            continue;
        }
        let note = match metadata.len() {
            0 => String::new(),
            // One that goes meanwhile, or is no text, is none.
            _ => match fs::read_to_string(entry.path()) {
                Ok(note) => note,
                Err(_) => continue,
            },
        };
        let at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        found.insert(name, Hint { note, at });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(hints: &Hints) -> Vec<String> {
        hints.all().into_keys().collect()
    }

    #[test]
    fn what_was_remembered_is_known_after_a_restart_until_it_is_forgotten() {
        let here = tempfile::tempdir().unwrap();
        let directory = here.path().join("made/hints");
        let first = Hints::open(directory.clone());
        assert_eq!(names(&first), [""; 0], "and nothing was made to find that out");
        assert!(!directory.exists());
        first.remember("octo-org/web.site", "", SystemTime::now());
        first.remember("octo-org", "a note\nof two lines", SystemTime::now());
        drop(first);
        let again = Hints::open(directory.clone());
        assert_eq!(again.all()["octo-org"], "a note\nof two lines");
        let before = SystemTime::now() - std::time::Duration::from_secs(60);
        assert!(!again.forget("octo-org/web.site", before), "since when is remembered, too");
        again.forget("octo-org/web.site", SystemTime::now());
        assert_eq!(names(&again), ["octo-org"]);
        assert_eq!(names(&Hints::open(directory)), ["octo-org"]);
    }

    #[test]
    fn what_another_process_remembers_meanwhile_is_found_and_stays() {
        let here = tempfile::tempdir().unwrap();
        let [ours, theirs] = [0, 1].map(|_| Hints::open(here.path().to_owned()));
        theirs.remember("o/a", "", SystemTime::now());
        assert_eq!(names(&ours), ["o/a"]);
        let seen = SystemTime::now();
        theirs.remember("o/a", "", SystemTime::now());
        ours.forget("o/a", seen);
        assert_eq!(names(&ours), ["o/a"], "it was remembered after what we saw");
        ours.forget("o/a", SystemTime::now());
        assert_eq!(names(&Hints::open(here.path().to_owned())), [""; 0]);
    }

    #[test]
    fn strange_files_are_left_out_and_left_alone() {
        let here = tempfile::tempdir().unwrap();
        let strange = [".o@b", "two words", "large", "o@dir"];
        fs::write(here.path().join(strange[0]), "half").unwrap();
        fs::write(here.path().join(strange[1]), "").unwrap();
        fs::write(here.path().join(strange[2]), vec![b'a'; 5_000]).unwrap();
        fs::create_dir(here.path().join(strange[3])).unwrap();
        fs::write(here.path().join("o@spoilt"), [0xff]).unwrap();
        let hints = Hints::open(here.path().to_owned());
        hints.remember("o/a", "", SystemTime::now());
        hints.remember("../o", "", SystemTime::now());
        hints.remember("", "", SystemTime::now());
        assert_eq!(names(&hints), ["o/a"]);
        assert!(strange.iter().all(|name| here.path().join(name).exists()));
    }

    #[test]
    fn there_are_never_more_than_a_thousand() {
        let here = tempfile::tempdir().unwrap();
        let hints = Hints::open(here.path().to_owned());
        (0..1_100)
            .for_each(|number| hints.remember(&format!("o/r{number}"), "", SystemTime::now()));
        assert_eq!(hints.all().len(), 1_000);
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1_000);
    }

    #[test]
    fn where_nothing_can_be_kept_they_last_as_long_as_the_process() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("file");
        fs::write(&file, "no directory").unwrap();
        let hints = Hints::open(file.join("hints"));
        hints.remember("o/a", "", SystemTime::now());
        assert!(hints.knows("o/a") && names(&hints) == ["o/a"]);
        hints.forget("o/a", SystemTime::now());
        assert_eq!(names(&hints), [""; 0]);
    }

    #[test]
    fn nobody_else_can_read_them() {
        use std::os::unix::fs::PermissionsExt;
        let here = tempfile::tempdir().unwrap();
        let directory = here.path().join("hints");
        Hints::open(directory.clone()).remember("o/a", "note", SystemTime::now());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join("o@a"))), (0o700, 0o600));
    }
}
