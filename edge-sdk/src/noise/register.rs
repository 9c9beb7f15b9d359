//! Exact counts of fixed cells, until they are released with noise. In: finished inferences and
//! what is said of them. Out: one table of counts. Counts at most as many inferences as it is
//! allowed, the first ones. Fixed size a variant. Never a clock, never IO.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fathomline_wire::{
    names,
    noise::{Cells, cells},
};

use super::Terms;
use crate::meter::{Observation, Record, SIGNALS, Signal};

/// Counts by metric and cell, in the order of the terms.
pub(crate) type Table = Vec<Vec<u32>>;

/// Counts of one line since its last release.
#[derive(Debug)]
pub(crate) struct Register {
    terms: Terms,
    /// Place among the terms' metrics, and cells, by signal.
    signals: [Option<(usize, Cells)>; SIGNALS.len()],
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Inferences that may still be counted; each metric keeps to it by itself.
    allowed: u32,
    /// Contributions by metric.
    counted: Vec<u32>,
    /// By variant. Operations are counted together: which of them ran is not told either.
    tables: BTreeMap<usize, Table>,
}

impl Register {
    pub(crate) fn new(terms: Terms) -> Self {
        let place = |name: &str| terms.metrics.iter().position(|metric| metric.name == name);
        let signals = SIGNALS.map(|name| {
            let unit = names::metric(name)?.unit;
            Some((place(name)?, cells(unit)?))
        });
        Self {
            terms,
            signals,
            open: Mutex::default(),
        }
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Counts what was seen of one inference.
    pub(crate) fn observe(&self, variant: usize, seen: Observation<'_>) {
        match seen {
            Observation::Record(record) => self.record(variant, record),
            Observation::Value(signal, value) => self.value(variant, signal, value),
            Observation::Feedback(kind) => self.category(variant, names::FEEDBACK, kind as usize),
            Observation::Validity(kind) => {
                self.category(variant, names::OUTPUT_VALIDITY, kind as usize);
            }
            Observation::Label(index) => self.category(variant, names::OUTPUT_LABEL, index),
            // One inference has many of these: too many for the noise of one count to hide.
            Observation::Scripts(_) | Observation::Projections(_) => {}
            // They are exact, and stay on the device.
            Observation::Alarm(_) | Observation::ProbeMismatch => {}
        }
    }

    /// Counts a finished inference.
    pub(super) fn record(&self, variant: usize, record: &Record) {
        let mut open = self.open();
        for (signal, value) in self.signals.iter().zip(record.signals) {
            if let (Some((place, cells)), Some(value)) = (signal, value) {
                open.count(&self.terms, variant, *place, cells.position(value));
            }
        }
        let finish = self.place(names::OUTPUT_FINISH);
        if let Some(place) = finish {
            let cell = Some(record.finish as usize);
            open.count(&self.terms, variant, place, cell);
        }
    }

    /// Counts one value of one signal, outside of a record.
    fn value(&self, variant: usize, signal: Signal, value: f64) {
        if let Some((place, cells)) = &self.signals[signal as usize] {
            let cell = cells.position(value);
            self.open().count(&self.terms, variant, *place, cell);
        }
    }

    /// Counts one category of metric `name`, by its place among the cells.
    fn category(&self, variant: usize, name: &str, cell: usize) {
        if let Some(place) = self.place(name) {
            self.open().count(&self.terms, variant, place, Some(cell));
        }
    }

    /// Hands over what was counted and starts again from nothing, with no one allowed: the tables,
    /// and how many inferences may be in them.
    pub(super) fn take(&self) -> (BTreeMap<usize, Table>, u32) {
        let open = std::mem::take(&mut *self.open());
        let inferences = open.counted.iter().copied().max().unwrap_or(0);
        (open.tables, inferences)
    }

    /// Counts so many inferences from now on.
    pub(super) fn allow(&self, inferences: u32) {
        self.open().allowed = inferences;
    }

    fn place(&self, name: &str) -> Option<usize> {
        let mut metrics = self.terms.metrics.iter();
        metrics.position(|metric| metric.name == name)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn count(&mut self, terms: &Terms, variant: usize, place: usize, cell: Option<usize>) {
        if self.counted.is_empty() {
            self.counted = vec![0; terms.metrics.len()];
        }
        let table = self
            .tables
            .entry(variant)
            .or_insert_with(|| empty_table(terms));
        let count = cell.and_then(|cell| table.get_mut(place)?.get_mut(cell));
        if let (Some(count), Some(counted)) = (count, self.counted.get_mut(place))
            && *counted < self.allowed
        {
            *counted += 1;
            *count += 1;
        }
    }
}

/// No counts.
pub(super) fn empty_table(terms: &Terms) -> Table {
    let cells = terms.metrics.iter().map(|metric| metric.cells.len());
    cells.map(|cells| vec![0; cells]).collect()
}
