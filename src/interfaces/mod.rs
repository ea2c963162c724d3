//! The ways in: command line, MCP over stdio and socket, HTTP. No decisions, only translation.

pub mod bundle;
mod caller;
pub mod cli;
pub mod demo;
pub mod generate;
pub mod host;
pub mod http;
mod logfile;
pub mod mcp;
mod remote;
pub mod service;
mod supervisor;
pub mod text;
mod typings;
