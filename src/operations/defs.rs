//! The definitions: what each operation is called, takes, gives and does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::message;
use super::{Answer, Call, Hints, Operation};
use crate::config::{self, StartInput};
use crate::error::{Code, Error, Result};
use crate::model::Repo;
use crate::resource::Resource;
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

    /// Most entries, 1 to 1000 (default 100).
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    #[schemars(range(min = 1, max = 1_000))]
    pub limit: Option<i64>,

    /// next_cursor of the page before.
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

    /// Most entries, 1 to 1000 (default 100).
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    #[schemars(range(min = 1, max = 1_000))]
    pub limit: Option<i64>,

    /// next_cursor of the page before.
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

fn paging(limit: Option<i64>, cursor: Option<String>, call: &Call) -> Result<Paging> {
    let limit = limit.map(|limit| match usize::try_from(limit) {
        Ok(limit @ 1..=1_000) => Ok(limit),
        _ => Err(Error::invalid("limit", format!("{limit} is out of range"), "Give 1 to 1000.")),
    });
    Ok(Paging { limit: limit.transpose()?, cursor, bytes: call.room })
}

pub(super) struct Start;

impl Operation for Start {
    const TOOL: &'static str = "runner_start_autoscaler";
    const COMMAND: &'static str = "start";
    const TITLE: &'static str = "Start the autoscaler";
    const ABOUT: &'static str = "Starts watching GitHub for queued self-hosted jobs and launching \
        one-job runner containers for them, by a service that goes on after this call. Needed \
        once; for single runners without it use runner_provision_for_workflow. Uses API \
        budget and the host's CPU and memory. Starting what runs changes nothing.";
    const HINTS: Hints =
        Hints { read_only: false, destructive: false, idempotent: true, open_world: true };
    type Input = StartInput;
    type Output = Started;

    async fn run(kit: &RunnerKit, input: StartInput, _: &Call) -> Result<Answer<Started>> {
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
        Runners go on until their job is done; to end one use \
        runner_stop_container. Stopping what is stopped changes nothing.";
    const HINTS: Hints =
        Hints { read_only: false, destructive: false, idempotent: true, open_world: false };
    type Input = NoInput;
    type Output = Stopped;

    async fn run(kit: &RunnerKit, _: NoInput, _: &Call) -> Result<Answer<Stopped>> {
        let stopped = kit.stop_autoscaler().await?;
        let message = message::stopped(&stopped);
        Ok(Answer::new(stopped, message))
    }
}

pub(super) struct Status;

impl Operation for Status {
    const TOOL: &'static str = "runner_get_status";
    const COMMAND: &'static str = "status";
    const TITLE: &'static str = "Show the status";
    const ABOUT: &'static str = "Tells whether the autoscaler runs, how many runners are active, \
        how many jobs wait and why, capacity, last error and API budget. Use it \
        first; for queues runner_list_workflows, for runners runner_list_containers. Costs \
        nothing.";
    const HINTS: Hints =
        Hints { read_only: true, destructive: false, idempotent: true, open_world: false };
    type Input = NoInput;
    type Output = views::Status;

    async fn run(kit: &RunnerKit, _: NoInput, _: &Call) -> Result<Answer<views::Status>> {
        let status = kit.get_status().await?;
        let wait = kit.longest_wait();
        let message = message::status(&status, kit.busy_runners(), wait.as_ref(), kit.now());
        let trouble = status.last_error.is_some() || !status.warnings.is_empty();
        let events = trouble.then_some(Resource::Events);
        Ok(Answer::new(status, message).see(events.into_iter().chain([Resource::Help])))
    }
}

pub(super) struct ListWorkflows;

impl Operation for ListWorkflows {
    const TOOL: &'static str = "runner_list_workflows";
    const COMMAND: &'static str = "list-workflows";
    const TITLE: &'static str = "List workflow queues";
    const ABOUT: &'static str = "Lists repositories with running, failed or pending workflow runs, \
        those that wait first: queued jobs, since when, and those that no runner here can serve. \
        For the runners use runner_list_containers. Costs nothing while the autoscaler runs, \
        otherwise some API budget.";
    const HINTS: Hints =
        Hints { read_only: true, destructive: false, idempotent: true, open_world: true };
    type Input = ListWorkflowsInput;
    type Output = Vec<WorkflowQueue>;

    async fn run(
        kit: &RunnerKit,
        input: ListWorkflowsInput,
        call: &Call,
    ) -> Result<Answer<Vec<WorkflowQueue>>> {
        let ListWorkflowsInput { repo, all, limit, cursor } = input;
        let paging = paging(limit, cursor, call)?;
        let filter = QueueFilter { repo, all: all.unwrap_or_default(), paging };
        let page = kit.get_workflow_queues(&filter).await?;
        let status = kit.status_of(&kit.subscribe().borrow());
        let message = format!("{}{}", message::queues(&page), message::unseen(&status, kit.now()));
        let waiting = page.items.iter().filter(|queue| queue.waits());
        let see: Vec<_> = waiting.map(|queue| queue.repo.clone()).collect();
        Ok(Answer::list(page, message).see(see.into_iter().map(Resource::Queue)))
    }
}

pub(super) struct Provision;

impl Operation for Provision {
    const TOOL: &'static str = "runner_provision_for_workflow";
    const COMMAND: &'static str = "provision";
    const TITLE: &'static str = "Provision runners now";
    const ABOUT: &'static str = "Launches runner containers at once: one for repo whether or not a \
        job waits, without repo one for every queued job; never beyond max_runners. The running \
        autoscaler does this by itself. Without a job a runner ends after idle_timeout. Uses the \
        host's CPU and memory.";
    const HINTS: Hints =
        Hints { read_only: false, destructive: false, idempotent: false, open_world: true };
    type Input = ProvisionInput;
    type Output = Vec<ProvisionedRunner>;

    async fn run(
        kit: &RunnerKit,
        input: ProvisionInput,
        call: &Call,
    ) -> Result<Answer<Vec<ProvisionedRunner>>> {
        let repo = input.repo.as_ref();
        let mut launched = match &call.progress {
            Some(steps) => kit.provision_watched(repo, steps).await?,
            None => kit.provision(repo).await?,
        };
        let told = call.room.map_or(launched.len(), |room| views::fitting(&launched, room));
        let message = message::provisioned(&launched, told);
        let truncated = launched.len() > told;
        launched.truncate(told);
        let see: Vec<_> = launched.iter().map(|runner| runner.container_id.clone()).collect();
        let page = views::Page { items: launched, next_cursor: None };
        let mut answer = Answer::list(page, message).see(see.into_iter().map(Resource::log));
        if let Some(page) = &mut answer.page {
            page.truncated = truncated;
        }
        Ok(answer)
    }
}

pub(super) struct ListContainers;

impl Operation for ListContainers {
    const TOOL: &'static str = "runner_list_containers";
    const COMMAND: &'static str = "list-containers";
    const TITLE: &'static str = "List runner containers";
    const ABOUT: &'static str = "Lists the runner containers of this autoscaler, newest first: \
        repository, name, labels, phase and job. Use it to find the id for \
        runner_stop_container; for waiting jobs use runner_list_workflows. Costs nothing.";
    const HINTS: Hints =
        Hints { read_only: true, destructive: false, idempotent: true, open_world: false };
    type Input = ListContainersInput;
    type Output = Vec<RunnerContainer>;

    async fn run(
        kit: &RunnerKit,
        input: ListContainersInput,
        call: &Call,
    ) -> Result<Answer<Vec<RunnerContainer>>> {
        let ListContainersInput { repo, limit, cursor } = input;
        let filter = ContainerFilter { repo, paging: paging(limit, cursor, call)? };
        let page = kit.list_runner_containers(&filter).await?;
        let message = message::containers(&page);
        let ids: Vec<_> = page.items.iter().map(|shown| shown.container_id.clone()).collect();
        Ok(Answer::list(page, message).see(ids.into_iter().map(Resource::log)))
    }
}

pub(super) struct StopContainer;

impl Operation for StopContainer {
    const TOOL: &'static str = "runner_stop_container";
    const COMMAND: &'static str = "stop-container";
    const TITLE: &'static str = "Stop a runner container";
    const ABOUT: &'static str = "Stops and removes one runner container, its work directory \
        and registration. An idle one stops at once; one with a job after the user agreed, \
        or with force, and the job fails. To launch no more use runner_stop_autoscaler. Stopping \
        what has ended changes nothing.";
    const HINTS: Hints =
        Hints { read_only: false, destructive: true, idempotent: true, open_world: true };
    type Input = StopContainerInput;
    type Output = StoppedContainer;

    async fn run(
        kit: &RunnerKit,
        input: StopContainerInput,
        _: &Call,
    ) -> Result<Answer<StoppedContainer>> {
        let force = input.force.unwrap_or_default();
        let stopped = kit.stop_runner_container(&input.container, force).await?;
        let message = message::container_stopped(&stopped);
        let log = Resource::log(&stopped.container_id);
        Ok(Answer::new(stopped, message).see([log]))
    }
}
