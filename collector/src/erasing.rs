//! Carries erasures out: what the control database asks for, until nothing is left to do.
//!
//! In: erasures that were asked for, by whomever and whenever. Out: a store without those devices,
//! and rows that say how far it has come. Begins again after any failure and any restart, and never
//! names a device.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    access::Access,
    clock::Clock,
    database::{Database, DatabaseError, erasures},
    store::erase::{EraseError, Eraser},
};

/// Pause between looks at what is asked for.
const LOOK: Duration = Duration::from_millis(500);

/// What erasing works with.
pub(crate) struct Erasing {
    database: Database,
    access: Arc<Access>,
    eraser: Eraser,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Erase(#[from] EraseError),
}

impl Erasing {
    pub(crate) fn new(
        database: &Database,
        access: &Arc<Access>,
        eraser: Eraser,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            database: database.clone(),
            access: Arc::clone(access),
            eraser,
            clock: Arc::clone(clock),
        }
    }

    /// Erases what is asked for until `stop` turns true.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            match self.round().await {
                Ok(()) => failing = false,
                // Said when it begins, not twice a second.
                Err(_) if failing => {}
                Err(error) => {
                    failing = true;
                    tracing::error!(%error, "cannot erase a device yet; trying again");
                }
            }
            let stopped = stop.wait_for(|stop| *stop);
            if tokio::time::timeout(LOOK, stopped).await.is_ok() {
                return;
            }
        }
    }

    async fn round(&self) -> Result<(), RoundError> {
        for device in self.database.transact(erasures::pending).await? {
            // The door refuses first, so that its senders hear why.
            self.access.refresh().await?;
            self.eraser.erase(&device).await?;
            let now_us = self.clock.now_us();
            let done = move |t: &rusqlite::Transaction<'_>| erasures::rows_gone(t, &device, now_us);
            self.database.transact(done).await?;
            self.database.settle().await?;
            tracing::info!("a device was erased: no row of it is left");
        }
        Ok(())
    }
}
