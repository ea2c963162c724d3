//! The same container without the service: created and started again and again, by the same client.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use serde_json::{Value, json};

use super::world::{BARE, World, now};

/// What is created: a runner of the service, with another name and labels that no job has.
#[derive(Clone)]
pub(crate) struct Bare {
    docker: Docker,
    body: Value,
    name: String,
}

impl Bare {
    /// From a container of the service, as the engine shows it.
    pub(crate) async fn like(world: &World, name: &str) -> Self {
        let seen: ContainerInspectResponse =
            world.docker.inspect_container(name, None).await.unwrap();
        let mut body = serde_json::to_value(seen.config.unwrap()).unwrap();
        body["HostConfig"] = serde_json::to_value(seen.host_config.unwrap()).unwrap();
        // The engine has put it there from the container's own id.
        body.as_object_mut().unwrap().remove("Hostname");
        let labels = body["Labels"].as_object().unwrap();
        let labels: HashMap<_, _> = labels
            .values()
            .enumerate()
            .map(|(at, value)| (format!("{BARE}.{at}"), value.clone()))
            .collect();
        body["Labels"] = json!(labels);
        body["Labels"][BARE] = json!("");
        for variable in body["Env"].as_array_mut().unwrap() {
            if variable.as_str().unwrap().starts_with("LABELS=") {
                *variable = json!("LABELS=bare");
            }
        }
        Self { docker: world.docker.clone(), body, name: name.to_owned() }
    }

    /// Makes what a launch needs beside the container.
    pub(crate) fn prepare(&self, world: &World, name: &str) -> ContainerCreateBody {
        std::fs::create_dir_all(world.bare_dir(name)).unwrap();
        let text = self.body.to_string().replace(&self.name, name);
        serde_json::from_str(&text).unwrap()
    }

    /// Creates and starts one; when that began, and its id.
    pub(crate) async fn launch(&self, name: &str, body: ContainerCreateBody) -> (f64, String) {
        let began = now();
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made = self.docker.create_container(Some(options), body).await.unwrap();
        self.docker.start_container(&made.id, None).await.unwrap();
        (began, made.id)
    }
}
