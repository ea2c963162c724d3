//! The log of a detached service: all that it prints goes to a file in the state directory. A file
//! that has grown large is set aside, and the one that was set aside before it goes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::fstat;
use rustix::stdio;

/// The size at which it is set aside; there are two files at most.
const LARGEST: u64 = 8 << 20;
/// Between two looks at its size: within this time no log grows by much.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// Opens `log` for a service that is about to be started.
pub(super) fn open(log: &Path) -> io::Result<File> {
    if is_large(log, LARGEST) {
        fs::rename(log, before(log))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(log)
}

/// Keeps `log` from growing without end, where this process prints to it; for as long as it is
/// awaited.
pub(super) async fn keep_small(log: PathBuf) {
    loop {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        if is_large(&log, LARGEST)
            && let Err(error) = start_anew(&log)
        {
            tracing::warn!(%error, "the log {} could not be set aside", log.display());
        }
    }
}

fn is_large(log: &Path, largest: u64) -> bool {
    fs::metadata(log).is_ok_and(|found| found.len() > largest)
}

/// Where `log` is set aside.
fn before(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

/// Sets `log` aside and has this process print to a new one.
fn start_anew(log: &Path) -> io::Result<()> {
    let (out, err) = (io::stdout(), io::stderr());
    let [out, err] = [prints_to(&out, log)?, prints_to(&err, log)?];
    if !out && !err {
        return Ok(());
    }
    // Opened first: what is printed meanwhile goes to the old one, and nothing is lost.
    let new = log.with_extension("log.new");
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&new)?;
    fs::rename(log, before(log))?;
    fs::rename(&new, log)?;
    if out {
        stdio::dup2_stdout(&file)?;
    }
    if err {
        stdio::dup2_stderr(&file)?;
    }
    Ok(())
}

/// Whether what is written to `stream` goes to the file `log`.
fn prints_to(stream: &impl AsFd, log: &Path) -> io::Result<bool> {
    let (open, named) = (fstat(stream)?, fs::metadata(log)?);
    Ok((open.st_dev, open.st_ino) == (named.dev(), named.ino()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_large_log_is_set_aside_before_the_next_service_begins_its_own() {
        let here = tempfile::tempdir().unwrap();
        let log = here.path().join("default.log");
        open(&log).unwrap().write_all(b"first\n").unwrap();
        open(&log).unwrap().write_all(b"second\n").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "first\nsecond\n");
        File::options().write(true).open(&log).unwrap().set_len(LARGEST + 1).unwrap();
        open(&log).unwrap().write_all(b"third\n").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "third\n");
        let aside = fs::metadata(here.path().join("default.log.1")).unwrap();
        assert_eq!((aside.len(), aside.mode() & 0o777), (LARGEST + 1, 0o600));
    }

    #[test]
    fn a_file_that_this_process_does_not_print_to_is_left_alone() {
        let here = tempfile::tempdir().unwrap();
        let log = here.path().join("default.log");
        fs::write(&log, "somebody's").unwrap();
        start_anew(&log).unwrap();
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1);
        assert!(prints_to(&File::open(&log).unwrap(), &log).unwrap());
    }
}
