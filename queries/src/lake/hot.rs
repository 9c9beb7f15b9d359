//! Rows that wait for their commit, by what will commit them.
//!
//! In: batches under a key that only grows (a log segment, a row number). Out: the batches whose
//! key is not committed. Few batches, whatever the rate: neighbours of like size are joined.

use std::collections::BTreeMap;

use datafusion::arrow::{
    compute::{cast, concat_batches},
    datatypes::SchemaRef,
    error::ArrowError,
    record_batch::RecordBatch,
};

use super::{Batch, LakeError};
use crate::schema::Table;

/// Batches under their keys, all above `committed`.
#[derive(Clone, Debug)]
pub(super) struct HotRows {
    committed: i64,
    batches: BTreeMap<i64, BTreeMap<Table, Vec<RecordBatch>>>,
}

impl HotRows {
    pub(super) fn new(committed: i64) -> Self {
        Self {
            committed,
            batches: BTreeMap::new(),
        }
    }

    pub(super) fn committed(&self) -> i64 {
        self.committed
    }

    /// Keeps the batches, unless their key is committed already.
    pub(super) fn push(&mut self, key: i64, batches: Vec<Batch>) -> Result<(), LakeError> {
        if key <= self.committed {
            return Ok(());
        }
        for (table, batch) in batches
            .into_iter()
            .filter(|(_, batch)| batch.num_rows() > 0)
        {
            let kept = self
                .batches
                .entry(key)
                .or_default()
                .entry(table)
                .or_default();
            join_like_sizes(kept, batch).map_err(|source| LakeError::Schema {
                table: table.name(),
                source,
            })?;
        }
        Ok(())
    }

    /// Replaces every batch by what `keep` leaves of it.
    pub(super) fn keep(
        &mut self,
        keep: impl Fn(Table, &RecordBatch) -> Result<RecordBatch, ArrowError>,
    ) -> Result<(), LakeError> {
        for (table, batches) in self.batches.values_mut().flatten() {
            for batch in batches {
                *batch = keep(*table, batch).map_err(|source| LakeError::Schema {
                    table: table.name(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// Drops everything up to `key`.
    pub(super) fn commit(&mut self, key: i64) {
        self.committed = self.committed.max(key);
        self.batches.retain(|key, _| *key > self.committed);
    }

    pub(super) fn of(&self, table: Table) -> impl Iterator<Item = &RecordBatch> {
        self.batches
            .values()
            .filter_map(move |tables| tables.get(&table))
            .flatten()
    }
}

/// So many small batches become one.
const JOINED: usize = 8;
/// A scan gains nothing from larger ones: it reads them by about as many rows.
const JOINED_ROWS_MAX: usize = 8_192;

/// Appends, and joins the last eight of like size: `n` pushes leave about `7 log8 n` small batches,
/// and each row is copied `log8 n` times, so views stay cheap to make and to scan.
fn join_like_sizes(kept: &mut Vec<RecordBatch>, batch: RecordBatch) -> Result<(), ArrowError> {
    let size = |batch: &RecordBatch| batch.num_rows().max(1).ilog2() / JOINED.ilog2();
    let mut last = batch;
    loop {
        let alike = kept.iter().rev();
        let alike = alike.take_while(|batch| size(batch) <= size(&last)).count();
        if alike + 1 < JOINED || last.num_rows() >= JOINED_ROWS_MAX {
            kept.push(last);
            return Ok(());
        }
        let mut joined = kept.split_off(kept.len() - alike);
        joined.push(last);
        last = concat_batches(&joined[0].schema(), &joined)?;
    }
}

/// The batch in the types of `schema`, columns found by name.
pub(crate) fn as_stored(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).ok_or_else(|| {
            ArrowError::SchemaError(format!("the batch has no column {}", field.name()))
        })?;
        cast(column, field.data_type())
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{self, EventRow};

    fn one_event() -> RecordBatch {
        let text = || String::from("x");
        let row = EventRow {
            time: 1,
            id: text(),
            kind: text(),
            subject: text(),
            body: text(),
        };
        rows::events(&[row]).unwrap()
    }

    #[test]
    fn many_pushes_leave_few_batches_and_every_row() {
        let mut hot = HotRows::new(-1);
        for _ in 0..1000 {
            hot.push(0, vec![(Table::Events, one_event())]).unwrap();
        }
        assert_eq!(
            hot.of(Table::Events)
                .map(RecordBatch::num_rows)
                .sum::<usize>(),
            1000
        );
        assert!(hot.of(Table::Events).count() <= 7 * 4);
    }

    #[test]
    fn committed_keys_are_neither_kept_nor_taken() {
        let mut hot = HotRows::new(3);
        for key in [3, 4, 5] {
            hot.push(key, vec![(Table::Events, one_event())]).unwrap();
        }
        assert_eq!(hot.of(Table::Events).count(), 2);
        hot.commit(4);
        assert_eq!(hot.of(Table::Events).count(), 1);
        hot.commit(2);
        assert_eq!(hot.committed(), 4);
    }
}
