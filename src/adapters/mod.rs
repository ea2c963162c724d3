//! The two sides of the world: concrete sources, registrars and engines behind the ports.

pub mod docker;
pub mod github;
pub mod memory;
pub mod poll;
pub mod scaleset;
