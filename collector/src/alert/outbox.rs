//! Delivers one endpoint's letters: what is due, one attempt each, what becomes of it.
//!
//! In: rows of the outbox table. Out: attempts. A letter stays in the table until an answer is
//! recorded, so a crash between the two repeats the attempt under the same id: at least once, and
//! the receiver can tell. Never: more than one attempt of one endpoint at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{
    sender::{Reply, ReplyKind, Sender},
    shape::alertmanager::{self, Standing},
};
use crate::{
    clock::Clock,
    database::{
        Database, DatabaseError, endpoints, events,
        outbox::{self, Attempt, Due, Fate},
    },
    observe::Observer,
};

/// Letters taken from the table at once; more are taken when these are done.
const LETTERS_MAX: u32 = 32;
/// Alerts that one request tells again.
const AGAIN_MAX: u32 = 64;

/// One endpoint and its letters.
pub(crate) struct Outbox {
    sender: Sender,
    database: Database,
    clock: Arc<dyn Clock>,
    retry: Vec<Duration>,
    observer: Observer,
    /// The endpoint has too much to do until then.
    quiet_until_us: AtomicI64,
}

impl Outbox {
    pub(crate) fn new(
        sender: Sender,
        database: Database,
        clock: Arc<dyn Clock>,
        retry: Vec<Duration>,
        observer: Observer,
    ) -> Self {
        Self {
            sender,
            database,
            clock,
            retry,
            observer,
            quiet_until_us: AtomicI64::new(i64::MIN),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.sender.name()
    }

    /// Attempts every letter that is due, oldest first, until none is, the endpoint wants to be
    /// left alone or `stop` turns true.
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
                if *stop.borrow() || self.is_quiet() {
                    return Ok(());
                }
                if self.attempt(due).await? == Fate::Stopped {
                    return Ok(());
                }
            }
        }
    }

    /// Tells alerts again that go on and were not told for a while: whoever forgets them otherwise
    /// would say that they are over.
    pub(crate) async fn repeat_due(&self) -> Result<(), DatabaseError> {
        let Some(resend_us) = self.sender.resend_us().filter(|_| !self.is_quiet()) else {
            return Ok(());
        };
        let now_us = self.clock.now_us();
        let endpoint = self.endpoint().to_owned();
        let digest = self.sender.url_digest();
        let times = (now_us, now_us.saturating_add(resend_us));
        let work = move |t: &rusqlite::Transaction<'_>| match endpoints::stopped_since(
            t, &endpoint, &digest,
        )? {
            None => endpoints::repeat(t, &endpoint, times, AGAIN_MAX),
            Some(_) => Ok(vec![]),
        };
        let firing = self.database.transact(work).await?;
        if firing.is_empty() {
            return Ok(());
        }
        let Some(reply) = self.sender.post_again(&firing, now_us).await else {
            return Ok(());
        };
        if reply.verdict != ReplyKind::Delivered {
            let (endpoint, alerts) = (self.endpoint(), firing.len());
            let outcome = reply.outcome.as_str();
            tracing::warn!(endpoint, alerts, outcome, "alerts not told again");
        }
        self.heed(&reply).await
    }

    /// What an answer asks of us beyond its letter: to be left alone for a while, or for good.
    async fn heed(&self, reply: &Reply) -> Result<(), DatabaseError> {
        let ended_us = self.clock.now_us();
        self.leave_alone(reply, ended_us);
        if reply.verdict != ReplyKind::Gone {
            return Ok(());
        }
        let endpoint = self.endpoint().to_owned();
        let digest = self.sender.url_digest();
        let work =
            move |t: &rusqlite::Transaction<'_>| endpoints::stop(t, &endpoint, &digest, ended_us);
        self.database.transact(work).await
    }

    fn leave_alone(&self, reply: &Reply, ended_us: i64) {
        if let ReplyKind::Throttled { wait } = reply.verdict {
            let until_us = ended_us.saturating_add(micros(wait));
            self.quiet_until_us.store(until_us, Ordering::Relaxed);
        }
    }

    fn is_quiet(&self) -> bool {
        self.clock.now_us() < self.quiet_until_us.load(Ordering::Relaxed)
    }

    async fn due(&self) -> Result<Vec<Due>, DatabaseError> {
        let now_us = self.clock.now_us();
        let endpoint = self.endpoint().to_owned();
        let digest = self.sender.url_digest();
        let work = move |t: &rusqlite::Transaction<'_>| {
            if endpoints::stopped_since(t, &endpoint, &digest)?.is_some() {
                endpoints::stop_pending(t, &endpoint)?;
            }
            outbox::due(t, &endpoint, now_us, LETTERS_MAX)
        };
        self.database.transact(work).await
    }

    async fn attempt(&self, due: Due) -> Result<Fate, DatabaseError> {
        let started_us = self.clock.now_us();
        let overtaken = self.overtaken(&due).await?;
        let (reply, fate) = match overtaken {
            Some(by) => (overtaken_reply(&by), Fate::Overtaken),
            None => self.post(&due, started_us).await,
        };
        self.log(&due, &reply, fate);
        self.observer.delivered(match fate {
            Fate::Delivered => "delivered",
            Fate::RetryAt(_) => "retried",
            Fate::Failed => "given_up",
            Fate::Stopped => "stopped",
            Fate::Overtaken => "overtaken",
        });
        let attempt = Attempt {
            number: due.attempts + 1,
            started_us,
            ended_us: self.clock.now_us(),
            status: reply.status,
            outcome: reply.outcome,
        };
        self.record(due, attempt, fate).await
    }

    /// Who fires and who does not is told by the newest letter alone: an older one that comes after
    /// it, because it had to be tried again, would say what is no longer so.
    async fn overtaken(&self, due: &Due) -> Result<Option<String>, DatabaseError> {
        if self.sender.resend_us().is_none() {
            return Ok(None);
        }
        let (endpoint, due) = (self.endpoint().to_owned(), due.clone());
        let work = move |t: &rusqlite::Transaction<'_>| outbox::overtaken_by(t, &endpoint, &due);
        self.database.transact(work).await
    }

    async fn post(&self, due: &Due, started_us: i64) -> (Reply, Fate) {
        let reply = self.sender.post(&due.letter, started_us).await;
        let ended_us = self.clock.now_us();
        self.leave_alone(&reply, ended_us);
        let jitter = jitter(&due.letter.event_id, due.attempts + 1);
        let fate = fate(&reply, &self.retry, due.tries + 1, ended_us, jitter);
        (reply, fate)
    }

    async fn record(&self, due: Due, attempt: Attempt, fate: Fate) -> Result<Fate, DatabaseError> {
        let endpoint = self.endpoint().to_owned();
        let digest = self.sender.url_digest();
        let resend_us = self.sender.resend_us();
        let work = move |t: &rusqlite::Transaction<'_>| {
            let ended_us = attempt.ended_us;
            outbox::record(t, &due, &attempt, fate)?;
            match fate {
                Fate::Delivered => {
                    events::delivered(t, &due.letter.event_id, &endpoint, ended_us)?;
                    let next_us = resend_us.map(|resend_us| ended_us.saturating_add(resend_us));
                    if let Some(next_us) = next_us {
                        told(t, &endpoint, &due, next_us)?;
                    }
                }
                Fate::Stopped => endpoints::stop(t, &endpoint, &digest, ended_us)?,
                Fate::RetryAt(_) | Fate::Failed | Fate::Overtaken => {}
            }
            outbox::forget(t)?;
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
            Fate::Overtaken => tracing::info!(endpoint, id, outcome, "webhook overtaken"),
            Fate::Stopped => tracing::error!(endpoint, id, outcome, "alert endpoint stopped"),
        }
    }
}

/// Notes at an Alertmanager whether the alert of a letter that was delivered goes on.
fn told(
    transaction: &rusqlite::Transaction<'_>,
    endpoint: &str,
    due: &Due,
    next_us: i64,
) -> Result<(), DatabaseError> {
    let event: Option<serde_json::Value> = serde_json::from_str(&due.letter.body).ok();
    match event.as_ref().and_then(alertmanager::standing) {
        Some(Standing::Fires) => endpoints::fires(transaction, endpoint, &due.letter, next_us),
        Some(Standing::IsOver) => endpoints::is_over(transaction, endpoint, &due.letter.subject),
        None => Ok(()),
    }
}

fn overtaken_reply(by: &str) -> Reply {
    Reply {
        verdict: ReplyKind::Delivered,
        status: None,
        outcome: format!("not sent: {by} says where it stands by now"),
    }
}

/// What becomes of a letter after `tries` attempts by the schedule. Pure. `retry[n]` is the delay
/// before attempt `n + 1`; `jitter` in 0..1 adds up to a tenth of it, so that endpoints which
/// failed together are not asked together.
fn fate(reply: &Reply, retry: &[Duration], tries: u32, now_us: i64, jitter: f64) -> Fate {
    let wait = match reply.verdict {
        ReplyKind::Delivered => return Fate::Delivered,
        ReplyKind::Gone => return Fate::Stopped,
        ReplyKind::Hopeless => return Fate::Failed,
        ReplyKind::Failed => Duration::ZERO,
        ReplyKind::Throttled { wait } => wait,
    };
    let Some(delay) = retry.get(tries as usize) else {
        return Fate::Failed;
    };
    let delay = delay.mul_f64(1.0 + jitter / 10.0).max(wait);
    Fate::RetryAt(now_us.saturating_add(micros(delay)))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A number in 0..1 that differs by letter and attempt and needs no source of randomness.
fn jitter(id: &str, number: u32) -> f64 {
    let digest = Sha256::digest(format!("{id}#{number}").as_bytes());
    f64::from(u16::from_be_bytes([digest[0], digest[1]])) / 65_536.0
}

#[cfg(test)]
mod kinds;
#[cfg(test)]
mod tests;
