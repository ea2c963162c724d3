//! Secrets in files.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result};

/// The secret in `file`, which the option `name` names; refused where others can read it.
pub fn read_secret(option: &str, file: &Path) -> Result<String> {
    let name = file.display();
    let failed = |error: std::io::Error| {
        let remedy = format!("Check that {name} exists and can be read by this user.");
        Error::invalid(option, format!("{name}: {error}"), remedy)
    };
    let metadata = std::fs::metadata(file).map_err(failed)?;
    if !is_private(metadata.mode(), metadata.uid(), metadata.gid()) {
        let remedy = format!("Run `chmod 600 {name}`.");
        return Err(Error::invalid(option, format!("{name}: others can read it"), remedy));
    }
    std::fs::read_to_string(file).map_err(failed)
}

/// Whether only its owner can read it, or root alone and whom root has let in by an ACL: so systemd
/// hands credentials over (`LoadCredential` of systemd.exec(5)), and the ACL's mask then shows in the
/// place of the group's rights.
fn is_private(mode: u32, owner: u32, group: u32) -> bool {
    mode & 0o077 == 0 || (mode & 0o777, owner, group) == (0o440, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_read_is_no_secret_and_what_root_hands_over_is() {
        assert!(is_private(0o100_600, 1000, 1000) && is_private(0o100_400, 0, 0));
        assert!(is_private(0o100_440, 0, 0), "a credential that systemd has loaded");
        for (mode, owner, group) in [
            (0o644, 0, 0),
            (0o640, 0, 0),
            (0o640, 1000, 1000),
            (0o440, 0, 999),
            (0o440, 1000, 0),
            (0o604, 1000, 1000),
        ] {
            assert!(!is_private(0o100_000 | mode, owner, group), "{mode:o} {owner}:{group}");
        }
    }
}
