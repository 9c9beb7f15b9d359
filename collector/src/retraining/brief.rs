//! The data brief: what moved, for whoever trains. Pure.
//!
//! In: the newest verdict of every series that drifts, with the evidence of the verdict that paged.
//! Out: signals, the strongest first. Never: values of devices too few to tell of, or anything that
//! a user wrote; verdicts hold neither.

use fathomline_queries::{drift::Leading, rows::VerdictRow};
use fathomline_wire::{
    event::{Brief, BriefBin, BriefSignal, Span},
    names,
};
use serde::Deserialize;

use crate::clock::rfc3339;

/// Signals that a body of 20 kB has room for.
const SIGNALS_MAX: usize = 20;
/// Bins of one signal, the largest first.
const BINS_MAX: usize = 6;

/// A series that drifts: its newest verdict, and the evidence of the one that paged.
#[derive(Clone, Debug)]
pub(crate) struct Drifting {
    pub(crate) now: VerdictRow,
    /// JSON of its evidence, where it is kept.
    pub(crate) paged: Option<String>,
}

/// What of a verdict's evidence a brief tells.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Evidence {
    leading: Option<Leading>,
    breakdown: Option<TakenApart>,
    withheld: Option<String>,
}

#[derive(Deserialize)]
struct TakenApart {
    psi_debiased: Option<f64>,
    interval: Option<(f64, f64)>,
    #[serde(default)]
    bins: Vec<Bin>,
}

#[derive(Deserialize)]
struct Bin {
    bin: String,
    reference_share: f64,
    share: f64,
    part: f64,
}

impl Evidence {
    /// What does not read is as if it were not told.
    fn of(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }
}

/// The brief of all that drifts in one model; the first of them led here and stays first.
pub(crate) fn brief(mut drifting: Vec<Drifting>) -> Brief {
    let led = drifting.first().map(|of| of.now.series.clone());
    let excess = |of: &Drifting| {
        of.now.score.unwrap_or(f64::NEG_INFINITY) - of.now.threshold.unwrap_or_default()
    };
    let leads = |of: &Drifting| Some(&of.now.series) == led.as_ref();
    drifting.sort_by(|a, b| {
        (leads(b).cmp(&leads(a)))
            .then_with(|| excess(b).total_cmp(&excess(a)))
            .then_with(|| a.now.series.cmp(&b.now.series))
    });
    let since = |of: &Drifting| of.now.since.unwrap_or(of.now.time);
    let window = drifting
        .iter()
        .map(since)
        .min()
        .zip(drifting.iter().map(|of| of.now.time).max());
    let left_out = drifting.len().saturating_sub(SIGNALS_MAX);
    Brief {
        window: window.map(|(from_us, to_us)| Span {
            start: rfc3339(from_us),
            end: rfc3339(to_us),
        }),
        signals: drifting.iter().take(SIGNALS_MAX).map(signal).collect(),
        signals_left_out: left_out as u64,
    }
}

fn signal(of: &Drifting) -> BriefSignal {
    let row = &of.now;
    let (now, paged) = (
        Evidence::of(&row.evidence),
        of.paged.as_deref().map(Evidence::of).unwrap_or_default(),
    );
    let withheld = now.withheld.or(paged.withheld);
    let told = withheld.is_none();
    let apart = paged.breakdown.filter(|_| told);
    let leading = paged.leading.or(now.leading).filter(|_| told);
    let psi_debiased = apart.as_ref().and_then(|apart| apart.psi_debiased);
    let interval = apart.as_ref().and_then(|apart| apart.interval);
    let unit = names::metric(&row.metric).map_or("1", |metric| metric.unit);
    BriefSignal {
        series: row.series.clone(),
        metric: row.metric.clone(),
        unit: unit.to_owned(),
        device_class: row.device_class.clone(),
        version: row.version.clone(),
        variant: row.variant.clone(),
        direction: leading.as_ref().map(|of| direction(of).to_owned()),
        stream: leading.as_ref().map(|of| of.stream.clone()),
        reference_share: leading.as_ref().map(|of| of.expected_share),
        share: leading.as_ref().map(|of| of.current_share),
        since: row.since.map(rfc3339),
        count: row.count.unsigned_abs(),
        devices: row.devices.unsigned_abs(),
        reference: row.reference.clone(),
        psi_debiased,
        interval,
        bins: apart.map(|apart| bins(apart.bins)).unwrap_or_default(),
        withheld,
    }
}

/// Where the share that leads went.
fn direction(leading: &Leading) -> &'static str {
    match leading.current_share >= leading.expected_share {
        true => "up",
        false => "down",
    }
}

fn bins(mut bins: Vec<Bin>) -> Vec<BriefBin> {
    bins.sort_by(|a, b| b.part.total_cmp(&a.part).then_with(|| a.bin.cmp(&b.bin)));
    let told = bins.into_iter().take(BINS_MAX).map(|bin| BriefBin {
        bin: bin.bin,
        reference_share: bin.reference_share,
        share: bin.share,
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drifting(number: usize, evidence: &serde_json::Value) -> Drifting {
        Drifting {
            now: VerdictRow {
                time: 60_000_000,
                series: format!("series-{number:02}"),
                service: "assistant".into(),
                device_class: "kiosk".into(),
                model: "tiny".into(),
                version: "1".into(),
                variant: "v".into(),
                metric: names::OUTPUT_SURPRISAL.into(),
                revision: 0,
                state: "drifting".into(),
                method: "QX".into(),
                score: Some(20.0 + number as f64),
                threshold: Some(10.0),
                count: 100,
                effective_count: Some(90.0),
                devices: 12,
                since: Some(30_000_000),
                reference: Some("r".into()),
                evidence: "{}".into(),
            },
            paged: Some(evidence.to_string()),
        }
    }

    #[test]
    fn it_names_signals_bins_cohorts_and_devices_after_what_led_here_the_strongest_first() {
        let evidence = json!({
            "leading": {"stream": "above", "expected_share": 0.05, "current_share": 0.2,
                        "direction": "more"},
            "breakdown": {"psi_debiased": 0.3, "interval": [0.2, 0.4], "bins": [
                {"bin": "under 1", "reference_share": 0.5, "share": 0.4, "part": 0.1},
                {"bin": "over 2", "reference_share": 0.1, "share": 0.2, "part": 0.2},
            ]},
        });
        let brief = brief((0..30).map(|number| drifting(number, &evidence)).collect());
        assert_eq!((brief.signals.len(), brief.signals_left_out), (20, 10));
        assert_eq!(brief.signals[0].series, "series-00");
        let first = &brief.signals[1];
        assert_eq!(
            (first.series.as_str(), first.devices, first.unit.as_str()),
            ("series-29", 12, "{nat}")
        );
        assert_eq!(first.direction.as_deref(), Some("up"));
        assert_eq!(
            (first.stream.as_deref(), first.share),
            (Some("above"), Some(0.2))
        );
        assert_eq!(first.bins[0].bin, "over 2");
        let window = brief.window.as_ref().unwrap();
        assert!(window.start.ends_with("00:00:30Z") && window.end.ends_with("00:01:00Z"));
        let bytes = serde_json::to_vec(&brief).unwrap().len();
        assert!(bytes < 19_000, "{bytes} bytes leave no room in 20 kB");
    }

    #[test]
    fn values_of_few_devices_are_not_in_it() {
        let mut few = drifting(
            1,
            &json!({"breakdown": {"psi_debiased": 0.3, "interval": null, "bins": [
                {"bin": "under 1", "reference_share": 0.5, "share": 0.4, "part": 0.1}]}}),
        );
        few.now.evidence = json!({"withheld": "too few devices"}).to_string();
        let brief = brief(vec![few]);
        let signal = &brief.signals[0];
        assert_eq!(
            (
                signal.psi_debiased,
                signal.bins.len(),
                signal.direction.as_ref()
            ),
            (None, 0, None)
        );
        assert_eq!(signal.withheld.as_deref(), Some("too few devices"));
    }

    #[test]
    fn a_model_of_which_nothing_drifts_has_an_empty_brief() {
        assert_eq!(brief(vec![]), Brief::default());
    }
}
