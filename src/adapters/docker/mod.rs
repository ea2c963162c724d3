//! Runners in containers of a Docker Engine, or of what speaks its API (API 1.41 and later).
//!
//! The containers' labels are the only state: whatever happens to this process, the next one finds
//! by listing what runs, and by its marks what was left over. Not here: TLS and SSH endpoints,
//! credentials of registries (an image that needs them is pulled by hand), Windows containers.

mod chore;
mod connect;
mod disk;
mod engine;
mod events;
mod failure;
mod image;
mod inspection;
mod labels;
mod launching;
mod lifecycle;
mod logs;
mod look;
mod prune;
mod spec;
mod survey;
mod sweep;
mod usage;
mod workspace;

pub use disk::free_space;
pub use engine::DockerEngine;
pub use survey::{ImageStanding, Survey};
