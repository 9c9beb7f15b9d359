//! What the pages ask of the collector that serves them. The collector implements it; the pages
//! know nothing else of it.

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use fathomline_queries::{
    drift::{Breakdown, Reference},
    gate::{self, KeptRollout, RunningVersion},
};

use crate::{
    alerts::{AlertAct, Alerts},
    deliveries::Deliveries,
    retraining::{RetrainingAct, RetrainingRequest},
};

/// The collector, as the pages see it.
#[async_trait]
pub trait Control: Send + Sync {
    /// Microseconds since the Unix epoch.
    fn now_us(&self) -> i64;

    /// Whether whoever sent these headers may look at pages.
    ///
    /// # Errors
    /// When they may not, with what to do.
    fn may_look(&self, headers: &HeaderMap) -> Result<(), Refused>;

    /// A frozen reference by its hash; none if there is no such reference.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn reference(&self, hash: &str) -> Result<Option<Reference>, ControlError>;

    /// What the last lanes of a series up to `until_us` are made of, held against its reference,
    /// the mix of sites by one stream of it; or why that is not told, as a sentence.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn take_apart(
        &self,
        reference: &Reference,
        until_us: i64,
        stream: Option<usize>,
    ) -> Result<Result<Breakdown, String>, ControlError>;

    /// References that are kept, newest first, as many as a page shows.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn references(&self) -> Result<Vec<KeptReference>, ControlError>;

    /// What was done with references lately, newest first.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn acts(&self) -> Result<Vec<Act>, ControlError>;

    /// What was told to whom, and who is told.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn deliveries(&self) -> Result<Deliveries, ControlError>;

    /// Sends a delivery again, if whoever sent these headers may.
    ///
    /// # Errors
    /// When they may not, or it cannot be sent, with what to do.
    async fn replay(&self, headers: &HeaderMap, delivery: i64) -> Result<(), Refused>;

    /// Enables an endpoint that was stopped, if whoever sent these headers may.
    ///
    /// # Errors
    /// When they may not, or it is not stopped, with what to do.
    async fn enable(&self, headers: &HeaderMap, endpoint: &str) -> Result<(), Refused>;

    /// Incidents, silences and how rules fared.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn alerts(&self) -> Result<Alerts, ControlError>;

    /// Does what whoever sent these headers wants about them.
    ///
    /// # Errors
    /// When they may not, or it cannot be done; with what to do.
    async fn act_on_alerts(&self, headers: &HeaderMap, act: AlertAct) -> Result<(), Refused>;

    /// Requests to train models again, newest first, as many as a page shows.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn retraining(&self) -> Result<Vec<RetrainingRequest>, ControlError>;

    /// Does what whoever sent these headers wants about them.
    ///
    /// # Errors
    /// When they may not, or it cannot be done; with what to do.
    async fn act_on_retraining(
        &self,
        headers: &HeaderMap,
        act: RetrainingAct,
    ) -> Result<(), Refused>;

    /// Rollouts, newest first, as many as a page shows; those that go on come first.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn rollouts(&self) -> Result<Vec<KeptRollout>, ControlError>;

    /// Versions that devices reported.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn versions(&self) -> Result<Vec<RunningVersion>, ControlError>;

    /// What the gate says of a rollout, or why it cannot say anything, as a sentence.
    ///
    /// # Errors
    /// When the collector cannot read what it stored.
    async fn gate(
        &self,
        rollout: &KeptRollout,
    ) -> Result<Result<gate::Answer, String>, ControlError>;
}

/// A reference without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReference {
    /// Names the content.
    pub hash: String,
    /// The series in words.
    pub name: String,
    /// `variant`, `version` or `model`.
    pub level: String,
    /// `none`, `hour-of-day` or `hour-of-week`.
    pub season: String,
    /// `span`, `version`, `weeks` or `file`.
    pub made_from: String,
    /// Records it is made of.
    pub records: i64,
    /// Its span, microseconds since the Unix epoch, as all times here.
    pub from_us: i64,
    /// The end of its span.
    pub to_us: i64,
    /// Lanes that were left out because an incident was open.
    pub excluded_lanes: i64,
    /// Who made it.
    pub created: Done,
    /// Who put it in force; none while it is not.
    pub in_force: Option<Done>,
    /// Who retired it.
    pub retired: Option<Done>,
    /// Series whose newest verdict cites it.
    pub cited_by: Vec<Citing>,
}

/// Who did something, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// When.
    pub time_us: i64,
    /// Who.
    pub by: String,
}

/// A series that cites a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citing {
    /// Id of the series.
    pub series: String,
    /// The series in words.
    pub name: String,
}

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who and when.
    pub done: Done,
    /// What, such as `reference.create`.
    pub action: String,
    /// Hash of the reference.
    pub reference: String,
}

/// Why somebody may not look, or cannot have what they want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// 401, 403, or that of what is wrong.
    pub status: StatusCode,
    /// What is missing and what to do, in a sentence.
    pub message: String,
}

/// The collector cannot read what it stored; the cause is for its log.
#[derive(Debug, thiserror::Error)]
#[error("cannot read a reference: {0}")]
pub struct ControlError(pub Box<dyn std::error::Error + Send + Sync>);
