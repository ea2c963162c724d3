//! What there is to know of the engine and of the image, looked at without changing anything.

use std::path::PathBuf;

use bollard::errors::Error as EngineError;

use super::engine::DockerEngine;
use super::failure::status;
use super::spec;
use crate::error::{Error, Result};
use crate::model::clean_text;

/// The engine and its host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// Version of the engine.
    pub version: String,
    /// The newest version of its API.
    pub api: String,
    /// How it stores images.
    pub storage: String,
    /// Version of its control groups.
    pub cgroup: String,
    /// Its processor, as `uname -m` calls it.
    pub architecture: String,
    /// Whole processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Where it keeps its data, where that is on this machine.
    pub root: Option<PathBuf>,
    /// What the configuration makes worth saying.
    pub warnings: Vec<String>,
}

/// Whether runners will have their image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageStanding {
    /// It is there, for this processor as images call it.
    Present(String),
    /// It is not there; its registry has it, for these processors (none: it does not say).
    Pullable(Vec<String>),
    /// It is not there, and its registry does not give it.
    Missing(Error),
}

impl DockerEngine {
    /// Looks at the engine.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn survey(&self) -> Result<Survey> {
        let inner = &self.inner;
        let failed = |error: EngineError| inner.failed(&error);
        let info = inner.call(async |docker| docker.info().await).await.map_err(failed)?;
        let version = inner.call(async |docker| docker.version().await).await.map_err(failed)?;
        let site = inner.site().await?;
        let text = |text: Option<String>| clean_text(&text.unwrap_or_default(), 60);
        Ok(Survey {
            version: text(info.server_version),
            api: text(version.api_version),
            storage: text(info.driver),
            cgroup: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
            architecture: text(info.architecture),
            cpus: site.cpus,
            memory: site.memory,
            root: site.data.clone(),
            warnings: spec::warnings(&inner.config, &site),
        })
    }

    /// Looks for the image, on the engine's host and then in its registry.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn image_standing(&self) -> Result<ImageStanding> {
        let inner = &self.inner;
        if let Some(found) = inner.inspect_image().await? {
            let architecture = found.architecture.unwrap_or_default();
            return Ok(ImageStanding::Present(clean_text(&architecture, 40)));
        }
        let image = &inner.config.runner_image;
        let asked = inner.call(async |docker| docker.inspect_registry_image(image, None).await);
        Ok(match asked.await {
            Ok(found) => {
                let platforms = found.platforms.into_iter();
                let names = platforms.filter_map(|platform| platform.architecture);
                ImageStanding::Pullable(names.map(|name| clean_text(&name, 40)).collect())
            }
            Err(error) if status(&error).is_some() => {
                ImageStanding::Missing(inner.pull_failed(&error))
            }
            Err(error) => return Err(inner.failed(&error)),
        })
    }
}
