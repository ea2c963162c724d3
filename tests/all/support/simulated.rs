//! The image of the simulated runner (temporary; the demo's own maker replaces it).

use std::collections::BTreeSet;
use std::path::Path;

use bollard::body_full;
use bollard::query_parameters::CreateImageOptions;
use futures::TryStreamExt;

pub(crate) const TAG: &str = "ipfs-accelerate-test/simulated:latest";

pub(crate) async fn make(executable: &Path) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libraries: BTreeSet<&str> = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|path| path.contains(".so"))
        .collect();
    let mut tar = tar::Builder::new(Vec::new());
    tar.sparse(false);
    tar.append_path_with_name(executable, "ipfs-accelerate").unwrap();
    let mut directories = BTreeSet::new();
    for library in &libraries {
        let name = Path::new(library).file_name().unwrap().to_string_lossy().into_owned();
        tar.append_path_with_name(library, library.trim_start_matches('/')).unwrap();
        if name.starts_with("ld-") {
            tar.append_path_with_name(library, format!("lib64/{name}")).unwrap();
        }
        directories.insert(Path::new(library).parent().unwrap().to_string_lossy().into_owned());
    }
    let path: Vec<_> = directories.into_iter().collect();
    let options = CreateImageOptions {
        from_src: Some("-".into()),
        repo: Some("ipfs-accelerate-test/simulated".into()),
        tag: Some("latest".into()),
        changes: vec![
            r#"ENTRYPOINT ["/ipfs-accelerate", "simulated-runner"]"#.into(),
            format!("ENV LD_LIBRARY_PATH={}", path.join(":")),
        ],
        ..CreateImageOptions::default()
    };
    let body = body_full(tar.into_inner().unwrap().into());
    super::docker()
        .create_image(Some(options), Some(body), None)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    TAG.to_owned()
}
