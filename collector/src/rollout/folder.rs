//! The gate's answer by the committed rows of a data folder, whether its collector runs or not. In:
//! a folder and a question. Out: the answer as of its last lane. Never: a write.

use std::{path::Path, sync::Arc};

use fathomline_queries::{
    engine::{Engine, EngineLimits, committed},
    gate::Answer,
    published::Publication,
};

use super::{Asked, GateError, Rollouts};
use crate::{
    clock::SystemClock,
    config::Config,
    database::{self, Database},
    watch::Cadence,
};

/// Asks a data folder.
///
/// # Errors
/// When there is no collector's data in it, or the question cannot be answered.
pub async fn decide_in(
    data_folder: &Path,
    config: &Config,
    asked: &Asked,
) -> Result<Answer, GateError> {
    if !database::exists(data_folder) {
        return Err(GateError::Nowhere(data_folder.to_owned()));
    }
    // Judging needs small groups as they are; what is told of them is the gate's business.
    let (limits, publication) = (EngineLimits::default(), Publication::everything());
    let engine = committed::open(data_folder, limits, publication).await?;
    let (lane_us, last_us) = newest_lane(&engine).await?.unwrap_or((1, 0));
    let cadence = Cadence {
        lane_us,
        ..config.watch.cadence
    };
    let database = Database::open(data_folder)?;
    let judging = (cadence, config.gate.clone());
    let rollouts = Rollouts::new(Arc::new(engine), database, Arc::new(SystemClock), judging);
    rollouts.decide_until(asked, last_us).await
}

/// Width and end of the newest lane.
async fn newest_lane(engine: &Engine) -> Result<Option<(i64, i64)>, GateError> {
    let sql = "SELECT width_us, CAST(max(time) AS BIGINT) AS last
               FROM rollups GROUP BY width_us ORDER BY last DESC LIMIT 1";
    let answer = engine.query_outside(sql).await?;
    let number = |at: usize| answer.rows.first()?.get(at)?.as_i64();
    Ok(number(0).zip(number(1)))
}
