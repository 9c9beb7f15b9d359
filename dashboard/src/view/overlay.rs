//! Reference against current, one over the other, on common buckets. In: what was frozen and what
//! is. Out: a chart with its table. Both are drawn as shares of their own, so that a reference of
//! an hour and a minute of today can be compared.

use std::collections::BTreeSet;

use askama::Template;
use fathomline_queries::{drift::Summary, series::Values, stats::Aligned};
use fathomline_wire::histogram::{ExponentialHistogram, lower_bound};

use super::{
    axis::{self, BOTTOM, LEFT, Tick, coordinate},
    units,
};

/// Buckets that can be told apart; finer histograms are joined, which loses nothing but detail.
const CELLS_MAX: usize = 40;
const LABELS_MAX: usize = 6;
/// Categories whose names fit below the chart; the table has them all.
const CATEGORY_LABELS_MAX: usize = 8;

/// The chart and its table.
#[derive(Clone, Debug, Template)]
#[template(path = "partials/_overlay.html")]
pub(crate) struct Overlay {
    pub(crate) title: String,
    bars: Vec<Bar>,
    /// Outline of the current shares, as a path.
    outline: String,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    /// The threshold that leads, as an x coordinate.
    threshold: Option<Tick>,
    rows: Vec<Row>,
    names: Names,
    reference_count: String,
    current_count: String,
}

/// What the two are called, in a legend and at the head of a column.
#[derive(Clone, Copy, Debug)]
struct Names {
    legend: [&'static str; 2],
    head: [&'static str; 2],
}

/// What a series is held against, and what it is.
const REFERENCE_AND_CURRENT: Names = Names {
    legend: ["reference", "current"],
    head: ["Reference", "Current"],
};

/// Two references.
const FIRST_AND_SECOND: Names = Names {
    legend: ["first", "second"],
    head: ["First", "Second"],
};

impl Overlay {
    /// The same, of two references.
    pub(crate) fn of_references(self) -> Self {
        Self {
            names: FIRST_AND_SECOND,
            ..self
        }
    }
}

/// One bucket of the reference.
#[derive(Clone, Debug)]
struct Bar {
    x: String,
    width: String,
    y: String,
    height: String,
}

/// One line of the table.
#[derive(Clone, Debug)]
struct Row {
    label: String,
    reference_count: String,
    reference_share: String,
    current_count: String,
    current_share: String,
}

/// Counts on common cells, and what the cells are called.
struct Cells {
    labels: Vec<String>,
    /// Position in cells, and its label.
    ticks: Vec<(f64, String)>,
    threshold: Option<(f64, String)>,
    reference: Vec<u64>,
    current: Vec<u64>,
}

/// Draws both; none where the kinds differ or one of them is empty.
pub(crate) fn draw(
    title: String,
    reference: &Summary,
    current: &Values,
    unit: &str,
    threshold: Option<f64>,
) -> Option<Overlay> {
    let cells = match (reference, current) {
        (Summary::Histogram(reference), Values::Histogram(current)) => {
            buckets(reference, current, unit, threshold)
        }
        (Summary::Categories(reference), Values::Categories(current)) => {
            let names: BTreeSet<_> = reference.keys().chain(current.keys()).collect();
            let mut names: Vec<_> = names.into_iter().collect();
            let of = |name: &str| reference.get(name).copied().unwrap_or(0);
            names.sort_by_key(|name| std::cmp::Reverse(of(name)));
            Cells {
                reference: names.iter().map(|name| of(name)).collect(),
                current: names
                    .iter()
                    .map(|name| current.get(*name).copied().unwrap_or(0))
                    .collect(),
                ticks: category_ticks(&names),
                labels: names.into_iter().cloned().collect(),
                threshold: None,
            }
        }
        _ => return None,
    };
    drawn(title, cells)
}

fn category_ticks(names: &[&String]) -> Vec<(f64, String)> {
    let names = names.iter().take(CATEGORY_LABELS_MAX).enumerate();
    names
        .map(|(at, name)| (at as f64 + 0.5, name.chars().take(14).collect()))
        .collect()
}

/// Both histograms at the finest common scale whose buckets can be told apart.
fn buckets(
    reference: &ExponentialHistogram,
    current: &ExponentialHistogram,
    unit: &str,
    threshold: Option<f64>,
) -> Cells {
    let (mut reference, mut current) = (reference.clone(), current.clone());
    let mut aligned = Aligned::of(&reference, &current);
    while aligned.reference.len() > CELLS_MAX + 1 {
        let scale = aligned.scale - 1;
        for histogram in [&mut reference, &mut current] {
            let coarser = (histogram.scale - scale).max(0);
            histogram.downscale(coarser.unsigned_abs());
        }
        aligned = Aligned::of(&reference, &current);
    }
    let bound = |cell: usize| lower_bound(aligned.first_index + cell as i32, aligned.scale);
    let positive = aligned.reference.len() - 1;
    // The first cell holds what is not positive; most signals have nothing there.
    let hidden = usize::from(aligned.reference[0] + aligned.current[0] == 0);
    let mut labels = vec![format!("up to {}", units::quantity(0.0, unit))];
    labels.extend((0..positive).map(|cell| {
        let (low, high) = (bound(cell), bound(cell + 1));
        format!(
            "{} to {}",
            units::significant(low),
            units::quantity(high, unit)
        )
    }));
    let first = 1 - hidden;
    let every = positive.div_ceil(LABELS_MAX).max(1);
    let ticks = (0..=positive)
        .step_by(every)
        .map(|cell| ((cell + first) as f64, units::quantity(bound(cell), unit)));
    let threshold = threshold.filter(|value| *value > 0.0).map(|value| {
        let cell = value.log2() * f64::from(aligned.scale).exp2() - f64::from(aligned.first_index);
        (cell + first as f64, units::quantity(value, unit))
    });
    Cells {
        ticks: ticks.collect(),
        labels: labels.split_off(hidden),
        threshold,
        reference: aligned.reference[hidden..].to_vec(),
        current: aligned.current[hidden..].to_vec(),
    }
}

fn drawn(title: String, cells: Cells) -> Option<Overlay> {
    let total = |counts: &[u64]| counts.iter().sum::<u64>();
    let (reference_n, current_n) = (total(&cells.reference), total(&cells.current));
    if reference_n == 0 || current_n == 0 {
        return None;
    }
    let share = |count: &u64, of: u64| *count as f64 / of as f64;
    let reference: Vec<f64> = cells
        .reference
        .iter()
        .map(|n| share(n, reference_n))
        .collect();
    let current: Vec<f64> = cells.current.iter().map(|n| share(n, current_n)).collect();
    let largest = reference
        .iter()
        .chain(&current)
        .copied()
        .fold(0.0, f64::max);
    let (top, step) = axis::rounded(largest);
    let range = (0.0, cells.labels.len() as f64);
    let at = |cell: f64| axis::x(range, cell);
    let tick = |(position, label): (f64, String)| Tick {
        at: coordinate(at(position)),
        label,
    };
    let bars = reference.iter().enumerate().map(|(cell, share)| {
        let (left, right) = (at(cell as f64), at(cell as f64 + 1.0));
        let upper = axis::y(top, *share);
        Bar {
            x: coordinate(left + 0.5),
            width: coordinate((right - left - 1.0).max(0.5)),
            y: coordinate(upper),
            height: coordinate(BOTTOM - upper),
        }
    });
    Some(Overlay {
        bars: bars.collect(),
        outline: outline(&current, |cell| at(cell as f64), top),
        x_ticks: cells.ticks.into_iter().map(tick).collect(),
        y_ticks: axis::value_ticks(top, step, units::percent),
        threshold: cells.threshold.map(tick),
        rows: rows(
            &cells.labels,
            (&cells.reference, &reference),
            (&cells.current, &current),
        ),
        names: REFERENCE_AND_CURRENT,
        reference_count: units::count(reference_n),
        current_count: units::count(current_n),
        title,
    })
}

/// Steps along the tops of the shares.
fn outline(shares: &[f64], at: impl Fn(usize) -> f64, top: f64) -> String {
    let mut path = format!("M{LEFT:.1} {BOTTOM:.1}");
    for (cell, share) in shares.iter().enumerate() {
        path.push_str(&format!("V{:.1}H{:.1}", axis::y(top, *share), at(cell + 1)));
    }
    path.push_str(&format!("V{BOTTOM:.1}"));
    path
}

type Column<'a> = (&'a [u64], &'a [f64]);

fn rows(labels: &[String], reference: Column<'_>, current: Column<'_>) -> Vec<Row> {
    let row = |(cell, label): (usize, &String)| Row {
        label: label.clone(),
        reference_count: units::count(reference.0[cell]),
        reference_share: units::percent(reference.1[cell]),
        current_count: units::count(current.0[cell]),
        current_share: units::percent(current.1[cell]),
    };
    labels.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::view::axis::RIGHT;

    fn histogram(values: impl IntoIterator<Item = f64>) -> ExponentialHistogram {
        let mut histogram = ExponentialHistogram::new(4);
        for value in values {
            assert!(histogram.record(value));
        }
        histogram
    }

    #[test]
    fn both_are_drawn_on_as_few_buckets_as_can_be_told_apart_and_nothing_is_lost() {
        let reference = histogram((1..2_000).map(|n| f64::from(n) * 0.001));
        let current = histogram([0.000_01, 40.0]);
        let overlay = draw(
            "x".to_owned(),
            &Summary::Histogram(reference),
            &Values::Histogram(current),
            "{nat}",
            Some(1.0),
        );
        let overlay = overlay.unwrap();
        assert!(overlay.bars.len() <= CELLS_MAX, "{}", overlay.bars.len());
        assert_eq!(overlay.rows.len(), overlay.bars.len());
        assert_eq!(
            (
                overlay.reference_count.as_str(),
                overlay.current_count.as_str()
            ),
            ("1,999", "2")
        );
        let halves = overlay
            .rows
            .iter()
            .filter(|row| row.current_share == "50.0 %");
        assert_eq!(halves.count(), 2);
        let threshold: f64 = overlay.threshold.unwrap().at.parse().unwrap();
        assert!(threshold > LEFT && threshold < RIGHT);
    }

    #[test]
    fn zeros_have_a_cell_of_their_own_where_there_are_any() {
        let both = |values: [f64; 2]| {
            let histogram = histogram(values);
            draw(
                String::new(),
                &Summary::Histogram(histogram.clone()),
                &Values::Histogram(histogram),
                "1",
                None,
            )
        };
        assert_eq!(both([0.0, 1.0]).unwrap().rows[0].label, "up to 0");
        assert!(both([1.0, 1.0]).unwrap().rows[0].label.contains(" to "));
    }

    #[test]
    fn categories_are_ordered_by_the_reference_and_new_ones_come_last() {
        let counts = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
            pairs
                .iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect()
        };
        let overlay = draw(
            String::new(),
            &Summary::Categories(counts(&[("length", 1), ("stop", 9)])),
            &Values::Categories(counts(&[("error", 5), ("stop", 5)])),
            "{operation}",
            None,
        );
        let rows = overlay.unwrap().rows;
        let labels: Vec<_> = rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["stop", "length", "error"]);
        assert_eq!(rows[2].reference_share, "0.0 %");
    }

    #[test]
    fn an_empty_side_or_another_kind_draws_nothing() {
        let empty = Values::Categories(BTreeMap::new());
        let reference = Summary::Histogram(histogram([1.0]));
        assert!(draw(String::new(), &reference, &empty, "1", None).is_none());
        let nothing = Values::Histogram(ExponentialHistogram::new(4));
        assert!(draw(String::new(), &reference, &nothing, "1", None).is_none());
    }
}
