//! A runner image made on the spot: busybox and what the default image has of directories. No
//! registry is needed.

use bollard::body_full;
use bollard::query_parameters::CreateImageOptions;
use futures::TryStreamExt;
use tokio::sync::OnceCell;

/// The image's name.
pub(crate) const TAG: &str = "ipfs-accelerate-test/busybox:latest";

/// Debian's package busybox-static; statically linked, so that it runs in an empty image.
const BUSYBOX: &str = "/bin/busybox";

const APPLETS: &[&str] = &[
    "cat", "chmod", "dd", "echo", "env", "grep", "id", "ls", "mkdir", "rm", "sh", "sleep", "stat",
    "tail", "test", "touch", "true", "wget",
];

/// Says which contents an image has, so that one of an earlier run is used again.
const LABEL: &str = "io.ipfs-accelerate.test.contents";

/// The image's name, after making it where it is not there yet.
///
/// Its entry point is `sh`, doing what the variable `TEST_SCRIPT` says.
pub(crate) async fn runner_image() -> &'static str {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(make).await;
    TAG
}

/// Another image like it, called `repo` and `latest`, which no other image is; its id.
pub(crate) async fn another_image(repo: &str) -> String {
    let busybox = std::fs::read(BUSYBOX).expect("the test image was made of it");
    import(repo, &busybox, &format!("another of {repo}")).await;
    let found = super::docker().inspect_image(&format!("{repo}:latest")).await;
    found.expect("it is there").id.expect("an id")
}

async fn make() {
    let busybox = std::fs::read(BUSYBOX).unwrap_or_else(|error| {
        panic!("{BUSYBOX} is needed for the test image ({error}): apt-get install busybox-static")
    });
    let contents = format!("2 {} {}", busybox.len(), APPLETS.join(" "));
    let docker = super::docker();
    let found = docker.inspect_image(TAG).await.ok().and_then(|image| image.config);
    let labels = found.and_then(|config| config.labels).unwrap_or_default();
    if labels.get(LABEL) == Some(&contents) {
        return;
    }
    import("ipfs-accelerate-test/busybox", &busybox, &contents).await;
}

async fn import(repo: &str, busybox: &[u8], contents: &str) {
    let docker = super::docker();
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some("latest".to_owned()),
        changes: vec![
            r#"ENTRYPOINT ["/bin/sh", "-c", "eval \"$TEST_SCRIPT\""]"#.to_owned(),
            "ENV PATH=/bin".to_owned(),
            format!("LABEL {LABEL}=\"{contents}\""),
        ],
        ..CreateImageOptions::default()
    };
    let tar = tar(busybox).expect("a tar of the image");
    docker
        .create_image(Some(options), Some(body_full(tar.into())), None)
        .try_collect::<Vec<_>>()
        .await
        .expect("the engine imports the test image");
}

fn tar(busybox: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header
    };
    for (directory, mode, owner) in [
        ("bin", 0o755, (0, 0)),
        ("etc", 0o755, (0, 0)),
        ("tmp", 0o1777, (0, 0)),
        ("run", 0o755, (0, 0)),
        ("actions-runner", 0o755, (1001, 121)),
    ] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        tar.append_data(&mut header, directory, std::io::empty())?;
    }
    let size = busybox.len() as u64;
    let mut file = header(tar::EntryType::Regular, 0o755, size);
    tar.append_data(&mut file, "bin/busybox", busybox)?;
    for applet in APPLETS {
        let mut link = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut link, format!("bin/{applet}"), "busybox")?;
    }
    let users = "root:x:0:0::/:/bin/sh\nrunner:x:1001:121::/actions-runner:/bin/sh\n".as_bytes();
    for (name, contents) in [("etc/passwd", users), ("actions-runner/seed", b"seeded\n")] {
        let mut file = header(tar::EntryType::Regular, 0o644, contents.len() as u64);
        tar.append_data(&mut file, name, contents)?;
    }
    tar.into_inner()
}
