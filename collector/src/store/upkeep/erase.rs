//! A table without one device. In: the device's name. Out: its files replaced by others that hold
//! the rows of everyone else, by one commit that does not say whose rows went.

use datafusion::logical_expr::{Expr, col, lit};
use deltalake_core::{DeltaTable, protocol::DeltaOperation};
use fathomline_queries::schema::{Table, column};
use fathomline_wire::identity::CLONE_MARK;

use super::{Upkeep, UpkeepError, live, rewrite, rewrite::Change};

/// Attempts against whoever else replaces files of the same table; each of them got on.
const ATTEMPTS: usize = 20;

impl Upkeep {
    /// Removes every row of an installation and its clones.
    pub(in crate::store) async fn erase(
        &self,
        table: Table,
        device: &str,
    ) -> Result<(), UpkeepError> {
        // What is being built is read from rows that were erased a moment ago.
        let _building = self.building.lock().await;
        let mut attempt = 1;
        loop {
            let delta = self.tables.lock().await.latest(table).await?;
            match self.without(table, &delta, device).await {
                Err(UpkeepError::Delta(error))
                    if attempt < ATTEMPTS && rewrite::is_conflict(&error) =>
                {
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn without(
        &self,
        table: Table,
        delta: &DeltaTable,
        device: &str,
    ) -> Result<(), UpkeepError> {
        let mut holding = vec![];
        for file in live::files(delta)? {
            if rewrite::holds(&self.session, delta, &file.path, is_of(device)).await? {
                holding.push(file);
            }
        }
        if holding.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> = holding.iter().map(|file| file.path.clone()).collect();
        let others = Some(is_of(device).is_not_true());
        let target = self.settings.file_bytes;
        let place = (table, delta);
        let added = rewrite::sorted(&self.session, place, &paths, others, target).await?;
        let removed = holding.iter().map(|file| file.view.remove_action(true));
        let change = Change {
            removed: removed.collect(),
            added,
        };
        // Delta's log keeps what an operation is told, so it is not told who.
        let operation = DeltaOperation::Delete { predicate: None };
        self.commit(table, change.commit(delta, operation, None))
            .await?;
        Ok(())
    }
}

/// The row is of the installation, or of one of its clones.
fn is_of(device: &str) -> Expr {
    // Names of clones begin with the mark; what follows it in order begins with the sign after it.
    let mut after = device.to_owned();
    after.push(char::from(CLONE_MARK as u8 + 1));
    let named = || col(column::DEVICE);
    let clone = named().gt_eq(lit(format!("{device}{CLONE_MARK}")));
    named()
        .eq(lit(device))
        .or(clone.and(named().lt(lit(after))))
}
