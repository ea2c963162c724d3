//! An engine that is reached over the network sees none of our files.

use tokio::net::{TcpListener, UnixStream};

use super::*;

#[tokio::test]
async fn on_an_engine_elsewhere_the_work_directory_is_a_volume_that_the_runner_can_use() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let script = r#"touch "$RUNNER_WORKDIR/x" && echo written; id"#;
    let world = World::at("elsewhere", script, Some(host), |config| {
        config.docker_access = DockerAccess::Socket;
    })
    .await;
    let container = world.run().await;
    assert_eq!(world.volumes().await, [format!("{}-work", container.name)]);
    assert!(!world.work.exists());
    let gid = fs::metadata("/var/run/docker.sock").unwrap().gid();
    let ended = world.engine.stop(&container).await.unwrap();
    assert!(ended.log_tail.starts_with("written\n"), "{}", ended.log_tail);
    assert!(ended.log_tail.contains(&gid.to_string()), "{}", ended.log_tail);
    let warnings = world.engine.host().await.unwrap().warnings.join("\n");
    assert!(warnings.contains("does not share this machine's files"), "{warnings}");
    world.engine.remove(&container).await.unwrap();
    world.assert_nothing_is_left().await;
}
