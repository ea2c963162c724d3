//! Room on the disks that runners write to: where there is too little, nothing more is launched, for a
//! disk that is full takes the jobs that run, the engine and the host with it.

use std::path::Path;

use rustix::fs::statvfs;

use super::engine::Inner;
use super::failure::container_failed;
use crate::error::{Error, Result};

impl Inner {
    /// Fails while less than `min_free_disk` is free where this machine can see it.
    pub(super) async fn has_room(&self) -> Result<()> {
        let least = self.config.min_free_disk;
        let site = self.site().await?;
        let work_dir = site.shares_files.then_some(self.config.runner_work_dir.as_path());
        let places = site.data.as_deref().into_iter().chain(work_dir);
        for (place, free) in places.filter_map(|place| Some((place, free(place)?))) {
            if free < least {
                return Err(full(place, free, least));
            }
        }
        Ok(())
    }
}

/// Bytes that are free where `path` is or would be; none where that cannot be told.
fn free(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|path| path.exists())?;
    let found = statvfs(there).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

fn full(place: &Path, free: u64, least: u64) -> Error {
    let mib = |bytes: u64| bytes >> 20;
    let reason = format!(
        "the disk of {} has {} MiB free, and min_free_disk is {} MiB",
        place.display(),
        mib(free),
        mib(least),
    );
    container_failed(
        &reason,
        "Free some, for example with `docker system prune`; launches go on by themselves.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_of_a_directory_that_is_still_to_be_made_is_that_of_the_one_above() {
        let here = tempfile::tempdir().unwrap();
        let there = free(here.path()).unwrap();
        let below = free(&here.path().join("a/b")).unwrap();
        assert!(there > 0 && below.abs_diff(there) < 1 << 30, "{there} {below}");
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_named_with_what_is_left_and_what_to_do() {
        let error = full(Path::new("/var/lib/docker"), 5 << 20, 2 << 30);
        assert!(
            error.message.starts_with("Container failed to start: the disk of /var/lib/docker")
        );
        assert!(error.message.contains("5 MiB free") && error.message.contains("2048 MiB"));
        assert!(error.remedy.contains("prune"));
    }
}
