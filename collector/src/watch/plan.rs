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
    drift::{Detector, Level, Policy, Reference, SeriesKey},
    rows::VerdictRow,
};
use fathomline_wire::CONTRACT_VERSION;
use rusqlite::Transaction;

use super::{WatchSettings, schedule::Span};
use crate::{
    alert::state::Alert,
    control::content_of,
    database::{
        self, Result, alerts,
        detectors::{self, Checkpoint},
        references::{self, InForce},
        snapshots, verdicts,
    },
};

/// End of the last lane that was judged for every series.
pub(super) const JUDGED_UNTIL: &str = "judged_until";

/// References in memory, by hash; `None` when the stored bytes are not the reference they name.
pub(super) type Cache = HashMap<String, Option<Arc<Reference>>>;

/// A series with a detector.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) hash: String,
    pub(super) reference: Arc<Reference>,
    pub(super) detector: Detector,
    pub(super) began_us: i64,
    pub(super) folded_until_us: i64,
}

/// What a series without a reference of its own is shown beside.
#[derive(Clone)]
pub(super) struct Parent {
    pub(super) hash: String,
    pub(super) reference: Arc<Reference>,
}

/// Why a series has no detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwatched {
    /// The series budget is used up by busier series.
    Budget(u32),
    /// What is stored is not what was frozen.
    Unreadable,
    /// Values meant something else under the contract of that version.
    Contract(u32),
}

/// Everything a tick starts from.
#[derive(Default)]
pub(super) struct Plan {
    /// Lanes to judge.
    pub(super) span: Span,
    /// Lanes up to here were judged for series without a detector.
    pub(super) judged_until_us: i64,
    pub(super) watched: BTreeMap<String, Watched>,
    /// Series with a reference and without a detector.
    pub(super) unwatched: BTreeMap<String, Unwatched>,
    /// References of whole versions and models, by the id of the series as it is called there.
    pub(super) parents: BTreeMap<String, Parent>,
    pub(super) alerts: BTreeMap<String, Alert>,
    /// The newest verdict of each series.
    pub(super) current: BTreeMap<String, VerdictRow>,
    /// The last revision of each (lane end, series) in the span.
    pub(super) revisions: BTreeMap<(i64, String), i32>,
}

impl Plan {
    /// The nearest parent's reference of a series that has none of its own.
    pub(super) fn parent_of(&self, key: &SeriesKey) -> Option<Parent> {
        let series = Level::PARENTS.map(|level| key.at(level).id());
        let mut parents = series.iter().filter_map(|series| self.parents.get(series));
        parents.next().cloned()
    }
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
    let Admitted {
        watched,
        unwatched,
        parents,
    } = admit(transaction, settings, cache)?;
    let folded = watched
        .values()
        .map(|watched| watched.folded_until_us)
        .min();
    let done_until_us = folded.map_or(judged_until_us, |folded| folded.min(judged_until_us));
    let Some(span) = cadence.due(done_until_us, now_us) else {
        return Ok(None);
    };
    let current = verdicts::current(transaction)?.into_iter();
    Ok(Some(Plan {
        span,
        judged_until_us,
        watched,
        unwatched,
        parents,
        alerts: alerts::all(transaction)?,
        current: current.map(|(_, row)| (row.series.clone(), row)).collect(),
        revisions: verdicts::revisions(transaction, span.from_us, span.to_us)?,
    }))
}

/// What the references in force come to.
#[derive(Default)]
struct Admitted {
    watched: BTreeMap<String, Watched>,
    unwatched: BTreeMap<String, Unwatched>,
    parents: BTreeMap<String, Parent>,
}

/// The series that are watched now, with their detectors.
pub(super) fn watched(
    transaction: &Transaction<'_>,
    settings: &WatchSettings,
    cache: &mut Cache,
) -> Result<BTreeMap<String, Watched>> {
    Ok(admit(transaction, settings, cache)?.watched)
}

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
    let kept = |frozen: &InForce| {
        stored
            .get(&frozen.series)
            .is_some_and(|c| c.policy == policy)
    };
    // A stable sort: within each half the busiest stay first.
    in_force.sort_by_key(|frozen| !kept(frozen));
    let mut admitted = Admitted::default();
    for frozen in in_force {
        if frozen.contract != CONTRACT_VERSION {
            let why = Unwatched::Contract(frozen.contract);
            admitted.unwatched.insert(frozen.series, why);
            continue;
        }
        let Some(reference) = read(transaction, &frozen.hash, cache)? else {
            let why = Unwatched::Unreadable;
            admitted.unwatched.insert(frozen.series, why);
            continue;
        };
        if reference.level() != Level::Variant {
            let hash = frozen.hash;
            admitted
                .parents
                .insert(frozen.series, Parent { hash, reference });
            continue;
        }
        if admitted.watched.len() >= budget as usize {
            let why = Unwatched::Budget(budget);
            admitted.unwatched.insert(frozen.series, why);
            continue;
        }
        let checkpoint = stored.get(&frozen.series);
        let detector = resume(checkpoint, &frozen, &policy, &reference)
            .unwrap_or_else(|| begin(checkpoint, &frozen, settings, reference));
        admitted.watched.insert(frozen.series, detector);
    }
    Ok(admitted)
}

/// The detector as it was after the last tick, if it judges against the same reference by the same
/// policy.
fn resume(
    checkpoint: Option<&Checkpoint>,
    frozen: &InForce,
    policy: &str,
    reference: &Arc<Reference>,
) -> Option<Watched> {
    let checkpoint = checkpoint.filter(|c| c.reference == frozen.hash && c.policy == policy)?;
    let detector = detector(checkpoint)?;
    Some(Watched {
        hash: frozen.hash.clone(),
        reference: Arc::clone(reference),
        detector,
        began_us: checkpoint.began_us,
        folded_until_us: checkpoint.folded_until_us,
    })
}

/// The detector of a checkpoint, to the bit.
pub(super) fn detector(checkpoint: &Checkpoint) -> Option<Detector> {
    postcard::from_bytes(&checkpoint.state).ok()
}

/// A series as it was at its snapshot; without one, as it began, if that is not longer ago than
/// snapshots are kept.
pub(super) fn before(
    snapshot: Option<&Checkpoint>,
    now: &Watched,
    settings: &WatchSettings,
) -> Option<Watched> {
    let policy = policy_text(&settings.policy);
    let snapshot = snapshot.filter(|snapshot| {
        snapshot.reference == now.hash
            && snapshot.policy == policy
            && snapshot.began_us == now.began_us
    });
    if let Some((snapshot, detector)) = snapshot.and_then(|of| Some((of, detector(of)?))) {
        return Some(Watched {
            detector,
            folded_until_us: snapshot.folded_until_us,
            ..now.clone()
        });
    }
    let recent = now.folded_until_us - now.began_us <= snapshots::KEPT_US;
    recent.then(|| Watched {
        detector: Detector::new(&now.reference, &settings.policy),
        folded_until_us: now.began_us,
        ..now.clone()
    })
}

/// A new detector. For a new reference it begins where the reference's span ends, or as long before
/// it was made as its act says, so its verdicts do not depend on the moment of making; after a
/// change of policy it goes on from where its predecessor stood, because a changed threshold must
/// not page for the past.
fn begin(
    checkpoint: Option<&Checkpoint>,
    frozen: &InForce,
    settings: &WatchSettings,
    reference: Arc<Reference>,
) -> Watched {
    let predecessor = checkpoint.filter(|c| c.reference == frozen.hash);
    let began_us = match predecessor {
        Some(checkpoint) => checkpoint.folded_until_us,
        None => frozen.to_us.max(frozen.judged_from_us),
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
    let reference = content_of(transaction, hash)?.map(Arc::new);
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
