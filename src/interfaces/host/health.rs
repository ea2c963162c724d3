//! How it goes with whoever holds the loop, told without work: it is asked by everybody, and often.

use std::time::Duration;

use super::{Host, Place, gone};
use crate::audit::Transport;
use crate::error::{Code, Result};
use crate::interfaces::remote::Remote;
use crate::operations::{self, Arguments, Call};
use crate::runner_kit::{RunnerKit, Unready};
use crate::views::Status;

/// How long a loop has to answer: it does nothing that takes long.
const PATIENCE: Duration = Duration::from_secs(2);

impl Host {
    /// What holds the loop, where that is in this process.
    pub fn holder(&self) -> Option<RunnerKit> {
        match &self.place {
            Place::Service { kit, .. } => Some((**kit).clone()),
            Place::Caller(caller) => caller.staying(),
        }
    }

    /// Whether this process lives, and the loop too where that is in it.
    pub async fn is_alive(&self) -> bool {
        let Some(kit) = self.holder() else { return true };
        matches!(tokio::time::timeout(PATIENCE, kit.pulse()).await, Ok(Ok(())))
    }

    /// Why nothing can be served just now, by whoever holds the loop; nothing when all is well.
    pub async fn unready(&self) -> Vec<Unready> {
        if !self.is_alive().await {
            return vec![Unready::Stuck];
        }
        match (self.holder(), &self.place) {
            (Some(kit), _) => kit.unready(),
            (None, Place::Caller(caller)) => {
                let call = Call::by("health", Transport::Http);
                let asked =
                    Remote::call(&caller.places, operations::STATUS, Arguments::new(), &call);
                match tokio::time::timeout(PATIENCE, asked).await {
                    Ok(None) => vec![Unready::Off],
                    Ok(Some(Ok(answer))) => told(serde_json::from_value(answer.data).ok()),
                    Ok(Some(Err(_))) | Err(_) => vec![Unready::Stuck],
                }
            }
            (None, Place::Service { .. }) => vec![Unready::Off],
        }
    }

    /// The status, whoever holds the loop.
    pub async fn status(&self) -> Result<Status> {
        let entry = operations::find(operations::STATUS).ok_or_else(gone)?;
        let call = Call::by("health", Transport::Http);
        let answer = self.call(entry, Arguments::new(), &call).await?;
        serde_json::from_value(answer.data).map_err(|_| gone())
    }
}

/// What the status of a service in another process means.
fn told(status: Option<Status>) -> Vec<Unready> {
    let Some(status) = status.filter(|status| status.running) else { return vec![Unready::Off] };
    match status.last_error.map(|error| error.code) {
        Some(Code::DockerUnreachable) => vec![Unready::Engine],
        Some(Code::GithubUnreachable | Code::NotAuthenticated) => vec![Unready::Github],
        _ if status.last_check.is_none() => vec![Unready::FirstLook],
        _ => Vec::new(),
    }
}
