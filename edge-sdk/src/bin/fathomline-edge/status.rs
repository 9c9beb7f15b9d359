//! What a spool folder says about itself. In: the windows that wait, the ledgers beside them. Out:
//! lines for people. Reads no clock: days and times are those that are written there.

use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::Path,
};

use fathomline_edge::Waiting;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Metric, metric::Data, number_data_point::Value as Number},
};
use prost::Message;
use serde_json::Value;

const SECOND: u64 = 1_000_000_000;
const DAY_SECONDS: u64 = 86_400;

/// What the bodies of all waiting windows say together.
#[derive(Debug, Default)]
struct Summary {
    starts: Vec<u64>,
    ends: Vec<u64>,
    longest: u64,
    lost: i64,
    merged: i64,
}

/// Writes everything there is to say about `spool`.
pub(crate) fn write(out: &mut impl Write, spool: &str, waiting: &[Waiting]) -> Result<(), Failed> {
    let bytes: usize = waiting.iter().map(|window| window.body.len()).sum();
    writeln!(out, "{} windows wait, {bytes} bytes", waiting.len())?;
    if let (Some(first), Some(last)) = (waiting.first(), waiting.last()) {
        writeln!(out, "next     {}", first.identity)?;
        writeln!(out, "last     {}", last.identity)?;
        let summary = Summary::of(waiting)?;
        if let (Some(oldest), Some(newest)) =
            (summary.starts.iter().min(), summary.ends.iter().max())
        {
            writeln!(out, "oldest   {}", time(oldest / SECOND))?;
            writeln!(out, "newest   {}", time(newest / SECOND))?;
        }
        writeln!(out, "longest  {} s", summary.longest / SECOND)?;
        writeln!(out, "lost     {}", summary.lost)?;
        writeln!(out, "merged   {}", summary.merged)?;
    }
    let folder = Path::new(spool);
    write_bytes(out, folder)?;
    write_epsilon(out, folder)
}

type Failed = Box<dyn Error>;

impl Summary {
    fn of(waiting: &[Waiting]) -> Result<Self, Failed> {
        let mut summary = Self::default();
        for window in waiting {
            let request = ExportMetricsServiceRequest::decode(&window.body[..])?;
            let scopes = request
                .resource_metrics
                .iter()
                .flat_map(|r| &r.scope_metrics);
            scopes
                .flat_map(|scope| &scope.metrics)
                .for_each(|metric| summary.add(metric));
        }
        Ok(summary)
    }

    fn add(&mut self, metric: &Metric) {
        let points = match &metric.data {
            Some(Data::Gauge(gauge)) => &gauge.data_points,
            Some(Data::Sum(sum)) => &sum.data_points,
            _ => return,
        };
        for point in points {
            let Some(Number::AsInt(value)) = point.value else {
                continue;
            };
            match metric.name.as_str() {
                "fathomline.device.window.sequence" => {
                    let (start, end) = (point.start_time_unix_nano, point.time_unix_nano);
                    self.starts.push(start);
                    self.ends.push(end);
                    self.longest = self.longest.max(end.saturating_sub(start));
                }
                "fathomline.device.window.dropped" => self.lost += value,
                "fathomline.device.window.merged" => self.merged += value,
                _ => {}
            }
        }
    }
}

fn write_bytes(out: &mut impl Write, folder: &Path) -> Result<(), Failed> {
    let Some(ledger) = ledger(folder, "bytes-sent.json")? else {
        return Ok(());
    };
    let Some((day, spent)) = last_day(&ledger) else {
        return Ok(());
    };
    let offset = ledger["terms"]["day_begins_before_midnight_ns"].as_u64();
    let begins = (day * DAY_SECONDS).saturating_sub(offset.unwrap_or(0) / SECOND);
    let limit = &ledger["limit"];
    writeln!(
        out,
        "bytes    {spent} of {limit} sent in the day from {}",
        time(begins)
    )?;
    Ok(())
}

fn write_epsilon(out: &mut impl Write, folder: &Path) -> Result<(), Failed> {
    let Some(ledger) = ledger(folder, "privacy.json")? else {
        return Ok(());
    };
    let terms = &ledger["terms"];
    if let Some((day, spent)) = last_day(&ledger) {
        let (spent, from) = (spent as f64 / 1e6, time(day * DAY_SECONDS));
        let all = &terms["epsilon_of_a_day"];
        writeln!(
            out,
            "epsilon  {spent} of {all} spent in the day from {from}"
        )?;
    }
    writeln!(
        out,
        "noise    event-level epsilon {}, device-day {} ({} inferences), {} a cell",
        terms["epsilon_of_an_inference"],
        terms["epsilon_of_a_day"],
        terms["inferences_per_day"],
        terms["epsilon_of_a_cell"],
    )?;
    Ok(())
}

/// A ledger of the folder; none when it keeps none.
fn ledger(folder: &Path, name: &str) -> Result<Option<Value>, Failed> {
    match fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The latest day and what it spent.
fn last_day(ledger: &Value) -> Option<(u64, u64)> {
    let day = ledger["spent"].as_array()?.last()?;
    Some((day[0].as_u64()?, day[1].as_u64()?))
}

/// Seconds since the Unix epoch as RFC 3339.
fn time(seconds: u64) -> String {
    let (days, within) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    // Years begin in March here, so that a leap day is a year's last.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (era * 400 + year, month + 3)
    } else {
        (era * 400 + year + 1, month - 9)
    };
    let (hour, minute, second) = (within / 3_600, within / 60 % 60, within % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}
