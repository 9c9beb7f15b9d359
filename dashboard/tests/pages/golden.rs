//! Golden rows: two classes of devices over twenty-four lanes of five seconds, of which one drifts
//! in the last eight. Everything is computed from numbers written here; nothing reads a clock.

#[path = "priced.rs"]
mod priced;
#[path = "rollout.rs"]
mod rollout;

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Router,
    http::{HeaderMap, StatusCode},
};
use datafusion::{catalog::TableProvider, datasource::MemTable};
use fathomline_dashboard::{
    Act, Citing, Control, ControlError, Dashboard, Done, KeptReference, Refused,
    alerts::{AlertAct, Alerts},
    deliveries::Deliveries,
    retraining::{RetrainingAct, RetrainingRequest},
    router as pages,
};
use fathomline_queries::{
    drift::{BinPart, Breakdown, Lane, Policy, Reference, SeriesKey, SitePart, Summary},
    engine::{Engine, EngineLimits},
    gate::{Answer, KeptRollout, RunningVersion},
    lake::Lake,
    published::Publication,
    rows::{
        self, Clock, DeviceColumns, Distribution, DistributionRow, EventRow, MeasurementKind,
        MeasurementRow, VerdictRow,
    },
    schema::Table,
};
use fathomline_wire::{histogram::ExponentialHistogram, names};

use crate::{asked, fired, told};

/// Ids of the judged series.
pub(crate) const SURPRISAL: &str = "00000000000000aa";
pub(crate) const FEEDBACK: &str = "00000000000000bb";
const ENTROPY: &str = "00000000000000cc";

const SECOND_US: i64 = 1_000_000;
const LANE_US: i64 = 5 * SECOND_US;
const LANES: i64 = 24;
const SHIFTED_FROM: i64 = 16;
/// 2026-11-24T12:00:00Z, a whole lane.
pub(crate) const END_US: i64 = 1_795_521_600 * SECOND_US;
const CLASSES: [&str; 2] = ["kiosk", "panel"];
const DEVICES: i64 = 3;

/// Hashes of both references.
pub(crate) fn hashes() -> [String; 2] {
    [reference(SHIFTED_FROM).hash(), reference(LANES).hash()]
}

/// All pages over the golden rows, seen three seconds after the last lane ended.
pub(crate) fn router() -> Router {
    pages(dashboard(true))
}

/// The same for somebody who may not look.
pub(crate) fn closed_router() -> Router {
    pages(dashboard(false))
}

fn dashboard(open: bool) -> Dashboard {
    let engine = Engine::new(lake(), EngineLimits::default(), Publication::everything()).unwrap();
    Dashboard {
        engine: Arc::new(engine),
        control: Arc::new(Collector { open }),
        lane_us: LANE_US,
        lateness_us: 2 * LANE_US,
        prices: Arc::new(priced::book()),
        otlp_url: "http://127.0.0.1:4318".to_owned(),
    }
}

struct Collector {
    open: bool,
}

#[async_trait]
impl Control for Collector {
    fn now_us(&self) -> i64 {
        END_US + 3 * SECOND_US
    }

    fn may_look(&self, _: &HeaderMap) -> Result<(), Refused> {
        let refused = || Refused {
            status: StatusCode::UNAUTHORIZED,
            message: "bring a token".to_owned(),
        };
        self.open.then_some(()).ok_or_else(refused)
    }

    async fn reference(&self, hash: &str) -> Result<Option<Reference>, ControlError> {
        let all = [reference(SHIFTED_FROM), reference(LANES)];
        Ok(all.into_iter().find(|reference| reference.hash() == hash))
    }

    async fn take_apart(
        &self,
        _: &Reference,
        until_us: i64,
        stream: Option<usize>,
    ) -> Result<Result<Breakdown, String>, ControlError> {
        assert!(
            stream.is_some(),
            "the stream that leads is one of the reference's"
        );
        Ok(Ok(apart(until_us - 2 * LANE_US, until_us)))
    }

    async fn references(&self) -> Result<Vec<KeptReference>, ControlError> {
        Ok(kept())
    }

    async fn acts(&self) -> Result<Vec<Act>, ControlError> {
        let act = |action: &str, minutes: i64| Act {
            done: done("ann", minutes),
            action: action.to_owned(),
            reference: reference(LANES).hash(),
        };
        Ok(vec![act("reference.retire", 1), act("reference.create", 2)])
    }

    async fn deliveries(&self) -> Result<Deliveries, ControlError> {
        Ok(told::deliveries(END_US))
    }

    async fn replay(&self, headers: &HeaderMap, delivery: i64) -> Result<(), Refused> {
        told::replay(headers, delivery)
    }

    async fn enable(&self, headers: &HeaderMap, endpoint: &str) -> Result<(), Refused> {
        told::enable(headers, endpoint)
    }

    async fn alerts(&self) -> Result<Alerts, ControlError> {
        Ok(fired::alerts(END_US))
    }

    async fn act_on_alerts(&self, _: &HeaderMap, act: AlertAct) -> Result<(), Refused> {
        fired::act(act)
    }

    async fn retraining(&self) -> Result<Vec<RetrainingRequest>, ControlError> {
        Ok(asked::requests())
    }

    async fn act_on_retraining(&self, _: &HeaderMap, act: RetrainingAct) -> Result<(), Refused> {
        match act {
            RetrainingAct::Approve(id) if id == asked::requests()[0].id => Ok(()),
            _ => Err(Refused {
                status: StatusCode::CONFLICT,
                message: format!("{act:?} cannot be done"),
            }),
        }
    }

    async fn rollouts(&self) -> Result<Vec<KeptRollout>, ControlError> {
        Ok(rollout::kept(END_US))
    }

    async fn versions(&self) -> Result<Vec<RunningVersion>, ControlError> {
        Ok(rollout::versions(END_US))
    }

    async fn gate(&self, rollout: &KeptRollout) -> Result<Result<Answer, String>, ControlError> {
        Ok(rollout::answer(rollout, END_US))
    }
}

/// What somebody asks for: two sites, one of which moved.
fn apart(start_us: i64, end_us: i64) -> Breakdown {
    let site = |site: &str, part| SitePart {
        site: site.to_owned(),
        devices: 6,
        reference_share: 0.5,
        share: 0.5,
        part,
    };
    Breakdown {
        start_us,
        end_us,
        count: 2_880,
        devices: 12,
        mix: None,
        psi_debiased: Some(0.03),
        interval: Some((0.01, 0.06)),
        resamples: 12,
        sites: vec![site("oslo", 0.025), site("bern", 0.005)],
        bins: vec![BinPart {
            bin: "above 0.1250".to_owned(),
            reference_share: 0.1,
            share: 0.14,
            part: 0.03,
        }],
    }
}

fn done(by: &str, minutes_ago: i64) -> Done {
    Done {
        time_us: END_US - minutes_ago * 60 * SECOND_US,
        by: by.to_owned(),
    }
}

/// One in force that a series cites, and a retired one.
fn kept() -> Vec<KeptReference> {
    let of = |reference: &Reference| KeptReference {
        hash: reference.hash(),
        name: reference.key().to_string(),
        level: "variant".into(),
        season: "none".into(),
        made_from: "span".into(),
        records: reference.count() as i64,
        from_us: reference.span_us().0,
        to_us: reference.span_us().1,
        excluded_lanes: 0,
        created: done("ann", 2),
        in_force: None,
        retired: None,
        cited_by: vec![],
    };
    let (first, second) = (of(&reference(SHIFTED_FROM)), of(&reference(LANES)));
    let citing = Citing {
        series: SURPRISAL.into(),
        name: first.name.clone(),
    };
    vec![
        KeptReference {
            excluded_lanes: 8,
            level: "version".into(),
            season: "hour-of-week".into(),
            made_from: "weeks".into(),
            retired: Some(done("ben", 1)),
            ..second
        },
        KeptReference {
            in_force: Some(done("command line", 2)),
            cited_by: vec![citing],
            ..first
        },
    ]
}

fn lake() -> Arc<Lake> {
    let table = |table: Table| {
        let provider = MemTable::try_new(table.arrow_schema(), vec![vec![]]).unwrap();
        (table, Arc::new(provider) as Arc<dyn TableProvider>)
    };
    let lake = Lake::new(Table::ALL.map(table), -1);
    let distributions = [distributions(), priced::distributions()].concat();
    let measurements = [feedback(), priced::measurements()].concat();
    let rollups = rows::rollup(&distributions, &measurements, LANE_US);
    let device_rows = [
        (
            Table::Distributions,
            rows::distributions(&distributions).unwrap(),
        ),
        (
            Table::Measurements,
            rows::measurements(&measurements).unwrap(),
        ),
        (Table::Rollups, rows::rollups(&rollups).unwrap()),
    ];
    lake.push(0, device_rows).unwrap();
    let control_rows = [
        (Table::Verdicts, rows::verdicts(&verdicts()).unwrap()),
        (Table::Events, rows::events(&events()).unwrap()),
    ];
    lake.push_control(0, control_rows).unwrap();
    Arc::new(lake)
}

fn lane_end(lane: i64) -> i64 {
    END_US - (LANES - lane) * LANE_US
}

/// What `class` measured of `metric` in a lane: forty values spread by a factor of ten.
fn values(class: &str, metric: &str, lane: i64) -> ExponentialHistogram {
    let shifted = class == "kiosk" && lane > SHIFTED_FROM && metric == names::OUTPUT_SURPRISAL;
    let factor = if shifted { 2.5 } else { 1.0 };
    let middle = match metric {
        names::OUTPUT_SURPRISAL => 0.05,
        names::OUTPUT_TOKENS => 17.0,
        names::TIME_TO_FIRST_TOKEN => 0.002,
        _ => 0.006,
    };
    let unit = names::metric(metric).unwrap().unit;
    let mut histogram = ExponentialHistogram::new(names::pinned_scale(unit));
    for step in 0..40 {
        let spread = (f64::from(step) - 19.5) / 20.0 + (lane % 3) as f64 * 0.01;
        assert!(histogram.record(factor * middle * spread.exp()));
    }
    histogram
}

fn distributions() -> Vec<DistributionRow> {
    let metrics = [
        names::OPERATION_DURATION,
        names::TIME_TO_FIRST_TOKEN,
        names::OUTPUT_TOKENS,
        names::OUTPUT_SURPRISAL,
    ];
    let mut found = vec![];
    for (class, lane) in CLASSES
        .iter()
        .flat_map(|class| (1..=LANES).map(move |n| (class, n)))
    {
        for (device, metric) in (0..DEVICES).flat_map(|n| metrics.map(|metric| (n, metric))) {
            found.push(DistributionRow {
                columns: columns(class, device, lane, metric),
                category: None,
                distribution: Distribution::Exponential(values(class, metric, lane)),
            });
        }
    }
    found
}

fn feedback() -> Vec<MeasurementRow> {
    let mut found = vec![];
    for (class, lane) in CLASSES
        .iter()
        .flat_map(|class| (1..=LANES).map(move |n| (class, n)))
    {
        let wrong = if *class == "kiosk" && lane > SHIFTED_FROM {
            24
        } else {
            1
        };
        for (category, count) in [("correct", 40 - wrong), ("wrong", wrong)] {
            found.push(MeasurementRow {
                columns: columns(class, 0, lane, names::FEEDBACK),
                category: Some(category.to_owned()),
                kind: MeasurementKind::Delta,
                count: Some(count),
                value: None,
            });
        }
    }
    found
}

fn columns(class: &str, device: i64, lane: i64, metric: &str) -> DeviceColumns {
    let time = lane_end(lane);
    DeviceColumns {
        time,
        start_time: time - SECOND_US,
        sender_time: time,
        service: "maintenance".into(),
        environment: None,
        device: format!("{class}-{device}"),
        device_class: class.into(),
        site: None,
        boot: Some("boot".into()),
        sequence: Some(lane),
        clock: Clock::Ok,
        late: false,
        model: "assistant".into(),
        version: "1.4.0".into(),
        variant: "0123abcd".into(),
        quantization: Some("f32".into()),
        operation: Some("chat".into()),
        provider: Some("candle".into()),
        metric: metric.into(),
        unit: names::metric(metric).unwrap().unit.into(),
    }
}

/// What the kiosks' surprisal was in the first lanes: before the shift, or with it.
fn reference(until: i64) -> Reference {
    let lane = |lane| {
        let mut summary = values("kiosk", names::OUTPUT_SURPRISAL, lane);
        let one = summary.clone();
        (1..DEVICES).for_each(|_| summary.merge(&one));
        Lane {
            start_us: lane_end(lane) - LANE_US,
            end_us: lane_end(lane),
            count: summary.count,
            summary: Summary::Histogram(summary),
            device_windows: 3,
            devices: 3,
        }
    };
    let lanes: Vec<Lane> = (1..=until).map(lane).collect();
    let key = SeriesKey {
        service: "maintenance".into(),
        model: "assistant".into(),
        version: "1.4.0".into(),
        variant: "0123abcd".into(),
        device_class: "kiosk".into(),
        metric: names::OUTPUT_SURPRISAL.into(),
    };
    let policy = Policy {
        min_records: 1_000,
        min_blocks: 10,
        ..Policy::default()
    };
    Reference::freeze(key, &lanes, &policy).unwrap()
}

fn verdicts() -> Vec<VerdictRow> {
    let judged = (SHIFTED_FROM - 4..=LANES).map(|lane| {
        let drifting = lane > SHIFTED_FROM + 3;
        VerdictRow {
            state: if drifting { "drifting" } else { "steady" }.into(),
            score: Some((lane - SHIFTED_FROM).max(0) as f64 * 5.5),
            since: drifting.then(|| lane_end(SHIFTED_FROM)),
            ..verdict(SURPRISAL, lane, names::OUTPUT_SURPRISAL)
        }
    });
    let unjudged = VerdictRow {
        state: "undecided".into(),
        method: "none".into(),
        score: None,
        threshold: None,
        effective_count: None,
        reference: None,
        evidence: r#"{"shortfall":"no reference: freeze one with POST /api/v1/references"}"#.into(),
        ..verdict(FEEDBACK, LANES, names::FEEDBACK)
    };
    let beside = VerdictRow {
        state: "drifting".into(),
        score: Some(21.0),
        since: Some(lane_end(SHIFTED_FROM + 2)),
        device_class: "panel".into(),
        ..verdict(ENTROPY, LANES, names::OUTPUT_ENTROPY)
    };
    judged.chain([unjudged, beside]).collect()
}

fn verdict(series: &str, lane: i64, metric: &str) -> VerdictRow {
    let reference = reference(SHIFTED_FROM);
    let (stream, expected) = &reference.streams()[3];
    let (from_us, to_us) = reference.span_us();
    let evidence = serde_json::json!({
        "leading": {
            "stream": stream.to_string(),
            "expected_share": expected.share,
            "current_share": 0.925,
            "direction": "more",
        },
        "distances": {
            "bins": 10, "psi": 0.61, "psi_debiased": 0.52, "jensen_shannon": 0.31,
            "hellinger": 0.29, "ks": 0.4, "wasserstein": 0.03, "wasserstein_normalized": 1.2,
        },
        "breakdown": {
            "start_us": from_us, "end_us": to_us, "count": 1_440, "devices": 12,
            "mix": {
                "change": 0.425, "within": 0.4, "composition": 0.025, "covered": 0.9, "new": 1,
                "gone": 0, "allowed": 0.04,
            },
            "psi_debiased": 0.52, "interval": [0.31, 0.74], "resamples": 12,
            "sites": [
                { "site": "bern", "devices": 7, "reference_share": 0.5, "share": 0.55, "part": 0.42 },
                { "site": "*", "devices": 5, "reference_share": 0.5, "share": 0.45, "part": 0.1 },
            ],
            "bins": [
                { "bin": "above 0.1250", "reference_share": 0.1, "share": 0.6, "part": 0.5 },
                { "bin": "up to 0.1250", "reference_share": 0.9, "share": 0.4, "part": 0.02 },
            ],
        },
        "late_records": 7,
        "reference": { "from_us": from_us, "to_us": to_us, "records": reference.count() },
    });
    VerdictRow {
        time: lane_end(lane),
        series: series.into(),
        service: "maintenance".into(),
        device_class: "kiosk".into(),
        model: "assistant".into(),
        version: "1.4.0".into(),
        variant: "0123abcd".into(),
        metric: metric.into(),
        revision: 0,
        state: "steady".into(),
        method: "qx-e-cusum/1 fixed span, no season".into(),
        score: Some(0.0),
        threshold: Some(18.2),
        count: 120,
        effective_count: Some(98.4),
        devices: 3,
        since: None,
        reference: Some(reference.hash()),
        evidence: evidence.to_string(),
    }
}

fn events() -> Vec<EventRow> {
    let time = lane_end(SHIFTED_FROM + 4);
    let span =
        serde_json::json!({ "start": "2026-11-24T11:59:35Z", "end": "2026-11-24T11:59:40Z" });
    let changed = serde_json::json!({
        "type": "fathomline.verdict.changed",
        "timestamp": "2026-11-24T11:59:40Z",
        "data": {
            "state": "drifting", "previous": "steady", "series": SURPRISAL,
            "service": "maintenance", "model": "assistant", "version": "1.4.0",
            "variant": "0123abcd", "device_class": "kiosk", "metric": names::OUTPUT_SURPRISAL,
            "unit": "{nat}", "window": span, "since": null, "score": 22.0, "threshold": 18.2,
            "method": "qx-e-cusum/1 fixed span, no season", "count": 120, "effective_count": 98.4,
            "devices": 3, "reference": "abc", "evidence": "", "link": null,
        },
    });
    let event = |id: &str, kind: &str, time: i64, body: String| EventRow {
        time,
        id: id.into(),
        kind: kind.into(),
        subject: SURPRISAL.into(),
        body,
    };
    let delivered = r#"{"event":"evt_1","endpoint":"trainer"}"#.to_owned();
    vec![
        event(
            "evt_1",
            "fathomline.verdict.changed",
            time,
            changed.to_string(),
        ),
        event(
            "evt_1-trainer",
            "fathomline.webhook.delivered",
            time + SECOND_US,
            delivered,
        ),
    ]
}
