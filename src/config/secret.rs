//! Secrets in files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// The secret in `file`, which the option `name` names; refused where others can read it.
pub fn read_secret(option: &str, file: &Path) -> Result<String> {
    let name = file.display();
    let failed = |error: std::io::Error| {
        let remedy = format!("Check that {name} exists and can be read by this user.");
        Error::invalid(option, format!("{name}: {error}"), remedy)
    };
    let mode = std::fs::metadata(file).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        let remedy = format!("Run `chmod 600 {name}`.");
        return Err(Error::invalid(option, format!("{name}: others can read it"), remedy));
    }
    std::fs::read_to_string(file).map_err(failed)
}
