//! The fold: which cohorts of one lane are shown by themselves. Pure.
//!
//! In: rollup rows of metrics that are not shown per device. Out: rows of which each speaks of at
//! least `min_devices` distinct devices. Cohorts of one service, model and metric in one lane are
//! siblings: those with enough devices stay as they are; the others are put together under
//! [`OTHER`], and are left out if even together they are too few. So every stored row is in one
//! published row or in none, and what is left out is in no total that it could be subtracted from.
//!
//! Categories of a cohort are the bins of its distribution: the cohort's devices count, and every
//! category tells of them all, so that none tells who was in it. Rows that cannot be merged
//! (other bounds, another unit) are counted apart.

use std::collections::BTreeMap;

use fathomline_wire::names::OTHER;

use crate::rows::{Cohort, DeviceSketch, Distribution, RollupRow};

/// What siblings share: lane, service, model, metric, and how values are laid out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parent {
    time: i64,
    width_us: i64,
    service: String,
    model: String,
    metric: String,
    unit: String,
    layout: Layout,
}

/// Rows of different layouts do not add up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Layout {
    Counts,
    Exponential,
    /// Bounds by their bits.
    Explicit(Vec<u64>),
}

/// What tells siblings apart: what a judged series is named by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    version: String,
    variant: String,
    device_class: String,
}

/// What one cohort adds up to.
#[derive(Clone, Debug, Default)]
struct Cell {
    devices: DeviceSketch,
    /// None until the first row, then what all rows agree on.
    quantization: Option<Option<String>>,
    categories: BTreeMap<String, Bin>,
    /// More than 63 bits can count: it cannot be shown as one row, and must not be as two.
    too_much: bool,
}

#[derive(Clone, Debug, Default)]
struct Bin {
    count: i64,
    distribution: Option<Distribution>,
    device_windows: i64,
}

/// Cohorts that are being added up.
#[derive(Debug)]
pub(super) struct Fold {
    min_devices: usize,
    parents: BTreeMap<Parent, BTreeMap<Name, Cell>>,
    bytes: usize,
}

impl Fold {
    /// `min_devices` is at most [`DeviceSketch::CAPACITY`], up to which sketches count exactly.
    pub(super) fn new(min_devices: usize) -> Self {
        Self {
            min_devices,
            parents: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// About what is held on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, row: RollupRow) {
        let (parent, name, quantization, category) = split(&row);
        let cells = self.parents.entry(parent).or_default();
        let cell = cells.entry(name).or_default();
        let before = cell.bytes(&category);
        cell.quantization = match cell.quantization.take() {
            Some(agreed) if agreed != quantization => Some(None),
            _ => Some(quantization),
        };
        cell.devices.merge(&row.devices);
        let bin = Bin {
            count: row.count,
            distribution: row.distribution,
            device_windows: row.device_windows,
        };
        cell.put(&category, bin);
        self.bytes = self.bytes + cell.bytes(&category) - before;
    }

    /// What may be shown, in the order of lanes and names.
    pub(super) fn finish(self) -> Vec<RollupRow> {
        let min_devices = self.min_devices;
        let published = self.parents.into_iter().flat_map(|(parent, cells)| {
            let (shown, small): (BTreeMap<_, _>, BTreeMap<_, _>) = cells
                .into_iter()
                .partition(|(_, cell)| cell.devices.hashes().len() >= min_devices);
            let other = small
                .into_values()
                .reduce(Cell::with)
                .filter(|other| other.devices.hashes().len() >= min_devices);
            let cells = shown.into_iter();
            let cells = cells.chain(other.map(|other| (Name::other(), other)));
            let rows = cells.filter(|(_, cell)| !cell.too_much);
            rows.flat_map(|(name, cell)| cell.rows(&parent, name))
                .collect::<Vec<_>>()
        });
        published.collect()
    }
}

fn split(row: &RollupRow) -> (Parent, Name, Option<String>, String) {
    let Cohort {
        service,
        device_class,
        model,
        version,
        variant,
        quantization,
        metric,
        unit,
        category,
    } = row.cohort.clone();
    let layout = match &row.distribution {
        None => Layout::Counts,
        Some(Distribution::Exponential(_)) => Layout::Exponential,
        Some(Distribution::Explicit(histogram)) => Layout::Explicit(
            histogram
                .bounds
                .iter()
                .map(|bound| bound.to_bits())
                .collect(),
        ),
    };
    let parent = Parent {
        time: row.time,
        width_us: row.width_us,
        service,
        model,
        metric,
        unit,
        layout,
    };
    let name = Name {
        version,
        variant,
        device_class,
    };
    (parent, name, quantization, category)
}

impl Name {
    fn other() -> Self {
        let other = || OTHER.to_owned();
        Self {
            version: other(),
            variant: other(),
            device_class: other(),
        }
    }
}

impl Cell {
    fn put(&mut self, category: &str, from: Bin) {
        let into = self.categories.entry(category.to_owned()).or_default();
        let fits = into.count.checked_add(from.count).is_some()
            && into.distribution.as_ref().map_or(0, Distribution::count)
                <= (i64::MAX as u64)
                    .saturating_sub(from.distribution.as_ref().map_or(0, Distribution::count));
        if !fits {
            self.too_much = true;
            return;
        }
        into.count += from.count;
        into.device_windows = into.device_windows.saturating_add(from.device_windows);
        match (&mut into.distribution, from.distribution) {
            (Some(into), Some(from)) => self.too_much |= !into.merge(&from),
            (into @ None, from) => *into = from,
            (Some(_), None) => {}
        }
    }

    /// Both together. Names differ, so nothing but equal quantizations is kept of them.
    fn with(mut self, other: Self) -> Self {
        self.devices.merge(&other.devices);
        if self.quantization != other.quantization {
            self.quantization = None;
        }
        self.too_much |= other.too_much;
        for (category, bin) in other.categories {
            self.put(&category, bin);
        }
        self
    }

    fn rows<'a>(self, parent: &'a Parent, name: Name) -> impl Iterator<Item = RollupRow> + 'a {
        let Self {
            devices,
            quantization,
            categories,
            ..
        } = self;
        let windows = categories.values().map(|bin| bin.device_windows).max();
        let windows = windows.unwrap_or_default();
        let quantization = quantization.flatten();
        categories
            .into_iter()
            .map(move |(category, bin)| RollupRow {
                time: parent.time,
                width_us: parent.width_us,
                cohort: Cohort {
                    service: parent.service.clone(),
                    device_class: name.device_class.clone(),
                    model: parent.model.clone(),
                    version: name.version.clone(),
                    variant: name.variant.clone(),
                    quantization: quantization.clone(),
                    metric: parent.metric.clone(),
                    unit: parent.unit.clone(),
                    category,
                },
                count: bin.count,
                distribution: bin.distribution,
                device_windows: windows,
                devices: devices.clone(),
            })
    }

    /// What its devices and one category take.
    fn bytes(&self, category: &str) -> usize {
        /// Names, tree and vectors of one category, roughly.
        const ENTRY: usize = 512;
        let bin = self.categories.get(category).map_or(0, |bin| {
            let buckets = match &bin.distribution {
                None => 0,
                Some(Distribution::Exponential(histogram)) => {
                    histogram.positive.counts.len() + histogram.negative.counts.len()
                }
                Some(Distribution::Explicit(histogram)) => 2 * histogram.counts.len(),
            };
            ENTRY + category.len() + buckets * size_of::<u64>()
        });
        size_of_val(self.devices.hashes()) + bin
    }
}

#[cfg(test)]
mod tests;
