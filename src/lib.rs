//! Autoscaler for GitHub Actions self-hosted runners on Docker hosts: the library behind
//! `ipfs-accelerate`. Begin with [`RunnerKit`]; this page is the map of the code.
//!
//! # The picture
//!
//! ```text
//!    GitHub: which jobs wait?                     engine and GitHub: which runners are there?
//!    polls    webhooks    scale sets                              │
//!       └─────────┼───────────┘                                   │ lifecycle
//!                 ▼                                               ▼
//!    demand: a Board, joined by job ─▶ Demand      Container, Registered ─▶ supply: Runner, Phase
//!                 │ rings                                         │ each at its own pace
//!                 └───────────────────┬───────────────────────────┘
//!     reconciler   look ─▶ plan::plan(View) ─▶ Vec<Action> ─▶ act ─▶ Snapshot
//!                   ▲            pure                          │         │
//!     pace    timer, an event    register, launch, remove ◀────┘         ▼
//!                                                     RunnerKit ─▶ operations ─▶ interfaces
//! ```
//!
//! One direction: look, decide, act, publish. Truth lives with GitHub (jobs) and in the labels of
//! the containers (runners), so there is no database; whoever starts after a crash finds everything
//! by looking. Jobs and runners are looked at side by side, and every answer is acted upon at once;
//! that the two were not seen at the same moment, `plan` takes into account. What could not be seen is
//! an error that nothing is concluded from: an outage must never look like an empty queue.
//!
//! # The rooms
//!
//! *Ground floor.* [`error`]: the one error, with sentence, remedy and code. [`model`]: the nouns,
//! and the only place that compares labels. [`schema`]: JSON schemas that strict clients take.
//! [`config`]: from layers to the one [`RunnerConfig`] in force; the only place with defaults.
//!
//! *The core, free of IO.* [`plan`] makes every decision about scaling, as values that are compared
//! in tests and performed elsewhere; a launch is only ever decided within the free capacity, by hand
//! or not. [`demand`] joins what polls, webhooks and scale sets tell of jobs, [`supply`] says what each
//! runner is doing, by engine, GitHub and, where these disagree, its own log; [`pace`] when to look next. [`webhook`] knows which deliveries are GitHub's and
//! what they tell.
//!
//! *What touches the world.* [`ports`] has the three traits: `DemandSource`, `Registrar`, `Engine`.
//! [`adapters`] implement them and never name each other, but for the poller and the scale sets, which
//! ask GitHub by way of the client: `github`, `poll`, `scaleset`, `docker`, and `memory` for tests and
//! the demo.
//! [`lifecycle`] uses the ports for one step at a time: look, launch, remove. [`history`] remembers
//! what has ended, [`hints`] where something may be left, [`samples`] the numbers of the last day,
//! [`metrics`] how long each step takes, [`audit`] who has changed something.
//!
//! *The service.* `reconciler` is the loop, an actor that alone owns its state and publishes a
//! [`snapshot`]; [`runner_kit`] is the object that holds it and has a method for each operation.
//! [`assemble`] is the only room that knows both adapters and service. [`doctor`] looks at what all
//! of it needs, and says what is missing.
//!
//! *The ways in.* [`operations`] defines each of the seven operations once, as a type with its
//! arguments, its result (in [`views`]) and its names. Command line, MCP tools, `schemas/` and the
//! README's table all follow from that. [`resource`] has the addresses of what can be read beside.
//! [`interfaces`] translate and decide nothing: command line, MCP on stdio, control socket and HTTP,
//! the single service of a host, the demo.
//!
//! [`simulator`] is a GitHub to test against and knows nothing of the rest.
//!
//! # Who may name whom
//!
//! ```text
//! main ─▶ interfaces ─▶ operations ─▶ runner_kit ─▶ reconciler ─▶ plan, supply, pace
//!              │                          ▲              │
//!              └────▶ assemble ───────────┘              ├─▶ lifecycle ─▶ ports ◀── adapters
//!                         └──────▶ adapters ◀─ doctor     └─▶ snapshot, views
//!
//! below all of them: config ─▶ model ─▶ error; schema
//! ```
//!
//! `tests/all/house` has the whole matrix and reads the sources against it. It also finds
//! circles, a core that names an HTTP or Docker library, and files of more than 400 lines without
//! their tests. A new engine or source of work is one new adapter and one arm in [`assemble`]; a new
//! operation is one type and one line in its table.

pub mod adapters;
pub mod assemble;
pub mod audit;
pub mod config;
pub mod demand;
pub mod doctor;
pub mod error;
pub mod hints;
pub mod history;
pub mod interfaces;
pub mod lifecycle;
pub mod metrics;
pub mod model;
pub mod operations;
pub mod pace;
pub mod plan;
pub mod ports;
mod reconciler;
pub mod resource;
pub mod runner_kit;
pub mod samples;
pub mod schema;
pub mod simulator;
pub mod snapshot;
pub mod supply;
pub mod views;
pub mod webhook;

pub use config::RunnerConfig;
pub use error::{Error, Result};
pub use runner_kit::RunnerKit;
