//! The definitions: what each operation is called, takes, gives and does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::message;
use super::{Answer, Hints, Operation};
use crate::config::{self, StartInput};
use crate::error::{Code, Error, Result};
use crate::model::Repo;
use crate::runner_kit::{ContainerFilter, QueueFilter, RunnerKit};
use crate::views::{
    self, Paging, ProvisionedRunner, RunnerContainer, Started, Stopped, StoppedContainer,
    WorkflowQueue,
};

// A plain doc comment on any of these structs would become the description of its command, hence
// `concat!`; those of the fields are the descriptions of arguments, for people.
#[doc = concat!("No arguments.")]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
pub struct NoInput {}

#[doc = concat!("Arguments of `runner_list_workflows`.")]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
pub struct ListWorkflowsInput {
    /// Only this repository, as owner/name.
    #[arg(long, value_name = "OWNER/NAME", value_parser = repo)]
    pub repo: Option<Repo>,

    /// Also repositories where nothing runs, waits or failed (default false).
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub all: Option<bool>,

    /// At most this many entries, 1 to 1000 (default 100).
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    #[schemars(range(min = 1, max = 1_000))]
    pub limit: Option<i64>,

    /// The next_cursor of the page before.
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
}

#[doc = concat!("Arguments of `runner_provision_for_workflow`.")]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
pub struct ProvisionInput {
    /// One runner for this repository, as owner/name; without it one for every queued job.
    #[arg(long, value_name = "OWNER/NAME", value_parser = repo)]
    pub repo: Option<Repo>,
}

#[doc = concat!("Arguments of `runner_list_containers`.")]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
pub struct ListContainersInput {
    /// Only those of this repository, as owner/name.
    #[arg(long, value_name = "OWNER/NAME", value_parser = repo)]
    pub repo: Option<Repo>,

    /// At most this many entries, 1 to 1000 (default 100).
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    #[schemars(range(min = 1, max = 1_000))]
    pub limit: Option<i64>,

    /// The next_cursor of the page before.
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
}

#[doc = concat!("Arguments of `runner_stop_container`.")]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
pub struct StopContainerInput {
    /// The container's id, the beginning of it, or the runner's name.
    #[arg(long, value_name = "CONTAINER")]
    #[schemars(length(min = 1, max = 128), extend("examples" = ["abc123def456"]))]
    pub container: String,

    /// Stop it even if it has a job, which then fails (default false).
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub force: Option<bool>,
}

/// The command line says what is wrong with a value in a line of its own.
fn repo(text: &str) -> Result<Repo, String> {
    text.parse().map_err(|error: Error| format!("{}. {}", error.message, error.remedy))
}

fn paging(limit: Option<i64>, cursor: Option<String>) -> Result<Paging> {
    let limit = limit.map(|limit| match usize::try_from(limit) {
        Ok(limit @ 1..=1_000) => Ok(limit),
        _ => Err(Error::invalid("limit", format!("{limit} is out of range"), "Give 1 to 1000.")),
    });
    Ok(Paging { limit: limit.transpose()?, cursor })
}

pub(super) struct Start;

impl Operation for Start {
    const TOOL: &'static str = "runner_start_autoscaler";
    const COMMAND: &'static str = "start";
    const TITLE: &'static str = "Start the autoscaler";
    const ABOUT: &'static str = "Starts watching GitHub for queued self-hosted jobs and launching \
        one-job runner containers for them. Use it once; runner_provision_for_workflow launches \
        runners without it. With background (the default) a service goes on after this call. \
        Uses GitHub's API budget, CPU and memory of the Docker host. Starting what runs already \
        changes nothing.";
    const HINTS: Hints =
        Hints { read_only: false, destructive: false, idempotent: true, open_world: true };
    type Input = StartInput;
    type Output = Started;

    async fn run(kit: &RunnerKit, input: StartInput) -> Result<Answer<Started>> {
        let differences = config::difference(&input, kit.config());
        let running = kit.subscribe().borrow().running;
        if running && !differences.is_empty() {
            return Err(Error::new(
                Code::AlreadyRunning,
                format!(
                    "The autoscaler runs already, otherwise configured: {}.",
                    differences.join("; ")
                ),
                "Stop it first, or leave these options out.",
            ));
        }
        let started = kit.start_autoscaler().await?;
        let message = message::started(&started);
        Ok(Answer::new(started, message))
    }
}

pub(super) struct Stop;

impl Operation for Stop {
    const TOOL: &'static str = "runner_stop_autoscaler";
    const COMMAND: &'static str = "stop";
    const TITLE: &'static str = "Stop the autoscaler";
    const ABOUT: &'static str = "Stops watching for queued jobs: no more runners are launched. \
        Runners that exist go on until their job is done; to end one of them use \
        runner_stop_container. Stopping what is stopped changes nothing.";
    const HINTS: Hints =
        Hints { read_only: false, destructive: false, idempotent: true, open_world: false };
    type Input = NoInput;
    type Output = Stopped;

    async fn run(kit: &RunnerKit, _: NoInput) -> Result<Answer<Stopped>> {
        let stopped = kit.stop_autoscaler().await?;
        let message = message::stopped(&stopped);
        Ok(Answer::new(stopped, message))
    }
}

pub(super) struct Status;

impl Operation for Status {
    const TOOL: &'static str = "runner_get_status";
    const COMMAND: &'static str = "status";
    const TITLE: &'static str = "Show the autoscaler's status";
    const ABOUT: &'static str = "Tells whether the autoscaler runs, how many runners are active, \
        how many jobs wait, the capacity, the last error and GitHub's API budget. Use it first. \
        For single queues use runner_list_workflows, for single runners runner_list_containers. \
        Costs nothing.";
    const HINTS: Hints =
        Hints { read_only: true, destructive: false, idempotent: true, open_world: false };
    type Input = NoInput;
    type Output = views::Status;

    async fn run(kit: &RunnerKit, _: NoInput) -> Result<Answer<views::Status>> {
        let status = kit.get_status().await?;
        let oldest = kit.waiting_since();
        let message = message::status(&status, oldest, kit.now());
        Ok(Answer::new(status, message))
    }
}

pub(super) struct ListWorkflows;

impl Operation for ListWorkflows {
    const TOOL: &'static str = "runner_list_workflows";
    const COMMAND: &'static str = "list-workflows";
    const TITLE: &'static str = "List workflow queues";
    const ABOUT: &'static str = "Lists repositories with running, failed or pending workflow runs, \
        those that wait first, with the queued jobs, how long they wait and which no runner here \
        can serve. Use runner_list_containers for the runners themselves. Costs nothing while the \
        autoscaler runs, otherwise some of GitHub's API budget.";
    const HINTS: Hints =
        Hints { read_only: true, destructive: false, idempotent: true, open_world: true };
    type Input = ListWorkflowsInput;
    type Output = Vec<WorkflowQueue>;

    async fn run(kit: &RunnerKit, input: ListWorkflowsInput) -> Result<Answer<Vec<WorkflowQueue>>> {
        let ListWorkflowsInput { repo, all, limit, cursor } = input;
        let paging = paging(limit, cursor)?;
        let filter = QueueFilter { repo, all: all.unwrap_or_default(), paging };
        let page = kit.get_workflow_queues(&filter).await?;
        let message = message::queues(&page.items);
        Ok(Answer::list(page, message))
    }
}

pub(super) struct Provision;

impl Operation for Provision {
    const TOOL: &'static str = "runner_provision_for_workflow";
    const COMMAND: &'static str = "provision";
    const TITLE: &'static str = "Provision runners now";
    const ABOUT: &'static str = "Launches runner containers at once: one for repo whether or not a \
        job waits, or without repo one for every queued job. Never beyond max_runners. While the \
        autoscaler runs it does this by itself. A runner without a job ends after idle_timeout. \
        Uses CPU and memory of the Docker host.";
    const HINTS: Hints =
        Hints { read_only: false, destructive: false, idempotent: false, open_world: true };
    type Input = ProvisionInput;
    type Output = Vec<ProvisionedRunner>;

    async fn run(kit: &RunnerKit, input: ProvisionInput) -> Result<Answer<Vec<ProvisionedRunner>>> {
        let launched = kit.provision(input.repo.as_ref()).await?;
        let message = message::provisioned(&launched);
        let page = views::Page { items: launched, next_cursor: None };
        Ok(Answer::list(page, message))
    }
}

pub(super) struct ListContainers;

impl Operation for ListContainers {
    const TOOL: &'static str = "runner_list_containers";
    const COMMAND: &'static str = "list-containers";
    const TITLE: &'static str = "List runner containers";
    const ABOUT: &'static str = "Lists the runner containers of this autoscaler, newest first: \
        repository, name, labels, phase (starting, idle, busy, exited) and job. Other containers \
        never show. Use it to find the id for runner_stop_container; for waiting jobs use \
        runner_list_workflows. Costs next to nothing.";
    const HINTS: Hints =
        Hints { read_only: true, destructive: false, idempotent: true, open_world: false };
    type Input = ListContainersInput;
    type Output = Vec<RunnerContainer>;

    async fn run(
        kit: &RunnerKit,
        input: ListContainersInput,
    ) -> Result<Answer<Vec<RunnerContainer>>> {
        let ListContainersInput { repo, limit, cursor } = input;
        let filter = ContainerFilter { repo, paging: paging(limit, cursor)? };
        let page = kit.list_runner_containers(&filter).await?;
        let message = message::containers(&page.items);
        Ok(Answer::list(page, message))
    }
}

pub(super) struct StopContainer;

impl Operation for StopContainer {
    const TOOL: &'static str = "runner_stop_container";
    const COMMAND: &'static str = "stop-container";
    const TITLE: &'static str = "Stop a runner container";
    const ABOUT: &'static str = "Stops one runner container and removes it, its work directory \
        and its registration on GitHub. An idle one stops at once; one with a job only with \
        force, and its job fails. To stop launching instead, use runner_stop_autoscaler. Stopping \
        one that has ended changes nothing.";
    const HINTS: Hints =
        Hints { read_only: false, destructive: true, idempotent: true, open_world: true };
    type Input = StopContainerInput;
    type Output = StoppedContainer;

    async fn run(kit: &RunnerKit, input: StopContainerInput) -> Result<Answer<StoppedContainer>> {
        let force = input.force.unwrap_or_default();
        let stopped = kit.stop_runner_container(&input.container, force).await?;
        let message = message::container_stopped(&stopped);
        Ok(Answer::new(stopped, message))
    }
}
