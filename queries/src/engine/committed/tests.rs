//! A data folder without its collector.

use fathomline_wire::names::OUTPUT_SURPRISAL;
use serde_json::json;

use super::*;
use crate::{
    examples::{LANE_US, append, delta_table, distribution},
    lanes, rows,
    series::Span,
};

async fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let row = [distribution("a", 1, &[1.0, 2.0])];
    for table in Table::ALL {
        let mut delta = delta_table(folder.path(), table).await;
        let rollups = rows::rollup(&row, &[], LANE_US);
        match table {
            Table::Distributions => append(&mut delta, rows::distributions(&row).unwrap()).await,
            Table::Rollups => append(&mut delta, rows::rollups(&rollups).unwrap()).await,
            _ => {}
        }
    }
    folder
}

#[tokio::test]
async fn committed_rows_are_answered_from_the_files() {
    let folder = folder().await;
    let engine = open(
        folder.path(),
        EngineLimits::default(),
        Publication::everything(),
    )
    .await
    .unwrap();
    let sql = "SELECT device, count, sum, pos_counts FROM distributions WHERE time < now()";
    let answer = engine.query_outside(sql).await.unwrap();
    assert_eq!(json!(answer.rows[0][..3]), json!(["a", 2, 3.0]));
    let span = Span {
        width_us: LANE_US,
        from_us: 0,
        to_us: LANE_US,
    };
    let lanes = lanes::closed(&engine, span, &[OUTPUT_SURPRISAL])
        .await
        .unwrap();
    assert_eq!((lanes.len(), lanes[0].count, lanes[0].devices), (1, 2, 1));
}

#[tokio::test]
async fn a_folder_without_tables_says_what_to_name_instead() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(
        folder.path(),
        EngineLimits::default(),
        Publication::everything(),
    )
    .await
    .unwrap_err()
    .to_string();
    assert!(error.contains("fathomline serve --data"), "{error}");
}

#[tokio::test]
async fn a_missing_table_is_named() {
    let folder = folder().await;
    std::fs::remove_dir_all(folder.path().join("tables/rollups")).unwrap();
    let error = open(
        folder.path(),
        EngineLimits::default(),
        Publication::everything(),
    )
    .await
    .unwrap_err()
    .to_string();
    assert!(error.contains("table rollups"), "{error}");
}
