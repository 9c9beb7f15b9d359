//! Delivers one endpoint's letters: what is due, one attempt each, what becomes of it.
//!
//! In: rows of the outbox table. Out: attempts. A letter stays in the table until an answer is
//! recorded, so a crash between the two repeats the attempt under the same id: at least once, and
//! the receiver can tell. Never: more than one attempt of one endpoint at a time.

use std::{sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::webhook::{Reply, ReplyKind, Webhook};
use crate::{
    clock::Clock,
    database::{
        Database, DatabaseError, events,
        outbox::{self, Attempt, Due, Fate},
    },
    observe::Observer,
};

/// Letters taken from the table at once; more are taken when these are done.
const LETTERS_MAX: u32 = 32;

/// One endpoint and its letters.
pub(crate) struct Outbox {
    webhook: Webhook,
    database: Database,
    clock: Arc<dyn Clock>,
    retry: Vec<Duration>,
    observer: Observer,
}

impl Outbox {
    pub(crate) fn new(
        webhook: Webhook,
        database: Database,
        clock: Arc<dyn Clock>,
        retry: Vec<Duration>,
        observer: Observer,
    ) -> Self {
        Self {
            webhook,
            database,
            clock,
            retry,
            observer,
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.webhook.name()
    }

    /// Attempts every letter that is due, oldest first, until none is or `stop` turns true.
    pub(crate) async fn deliver_due(
        &self,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), DatabaseError> {
        loop {
            let letters = self.due().await?;
            if letters.is_empty() {
                return Ok(());
            }
            for due in letters {
                if *stop.borrow() {
                    return Ok(());
                }
                if self.attempt(due).await? == Fate::Stopped {
                    return Ok(());
                }
            }
        }
    }

    async fn due(&self) -> Result<Vec<Due>, DatabaseError> {
        let now_us = self.clock.now_us();
        let endpoint = self.endpoint().to_owned();
        let digest = self.webhook.url_digest();
        let work = move |t: &rusqlite::Transaction<'_>| {
            if outbox::stopped_since(t, &endpoint, &digest)?.is_some() {
                outbox::stop_pending(t, &endpoint)?;
            }
            outbox::due(t, &endpoint, now_us, LETTERS_MAX)
        };
        self.database.transact(work).await
    }

    async fn attempt(&self, due: Due) -> Result<Fate, DatabaseError> {
        let started_us = self.clock.now_us();
        let reply = self.webhook.post(&due.letter, started_us).await;
        let ended_us = self.clock.now_us();
        let number = due.attempts + 1;
        let fate = fate(
            &reply,
            &self.retry,
            number,
            ended_us,
            jitter(&due.letter.event_id, number),
        );
        self.log(&due, &reply, fate);
        self.observer.delivered(match fate {
            Fate::Delivered => "delivered",
            Fate::RetryAt(_) => "retried",
            Fate::Failed => "given_up",
            Fate::Stopped => "stopped",
        });
        let attempt = Attempt {
            number,
            started_us,
            ended_us,
            status: reply.status,
            outcome: reply.outcome,
        };
        let endpoint = self.endpoint().to_owned();
        let digest = self.webhook.url_digest();
        let work = move |t: &rusqlite::Transaction<'_>| {
            outbox::record(t, due.id, &attempt, fate)?;
            if fate == Fate::Delivered {
                events::delivered(t, &due.letter.event_id, &endpoint, ended_us)?;
            }
            if fate == Fate::Stopped {
                outbox::stop_endpoint(t, &endpoint, &digest, ended_us)?;
            }
            Ok(fate)
        };
        self.database.transact(work).await
    }

    fn log(&self, due: &Due, reply: &Reply, fate: Fate) {
        let (endpoint, id) = (self.endpoint(), due.letter.event_id.as_str());
        let attempt = due.attempts + 1;
        let outcome = reply.outcome.as_str();
        match fate {
            Fate::Delivered => tracing::info!(endpoint, id, attempt, "webhook delivered"),
            Fate::RetryAt(_) => {
                tracing::warn!(
                    endpoint,
                    id,
                    attempt,
                    outcome,
                    "webhook not delivered, will retry"
                );
            }
            Fate::Failed => {
                tracing::error!(endpoint, id, attempt, outcome, "webhook given up");
            }
            Fate::Stopped => tracing::error!(endpoint, id, outcome, "alert endpoint stopped"),
        }
    }
}

/// What becomes of a letter after attempt `number`. Pure. `retry[n]` is the delay before attempt
/// `n + 1`; `jitter` in 0..1 adds up to a tenth of it, so that endpoints which failed together are
/// not asked together.
fn fate(reply: &Reply, retry: &[Duration], number: u32, now_us: i64, jitter: f64) -> Fate {
    let wait = match reply.verdict {
        ReplyKind::Delivered => return Fate::Delivered,
        ReplyKind::Gone => return Fate::Stopped,
        ReplyKind::Failed { wait } => wait,
    };
    let Some(delay) = retry.get(number as usize) else {
        return Fate::Failed;
    };
    let delay = delay.mul_f64(1.0 + jitter / 10.0).max(wait);
    let delay_us = i64::try_from(delay.as_micros()).unwrap_or(i64::MAX);
    Fate::RetryAt(now_us.saturating_add(delay_us))
}

/// A number in 0..1 that differs by letter and attempt and needs no source of randomness.
fn jitter(id: &str, number: u32) -> f64 {
    let digest = Sha256::digest(format!("{id}#{number}").as_bytes());
    f64::from(u16::from_be_bytes([digest[0], digest[1]])) / 65_536.0
}

#[cfg(test)]
mod tests;
