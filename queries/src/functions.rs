//! Our SQL functions, for our own questions and for strangers.
//!
//! | function | gives |
//! |---|---|
//! | `histogram_merge(scale, zero_count, pos_offset, pos_counts, neg_offset, neg_counts)` | the merged histogram, packed (aggregate) |
//! | `histogram_merge(sum, min, max, scale, zero_count, zero_threshold, pos_offset, ...)` | the same with all of a table's histogram columns, in their order |
//! | `histogram_quantile(packed, q)`, `histogram_cdf(packed, x)` | estimate of a quantile; share at or below `x` |
//! | `drift_psi(reference, current)`, `drift_psi_debiased(reference, current [, effective])` | population stability index in nats; less what chance gives, for current records that are worth `effective` |
//! | `drift_jensen_shannon`, `drift_hellinger`, `drift_ks` | distances from 0 to 1 |
//! | `drift_wasserstein(reference, current [, bounds])` | how far values moved, in their unit |
//! | `drift_chi_square`, `drift_chi_square_p`, `drift_cramers_v` | test statistic, how likely chance gives it, size of the effect |
//! | `devices_merge(devices)` | the merged distinct sketch (aggregate) |
//! | `devices_of(device)` | the distinct sketch of one device |
//! | `counts_merge(counts)` | counts of equal bounds, added bucket by bucket (aggregate) |
//! | `devices_count(devices)` | how many distinct devices, exact below 128 |
//!
//! What drift compares are two packed histograms or two lists of counts (`functions/distance.rs`).
//! In: columns as `schema.rs` names them. Out: values. Numbers are those of `wire::histogram`,
//! which merges and reads the histograms, and of `stats`. Never panics on packed bytes or lists
//! that a stranger made up.

mod columns;
mod counts;
mod devices;
mod distance;
mod groups;
mod histogram;
mod lent;
mod packed;

use std::sync::Arc;

use datafusion::{arrow::array::ArrayRef, common::Result, execution::FunctionRegistry};
use fathomline_wire::histogram::ExponentialHistogram;

use self::groups::Sketch;
pub(crate) use self::packed::unpack;

/// The histogram in one row of a table's histogram columns, in the order of `histogram_merge`'s
/// long form; none where `scale` is null.
pub(crate) fn histogram(columns: &[ArrayRef], row: usize) -> Result<Option<ExponentialHistogram>> {
    ExponentialHistogram::from_arguments(columns, row)
}

/// Makes the functions known to a session.
pub(crate) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    registry.register_udaf(Arc::new(histogram::merge()))?;
    registry.register_udaf(Arc::new(devices::merge()))?;
    registry.register_udaf(Arc::new(counts::merge()))?;
    let functions = [
        histogram::quantile(),
        histogram::cdf(),
        devices::count(),
        devices::of(),
    ];
    for function in functions.into_iter().chain(distance::all()) {
        registry.register_udf(Arc::new(function))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
