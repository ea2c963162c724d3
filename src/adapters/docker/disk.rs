//! Room on the disks that runners write to: where there is too little, nothing more is launched, for a
//! disk that is full takes the jobs that run, the engine and the host with it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::engine::Inner;
use super::failure::container_failed;
use crate::error::{Error, Result};
use crate::ports::Report;

/// A disk with too little room.
#[derive(Debug)]
pub(super) struct Low {
    place: PathBuf,
    free: u64,
    least: u64,
}

impl Inner {
    /// Fails while less than `min_free_disk` is free where this machine can see it, also after the
    /// removal of images that no runner needs.
    pub(super) async fn has_room(&self, report: Report<'_>) -> Result<()> {
        if self.low_on_disk().await?.is_none() {
            return Ok(());
        }
        if let Err(error) = self.prune(report).await {
            tracing::warn!(%error, "images could not be removed");
        }
        self.low_on_disk().await?.map_or(Ok(()), |low| Err(low.failure()))
    }

    /// The disk of the engine's data or of the work directories, if it has too little room. Of disks
    /// that this machine can't see nothing is known.
    pub(super) async fn low_on_disk(&self) -> Result<Option<Low>> {
        let least = self.config.min_free_disk;
        let site = self.site().await?;
        let work_dir = site.shares_files.then_some(self.config.runner_work_dir.as_path());
        let places = site.data.as_deref().into_iter().chain(work_dir);
        let free = places.filter_map(|place| Some((place, free_space(place).ok()?)));
        let mut low = free.filter(|(_, free)| *free < least);
        Ok(low.next().map(|(place, free)| Low { place: place.to_owned(), free, least }))
    }
}

/// Bytes that are free for this user where `path` is or would be.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    let found = statvfs(there)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

impl Low {
    const REMEDY: &str = "Free some, for example with `docker system prune`, or set min_free_disk \
                          lower; launches go on by themselves.";

    fn reason(&self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        format!(
            "the disk of {} has {} MiB free, and min_free_disk is {} MiB",
            self.place.display(),
            mib(self.free),
            mib(self.least),
        )
    }

    fn failure(&self) -> Error {
        container_failed(&self.reason(), Self::REMEDY)
    }

    /// The same as a warning.
    pub(super) fn sentence(&self) -> String {
        format!("Nothing is launched: {}. {}", self.reason(), Self::REMEDY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_of_a_directory_that_is_still_to_be_made_is_that_of_the_one_above() {
        let here = tempfile::tempdir().unwrap();
        let there = free_space(here.path()).unwrap();
        let below = free_space(&here.path().join("a/b")).unwrap();
        assert!(there > 0 && below.abs_diff(there) < 1 << 30, "{there} {below}");
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_named_with_what_is_left_and_what_to_do() {
        let low = Low { place: "/var/lib/docker".into(), free: 5 << 20, least: 2 << 30 };
        let error = low.failure();
        assert!(
            error.message.starts_with("Container failed to start: the disk of /var/lib/docker")
        );
        assert!(error.message.contains("5 MiB free") && error.message.contains("2048 MiB"));
        assert!(error.remedy.contains("prune"));
        let warning = low.sentence();
        assert!(warning.contains("Nothing is launched: the disk of /var/lib/docker has 5 MiB"));
        assert!(warning.contains("launches go on by themselves"), "{warning}");
    }
}
