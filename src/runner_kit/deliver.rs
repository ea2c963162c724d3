//! What GitHub tells by webhook.

use super::RunnerKit;
use crate::error::Result;
use crate::webhook::{Delivered, Delivery, Inbox};

impl RunnerKit {
    /// Takes a delivery from GitHub: what it tells of a job is known from now on, and the loop acts on
    /// it. Waits for nothing and nobody.
    pub fn deliver(&self, delivery: &Delivery) -> Result<Delivered> {
        let inbox = self.inbox.get_or_try_init(|| Inbox::new(&self.config))?;
        let delivered = inbox.read(delivery, self.now())?;
        if let Delivered::Heard(heard) = &delivered {
            self.parts.board.hear((**heard).clone());
        }
        Ok(delivered)
    }
}
