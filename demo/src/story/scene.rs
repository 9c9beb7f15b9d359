//! What all acts share: who speaks, who is asked, what is known so far. In: the passing of time.
//! Out: news as sentences, and the report once the fleet has stopped. Never decides what comes
//! next; the acts do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use fathomline_wire::{
    event::{CallbackStatus, RetrainingRequested},
    names,
};
use serde_json::Value;
use tokio::{sync::mpsc, task, time::sleep};

use super::{SHIFTED, season};
use crate::{
    clock,
    fleet::{CLASSES, Fleet},
    house::{House, LANE_US},
    ledger::{Change, Ledger, Mailbox},
    operator::{Frozen, Operator},
    receiver::Delivery,
    report::{Act, Exam, Reference, Report, Training},
    train::{Outcome, Progress},
    trainer::{self, News, Trainer},
    voice::{Voice, grouped},
};

/// Between two looks.
const BEAT: Duration = Duration::from_secs(1);

/// The change of season, once it began.
struct Shift {
    began: Instant,
    at_us: i64,
    share: f64,
}

pub(super) struct Scene<'a> {
    pub(super) voice: &'a Voice,
    pub(super) operator: Operator,
    pub(super) report: Report,
    pub(super) ledger: Ledger,
    pub(super) mailbox: Mailbox,
    /// Whether the last act is over.
    pub(super) finished: bool,
    pub(super) fleet: Fleet,
    pub(super) trainer: Trainer,
    /// What the collector last took from the trainer, and how far the training is.
    pub(super) reported: Option<CallbackStatus>,
    pub(super) learned: Option<Progress>,
    deliveries: mpsc::Receiver<Delivery>,
    /// Hashes of this run's references.
    references: BTreeSet<String>,
    shift: Option<Shift>,
    began: Instant,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        voice: &'a Voice,
        house: &House,
        (fleet, trainer): (Fleet, Trainer),
        deliveries: mpsc::Receiver<Delivery>,
    ) -> Result<Self> {
        let report = Report {
            devices: fleet.devices(),
            classes: CLASSES.map(|class| class.name).into(),
            shifted_class: SHIFTED,
            dashboard: house.dashboard(),
            ..Report::default()
        };
        Ok(Self {
            voice,
            operator: Operator::new(house.running.http, &house.data)?,
            report,
            ledger: Ledger::default(),
            mailbox: Mailbox::default(),
            finished: false,
            fleet,
            trainer,
            reported: None,
            learned: None,
            deliveries,
            references: BTreeSet::new(),
            shift: None,
            began: Instant::now(),
        })
    }

    pub(super) fn say(&self, sentence: impl AsRef<str>) {
        self.voice.say(sentence);
    }

    pub(super) fn within(&self, limit: Duration) -> Limit {
        Limit {
            began: Instant::now(),
            limit,
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        to_millis(self.began.elapsed())
    }

    /// An act is over.
    pub(super) fn curtain(&mut self, name: &'static str) {
        let before: f64 = self.report.acts.iter().map(|act| act.took_s).sum();
        let took_s = ((self.seconds() - before) * 1_000.0).round() / 1_000.0;
        self.report.acts.push(Act { name, took_s });
    }

    /// Waits a moment and takes in what happened meanwhile.
    pub(super) async fn rest(&mut self, what: &str) -> Result<()> {
        self.voice.watch(what);
        self.beat().await
    }

    /// The same, for who shows something else.
    pub(super) async fn beat(&mut self) -> Result<()> {
        sleep(BEAT).await;
        if self.fleet.has_failed() {
            bail!("a device gave up");
        }
        self.move_season();
        self.take_in().await
    }

    async fn take_in(&mut self) -> Result<()> {
        for verdict in self.operator.verdicts_after(self.ledger.last_id).await? {
            if let Some(change) = self.ledger.enter(verdict) {
                self.tell_change(&change);
            }
        }
        while let Ok(delivery) = self.deliveries.try_recv() {
            let first = self.mailbox.enter(&delivery);
            self.tell_delivery(&delivery, first);
            if let Delivery::Request { request, .. } = &delivery {
                self.hand_on(request);
            }
        }
        while let Ok(news) = self.trainer.news.try_recv() {
            self.hear(news)?;
        }
        Ok(())
    }

    /// A request goes to the trainer, who has seen it if it came before.
    fn hand_on(&mut self, request: &RetrainingRequested) {
        if !self.trainer.begin(request) {
            return;
        }
        let signal = request.brief.signals.first();
        let metric = signal
            .map(|signal| signal.metric.clone())
            .unwrap_or_default();
        self.say(format!(
            "a signed webhook asks to train version {} again, because of {}: request {}",
            request.version,
            short(&metric),
            request.request
        ));
        let recovery = &mut self.report.recovery;
        recovery.request = Some(request.request.clone());
        recovery.requested_by.clone_from(&request.requested_by);
        recovery.metric = metric;
    }

    fn hear(&mut self, news: News) -> Result<()> {
        match news {
            News::Learned(progress) => self.learned = Some(progress),
            News::Made(outcome) => self.keep(&outcome),
            News::GaveUp(error) => return Err(error.context("the trainer gave up")),
            News::Reported(status) => {
                self.reported = Some(status);
                let what = match status {
                    CallbackStatus::Accepted => "it accepts the request".to_owned(),
                    CallbackStatus::Running => "it trains, from the shipped weights".to_owned(),
                    CallbackStatus::Failed => "it failed".to_owned(),
                    CallbackStatus::Succeeded => format!("it made version {}", trainer::VERSION),
                };
                self.say(format!("the trainer reports, signed: {what}"));
                self.change_night(status == CallbackStatus::Running);
            }
        }
        Ok(())
    }

    /// Training has the night, in which the fleet leaves it the machine.
    fn change_night(&mut self, night: bool) {
        if night {
            self.say("night falls: people ask a quarter as often");
        }
        self.fleet.change_night(night);
    }

    fn keep(&mut self, outcome: &Outcome) {
        let exams = outcome.marks.iter().map(|grade| Exam {
            weights: grade.quantization.name(),
            season: grade.season,
            exact: grade.marks.exact,
        });
        let training = Training {
            version: trainer::VERSION,
            steps: outcome.progress.step,
            took_s: to_millis(outcome.took),
            exams: exams.collect(),
        };
        let said = training.exams.iter().map(|exam| {
            let Exam {
                weights,
                season,
                exact,
            } = exam;
            format!("{weights}, {season}: {}", words(Some(*exact)))
        });
        let said: Vec<String> = said.collect();
        self.say(format!(
            "{} steps in {:.0} s; requests it never saw, answered right: {}",
            training.steps,
            training.took_s,
            said.join("; ")
        ));
        self.report.recovery.training = Some(training);
    }

    fn tell_change(&self, change: &Change) {
        let verdict = &change.verdict;
        let since = match &change.since {
            Some(since) if change.state == "drifting" => format!(", since {since}"),
            _ => String::new(),
        };
        self.say(format!(
            "verdict: {} is {} on {} (score {:.1}, threshold {:.1}, {} inferences of {} devices{since})",
            verdict.device_class,
            change.state,
            short(&verdict.metric),
            verdict.score,
            verdict.threshold,
            change.count,
            change.devices,
        ));
    }

    fn tell_delivery(&self, delivery: &Delivery, first: bool) {
        match delivery {
            Delivery::Verdict { id, change } if first => self.say(format!(
                "webhook {id} delivered, its signature verifies: {} is {} on {}",
                change.device_class,
                change.state,
                short(&change.metric)
            )),
            Delivery::Refused { reason } => {
                self.say(format!("a webhook was turned away: {reason}"));
            }
            Delivery::Moved { change, .. } if change.state == "proven" => {
                self.say("a signed webhook tells of the proof");
            }
            Delivery::Verdict { .. }
            | Delivery::Request { .. }
            | Delivery::Moved { .. }
            | Delivery::Other { .. } => {}
        }
    }

    pub(super) fn freeze(&mut self, references: Vec<Frozen>) {
        let records_min = references.iter().map(|frozen| frozen.records).min();
        self.report.reference = Reference {
            series: references.len(),
            records_min: records_min.unwrap_or(0),
            hash: String::new(),
        };
        self.report.reference_frozen_at_s = Some(self.seconds());
        self.references
            .extend(references.into_iter().map(|frozen| frozen.hash));
        self.say(format!(
            "reference frozen: {} series, of at least {} inferences each",
            self.report.reference.series,
            grouped(records_min.unwrap_or(0))
        ));
    }

    /// The season begins to change for `class`.
    pub(super) fn change_season(&mut self, class: &str) {
        self.shift = Some(Shift {
            began: Instant::now(),
            at_us: clock::now_us(),
            share: 0.0,
        });
        self.report.shift_at_s = Some(self.seconds());
        self.say(format!(
            "the first frost reaches the {class} class: people begin to ask for other things"
        ));
        self.move_season();
    }

    fn move_season(&mut self) {
        let Some(shift) = &mut self.shift else {
            return;
        };
        let share = season::share_after(shift.began.elapsed());
        if share == shift.share {
            return;
        }
        shift.share = share;
        self.report.shifted_share = share;
        self.fleet.change_season(SHIFTED, share);
        self.say(format!(
            "{} of its requests are now of a kind the model never saw",
            words(Some(share))
        ));
    }

    pub(super) fn shift_us(&self) -> Option<i64> {
        self.shift.as_ref().map(|shift| shift.at_us)
    }

    pub(super) fn since_shift(&self) -> Option<f64> {
        let shift = self.shift.as_ref()?;
        Some(to_millis(shift.began.elapsed()))
    }

    /// Whether a verdict on `class` says what happened.
    pub(super) fn has_found(&self, class: &str) -> bool {
        let shift_us = self.shift_us();
        shift_us.is_some_and(|us| self.ledger.found(class, us).is_some())
    }

    /// Whether two lanes with the whole change were judged.
    pub(super) fn is_judged_in_full(&self, class: &str) -> bool {
        let Some(shift_us) = self.shift_us() else {
            return false;
        };
        let full = i64::try_from(season::FULL_AFTER.as_micros()).unwrap_or(i64::MAX);
        let until_us = self.ledger.drifting_until(class, shift_us);
        until_us.is_some_and(|us| us >= shift_us + full + 3 * LANE_US)
    }

    /// Share of right answers by class, as feedback has it, in the lanes of a span.
    pub(super) async fn accuracy(&self, span_us: (i64, i64)) -> Result<BTreeMap<String, f64>> {
        let sql = filled(
            include_str!("../../sql/accuracy.sql"),
            names::FEEDBACK,
            span_us,
        );
        let rows = self.operator.rows(&sql).await?;
        let share = |row: Vec<Value>| {
            let class = row.first()?.as_str()?.to_owned();
            Some((class, row.get(1)?.as_f64()?))
        };
        Ok(rows.into_iter().filter_map(share).collect())
    }

    /// Stops the fleet, waits for what it sends, and holds the books against it.
    pub(super) async fn settle(mut self) -> Result<Report> {
        self.voice.watch("devices send what they have left");
        let fleet = self.fleet;
        let stopped = task::spawn_blocking(move || fleet.stop()).await;
        let sent = stopped.context("the fleet could not be stopped")??;
        // What is shown of every device, and there is one of every inference.
        let metric = names::OPERATION_DURATION;
        let sql = include_str!("../../sql/stored.sql").replace("{metric}", metric);
        let rows = self.operator.rows(&sql).await?;
        let report = &mut self.report;
        (report.inferences, report.windows) = (sent.inferences, sent.windows_stored);
        report.windows_lost = sent.windows_lost;
        (report.windows_stored, report.inferences_stored) = (number(&rows, 0), number(&rows, 1));
        let shift_us = self.shift.as_ref().map(|shift| shift.at_us);
        report.verdict = shift_us.and_then(|us| self.ledger.found(SHIFTED, us));
        if let Some(verdict) = &report.verdict
            && self.references.contains(&verdict.reference)
        {
            report.reference.hash.clone_from(&verdict.reference);
        }
        report.verdicts = self.ledger.read;
        report.false_verdicts = self.ledger.false_verdicts(SHIFTED, shift_us);
        report.drifting_classes = self.ledger.drifting_classes();
        report.drifting_metrics = self.ledger.drifting_metrics();
        report.webhook = self.mailbox.told();
        report.recovery.told.clone_from(&self.mailbox.moves);
        report.took_s = to_millis(self.began.elapsed());
        Ok(self.report.judged())
    }
}

/// A limit that ends waiting.
pub(super) struct Limit {
    began: Instant,
    limit: Duration,
}

impl Limit {
    pub(super) fn is_over(&self) -> bool {
        self.began.elapsed() >= self.limit
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} minutes", self.limit.as_secs() / 60)
    }
}

/// A question about one metric in whole lanes of a span.
pub(super) fn filled(sql: &str, metric: &str, (from_us, to_us): (i64, i64)) -> String {
    sql.replace("{metric}", metric)
        .replace("{lane_us}", &LANE_US.to_string())
        .replace("{from_us}", &from_us.to_string())
        .replace("{to_us}", &to_us.to_string())
}

/// A number of the first row; null is zero.
pub(super) fn number(rows: &[Vec<Value>], column: usize) -> u64 {
    let value = rows.first().and_then(|row| row.get(column));
    value.and_then(Value::as_u64).unwrap_or(0)
}

/// A share as people say it.
pub(super) fn words(share: Option<f64>) -> String {
    share.map_or("an unknown share".to_owned(), |share| {
        format!("{:.0} %", 100.0 * share)
    })
}

/// Seconds; what is finer than a thousandth is noise here.
fn to_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// A metric without its prefix.
fn short(metric: &str) -> &str {
    metric.strip_prefix("fathomline.").unwrap_or(metric)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn questions_are_filled_to_the_last_gap() {
        for sql in [
            include_str!("../../sql/quiet.sql"),
            include_str!("../../sql/accuracy.sql"),
            include_str!("../../sql/heard.sql"),
        ] {
            let filled = filled(sql, names::FEEDBACK, (5, 10));
            assert!(!filled.contains(['{', '}']), "{filled}");
        }
    }

    #[test]
    fn an_empty_or_null_answer_is_zero() {
        assert_eq!(number(&[], 0), 0);
        assert_eq!(number(&[vec![Value::Null, json!(7)]], 0), 0);
        assert_eq!(number(&[vec![Value::Null, json!(7)]], 1), 7);
        assert_eq!(words(Some(0.984)), "98 %");
        assert_eq!(short("fathomline.feedback"), "feedback");
    }
}
