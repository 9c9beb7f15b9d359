//! Tries an endpoint: one test event, made, signed and sent as any other, and what was answered.
//! In: the configuration and a name. Out: the id that was sent and the answer. Nothing is stored:
//! a test is no event.

use fathomline_wire::event::{Event, EventBody};

use super::{
    AlertError, AlertSettings,
    sender::{Reply, ReplyKind, Sender},
};
use crate::{clock::rfc3339, database::outbox::Letter};

/// How the test event is called.
pub(crate) fn kind() -> &'static str {
    EventBody::Test {}.name()
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The `webhook-id` of the test event.
    pub event_id: String,
    /// Whether the endpoint took it.
    pub delivered: bool,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// `delivered`, or what went wrong.
    pub outcome: String,
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// No such endpoint.
    #[error("there is no endpoint {name:?} in alert.endpoints; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// It cannot be used as it is configured.
    #[error("{0}")]
    Endpoint(Box<dyn std::error::Error + Send + Sync>),
    /// No test event could be made.
    #[error("cannot make a test event: {0}")]
    Event(Box<dyn std::error::Error + Send + Sync>),
}

impl From<AlertError> for TrialError {
    fn from(error: AlertError) -> Self {
        Self::Endpoint(Box::new(error))
    }
}

/// Sends a test event to the endpoint called `name` at `now_us`, whatever events it asks for.
pub(crate) async fn send(
    settings: &AlertSettings,
    name: &str,
    now_us: i64,
) -> Result<Trial, TrialError> {
    let mut endpoints = settings.endpoints.iter();
    let found = endpoints.find(|endpoint| endpoint.name == name);
    let endpoint = found.ok_or_else(|| TrialError::Unknown {
        name: name.to_owned(),
        known: known(settings),
    })?;
    let sender = Sender::new(endpoint, settings)?;
    let letter = letter(now_us)?;
    let Reply {
        verdict,
        status,
        outcome,
    } = sender.post(&letter, now_us).await;
    Ok(Trial {
        event_id: letter.event_id,
        delivered: verdict == ReplyKind::Delivered,
        status,
        outcome,
    })
}

fn known(settings: &AlertSettings) -> String {
    let names = settings
        .endpoints
        .iter()
        .map(|endpoint| endpoint.name.as_str());
    match settings.endpoints.is_empty() {
        true => "none".to_owned(),
        false => names.collect::<Vec<_>>().join(", "),
    }
}

/// A test event under an id of its own.
fn letter(now_us: i64) -> Result<Letter, TrialError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| TrialError::Event(error);
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| failed(error.to_string().into()))?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let event = Event {
        timestamp: rfc3339(now_us),
        body: EventBody::Test {},
    };
    Ok(Letter {
        event_id: format!("evt_{digits}"),
        kind: kind().to_owned(),
        subject: String::new(),
        body: serde_json::to_string(&event).map_err(|error| failed(error.into()))?,
    })
}
