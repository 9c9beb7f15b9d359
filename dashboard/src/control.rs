//! What the pages ask of the collector that serves them. The collector implements it; the pages
//! know nothing else of it.

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use fathomline_queries::drift::Reference;

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
}

/// Why somebody may not look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// 401 or 403.
    pub status: StatusCode,
    /// What is missing and what to do, in a sentence.
    pub message: String,
}

/// The collector cannot read what it stored; the cause is for its log.
#[derive(Debug, thiserror::Error)]
#[error("cannot read a reference: {0}")]
pub struct ControlError(pub Box<dyn std::error::Error + Send + Sync>);
