//! What is known before a tick: who is watched, how far each detector has come, what was said
//! last. Read in one transaction.
//!
//! In: the control database, the settings, the time. Out: a [`Plan`], or nothing when no lane is
//! due. Decides who is watched: a detector for every reference in force, the busiest first, up to
//! the series budget. The thresholds are computed for that budget, so it is never exceeded.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use fathomline_queries::{
    drift::{Detector, Policy, Reference},
    rows::VerdictRow,
};
use rusqlite::Transaction;

use super::{WatchSettings, schedule::Span};
use crate::{
    alert::state::Alert,
    database::{
        self, Result,
        detectors::{self, Checkpoint},
        lanes::{self, LaneCounts},
        references::{self, Frozen},
        verdicts,
    },
};

/// End of the last lane that was judged for every series.
pub(super) const JUDGED_UNTIL: &str = "judged_until";
/// A reference frozen long ago is not held against everything since: judging begins at its end, or
/// so long before it was frozen. Older lanes are for reports.
const BACKLOG_MAX_US: i64 = 48 * 3_600 * 1_000_000;
/// Recent lanes are looked at again for late records.
const LOOK_BACK_LANES: i64 = 10;

/// References in memory, by hash; `None` when the stored bytes are not the reference they name.
pub(super) type Cache = HashMap<String, Option<Arc<Reference>>>;

/// A series with a detector.
pub(super) struct Watched {
    pub(super) hash: String,
    pub(super) reference: Arc<Reference>,
    pub(super) detector: Detector,
    pub(super) began_us: i64,
    pub(super) folded_until_us: i64,
}

/// Why a series has no detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwatched {
    /// The series budget is used up by busier series.
    Budget(u32),
    /// What is stored is not what was frozen.
    Unreadable,
}

/// Everything a tick starts from.
pub(super) struct Plan {
    /// Lanes to judge.
    pub(super) span: Span,
    /// For so long before its last lane, a series' counts are remembered.
    pub(super) look_back_us: i64,
    /// Lanes up to here were judged for series without a detector.
    pub(super) judged_until_us: i64,
    pub(super) watched: BTreeMap<String, Watched>,
    /// Series with a reference and without a detector.
    pub(super) unwatched: BTreeMap<String, Unwatched>,
    pub(super) alerts: BTreeMap<String, Alert>,
    /// The newest verdict of each series.
    pub(super) current: BTreeMap<String, VerdictRow>,
    /// The last revision of each (lane end, series) in the span.
    pub(super) revisions: BTreeMap<(i64, String), i32>,
    /// What recent lanes held when they were judged.
    pub(super) counts: LaneCounts,
}

/// Reads the plan for `now_us`. Starts new detectors, which is why it may write.
pub(super) fn load(
    transaction: &Transaction<'_>,
    settings: &WatchSettings,
    now_us: i64,
    cache: &mut Cache,
) -> Result<Option<Plan>> {
    let cadence = settings.cadence;
    let judged_until_us = match database::mark(transaction, JUDGED_UNTIL)? {
        Some(mark) => mark,
        // Without a reference the past is no question; judging begins with the next lane.
        None => {
            let begin = cadence.closed_until(now_us);
            database::set_mark(transaction, JUDGED_UNTIL, begin)?;
            begin
        }
    };
    let (watched, unwatched) = admit(transaction, settings, cache)?;
    let folded = watched
        .values()
        .map(|watched| watched.folded_until_us)
        .min();
    let done_until_us = folded.map_or(judged_until_us, |folded| folded.min(judged_until_us));
    let Some(span) = cadence.due(done_until_us, now_us) else {
        return Ok(None);
    };
    let look_back_us = LOOK_BACK_LANES * cadence.lane_us;
    let current = verdicts::current(transaction)?.into_iter();
    Ok(Some(Plan {
        span,
        look_back_us,
        judged_until_us,
        watched,
        unwatched,
        alerts: detectors::alerts(transaction)?,
        current: current.map(|(_, row)| (row.series.clone(), row)).collect(),
        revisions: verdicts::revisions(transaction, span.from_us, span.to_us)?,
        counts: lanes::recent(transaction, span.from_us - look_back_us)?,
    }))
}

type Admitted = (BTreeMap<String, Watched>, BTreeMap<String, Unwatched>);

/// Detectors of the references in force, busiest first, as many as the budget allows. Those that
/// were watched before keep their place: a page must not depend on who else appeared.
fn admit(
    transaction: &Transaction<'_>,
    settings: &WatchSettings,
    cache: &mut Cache,
) -> Result<Admitted> {
    let policy = policy_text(&settings.policy);
    let budget = settings.policy.series_budget;
    let stored: BTreeMap<String, Checkpoint> = detectors::all(transaction)?
        .into_iter()
        .map(|checkpoint| (checkpoint.series.clone(), checkpoint))
        .collect();
    let mut in_force = references::in_force(transaction)?;
    let kept = |frozen: &Frozen| {
        stored
            .get(&frozen.series)
            .is_some_and(|c| c.policy == policy)
    };
    // A stable sort: within each half the busiest stay first.
    in_force.sort_by_key(|frozen| !kept(frozen));
    let (mut watched, mut unwatched) = (BTreeMap::new(), BTreeMap::new());
    for frozen in in_force {
        let Some(reference) = read(transaction, &frozen.hash, cache)? else {
            unwatched.insert(frozen.series, Unwatched::Unreadable);
            continue;
        };
        if watched.len() >= budget as usize {
            unwatched.insert(frozen.series, Unwatched::Budget(budget));
            continue;
        }
        let checkpoint = stored.get(&frozen.series);
        let detector = resume(checkpoint, &frozen, &policy, &reference)
            .unwrap_or_else(|| begin(checkpoint, &frozen, settings, reference));
        watched.insert(frozen.series, detector);
    }
    Ok((watched, unwatched))
}

/// The detector as it was after the last tick, if it judges against the same reference by the same
/// policy.
fn resume(
    checkpoint: Option<&Checkpoint>,
    frozen: &Frozen,
    policy: &str,
    reference: &Arc<Reference>,
) -> Option<Watched> {
    let checkpoint = checkpoint.filter(|c| c.reference == frozen.hash && c.policy == policy)?;
    let detector = postcard::from_bytes(&checkpoint.state).ok()?;
    Some(Watched {
        hash: frozen.hash.clone(),
        reference: Arc::clone(reference),
        detector,
        began_us: checkpoint.began_us,
        folded_until_us: checkpoint.folded_until_us,
    })
}

/// A new detector. For a new reference it begins where the reference's span ends, so its verdicts
/// do not depend on the moment of freezing; after a change of policy it goes on from where its
/// predecessor stood, because a changed threshold must not page for the past.
fn begin(
    checkpoint: Option<&Checkpoint>,
    frozen: &Frozen,
    settings: &WatchSettings,
    reference: Arc<Reference>,
) -> Watched {
    let predecessor = checkpoint.filter(|c| c.reference == frozen.hash);
    let began_us = match predecessor {
        Some(checkpoint) => checkpoint.folded_until_us,
        None => frozen
            .to_us
            .max(frozen.created_us.saturating_sub(BACKLOG_MAX_US)),
    };
    let began_us = settings.cadence.ceil(began_us);
    tracing::info!(
        series = frozen.name,
        reference = frozen.hash,
        restarted = predecessor.is_some(),
        "watching a series"
    );
    Watched {
        hash: frozen.hash.clone(),
        detector: Detector::new(&reference, &settings.policy),
        reference,
        began_us,
        folded_until_us: began_us,
    }
}

/// A reference from memory or the database, checked against its name.
fn read(
    transaction: &Transaction<'_>,
    hash: &str,
    cache: &mut Cache,
) -> Result<Option<Arc<Reference>>> {
    if let Some(known) = cache.get(hash) {
        return Ok(known.clone());
    }
    let body = references::find(transaction, hash)?;
    let reference: Option<Reference> = body.and_then(|body| postcard::from_bytes(&body).ok());
    let reference = reference
        .filter(|reference| reference.hash() == hash)
        .map(Arc::new);
    if reference.is_none() {
        tracing::error!(
            reference = hash,
            "cannot read a frozen reference; freeze a new one"
        );
    }
    cache.insert(hash.to_owned(), reference.clone());
    Ok(reference)
}

/// Tells two policies apart.
pub(super) fn policy_text(policy: &Policy) -> String {
    serde_json::to_string(policy).unwrap_or_else(|error| format!("unprintable policy: {error}"))
}
