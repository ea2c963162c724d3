//! What can be chosen before the simulator starts.

use std::{net::SocketAddr, time::Duration};

use super::scaleset::ScaleSetOptions;

/// The token that [`Options::default`] accepts.
pub const TOKEN: &str = "ghp_simulator0000000000000000000000000000";

/// The login that [`TOKEN`] belongs to.
pub const LOGIN: &str = "octocat";

/// How a [`Simulator`](super::Simulator) behaves. The defaults are GitHub's documented values where
/// GitHub documents one, except that a dead runner is noticed in seconds and not in minutes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server's URL as clients see it, when it differs from `http://{listen}` (for instance
    /// because runners are on another network). Without a trailing slash.
    pub public_url: Option<String>,
    /// Accepted tokens with the login each belongs to.
    pub tokens: Vec<(String, String)>,
    /// Requests per login and window before 403 (docs.github.com: 5,000 per hour).
    pub rate_limit: u64,
    /// Length of the primary limit's window.
    pub rate_limit_window: Duration,
    /// Registrations per login and window, where these are counted apart.
    pub registration_limit: Option<u64>,
    /// Points per minute before the secondary limit answers (docs.github.com: 900; a GET costs 1, a
    /// change costs 5). `None` switches it off, as on a GitHub Enterprise Server, which the answers
    /// then say they come from.
    pub secondary_limit: Option<u64>,
    /// How long registration and remove tokens are valid (docs.github.com: 1 hour).
    pub registration_token_lifetime: Duration,
    /// How long tokens of an app's installation are valid (docs.github.com: 1 hour).
    pub installation_token_lifetime: Duration,
    /// How long a runner still counts as online after its connection has ended.
    pub offline_after: Duration,
    /// How long after its connection has ended a runner's job counts as lost.
    pub lost_after: Duration,
    /// What becomes of a lost job.
    pub lost_job: LostJob,
    /// How long an assigned job may stay unstarted before another runner gets it (docs.github.com:
    /// 60 seconds).
    pub pickup_within: Duration,
    /// How long a runner's poll is held when there is nothing to tell.
    pub poll_timeout: Duration,
    /// How the service for scale sets behaves.
    pub scale_sets: ScaleSetOptions,
    /// Seed of all that looks random: token texts, identifiers, faults with a probability.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            public_url: None,
            tokens: vec![(TOKEN.into(), LOGIN.into())],
            rate_limit: 5_000,
            rate_limit_window: Duration::from_secs(3_600),
            registration_limit: None,
            secondary_limit: None,
            registration_token_lifetime: Duration::from_secs(3_600),
            installation_token_lifetime: Duration::from_secs(3_600),
            offline_after: Duration::from_secs(2),
            lost_after: Duration::from_secs(10),
            lost_job: LostJob::Fails,
            pickup_within: Duration::from_secs(60),
            poll_timeout: Duration::from_secs(30),
            scale_sets: ScaleSetOptions::default(),
            seed: 1,
        }
    }
}

/// What becomes of a job whose runner has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostJob {
    /// It is completed as a failure, as GitHub does ("lost communication with the server").
    Fails,
    /// It is queued again.
    IsQueuedAgain,
}
