//! The one writer: decide, append, show, acknowledge, seal. In that order.
//!
//! In: offers from the queue. Out: answers after the sync, hot rows, sealed segments for the
//! committer. A thread of its own, because syncs block. A group is what queued while the group
//! before it was being synced, so one sync serves many senders.
//!
//! On a full disk it refuses, and goes on by itself: what failed is cut off the log, the committer
//! makes files of what was acknowledged once there is space, and gives back the ledger as it was
//! then, which has not heard of what was refused.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use fathomline_queries::lake::Lake;
use fathomline_wire::rejection::Rejection;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

use super::{
    Arrived, Backlog, Earliest, Folder, Offer, Outcome, StoreHealth, StoreSettings,
    erase::Forget,
    frame::Frame,
    ledger::Ledger,
    stall,
    wal::{self, Wal},
};
use crate::{database::erasures::ErasedDigest, intake::Refusal, observe::Observer};

/// Largest group: above this, latency grows faster than throughput.
const GROUP_BYTES_MAX: usize = 512 * 1024;

/// Pause between looks for space on a full disk.
const FULL_TICK: Duration = Duration::from_millis(500);

/// A segment nobody writes to any more.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) segment: i64,
    pub(super) rows: Frame,
    /// Of its frames.
    pub(super) bytes: u64,
    /// Devices that were erased since the segment before.
    pub(super) erased: Vec<ErasedDigest>,
    /// Who needs the ledger as it is once the segment is committed.
    pub(super) ledger: Option<oneshot::Sender<Ledger>>,
}

impl Sealed {
    /// Nothing of it may stay in the log once it is committed.
    pub(super) fn must_leave_the_log(&self) -> bool {
        !self.erased.is_empty() || self.ledger.is_some()
    }
}

pub(super) struct Writer {
    pub(super) settings: StoreSettings,
    pub(super) folder: Arc<Folder>,
    pub(super) wal: Wal,
    pub(super) ledger: Ledger,
    pub(super) lake: Arc<Lake>,
    pub(super) sealed: mpsc::UnboundedSender<Sealed>,
    pub(super) backlog: Backlog,
    /// Rows of the open segment.
    pub(super) rows: Frame,
    /// Devices erased since the last segment was sealed.
    pub(super) erased: Vec<ErasedDigest>,
    /// Erasures that wait for the log to go on.
    pub(super) forgets: Vec<Forget>,
    pub(super) opened: Instant,
    pub(super) earliest: Earliest,
    pub(super) health: StoreHealth,
    pub(super) observer: Observer,
}

/// Whether the log takes anything in.
#[derive(Debug)]
enum State {
    Good,
    Full(Waiting),
    /// Until a restart.
    Broken,
}

/// There is no space, and the open segment is sealed.
#[derive(Debug)]
struct Waiting {
    /// Comes with that segment's commit, if ours has heard of what the log could not take.
    ledger: Option<oneshot::Receiver<Ledger>>,
    looked: Instant,
}

impl State {
    fn full(ledger: Option<oneshot::Receiver<Ledger>>) -> Self {
        let looked = Instant::now();
        Self::Full(Waiting { ledger, looked })
    }
}

type Answer = (oneshot::Sender<Result<Outcome, Refusal>>, Outcome);

impl Writer {
    /// Runs until every sender of the queue is gone, then seals what is left. The timers of
    /// `alarm` wake it when a segment is due.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Offer>, alarm: &Runtime) {
        let mut state = State::Good;
        while let Some(offer) = self.next(&mut queue, &state, alarm) {
            state = match (offer, state) {
                (Some(Offer::Arrived(arrived)), State::Good) => {
                    self.write_group(arrived, &mut queue)
                }
                (Some(Offer::Arrived(arrived)), state) => {
                    self.observer.unqueued();
                    answer(arrived.reply, Err(refusal(&state)));
                    state
                }
                (Some(Offer::Forget(forget)), state) => {
                    self.forgets.push(forget);
                    state
                }
                (None, state) => state,
            };
            if let State::Full(waiting) = state {
                state = self.recover(waiting);
            }
            for forget in self.due(&state) {
                if let State::Good = state {
                    state = self.forget(forget);
                }
            }
            if matches!(state, State::Good) && self.seal_is_due() {
                state = self.seal();
            }
            let accepting = matches!(state, State::Good);
            self.observer.accepting(accepting);
            self.health.set(accepting);
        }
        if matches!(state, State::Good) && !self.rows.is_empty() {
            self.hand_over(None);
        }
    }

    /// The next offer, `Some(None)` when it is only time to look at the clock, `None` at the end.
    fn next(
        &self,
        queue: &mut mpsc::Receiver<Offer>,
        state: &State,
        alarm: &Runtime,
    ) -> Option<Option<Offer>> {
        let wait = match state {
            State::Full(_) => FULL_TICK,
            State::Good if !self.rows.is_empty() => {
                let open = self.opened.elapsed();
                self.settings.seal_after.saturating_sub(open)
            }
            State::Good | State::Broken => return queue.blocking_recv().map(Some),
        };
        let next = async { tokio::time::timeout(wait, queue.recv()).await };
        match alarm.block_on(next) {
            Ok(offer) => offer.map(Some),
            Err(_) => Some(None),
        }
    }

    /// Erasures that can be done or must be given up now.
    fn due(&mut self, state: &State) -> Vec<Forget> {
        match state {
            State::Full(_) => vec![],
            State::Good | State::Broken => std::mem::take(&mut self.forgets),
        }
    }

    /// Decides about what is queued, appends it with one sync, shows it, answers. An erasure ends
    /// the group and comes after it.
    fn write_group(&mut self, first: Arrived, queue: &mut mpsc::Receiver<Offer>) -> State {
        let mut group = Frame::default();
        let mut payloads = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        let mut bytes = 0;
        let rules = self.settings.rules();
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
                        tracing::error!(%error, "cannot encode a log frame; nothing is accepted until the collector is restarted");
                        answer(offer.reply, Err(refusal(&State::Broken)));
                        return State::Broken;
                    }
                },
            }
            let queued = (bytes < GROUP_BYTES_MAX).then(|| queue.try_recv().ok());
            next = match queued.flatten() {
                Some(Offer::Arrived(arrived)) => Some(arrived),
                Some(Offer::Forget(asked)) => {
                    self.forgets.push(asked);
                    None
                }
                None => None,
            };
        }
        let state = match payloads.is_empty() {
            true => State::Good,
            false => self.append(&payloads, group),
        };
        let written = matches!(state, State::Good);
        for (reply, outcome) in answers {
            answer(
                reply,
                if written {
                    Ok(outcome)
                } else {
                    Err(refusal(&state))
                },
            );
        }
        if written {
            stall::at("after-acknowledge", self.folder.root());
        }
        state
    }

    /// From here on nothing of a device is taken; what was taken is sealed, to be committed without
    /// it, and what the log still holds of it goes with that commit.
    fn forget(&mut self, forget: Forget) -> State {
        let erased = &self.settings.erased;
        erased.insert(forget.digest);
        self.ledger.erase(&forget.digest);
        self.erased.push(forget.digest);
        let kept = self.lake.keep(|table, batch| erased.without(table, batch));
        if let Err(error) = kept {
            tracing::error!(%error, "cannot hide the rows of an erased device before they are gone");
        }
        let sealed = self.wal.segment();
        let state = self.seal();
        // Nobody waits any more where the collector is stopping; the next start goes on.
        let _ = forget.reply.send(sealed);
        state
    }

    fn append(&mut self, payloads: &[Vec<u8>], group: Frame) -> State {
        if self.rows.is_empty() {
            self.opened = Instant::now();
        }
        let (began, before) = (Instant::now(), self.wal.bytes());
        if let Err(error) = self.wal.append(payloads) {
            return self.fail(&error);
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
        // Once they are shown: whoever takes note of them has to find them.
        self.earliest.note_rows(&group);
        self.rows.append(group);
        State::Good
    }

    /// The log did not take a group in, and the ledger has heard of it.
    fn fail(&mut self, error: &io::Error) -> State {
        let segment = self.wal.segment();
        if !wal::is_full(error) {
            tracing::error!(%error, segment, "cannot sync the log; nothing is accepted until the collector is restarted");
            return State::Broken;
        }
        tracing::error!(%error, segment, "the disk is full: nothing is accepted until there is space, then by itself");
        let (reply, ledger) = oneshot::channel();
        match self.hand_over(Some(reply)) {
            true => State::full(Some(ledger)),
            false => State::Broken,
        }
    }

    /// Looks whether the log can go on.
    fn recover(&mut self, mut waiting: Waiting) -> State {
        if waiting.looked.elapsed() < FULL_TICK {
            return State::Full(waiting);
        }
        if let Some(mut ledger) = waiting.ledger.take() {
            match ledger.try_recv() {
                Ok(ledger) => self.ledger = ledger,
                Err(oneshot::error::TryRecvError::Empty) => return State::full(Some(ledger)),
                Err(oneshot::error::TryRecvError::Closed) => return State::Broken,
            }
        }
        let state = self.roll();
        if let State::Good = state {
            tracing::info!(
                segment = self.wal.segment(),
                "there is space again: windows are accepted"
            );
        }
        state
    }

    fn seal_is_due(&self) -> bool {
        !self.rows.is_empty()
            && (self.opened.elapsed() >= self.settings.seal_after
                || self.wal.bytes() >= self.settings.seal_bytes)
    }

    fn seal(&mut self) -> State {
        self.ledger.forget();
        match self.hand_over(None) {
            true => self.roll(),
            false => State::Broken,
        }
    }

    /// Gives the open segment to the committer; the log goes on in the next one. False if the log
    /// cannot be trusted any more.
    fn hand_over(&mut self, ledger: Option<oneshot::Sender<Ledger>>) -> bool {
        if let Err(error) = self.wal.leave() {
            let segment = self.wal.segment();
            tracing::error!(%error, segment, "cannot end a log segment; nothing is accepted until the collector is restarted");
            return false;
        }
        let sealed = Sealed {
            segment: self.wal.segment(),
            rows: std::mem::take(&mut self.rows),
            bytes: self.wal.bytes(),
            erased: std::mem::take(&mut self.erased),
            ledger,
        };
        self.observer.sealed();
        self.backlog.sealed(sealed.bytes);
        // The committer ends only after this thread: its end would be a panic there.
        self.sealed.send(sealed).is_ok()
    }

    fn roll(&mut self) -> State {
        match self.wal.roll() {
            Ok(()) => State::Good,
            Err(error) if wal::is_full(&error) => {
                tracing::warn!(%error, "no space for a log segment; nothing is accepted until there is");
                State::full(None)
            }
            Err(error) => {
                tracing::error!(%error, "cannot start a log segment; nothing is accepted until the collector is restarted");
                State::Broken
            }
        }
    }
}

fn answer(reply: oneshot::Sender<Result<Outcome, Refusal>>, result: Result<Outcome, Refusal>) {
    // A sender that went away will send again and be told it is a repeat.
    let _ = reply.send(result);
}

fn refusal(state: &State) -> Refusal {
    let detail = match state {
        State::Full(_) => "the collector's disk is full; it goes on by itself once there is space",
        _ => "the log cannot be synced; the operator must restart the collector",
    };
    Refusal::new(Rejection::Busy, detail)
}
