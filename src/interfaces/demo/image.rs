//! A runner image made on the spot, without a registry: this very program, which can be a simulated
//! runner, with the shared libraries that it has mapped.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::query_parameters::{CreateImageOptions, RemoveImageOptionsBuilder};
use futures::TryStreamExt;

use crate::error::{Code, Error, Result};

const REPOSITORY: &str = "ipfs-accelerate/demo-runner";

/// Makes the image `tag` of `executable`; its whole name.
pub async fn make(docker: &Docker, executable: &Path, tag: &str) -> Result<String> {
    let libraries = mapped_libraries().map_err(|error| failed(&error))?;
    let tar = pack(executable, &libraries).map_err(|error| failed(&error))?;
    let directories: BTreeSet<_> =
        libraries.iter().filter_map(|library| library.parent()?.to_str()).collect();
    let search: Vec<_> = directories.into_iter().collect();
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(REPOSITORY.to_owned()),
        tag: Some(tag.to_owned()),
        changes: vec![
            r#"ENTRYPOINT ["/ipfs-accelerate", "simulated-runner"]"#.to_owned(),
            format!("ENV LD_LIBRARY_PATH={}", search.join(":")),
        ],
        ..CreateImageOptions::default()
    };
    let body = bollard::body_full(tar.into());
    let made = docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await;
    made.map_err(|error| failed(&error))?;
    Ok(format!("{REPOSITORY}:{tag}"))
}

/// Removes the image `name`.
pub async fn remove(docker: &Docker, name: &str) -> Result<()> {
    let options = RemoveImageOptionsBuilder::new().force(true).build();
    docker.remove_image(name, Some(options), None).await.map(drop).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::new(
        Code::ContainerFailed,
        format!("The demo's runner image could not be made: {error}."),
        "Run the demo with --engine memory.",
    )
}

/// The shared libraries of this process, the dynamic loader among them; none when it is static.
fn mapped_libraries() -> io::Result<Vec<PathBuf>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let libraries: BTreeSet<_> =
        paths.filter(|path| path.contains(".so")).map(PathBuf::from).collect();
    Ok(libraries.into_iter().collect())
}

fn pack(executable: &Path, libraries: &[PathBuf]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    // The engine's importer does not know sparse files.
    tar.sparse(false);
    tar.append_path_with_name(executable, "ipfs-accelerate")?;
    for library in libraries {
        tar.append_path_with_name(library, library.strip_prefix("/").unwrap_or(library))?;
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ld-") {
            // Where executables look for the loader: /lib64 on x86-64, /lib on ARM.
            for directory in ["lib64", "lib"] {
                tar.append_path_with_name(library, Path::new(directory).join(&*name))?;
            }
        }
    }
    // Runners have no other place for their scratch files.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_size(0);
    tar.append_data(&mut header, "tmp", io::empty())?;
    tar.into_inner()
}
