//! `fathomline backtest`: what a detector or a rule would have paged over stored lanes.
//!
//! In: a data folder, which need not have a collector, and how to judge. Out: per series how many
//! lanes were judged and which pages would have been sent. The first part of the span is the
//! reference and the rest is judged against it; or references that are kept are, from the end of
//! their own spans on. Lanes are read a day at a time, so that a month of many series fits into
//! memory.

mod kept;
mod report;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::{Args, ValueEnum};
use fathomline_collector::{
    JUDGED_METRICS,
    clock::{DAY_US, SECOND_US},
};
use fathomline_queries::{
    drift::{Backtest, Judge, Lane, Policy, Reference, Rule, SeriesKey},
    series::Span,
};
use report::Line;

use super::{
    judging::Judging,
    keeping::{Shape, list, remark},
    runtime::ask,
    stored::Stored,
};

const MINUTE_US: i64 = 60 * SECOND_US;

#[derive(Debug, Args)]
pub(crate) struct Backtesting {
    /// Data folder of the collector, running or not; committed rows only.
    #[arg(long, value_name = "FOLDER", default_value = "fathomline-data")]
    data: PathBuf,
    /// Days before the last stored lane that are looked at.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=400))]
    days: u16,
    /// Minutes at the beginning of the span that the reference is made of; a quarter of the span
    /// unless given.
    #[arg(long, value_name = "MINUTES")]
    reference_minutes: Option<u32>,
    /// Judge against the references in force instead.
    #[arg(long, conflicts_with_all = ["reference_minutes", "references"])]
    in_force: bool,
    /// Judge against this kept reference, by the first digits of its hash; may be given several
    /// times.
    #[arg(
        long = "reference",
        value_name = "HASH",
        conflicts_with = "reference_minutes"
    )]
    references: Vec<String>,
    /// How to judge; budgets of false pages are for qx.
    #[arg(long, value_enum, default_value_t = How::Qx)]
    rule: How,
    /// Where the rule pages; its usual limit unless given. Not for qx.
    #[arg(long)]
    limit: Option<f64>,
    /// Lanes that a rule takes together: 60 lanes of a minute are an hour. Not for qx.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    lanes: u32,
    #[command(flatten)]
    judging: Judging,
    /// Only this metric; may be given several times. What is judged by default unless given.
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// Only this model.
    #[arg(long)]
    model: Option<String>,
    /// Only this class of devices.
    #[arg(long)]
    device_class: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    format: Shape,
}

/// The detector, or a rule that looks at one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// The detector as it runs in the collector.
    Qx,
    /// Population stability index.
    Psi,
    /// The same less what chance gives.
    PsiDebiased,
    /// Jensen-Shannon distance.
    JensenShannon,
    /// p-value of Kolmogorov and Smirnov.
    Ks,
    /// Wasserstein distance in deviations of the reference.
    Wasserstein,
}

/// A series between its past and its test.
struct Course {
    /// Lanes that ended later are judged.
    until_us: i64,
    past: Vec<Lane>,
    test: Option<Result<Backtest, String>>,
}

impl Backtesting {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self
            .limit
            .is_some_and(|limit| !(limit.is_finite() && limit > 0.0))
        {
            bail!(
                "cannot use --limit {:?}: write a number above 0",
                self.limit
            );
        }
        self.judging.check()?;
        let lines = ask(self.lines())?;
        list(&lines, self.format)?;
        let judged = lines.iter().any(|line| line.judged > line.undecided);
        Ok(ExitCode::from(if judged { 0 } else { 3 }))
    }

    async fn lines(&self) -> anyhow::Result<Vec<Line>> {
        let stored = Stored::open(&self.data).await?;
        let from_us = stored.newest_from_us(i64::from(self.days) * DAY_US);
        let until_us = self.reference_until(from_us, &stored);
        let judge = self.judge(stored.lane_us);
        let kept = kept::chosen(self).await?;
        let against = match &kept {
            Some(kept) => format!("{} kept references", kept.len()),
            None => format!("the first {} minutes", (until_us - from_us) / MINUTE_US),
        };
        remark(&format!(
            "{} minutes of committed lanes of {} s; the reference is {against}",
            (stored.last_us - from_us) / MINUTE_US,
            stored.lane_us / 1_000_000,
        ));
        let mut courses: BTreeMap<SeriesKey, Course> = BTreeMap::new();
        for span in stored.spans(from_us, DAY_US) {
            for (key, lane) in self.read(&stored, span).await? {
                let begin = || match &kept {
                    Some(kept) => Course::against(kept.get(&key), stored.lane_us, &judge),
                    None => Course::until(until_us),
                };
                let course = courses.entry(key.clone()).or_insert_with(begin);
                course.take(&key, lane, &judge);
            }
        }
        let line = |(key, course)| self.line(key, course);
        Ok(courses.into_iter().map(line).collect())
    }

    async fn read(&self, stored: &Stored, span: Span) -> anyhow::Result<Vec<(SeriesKey, Lane)>> {
        let metrics: Vec<&str> = if self.metrics.is_empty() {
            JUDGED_METRICS.to_vec()
        } else {
            self.metrics.iter().map(String::as_str).collect()
        };
        let found = stored.lanes(span, &metrics).await?;
        Ok(found.filter(|(key, _)| self.wants(key)).collect())
    }

    fn wants(&self, key: &SeriesKey) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        is(&self.model, &key.model) && is(&self.device_class, &key.device_class)
    }

    /// End of the reference's span: a whole number of lanes.
    fn reference_until(&self, from_us: i64, stored: &Stored) -> i64 {
        let span_us = match self.reference_minutes {
            Some(minutes) => i64::from(minutes) * MINUTE_US,
            None => (stored.last_us - from_us) / 4,
        };
        from_us + span_us / stored.lane_us * stored.lane_us
    }

    fn judge(&self, lane_us: i64) -> Judge {
        let policy = self.judging.policy(lane_us);
        let Some(rule) = self.rule.fixed() else {
            return Judge::Detector(policy);
        };
        Judge::Rule {
            rule,
            limit: self.limit.unwrap_or(rule.usual_limit()),
            lanes: self.lanes,
            mute_us: policy.mute_us,
        }
    }

    fn line(&self, key: SeriesKey, course: Course) -> Line {
        match course.test {
            Some(Ok(test)) => Line::of(&key, test.end(), self.judging.min_devices),
            Some(Err(shortfall)) => Line::without(&key, shortfall),
            None => Line::without(
                &key,
                "nothing was sent after the reference's span".to_owned(),
            ),
        }
    }
}

impl How {
    fn fixed(self) -> Option<Rule> {
        match self {
            Self::Qx => None,
            Self::Psi => Some(Rule::Psi),
            Self::PsiDebiased => Some(Rule::PsiDebiased),
            Self::JensenShannon => Some(Rule::JensenShannon),
            Self::Ks => Some(Rule::Ks),
            Self::Wasserstein => Some(Rule::Wasserstein),
        }
    }
}

impl Course {
    /// Against what comes until then.
    fn until(until_us: i64) -> Self {
        Self {
            until_us,
            past: Vec::new(),
            test: None,
        }
    }

    /// Against a reference that is kept, from the end of its span on.
    fn against(reference: Option<&Reference>, lane_us: i64, judge: &Judge) -> Self {
        let test = reference.map(|reference| {
            let width_us = reference.lane_us();
            if width_us == lane_us {
                reference.check()?;
                return Ok(Backtest::new(reference.clone(), judge, lane_us));
            }
            Err(format!(
                "its reference has lanes of {} s and those that are stored have {} s",
                width_us / 1_000_000,
                lane_us / 1_000_000
            ))
        });
        let none = || Err("no kept reference of it was chosen".to_owned());
        Self {
            test: Some(test.unwrap_or_else(none)),
            ..Self::until(reference.map_or(i64::MAX, |reference| reference.span_us().1))
        }
    }

    fn take(&mut self, key: &SeriesKey, lane: Lane, judge: &Judge) {
        if lane.end_us <= self.until_us {
            if self.test.is_none() {
                self.past.push(lane);
            }
            return;
        }
        let lane_us = lane.end_us - lane.start_us;
        let past = std::mem::take(&mut self.past);
        let test = self.test.get_or_insert_with(|| {
            let policy = Policy {
                lane_us,
                ..Policy::default()
            };
            let reference = Reference::freeze(key.clone(), &past, &policy);
            let reference = reference.map_err(|shortfall| shortfall.to_string())?;
            Ok(Backtest::new(reference, judge, lane_us))
        });
        if let Ok(test) = test {
            test.fold(&lane);
        }
    }
}
