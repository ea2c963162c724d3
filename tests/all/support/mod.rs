//! Worlds for tests: what several of them need.

pub(crate) mod client;
pub(crate) mod hook;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod program;
pub(crate) mod world;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptions,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{EncodePublicKey, LineEnding};
use rsa::{RsaPrivateKey, rand_core::OsRng};
use runner_kit::config::{
    Bounds, DockerAccess, EngineKind, Profile, PullPolicy, RegistrationKind, RunnerConfig,
    RunnerEnv, ScopeKind,
};
use runner_kit::model::Labels;
use serde_json::Value;

/// The engine for assertions, past the code under test.
pub(crate) fn docker() -> Docker {
    Docker::connect_with_local_defaults()
        .expect("these tests need a Docker engine: start one (`systemctl start docker`)")
}

/// A configuration of `instance` whose runners are tiny and do what `script` says.
pub(crate) fn config(instance: &str, work_dir: PathBuf, script: &str) -> RunnerConfig {
    RunnerConfig {
        owner: None,
        poll_interval: Duration::from_secs(1),
        since_days: 1,
        max_runners: 4,
        max_per_repo: None,
        filter_by_arch: true,
        enable_p2p: false,
        repos: Vec::new(),
        exclude_repos: Vec::new(),
        labels: Labels::new(["self-hosted", "linux"]),
        scope: ScopeKind::Repo,
        runner_group: None,
        scale_set: None,
        registration: RegistrationKind::Token,
        min_idle: 0,
        idle_timeout: Duration::from_secs(300),
        job_timeout: None,
        runner_image: image::TAG.to_owned(),
        profile: Profile::Unknown,
        pull: PullPolicy::Never,
        runner_work_dir: work_dir,
        runner_user: Some("1001:121".to_owned()),
        docker_access: DockerAccess::None,
        read_only: false,
        network_mode: "host".to_owned(),
        memory_limit: 64 << 20,
        cpu_limit: 1.0,
        pids_limit: 64,
        min_free_disk: 0,
        prune_images: false,
        api_budget: 50,
        instance: instance.to_owned(),
        engine: EngineKind::Docker,
        token_file: None,
        app_id: None,
        app_key_file: None,
        state_dir: "/nonexistent".into(),
        api_url: "https://api.github.com".to_owned(),
        server_url: "https://github.com".to_owned(),
        bounds: Bounds::default(),
        runner_env: RunnerEnv(vec![("TEST_SCRIPT".to_owned(), script.to_owned())]),
    }
}

/// A new key of an app: as the environment holds it, and as GitHub knows it.
pub(crate) fn app_key() -> (String, String) {
    let key = RsaPrivateKey::new(&mut OsRng, 2048).expect("a key");
    let public = key.to_public_key().to_public_key_pem(LineEnding::LF).expect("a public key");
    let private = key.to_pkcs1_pem(LineEnding::LF).expect("a private key").replace('\n', "\\n");
    (private, public)
}

/// The status and the JSON of the answer to `request` with `body`.
pub(crate) async fn answer(request: ::http::request::Builder, body: String) -> (u16, Value) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = request.body(Full::from(body)).expect("a request");
    let response = client.request(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// What there is of `instance`: its containers, helpers included, and its volumes.
pub(crate) async fn remains(instance: &str) -> Vec<String> {
    remains_on(&docker(), instance).await
}

/// The same on another engine.
pub(crate) async fn remains_on(docker: &Docker, instance: &str) -> Vec<String> {
    let mut names = Vec::new();
    for label in ["instance", "helper"] {
        let label = format!("io.ipfs-accelerate.runner.{label}={instance}");
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = docker.list_containers(Some(options)).await.expect("containers");
        names.extend(containers.into_iter().flat_map(|container| container.names).flatten());
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = docker.list_volumes(Some(options)).await.expect("volumes");
        names.extend(volumes.volumes.unwrap_or_default().into_iter().map(|volume| volume.name));
    }
    names
}

/// Removes all that carries the label of `instance`, whatever became of the test.
pub(crate) struct CleanUp(pub(crate) String);

impl Drop for CleanUp {
    fn drop(&mut self) {
        let instance = self.0.clone();
        // A test's own runtime can't block here.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(clean_up(&instance));
        });
        let _ = cleaned.join();
    }
}

async fn clean_up(instance: &str) {
    let docker = docker();
    for label in ["instance", "helper"] {
        let label = format!("io.ipfs-accelerate.runner.{label}={instance}");
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            let id = container.id.unwrap_or_default();
            let _ = docker.remove_container(&id, Some(options)).await;
        }
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let Ok(volumes) = docker.list_volumes(Some(options)).await else { continue };
        for volume in volumes.volumes.unwrap_or_default() {
            let _ = docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
        }
    }
}
