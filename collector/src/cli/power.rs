//! `fathomline power`: what each series with a reference in force could detect at its traffic.
//!
//! In: a data folder, which need not have a collector: references, and how many records its newest
//! lanes hold. Out: the smallest change that would be paged within an hour and within a day, in
//! half of all cases. Shares of references of few devices are not told.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::Args;
use fathomline_collector::{
    JUDGED_METRICS,
    clock::{DAY_US, HOUR_US},
    references::References,
};
use fathomline_queries::{
    drift::{DEVICES_REPORTING, Detectable, Direction, Level, Power, Reference, SeriesKey},
    published,
};
use serde::Serialize;

use super::{
    judging::Judging,
    keeping::{Listed, Shape, list, remark},
    runtime::ask,
    stored::Stored,
};

#[derive(Debug, Args)]
pub(crate) struct Asking {
    /// Data folder of the collector, running or not; committed rows only.
    #[arg(long, value_name = "FOLDER", default_value = "fathomline-data")]
    data: PathBuf,
    /// Hours before the last stored lane whose traffic counts as current.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=720))]
    hours: u16,
    #[command(flatten)]
    judging: Judging,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    format: Shape,
}

/// What one series could detect.
#[derive(Debug, Serialize)]
struct Line {
    series: String,
    name: String,
    reference: String,
    records_per_lane: f64,
    /// What they are worth as independent ones.
    effective_count: f64,
    /// Evidence that a page needs at single lanes.
    threshold: f64,
    /// Either way, within an hour and within a day; a change that is missing is not seen in time.
    detectable: Vec<Detectable>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    shortfall: Option<String>,
}

impl Asking {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        self.judging.check()?;
        let lines = ask(self.lines())?;
        if lines.is_empty() {
            remark(
                "no series has a reference in force; make one with `fathomline reference create`",
            );
        }
        list(&lines, self.format)?;
        let any = lines.iter().any(|line| !line.detectable.is_empty());
        Ok(ExitCode::from(if any { 0 } else { 3 }))
    }

    async fn lines(&self) -> anyhow::Result<Vec<Line>> {
        let references = References::open(&self.data)?.in_force().await?;
        let own = references
            .into_iter()
            .filter(|reference| reference.level() == Level::Variant);
        let traffic = self.traffic().await?;
        let line = |reference: Reference| {
            let per_lane = traffic.get(reference.key()).copied().unwrap_or(0.0);
            self.line(&reference, per_lane)
        };
        Ok(own.map(line).collect())
    }

    /// Records a lane of every series, lanes without any included.
    async fn traffic(&self) -> anyhow::Result<BTreeMap<SeriesKey, f64>> {
        let stored = Stored::open(&self.data).await?;
        let from_us = stored.newest_from_us(i64::from(self.hours) * HOUR_US);
        let mut counts: BTreeMap<SeriesKey, f64> = BTreeMap::new();
        for span in stored.spans(from_us, HOUR_US) {
            for (key, lane) in stored.lanes(span, &JUDGED_METRICS).await? {
                *counts.entry(key).or_default() += lane.count as f64;
            }
        }
        let lanes = ((stored.last_us - from_us) / stored.lane_us).max(1) as f64;
        counts.values_mut().for_each(|count| *count /= lanes);
        Ok(counts)
    }

    fn line(&self, reference: &Reference, per_lane: f64) -> Line {
        let policy = self.judging.policy(reference.lane_us());
        let key = reference.key();
        let power = Power::of(reference, &policy, per_lane);
        let min_devices = self.judging.min_devices;
        let told = published::shows(min_devices, &key.metric, reference.devices());
        let shortfall = if let Err(why) = reference.check() {
            Some(format!("its reference cannot be judged by: {why}"))
        } else if !told {
            Some(format!("not told of {} devices", reference.devices()))
        } else if per_lane <= 0.0 && key.metric != DEVICES_REPORTING {
            Some("nothing was sent lately".to_owned())
        } else {
            None
        };
        let each = [HOUR_US, DAY_US].into_iter().flat_map(|within_us| {
            [Direction::More, Direction::Less].map(|direction| (within_us, direction))
        });
        let found =
            each.filter_map(|(within_us, direction)| power.detectable(within_us, direction));
        Line {
            series: key.id(),
            name: key.to_string(),
            reference: reference.hash(),
            records_per_lane: per_lane,
            effective_count: power.effective_count(),
            threshold: policy.page_threshold(1).ln(),
            detectable: match shortfall {
                Some(_) => Vec::new(),
                None => found.collect(),
            },
            shortfall,
        }
    }
}

impl Line {
    /// The larger of both ways: a change that would be seen whichever way it goes.
    fn either_way(&self, within_us: i64) -> String {
        if self.shortfall.is_some() {
            return String::new();
        }
        let found = self
            .detectable
            .iter()
            .filter(|of| of.within_us == within_us);
        let larger = found.max_by(|a, b| a.deviations.total_cmp(&b.deviations));
        larger.map_or_else(
            || "none".to_owned(),
            |of| format!("{:+.1} points, {:.2} sd", of.points(), of.deviations),
        )
    }
}

impl Listed for Line {
    const COLUMNS: &'static [&'static str] = &[
        "series",
        "records a lane",
        "worth",
        "within 1 h",
        "within 24 h",
        "of",
    ];

    fn cells(&self) -> Vec<String> {
        let last = self.detectable.last();
        let of = last.map(|of| of.stream.clone());
        vec![
            self.name.clone(),
            format!("{:.1}", self.records_per_lane),
            format!("{:.1}", self.effective_count),
            self.either_way(HOUR_US),
            self.either_way(DAY_US),
            of.or(self.shortfall.clone()).unwrap_or_default(),
        ]
    }
}
