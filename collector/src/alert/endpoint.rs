//! An endpoint as it is configured. In: section `alert.endpoints`. Out: what the rest of the room
//! works with. Secrets are named by their files and never held here.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::recipients::{Pattern, Recipient};

/// Whom to tell, where, of what.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Stable name; deliveries are listed under it.
    pub(crate) name: String,
    pub(crate) url: EndpointUrl,
    pub(crate) kind: Kind,
    pub(crate) events: Vec<Pattern>,
    /// May be on loopback or a private address.
    pub(crate) allow_internal: bool,
}

/// Where an endpoint is.
#[derive(Clone, Debug)]
pub(crate) enum EndpointUrl {
    Given(String),
    /// Some URLs are secrets themselves.
    File(PathBuf),
}

/// What an endpoint understands.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Standard Webhooks.
    Webhook {
        /// Holds `whsec_` secrets.
        secret_file: PathBuf,
    },
    /// Alerts of version 2 of its API.
    Alertmanager {
        /// An alert that goes on is told again after so long.
        resend: Duration,
        headers: Headers,
    },
    /// `repository_dispatch`.
    Github { token_file: PathBuf },
    /// An incoming webhook.
    Slack,
    /// Whatever a template makes.
    Http {
        template_file: PathBuf,
        headers: Headers,
        /// Signs what the template made, if it is there.
        secret_file: Option<PathBuf>,
        /// Answers beside 2xx that mean that the event is there, such as 409 for one that was
        /// there before.
        delivered_statuses: Vec<u16>,
    },
}

impl Kind {
    /// The word in the configuration.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Github { .. } => "github",
            Self::Slack => "slack",
            Self::Http { .. } => "http",
        }
    }
}

/// Headers that are sent with every attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    pub(crate) fixed: BTreeMap<String, String>,
    /// Values that are read from files, at each attempt.
    pub(crate) from_files: BTreeMap<String, PathBuf>,
    /// Sent as `Authorization: Bearer`.
    pub(crate) token_file: Option<PathBuf>,
}

impl Endpoint {
    /// What it asks for.
    pub(crate) fn recipient(&self) -> Recipient {
        Recipient {
            endpoint: self.name.clone(),
            events: self.events.clone(),
            alerts_only: matches!(self.kind, Kind::Alertmanager { .. }),
        }
    }
}
