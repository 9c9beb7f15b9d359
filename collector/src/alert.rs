//! Where data leaves: tells endpoints what changed, signed, at least once and under one id.
//!
//! In: letters that the watcher put into the outbox. Out: webhooks, and a log of attempts. One task
//! per endpoint, so a slow one delays nobody else. Never: device rows, secrets in logs, a POST to
//! an internal address unless the operator allowed it.
//!
//! | module | holds |
//! |---|---|
//! | [`state`] | pending, firing, resolved: the alert of one series (pure) |
//! | [`rules`] | by which rule the alert of each signal fires (pure) |
//! | [`incident`] | alerts that are one, and who is told of them (pure) |
//! | [`mute`] | silences and maintenance (pure) |
//! | [`silence`] | silences as people ask for them (pure) |
//! | [`precision`] | how often pages were worth it, and what to change (pure) |
//! | [`pager`] | turns of alerts become incidents and letters |
//! | [`duty`] | what operators see of incidents, and do about them |
//! | [`story`] | the event's body, and its id (pure) |
//! | [`recipients`] | who asked for which events (pure) |
//! | [`outbox`] | what is due, what becomes of it |
//! | [`sender`] | one POST |
//! | [`shape`] | what a POST to each kind of endpoint holds |
//! | [`fit`] | what of a long event is sent (pure) |
//! | [`signature`] | Standard Webhooks signatures |
//! | [`kept_file`] | secrets that change while we run |
//! | [`address`] | which addresses are internal |
//! | [`endpoint`] | an endpoint as it is configured |
//! | [`trial`] | one test event |
//! | [`desk`] | what operators see of deliveries, and do about them |

pub(crate) mod address;
pub(crate) mod desk;
pub(crate) mod duty;
pub(crate) mod endpoint;
pub(crate) mod fit;
pub(crate) mod incident;
pub(crate) mod kept_file;
pub(crate) mod mute;
pub(crate) mod outbox;
pub(crate) mod pager;
pub(crate) mod precision;
pub(crate) mod recipients;
pub(crate) mod rules;
pub(crate) mod sender;
pub(crate) mod shape;
pub(crate) mod signature;
pub(crate) mod silence;
pub(crate) mod state;
pub(crate) mod story;
pub(crate) mod trial;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    clock::Clock,
    database::{Database, endpoints},
    observe::Observer,
};
use desk::Known;
use endpoint::Endpoint;
use mute::Maintenance;
use outbox::Outbox;
use pager::Pager;
use recipients::Recipients;
use rules::Rules;
use sender::Sender;

/// Without a wake-up an endpoint looks for due retries this often.
const POLL: Duration = Duration::from_secs(1);
/// Delay before each attempt, as Standard Webhooks suggests: the last is four days after the first.
const RETRY: [u64; 10] = [
    0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
];

/// Section `alert` of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct AlertSettings {
    /// When alerts fire and are over.
    pub(crate) rules: Arc<Rules>,
    /// When what happens is planned.
    pub(crate) maintenance: Arc<[Maintenance]>,
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
            rules: Arc::default(),
            maintenance: Arc::new([]),
            endpoints: Vec::new(),
            allow_internal: false,
            retry: RETRY.map(Duration::from_secs).to_vec(),
            timeout: Duration::from_secs(15),
        }
    }
}

/// Why alerting cannot start. Later failures are attempts in the delivery log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlertError {
    #[error("cannot use the url of alert endpoint {endpoint}: {why}")]
    Url { endpoint: String, why: String },
    #[error("cannot use two alert endpoints called {0}: give each its own name")]
    Duplicate(String),
    #[error("cannot use alert endpoint {endpoint}: {source}")]
    Shape {
        endpoint: String,
        source: shape::ShapeError,
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
    pager: Pager,
    known: Arc<[Known]>,
    database: Database,
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
        let mut outboxes: Vec<Outbox> = Vec::new();
        let mut known = Vec::new();
        for endpoint in &settings.endpoints {
            if outboxes
                .iter()
                .any(|outbox| outbox.endpoint() == endpoint.name)
            {
                return Err(AlertError::Duplicate(endpoint.name.clone()));
            }
            let sender = Sender::new(endpoint, settings)?;
            known.push(Known::new(endpoint, sender.url_digest()));
            outboxes.push(Outbox::new(
                sender,
                database.clone(),
                Arc::clone(clock),
                settings.retry.clone(),
                observer.clone(),
            ));
        }
        let recipients = settings.endpoints.iter().map(Endpoint::recipient);
        Ok(Self {
            outboxes,
            pager: Pager {
                recipients: Recipients::new(recipients.collect()),
                rules: Arc::clone(&settings.rules),
                maintenance: Arc::clone(&settings.maintenance),
            },
            known: known.into(),
            database: database.clone(),
        })
    }

    /// Tells what alerts do, and knows for whoever makes events whom to put letters for.
    pub(crate) fn pager(&self) -> Pager {
        self.pager.clone()
    }

    /// What is configured, for those who look.
    pub(crate) fn known(&self) -> Arc<[Known]> {
        Arc::clone(&self.known)
    }

    /// Delivers until `stop` turns true; an attempt under way is finished first. `wake` is notified
    /// when letters were added.
    pub(crate) async fn run(self, wake: Arc<Notify>, stop: watch::Receiver<bool>) {
        let names = self.known.iter().map(|known| known.name.clone());
        let names: Vec<String> = names.collect();
        let forget =
            move |t: &rusqlite::Transaction<'_>| endpoints::forget_firing_elsewhere(t, &names);
        if let Err(error) = self.database.transact(forget).await {
            tracing::error!(%error, "cannot forget alerts at endpoints that are gone");
        }
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
        if let Err(error) = outbox.repeat_due().await {
            tracing::error!(endpoint = outbox.endpoint(), %error, "cannot repeat alerts");
        }
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(POLL) => {}
            // A dropped sender means that the collector is gone.
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}
