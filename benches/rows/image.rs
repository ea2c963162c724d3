//! A runner image of two megabytes, made on the spot: busybox, and the simulated runner as a few
//! lines of shell, so that what is measured is the launch and not the runner.

use bollard::Docker;
use bollard::body_full;
use bollard::query_parameters::{CreateImageOptions, RemoveImageOptions};
use futures::TryStreamExt;

/// The image's name.
pub(crate) const TAG: &str = "ipfs-accelerate-bench/runner:latest";

/// Debian's package busybox-static; statically linked, so that it runs in an empty image.
const BUSYBOX: &str = "/bin/busybox";

const APPLETS: &[&str] = &["base64", "chmod", "rm", "sh", "sleep", "stat", "wget"];

/// The simulator's protocol for runners: one registration, one job, and the end.
const RUNNER: &str = r#"#!/bin/sh
post() {
    wget -qO- --header 'Content-Type: application/json' --header "Authorization: Bearer $session" \
        --post-data "$2" "$SIMULATOR_URL/_runner$1"
}
text() { rest=${2#*\"$1\":\"}; echo "${rest%%\"*}"; }
number() { rest=${2#*\"$1\":}; echo "${rest%%[,\}]*}"; }
file() { text "$1" "$2" | base64 -d; }
if [ -n "$ACTIONS_RUNNER_INPUT_JITCONFIG" ]; then
    files=$(echo "$ACTIONS_RUNNER_INPUT_JITCONFIG" | base64 -d)
    secret=$(text clientId "$(file .credentials "$files")")
    registered=$(post /register "{\"jit\":\"$secret\"}") || exit 3
else
    IFS=,
    for label in $LABELS; do labels="$labels${labels:+,}\"$label\""; done
    unset IFS
    registered=$(post /register "{\"token\":\"$RUNNER_TOKEN\",\"name\":\"$RUNNER_NAME\",\"labels\":[$labels],\"ephemeral\":true}") || exit 3
fi
session=$(text session "$registered")
while true; do
    told=$(post /poll null) || exit 4
    case $told in
        *'"message":"job"'*) break ;;
        *'"message"'*) exit 0 ;;
    esac
done
job=$(number id "$told")
post "/jobs/$job/started" null || exit 5
millis=$(number takes_ms "$told")
sleep "$((millis / 1000)).$((millis % 1000 / 100))"
post "/jobs/$job/completed" '{"conclusion":"success"}' || exit 6
"#;

/// Makes the image, a new one each time.
pub(crate) async fn make(docker: &Docker) -> Result<(), Box<dyn std::error::Error>> {
    let busybox = std::fs::read(BUSYBOX).map_err(|error| {
        format!("{BUSYBOX} is needed for the image ({error}): apt-get install busybox-static")
    })?;
    let _ = docker.remove_image(TAG, None::<RemoveImageOptions>, None).await;
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: TAG.split(':').next().map(str::to_owned),
        tag: Some("latest".to_owned()),
        changes: vec![r#"ENTRYPOINT ["/bin/runner"]"#.to_owned(), "ENV PATH=/bin".to_owned()],
        ..CreateImageOptions::default()
    };
    let body = body_full(tar(&busybox)?.into());
    docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await?;
    Ok(())
}

fn tar(busybox: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(0);
        header
    };
    for (directory, mode) in [("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        tar.append_data(&mut header, directory, std::io::empty())?;
    }
    let users = "root:x:0:0::/:/bin/sh\n".as_bytes();
    for (name, mode, contents) in [
        ("bin/busybox", 0o755, busybox),
        ("bin/runner", 0o755, RUNNER.as_bytes()),
        ("etc/passwd", 0o644, users),
    ] {
        let mut file = header(tar::EntryType::Regular, mode, contents.len() as u64);
        tar.append_data(&mut file, name, contents)?;
    }
    for applet in APPLETS {
        let mut link = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut link, format!("bin/{applet}"), "busybox")?;
    }
    tar.into_inner()
}
