//! The one writer: decide, append, show, acknowledge, seal. In that order.
//!
//! In: offers from the queue. Out: answers after the sync, hot rows, sealed segments for the
//! committer. A thread of its own, because syncs block. A group is what queued while the group
//! before it was being synced, so one sync serves many senders.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fathomline_queries::lake::Lake;
use fathomline_wire::rejection::Rejection;
use tokio::sync::{mpsc, oneshot};

use super::{
    Arrived, Offer, Outcome, StoreHealth, StoreSettings, erase::Forget, frame::Frame,
    ledger::Ledger, stall, wal::Wal,
};
use crate::{intake::Refusal, observe::Observer};

/// Largest group: above this, latency grows faster than throughput.
const GROUP_BYTES_MAX: usize = 512 * 1024;

/// How often an idle writer looks at the clock to seal what is due.
const IDLE_TICK: Duration = Duration::from_millis(50);

/// A segment nobody writes to any more.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) segment: i64,
    pub(super) rows: Frame,
    /// The ledger as it was when the segment was sealed.
    pub(super) ledger: Ledger,
}

pub(super) struct Writer {
    pub(super) settings: StoreSettings,
    pub(super) data: std::path::PathBuf,
    pub(super) wal: Wal,
    pub(super) ledger: Ledger,
    pub(super) lake: Arc<Lake>,
    pub(super) sealed: mpsc::UnboundedSender<Sealed>,
    /// Rows of the open segment.
    pub(super) rows: Frame,
    pub(super) opened: Instant,
    pub(super) health: StoreHealth,
    pub(super) observer: Observer,
}

type Answer = (oneshot::Sender<Result<Outcome, Refusal>>, Outcome);

impl Writer {
    /// Runs until every sender of the queue is gone, then seals what is left.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Offer>) {
        let mut healthy = true;
        while let Some(offer) = self.next(&mut queue) {
            let forget = match offer {
                Some(Offer::Arrived(arrived)) if healthy => {
                    let (written, forget) = self.write_group(arrived, &mut queue);
                    healthy = written;
                    forget
                }
                Some(Offer::Arrived(arrived)) => {
                    self.observer.unqueued();
                    answer(arrived.reply, Err(failed()));
                    None
                }
                Some(Offer::Forget(forget)) => Some(forget),
                None => None,
            };
            if let Some(forget) = forget {
                healthy = healthy && self.forget(forget);
            }
            if healthy && self.seal_is_due() {
                healthy = self.seal();
            }
            if !healthy {
                self.observer.accepting(false);
                self.health.fail();
            }
        }
        if healthy && !self.rows.is_empty() {
            self.seal();
        }
    }

    /// The next offer, `Some(None)` when it is only time to look at the clock, `None` at the end.
    fn next(&self, queue: &mut mpsc::Receiver<Offer>) -> Option<Option<Offer>> {
        if self.rows.is_empty() {
            return queue.blocking_recv().map(Some);
        }
        match queue.try_recv() {
            Ok(offer) => Some(Some(offer)),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
            Err(mpsc::error::TryRecvError::Empty) => {
                // Waiting a little is the price of sealing on time without a second thread.
                std::thread::sleep(IDLE_TICK.min(self.settings.seal_after) / 10);
                Some(None)
            }
        }
    }

    /// Decides about what is queued, appends it with one sync, shows it, answers. False if the
    /// log cannot be trusted any more. An erasure ends the group and comes after it.
    fn write_group(
        &mut self,
        first: Arrived,
        queue: &mut mpsc::Receiver<Offer>,
    ) -> (bool, Option<Forget>) {
        let mut group = Frame::default();
        let mut payloads = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        let mut bytes = 0;
        let rules = self.settings.rules();
        let mut forget = None;
        let mut next = Some(first);
        while let Some(mut offer) = next {
            self.observer.unqueued();
            let stripped = self.settings.erased.strip(&mut offer.arrival);
            match stripped.and_then(|()| self.ledger.admit(offer.arrival, &rules)) {
                Err(refusal) => answer(offer.reply, Err(refusal)),
                Ok(decision) if decision.frame.is_empty() => {
                    // Nothing to store; what it repeats may still wait for this group's sync.
                    answers.push((offer.reply, decision.outcome));
                }
                Ok(decision) => match decision.frame.encode() {
                    Ok(payload) => {
                        bytes += payload.len();
                        payloads.push(payload);
                        group.append(decision.frame);
                        answers.push((offer.reply, decision.outcome));
                    }
                    Err(error) => {
                        tracing::error!(%error, "cannot encode a log frame");
                        answer(offer.reply, Err(failed()));
                        return (false, forget);
                    }
                },
            }
            let queued = (bytes < GROUP_BYTES_MAX).then(|| queue.try_recv().ok());
            next = match queued.flatten() {
                Some(Offer::Arrived(arrived)) => Some(arrived),
                Some(Offer::Forget(asked)) => {
                    forget = Some(asked);
                    None
                }
                None => None,
            };
        }
        let written = payloads.is_empty() || self.append(&payloads, group);
        for (reply, outcome) in answers {
            answer(reply, if written { Ok(outcome) } else { Err(failed()) });
        }
        if written {
            stall::at("after-acknowledge", &self.data);
        }
        (written, forget)
    }

    /// From here on nothing of a device is taken; what was taken is sealed, to be committed without
    /// it. False if the log cannot be trusted any more.
    fn forget(&mut self, forget: Forget) -> bool {
        let erased = &self.settings.erased;
        erased.insert(forget.digest);
        self.ledger.erase(&forget.digest);
        let kept = self.lake.keep(|table, batch| erased.without(table, batch));
        if let Err(error) = kept {
            tracing::error!(%error, "cannot hide the rows of an erased device before they are gone");
        }
        if !self.rows.is_empty() && !self.seal() {
            return false;
        }
        // Nobody waits any more where the collector is stopping; the next start goes on.
        let _ = forget.reply.send(self.wal.segment() - 1);
        true
    }

    fn append(&mut self, payloads: &[Vec<u8>], group: Frame) -> bool {
        if self.rows.is_empty() {
            self.opened = Instant::now();
        }
        let (began, before) = (Instant::now(), self.wal.bytes());
        if let Err(error) = self.wal.append(payloads) {
            tracing::error!(%error, segment = self.wal.segment(), "cannot sync the log; nothing is accepted until the collector is restarted");
            return false;
        }
        let bytes = self.wal.bytes() - before;
        self.observer.synced(payloads.len(), bytes, began.elapsed());
        let shown = group
            .batches(self.settings.lane_us)
            .map_err(|error| error.to_string())
            .and_then(|batches| {
                self.lake
                    .push(self.wal.segment(), batches)
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = shown {
            // The rows are durable and will be committed; only their early view is missing.
            tracing::error!(error, "cannot show acknowledged rows before their commit");
        }
        self.rows.append(group);
        true
    }

    fn seal_is_due(&self) -> bool {
        !self.rows.is_empty()
            && (self.opened.elapsed() >= self.settings.seal_after
                || self.wal.bytes() >= self.settings.seal_bytes)
    }

    fn seal(&mut self) -> bool {
        match self.wal.roll() {
            Ok(segment) => {
                let rows = std::mem::take(&mut self.rows);
                self.ledger.forget();
                let sealed = Sealed {
                    segment,
                    rows,
                    ledger: self.ledger.clone(),
                };
                self.observer.sealed(&self.ledger.held());
                // The committer ends only after this thread: its end would be a panic there.
                self.sealed.send(sealed).is_ok()
            }
            Err(error) => {
                tracing::error!(%error, "cannot start a log segment; nothing is accepted until the collector is restarted");
                false
            }
        }
    }
}

fn answer(reply: oneshot::Sender<Result<Outcome, Refusal>>, result: Result<Outcome, Refusal>) {
    // A sender that went away will send again and be told it is a repeat.
    let _ = reply.send(result);
}

fn failed() -> Refusal {
    Refusal::new(
        Rejection::Busy,
        "the log cannot be synced; the operator must restart the collector",
    )
}
