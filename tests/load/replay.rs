//! Plays the deck to the collector over kept connections. In: cards, doors, and a rate or none.
//! Out: when each was acknowledged, counted from when it was due: an open loop, so a collector
//! that stands still makes every later card late. A card is sent until it is acknowledged; a
//! refusal ends the run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use crate::{
    deck::{Card, Deck},
    doors::{Answer, Connection, Door},
};

/// Pause before the same card is sent again.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Longest time that one card may take, over all attempts.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the senders share.
pub(crate) struct Replay {
    pub(crate) deck: Deck,
    pub(crate) doors: Vec<Door>,
    /// Requests a second; as fast as they are answered if none.
    pub(crate) rate: Option<f64>,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) lost: AtomicU64,
}

impl Replay {
    pub(crate) fn new(deck: Deck, doors: Vec<Door>, rate: Option<f64>) -> Arc<Self> {
        Arc::new(Self {
            deck,
            doors,
            rate,
            acknowledged: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// Sends everything; gives how long each card took, shortest first.
    pub(crate) async fn run(self: &Arc<Self>, connections: usize) -> anyhow::Result<Vec<Duration>> {
        let began = Instant::now();
        let mut senders = JoinSet::new();
        for number in 0..connections {
            let replay = Arc::clone(self);
            senders.spawn(async move {
                let door = &replay.doors[number % replay.doors.len()];
                replay.send_all(door, began).await
            });
        }
        let mut took = Vec::new();
        while let Some(sender) = senders.join_next().await {
            took.append(&mut sender??);
        }
        took.sort_unstable();
        Ok(took)
    }

    async fn send_all(&self, door: &Door, began: Instant) -> anyhow::Result<Vec<Duration>> {
        let mut took = Vec::new();
        let mut connection = None;
        while let Some(card) = self.deck.draw()? {
            let due = match self.rate {
                None => Instant::now(),
                #[expect(clippy::cast_precision_loss, reason = "below 2^53 requests")]
                Some(rate) => began + Duration::from_secs_f64(card.number as f64 / rate),
            };
            tokio::time::sleep_until(due.into()).await;
            self.send_one(door, &mut connection, &card)
                .await
                .with_context(|| format!("request {}", card.number))?;
            took.push(due.elapsed());
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(took)
    }

    async fn send_one(
        &self,
        door: &Door,
        connection: &mut Option<Connection>,
        card: &Card,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let open = match connection.take() {
                Some(open) => Ok(open),
                None => door.connect().await,
            };
            let Ok(mut open) = open else {
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            };
            match open.send(card).await? {
                Answer::Stored => {
                    *connection = Some(open);
                    return Ok(());
                }
                Answer::Busy => {
                    *connection = Some(open);
                    self.busy.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                Answer::Lost => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
                Answer::Refused(reason) => bail!("refused: {reason}"),
            }
        }
        bail!("not acknowledged within {PATIENCE:?}")
    }
}
