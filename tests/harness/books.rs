//! Whether everything was counted once, wherever it is counted. In: a house and what it was sent.
//! Out: nothing, or the table that disagrees. Asks only what any user could ask.

use fathomline_wire::names;

use super::{clock::until, fleet::Sent, house::House};

/// Holds every table against what was sent.
pub(crate) fn balance(house: &House, sent: Sent) {
    let by = |sql: &str| house.number(&sql.replace("{m}", names::OUTPUT_SURPRISAL));
    let windows = by("SELECT count(*) FROM distributions WHERE metric = '{m}'");
    let records = by("SELECT sum(count) FROM distributions WHERE metric = '{m}'");
    assert_eq!(Sent { windows, records }, sent, "distributions");
    let windows = by("SELECT sum(device_windows) FROM rollups WHERE metric = '{m}'");
    let records = by("SELECT sum(count) FROM rollups WHERE metric = '{m}'");
    assert_eq!(Sent { windows, records }, sent, "rollups");
    let feedback = names::FEEDBACK;
    let answers = house.number(&format!(
        "SELECT sum(count) FROM measurements WHERE metric = '{feedback}'"
    ));
    assert_eq!(answers, sent.records, "measurements");
    assert_eq!(
        merged(house, "distributions"),
        merged(house, "rollups"),
        "merged histograms"
    );
}

/// Records of surprisal in the rows of `table` that are committed: read from its files on disk
/// by another process, without the log.
pub(crate) fn committed_in(house: &House, table: &str) -> i64 {
    let data = house.data().to_string_lossy().into_owned();
    let sql = format!(
        "SELECT coalesce(sum(count), 0) AS records FROM {table} WHERE metric = '{}'",
        names::OUTPUT_SURPRISAL
    );
    let (succeeded, printed) =
        house.command_line(&["sql", &sql, "--data", &data, "--raw", "--format", "json"]);
    assert!(succeeded, "fathomline sql --data: {printed}");
    let mut numbers = printed
        .split(|c: char| !c.is_ascii_digit())
        .filter(|word| !word.is_empty());
    numbers
        .next_back()
        .and_then(|word| word.parse().ok())
        .unwrap_or_default()
}

/// Waits until every table has committed what was sent.
pub(crate) fn wait_for_commit(house: &House, sent: Sent) {
    until("all rows are committed", || {
        ["distributions", "rollups"]
            .iter()
            .all(|table| committed_in(house, table) == sent.records)
    });
}

/// Quantiles of all surprisals, merged from single rows of `table`: equal bits or not equal.
fn merged(house: &House, table: &str) -> Vec<serde_json::Value> {
    let merge =
        "histogram_merge(scale, zero_count, pos_offset, pos_counts, neg_offset, neg_counts)";
    let sql = format!(
        "SELECT histogram_quantile({merge}, 0.05), histogram_quantile({merge}, 0.5), \
         histogram_quantile({merge}, 0.99) FROM {table} WHERE metric = '{}'",
        names::OUTPUT_SURPRISAL
    );
    house.ask(&sql).remove(0)
}
