//! What kiosks measure of their energy and panels do not, and an operator's prices.

use fathomline_queries::{
    cost::{Budget, CloudPrice, DevicePrice, Entry, PriceBook, Tariff},
    rows::{Distribution, DistributionRow, MeasurementKind, MeasurementRow},
};
use fathomline_wire::{histogram::ExponentialHistogram, names};

use super::{CLASSES, DEVICES, LANES, columns};

fn histogram(value: f64, unit: &str) -> Distribution {
    let mut histogram = ExponentialHistogram::new(names::pinned_scale(unit));
    for step in 0..40 {
        assert!(histogram.record(value * (1.0 + f64::from(step % 5) / 10.0)));
    }
    Distribution::Exponential(histogram)
}

/// Prompts of all, and joules of kiosks.
pub(crate) fn distributions() -> Vec<DistributionRow> {
    let row = |class: &str, device, lane, metric, value: f64, unit| DistributionRow {
        columns: columns(class, device, lane, metric),
        category: (metric == names::INFERENCE_ENERGY).then(|| "measured.rail".to_owned()),
        distribution: histogram(value, unit),
    };
    let mut found = vec![];
    for (lane, device) in (1..=LANES).flat_map(|lane| (0..DEVICES).map(move |n| (lane, n))) {
        for class in CLASSES {
            found.push(row(
                class,
                device,
                lane,
                names::INPUT_TOKENS,
                30.0,
                "{token}",
            ));
        }
        found.push(row(
            "kiosk",
            device,
            lane,
            names::INFERENCE_ENERGY,
            1.5,
            "J",
        ));
    }
    found
}

/// What kiosks use beside inferring.
pub(crate) fn measurements() -> Vec<MeasurementRow> {
    let mut found = vec![];
    for (lane, device) in (1..=LANES).flat_map(|lane| (0..DEVICES).map(move |n| (lane, n))) {
        for (category, joules) in [("inference", 72.0), ("idle", 13.5), ("unattributed", 1.25)] {
            let mut columns = columns("kiosk", device, lane, names::DEVICE_ENERGY);
            // A device says it of itself, not of a model.
            (columns.model, columns.version, columns.variant) = Default::default();
            columns.quantization = None;
            found.push(MeasurementRow {
                columns,
                category: Some(category.to_owned()),
                kind: MeasurementKind::Delta,
                count: None,
                value: Some(joules),
            });
        }
    }
    found
}

/// Panels have no price, and nobody says what sending costs on kiosks.
pub(crate) fn book() -> PriceBook {
    let entry = |source: &str| Entry {
        from_day: 20_454,
        source: source.to_owned(),
    };
    PriceBook {
        currency: "EUR".into(),
        tariffs: vec![Tariff {
            entry: entry("contract <b>2026</b>"),
            sites: vec![],
            price_kwh: 0.31,
            grid_g_per_kwh: Some(380.0),
        }],
        devices: vec![DevicePrice {
            entry: entry("invoice 4711"),
            class: "kiosk".into(),
            price: 95.0,
            life_days: 1460.0,
            share: 0.5,
            idle_watts: None,
            idle_error: None,
            network: Some((400_000.0, 2.0)),
        }],
        cloud: vec![CloudPrice {
            entry: entry("price page, 2026-01-01"),
            name: "cloud-small".into(),
            models: vec!["assistant".into()],
            input_per_million: 0.15,
            output_per_million: 0.6,
            energy: None,
        }],
        budgets: vec![Budget {
            model: "assistant".into(),
            per_month: 50.0,
        }],
        energy_errors: [("measured.rail".to_owned(), 0.05)].into(),
    }
}
