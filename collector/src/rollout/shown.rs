//! Rollouts as the dashboard's pages show them. In: rows, and the gate's answer. Out: what
//! the dashboard's trait gives. Never: decisions.

use fathomline_queries::{
    gate::{Answer, KeptRollout, RunningVersion},
    lanes::rollout::VersionSeen,
};

use super::{Asked, GateError, Rollouts};
use crate::{
    clock::HOUR_US,
    database::rollouts::{self, RolloutRow},
};

/// A version that nobody reported for an hour is on no device.
const SILENT_US: i64 = HOUR_US;

impl Rollouts {
    /// Rollouts, newest first; those that go on come first.
    pub(crate) async fn kept(&self, limit: u32) -> Result<Vec<KeptRollout>, GateError> {
        let mut listed = self.list(limit).await?;
        listed.sort_by_key(|row| row.finished_us.is_some());
        Ok(listed.into_iter().map(kept).collect())
    }

    /// Versions that were seen, each with the devices that still report it.
    pub(crate) async fn running(&self) -> Result<Vec<RunningVersion>, GateError> {
        let away_us = SILENT_US + self.cadence.lateness_us;
        let silent_us = self.clock.now_us().saturating_sub(away_us);
        let known = self.database.transact(|t| rollouts::versions(t, None));
        let running = |seen: VersionSeen| RunningVersion {
            service: seen.service,
            model: seen.model,
            device_class: seen.device_class,
            version: seen.version,
            devices: if seen.last_us < silent_us {
                0
            } else {
                seen.devices
            },
            first_us: seen.first_us,
        };
        Ok(known.await?.into_iter().map(running).collect())
    }

    /// What the gate says of a rollout, or the sentence that says why it cannot be asked.
    pub(crate) async fn told(
        &self,
        rollout: &KeptRollout,
    ) -> Result<Result<Answer, String>, GateError> {
        let asked = Asked {
            service: Some(rollout.service.clone()),
            model: rollout.model.clone(),
            candidate: rollout.candidate.clone(),
            against: rollout.against.clone(),
            ..Asked::default()
        };
        match self.decide(&asked).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(error @ (GateError::Database(_) | GateError::Query(_))) => Err(error),
            Err(error) => Ok(Err(error.to_string())),
        }
    }
}

fn kept(row: RolloutRow) -> KeptRollout {
    KeptRollout {
        id: row.id,
        service: row.service,
        model: row.model,
        candidate: row.candidate,
        against: row.against,
        started_us: row.started_us,
        started_by: row.started_by,
        finished_us: row.finished_us,
        outcome: row.outcome,
    }
}
