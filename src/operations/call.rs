//! What goes with a call beside its arguments.

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::audit::{Caller, Transport};
use crate::error::{Error, Result};

/// Who calls, what they want to be told meanwhile, and whether they still wait.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// Told what is being done.
    pub progress: Option<UnboundedSender<String>>,
    /// Cancelled when the caller no longer waits.
    pub cancelled: CancellationToken,
    /// Bytes of JSON that the entries of a list may take.
    pub room: Option<usize>,
}

impl Call {
    /// A call by a program or person called `name`, who came by `transport`.
    pub fn by(name: &str, transport: Transport) -> Self {
        Self {
            caller: Caller { name: name.to_owned(), version: None, transport },
            progress: None,
            cancelled: CancellationToken::new(),
            room: None,
        }
    }

    /// Tells the caller that `step` is being done.
    pub fn tell(&self, step: impl Into<String>) {
        if let Some(progress) = &self.progress {
            // Who no longer listens is answered all the same.
            let _ = progress.send(step.into());
        }
    }

    /// What `work` comes to, unless the caller stops waiting; dropping `work` has to undo it.
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.cancelled.cancelled() => Err(self.given_up()),
        }
    }

    /// The error for a caller who stopped waiting.
    pub fn given_up(&self) -> Error {
        Error::internal(
            "It was interrupted before it was done.",
            "Look at the status and the containers for what came of it.",
        )
    }
}
