//! References that are kept and were chosen to judge by. In: what was asked for. Out: one for each
//! of their series, or nothing where none was asked for.

use std::collections::BTreeMap;

use anyhow::bail;
use fathomline_collector::references::References;
use fathomline_queries::drift::{Level, Reference, SeriesKey};
use futures::future::try_join_all;

use super::Backtesting;

/// References by their series.
pub(super) type Kept = BTreeMap<SeriesKey, Reference>;

/// What was chosen; none to judge by the beginning of the span.
pub(super) async fn chosen(asked: &Backtesting) -> anyhow::Result<Option<Kept>> {
    if !asked.in_force && asked.references.is_empty() {
        return Ok(None);
    }
    let references = References::open(&asked.data)?;
    let found = if asked.in_force {
        references.in_force().await?
    } else {
        let named = asked.references.iter();
        try_join_all(named.map(|name| references.content(name))).await?
    };
    let mut kept = Kept::new();
    for reference in found {
        if reference.level() != Level::Variant {
            continue;
        }
        let key = reference.key().clone();
        if kept.insert(key.clone(), reference).is_some() {
            bail!("several references of {key} were named; name one");
        }
    }
    if kept.is_empty() {
        bail!(
            "no reference of a single series is in force; make one with fathomline reference create"
        );
    }
    Ok(Some(kept))
}
