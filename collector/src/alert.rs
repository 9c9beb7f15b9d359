//! Where data leaves: tells endpoints what changed, signed, at least once and under one id.
//!
//! In: letters that the watcher put into the outbox. Out: webhooks, and a log of attempts. One task
//! per endpoint, so a slow one delays nobody else. Never: device rows, secrets in logs, a POST to
//! an internal address unless the operator allowed it.
//!
//! | module | holds |
//! |---|---|
//! | [`state`] | when a change of state is worth an event (pure) |
//! | [`story`] | the event's body, and its id (pure) |
//! | [`outbox`] | what is due, what becomes of it |
//! | [`webhook`] | one signed POST |
//! | [`signature`] | Standard Webhooks signatures |
//! | [`address`] | which addresses are internal |

pub(crate) mod address;
pub(crate) mod outbox;
pub(crate) mod signature;
pub(crate) mod state;
pub(crate) mod story;
pub(crate) mod webhook;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{clock::Clock, database::Database, observe::Observer};
use outbox::Outbox;
use webhook::Webhook;

/// Without a wake-up an endpoint looks for due retries this often.
const POLL: Duration = Duration::from_secs(1);
/// Delay before each attempt, as Standard Webhooks suggests: the last is four days after the first.
const RETRY: [u64; 10] = [
    0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
];

/// Section `alert` of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct AlertSettings {
    /// Whom to tell.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Whether endpoints may be on loopback or private addresses.
    pub(crate) allow_internal: bool,
    /// Delay before each attempt; as many attempts as entries.
    pub(crate) retry: Vec<Duration>,
    /// One attempt, connecting included.
    pub(crate) timeout: Duration,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            allow_internal: false,
            retry: RETRY.map(Duration::from_secs).to_vec(),
            timeout: Duration::from_secs(15),
        }
    }
}

/// One receiver of webhooks.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Stable name; deliveries are listed under it.
    pub(crate) name: String,
    pub(crate) url: String,
    /// File that holds the `whsec_` secret.
    pub(crate) secret_file: PathBuf,
}

/// Why alerting cannot start. Later failures are attempts in the delivery log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlertError {
    #[error("cannot use the url of alert endpoint {endpoint}: {why}")]
    Url { endpoint: String, why: String },
    #[error("cannot use two alert endpoints called {0}: give each its own name")]
    Duplicate(String),
    #[error("cannot read the secret of alert endpoint {endpoint}: {source}")]
    Secret {
        endpoint: String,
        source: signature::SecretError,
    },
    #[error("cannot start the webhook client: {0}")]
    Client(#[from] reqwest::Error),
    #[error(
        "cannot use an empty alert.retry: give the delay before each attempt, the first may be 0s"
    )]
    Retry,
}

/// The endpoints, ready to be told.
pub(crate) struct Alerts {
    outboxes: Vec<Outbox>,
}

impl Alerts {
    /// Reads secrets and checks addresses, so that a mistake shows at the start and not with the
    /// first drift.
    pub(crate) fn new(
        settings: &AlertSettings,
        database: &Database,
        clock: &Arc<dyn Clock>,
        observer: &Observer,
    ) -> Result<Self, AlertError> {
        if settings.retry.is_empty() {
            return Err(AlertError::Retry);
        }
        let client = webhook::client(settings)?;
        let mut outboxes: Vec<Outbox> = Vec::new();
        for endpoint in &settings.endpoints {
            if outboxes
                .iter()
                .any(|outbox| outbox.endpoint() == endpoint.name)
            {
                return Err(AlertError::Duplicate(endpoint.name.clone()));
            }
            let webhook = Webhook::new(client.clone(), endpoint, settings.allow_internal)?;
            let retry = settings.retry.clone();
            outboxes.push(Outbox::new(
                webhook,
                database.clone(),
                Arc::clone(clock),
                retry,
                observer.clone(),
            ));
        }
        Ok(Self { outboxes })
    }

    /// Delivers until `stop` turns true; an attempt under way is finished first. `wake` is notified
    /// when letters were added.
    pub(crate) async fn run(self, wake: Arc<Notify>, stop: watch::Receiver<bool>) {
        let mut endpoints = JoinSet::new();
        for outbox in self.outboxes {
            endpoints.spawn(deliver(outbox, Arc::clone(&wake), stop.clone()));
        }
        while endpoints.join_next().await.is_some() {}
    }
}

async fn deliver(outbox: Outbox, wake: Arc<Notify>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        // Registered before looking, or a letter added in between would wait for the poll.
        let woken = wake.notified();
        if let Err(error) = outbox.deliver_due(&stop).await {
            tracing::error!(endpoint = outbox.endpoint(), %error, "cannot deliver webhooks");
        }
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(POLL) => {}
            // A dropped sender means that the collector is gone.
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}
