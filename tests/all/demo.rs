//! The demo, as a newcomer runs it: with Docker, without, and when nobody listens any more.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::program::Home;

/// What the demo `process` left on this host: containers, images and directories.
async fn leftovers(home: &Home, process: u32) -> Vec<String> {
    let docker = crate::support::docker();
    let options = bollard::query_parameters::ListContainersOptionsBuilder::new().all(true).build();
    let containers = docker.list_containers(Some(options)).await.unwrap();
    let mut left: Vec<String> = containers.into_iter().flat_map(|c| c.names).flatten().collect();
    left.retain(|name| name.contains(&format!("ipfs-demo-{process}-")));
    let images =
        docker.list_images(None::<bollard::query_parameters::ListImagesOptions>).await.unwrap();
    let tags = images.into_iter().flat_map(|image| image.repo_tags);
    let image = format!("ipfs-accelerate/demo-runner:demo-{process}");
    left.extend(tags.filter(|tag| *tag == image));
    let directories = std::fs::read_dir(home.path().join("tmp")).unwrap().flatten();
    left.extend(directories.map(|entry| entry.path().display().to_string()));
    left
}

fn home() -> Home {
    let home = Home::new([]);
    std::fs::create_dir(home.path().join("tmp")).unwrap();
    home
}

#[tokio::test]
async fn it_serves_jobs_on_both_engines_and_leaves_nothing_behind() {
    let home = home();
    // The user's own configuration is not the demo's.
    let config = home.path().join("home/.config/ipfs-accelerate");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "owner = \"nobody-here\"\n").unwrap();
    for (engine, said) in [("docker", "Docker Engine"), ("memory", "in memory, no containers")] {
        let mut command = home.command(&format!("demo --plain --seconds 8 --engine {engine}"));
        command.env("TMPDIR", home.path().join("tmp")).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let process = child.id().unwrap();
        let output = child.wait_with_output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(said) && text.contains("Nothing was left behind."), "{text}");
        let served = text.lines().find(|line| line.contains(" served, ")).unwrap();
        assert!(!served.contains(": 0 served"), "{text}");
        assert_eq!(leftovers(&home, process).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn it_cleans_up_when_nobody_reads_any_more_and_when_it_is_told_to_end() {
    let home = home();
    for signal in [None, Some("TERM"), Some("HUP")] {
        let mut command = home.command("demo --plain --engine memory");
        command.env("TMPDIR", home.path().join("tmp")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let process = child.id().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("started") {
                break;
            }
        }
        match signal {
            Some(signal) => {
                let pid = process.to_string();
                std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
                while lines.next_line().await.unwrap().is_some() {}
            }
            None => drop(lines),
        }
        child.wait().await.unwrap();
        assert_eq!(leftovers(&home, process).await, Vec::<String>::new(), "{signal:?}");
    }
}
