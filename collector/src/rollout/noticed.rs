//! Versions as devices report them, and rollouts that nobody declared: a second version beside one
//! that still reports. In: lanes, again and again. Out: rows, and one event a rollout.

use std::{collections::BTreeSet, time::Duration};

use fathomline_queries::{
    lanes::rollout::{self, VersionSeen},
    series::Span,
};
use rusqlite::Transaction;
use tokio::sync::watch;

use super::{GateError, Rollouts, declared};
use crate::{
    clock::{DAY_US, HOUR_US},
    database::{
        self, mark,
        rollouts::{self, RolloutRow},
        set_mark,
    },
};

/// How far versions were looked for.
const MARK: &str = "versions_until";

/// Who declares what devices report.
const DEVICES: &str = "devices";

/// The pause between looks follows the width of lanes, within these bounds.
const PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

impl Rollouts {
    /// Looks for versions until the collector stops.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let lane = Duration::from_micros(self.cadence.lane_us.unsigned_abs());
        let pause = (lane / 2).clamp(*PAUSE.start(), *PAUSE.end());
        loop {
            if let Err(error) = self.notice().await {
                tracing::error!(%error, "cannot look for new versions; trying again");
            }
            let stopped = stopping.wait_for(|stop| *stop);
            if tokio::time::timeout(pause, stopped).await.is_ok() {
                return;
            }
        }
    }

    /// One look, at the lanes since the last one and those of an hour before: what devices kept
    /// while they were away arrives late.
    pub(crate) async fn notice(&self) -> Result<(), GateError> {
        let now_us = self.clock.now_us();
        let done_us = self.database.transact(|t| mark(t, MARK)).await?;
        let span = Span {
            width_us: self.cadence.lane_us,
            from_us: done_us.unwrap_or(0).clamp(
                now_us.saturating_sub(DAY_US),
                now_us.saturating_sub(HOUR_US),
            ),
            to_us: self.cadence.ceil(now_us),
        };
        let seen = rollout::versions(&self.engine, span).await?;
        let until_us = self.cadence.closed_until(now_us);
        let work = move |t: &Transaction<'_>| {
            rollouts::note(t, &seen)?;
            set_mark(t, MARK, until_us)?;
            begin(t, &seen, now_us)
        };
        Ok(self.database.transact(work).await?)
    }
}

/// Begins the rollouts of models that have just been seen.
fn begin(transaction: &Transaction<'_>, seen: &[VersionSeen], now_us: i64) -> database::Result<()> {
    let models: BTreeSet<(&str, &str)> = seen
        .iter()
        .map(|version| (version.service.as_str(), version.model.as_str()))
        .collect();
    for (service, model) in models {
        let known = rollouts::versions(transaction, Some(model))?;
        let own: Vec<&VersionSeen> = known.iter().filter(|v| v.service == service).collect();
        let Some((candidate, against)) = pair(&own) else {
            continue;
        };
        let place = (service, model, candidate.version.as_str());
        if rollouts::of(transaction, place)?.is_some() {
            continue;
        }
        let row = RolloutRow {
            service: service.to_owned(),
            model: model.to_owned(),
            candidate: candidate.version.clone(),
            against: against.version.clone(),
            started_us: candidate.first_us,
            source: "reported".to_owned(),
            started_by: DEVICES.to_owned(),
            ..declared::nobody()
        };
        declared::begin(transaction, row, now_us)?;
    }
    Ok(())
}

/// The version that was seen first last, and beside it the one that reported last of those that
/// still did when it came.
fn pair<'a>(versions: &[&'a VersionSeen]) -> Option<(&'a VersionSeen, &'a VersionSeen)> {
    let first_us = |version: &str| {
        let its = versions.iter().filter(|seen| seen.version == version);
        its.map(|seen| seen.first_us).min().unwrap_or(i64::MAX)
    };
    let candidate = *versions
        .iter()
        .max_by_key(|seen| (first_us(&seen.version), std::cmp::Reverse(seen.first_us)))?;
    let since_us = first_us(&candidate.version);
    let still = |seen: &&&VersionSeen| {
        seen.version != candidate.version
            && first_us(&seen.version) < since_us
            && seen.last_us >= since_us - HOUR_US
    };
    let against = versions.iter().filter(still);
    let against = *against.max_by_key(|seen| (seen.last_us, first_us(&seen.version)))?;
    Some((candidate, against))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(version: &str, first_us: i64, last_us: i64) -> VersionSeen {
        VersionSeen {
            service: "s".into(),
            model: "m".into(),
            version: version.into(),
            device_class: "kiosk".into(),
            first_us,
            last_us,
            devices: 5,
        }
    }

    fn found(versions: &[VersionSeen]) -> Option<(&str, &str)> {
        let versions: Vec<&VersionSeen> = versions.iter().collect();
        let (candidate, against) = pair(&versions)?;
        let name = |seen: &VersionSeen| {
            let known = ["1", "2", "3"].into_iter();
            known
                .into_iter()
                .find(|name| *name == seen.version)
                .unwrap()
        };
        Some((name(candidate), name(against)))
    }

    #[test]
    fn a_rollout_is_a_second_version_beside_one_that_still_reports() {
        assert_eq!(found(&[seen("1", 0, 9)]), None);
        assert_eq!(found(&[seen("1", 0, 9), seen("2", 5, 9)]), Some(("2", "1")));
        // At the first look nobody can say which of them is new.
        assert_eq!(found(&[seen("1", 5, 9), seen("2", 5, 9)]), None);
        let long = 10 * HOUR_US;
        assert_eq!(found(&[seen("1", 0, 9), seen("2", long, long)]), None);
        let three = [
            seen("1", 0, long),
            seen("2", 5, long + 1),
            seen("3", long, long + 1),
        ];
        assert_eq!(found(&three), Some(("3", "2")));
    }
}
