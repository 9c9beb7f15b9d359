//! References that are kept and were chosen to judge by. In: what was asked for. Out: one for each
//! of their series, or nothing where none was asked for.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use fathomline_collector::references::References;
use fathomline_queries::drift::{Level, Reference, SeriesKey};

use super::Backtesting;

/// As many references as one list has.
const LISTED: u32 = 1_000;

/// References by their series.
pub(super) type Kept = BTreeMap<SeriesKey, Reference>;

/// What was chosen; none to judge by the beginning of the span.
pub(super) async fn chosen(asked: &Backtesting) -> anyhow::Result<Option<Kept>> {
    if !asked.in_force && asked.references.is_empty() {
        return Ok(None);
    }
    let references = References::open(&asked.data)?;
    let names = if asked.in_force {
        let listed = references.list(LISTED).await?.into_iter();
        let in_force = listed.filter(|listed| listed.row.in_force_since_us.is_some());
        in_force.map(|listed| listed.row.hash).collect()
    } else {
        asked.references.clone()
    };
    let mut kept = Kept::new();
    for name in names {
        let shown = references.show(&name).await?;
        let hash = shown.row.hash;
        let content = shown.content;
        let reference =
            content.with_context(|| format!("reference {hash} cannot be read; make a new one"))?;
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
