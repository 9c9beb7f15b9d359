//! Fixed cells of noised distributions. Owns which values share a cell, for each unit, in this
//! contract version. In: a unit, a value. Out: a cell and its name. The cells are never chosen by
//! data, because a cell that appears tells that a value did: noise protects counts of cells that
//! everybody knows beforehand.

use std::ops::RangeInclusive;

use crate::histogram::{bucket_index, lower_bound};

/// The cells of one unit: consecutive buckets of an exponential histogram. The first also holds
/// everything below it, zero and negative values included, the last everything above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// Resolution: the base is `2^(2^-scale)`.
    pub scale: i32,
    /// Bucket indexes, as in an exponential histogram of that scale.
    pub indexes: RangeInclusive<i32>,
}

/// The cells of distributions with `unit`; none for a unit without any.
pub fn cells(unit: &str) -> Option<Cells> {
    let (scale, indexes) = match unit {
        // 4 ms to 4 min.
        "s" => (0, -8..=7),
        // 16 mJ to 1 kJ.
        "J" => (0, -6..=9),
        // 1 to 8,192; none counts as one.
        "{token}" => (0, -1..=12),
        // 0.06 to 16.
        "{nat}" => (1, -8..=7),
        // 0.004 to 1.
        "1" => (1, -16..=-1),
        _ => return None,
    };
    Some(Cells { scale, indexes })
}

impl Cells {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.indexes.clone().count()
    }

    /// Which of them holds `value`, from 0; none for what is not a number.
    pub fn position(&self, value: f64) -> Option<usize> {
        if value.is_nan() {
            return None;
        }
        let (first, last) = (*self.indexes.start(), *self.indexes.end());
        let index = if value <= lower_bound(first, self.scale) {
            first
        } else if value > lower_bound(last, self.scale) {
            last
        } else {
            bucket_index(value, self.scale).clamp(first, last)
        };
        usize::try_from(index - first).ok()
    }

    /// Names by position: `scale:index`, such as `0:-8`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let scale = self.scale;
        self.indexes
            .clone()
            .map(move |index| format!("{scale}:{index}"))
    }
}

/// Scale and index of the cell with this name; none when it names no bucket.
pub fn parse(name: &str) -> Option<(i32, i32)> {
    let (scale, index) = name.split_once(':')?;
    Some((scale.parse().ok()?, index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Kind, METRICS};

    #[test]
    fn every_distribution_has_a_few_cells() {
        let distributions = METRICS.iter().filter(|m| m.kind == Kind::Distribution);
        for metric in distributions {
            let cells = cells(metric.unit).unwrap();
            assert!((8..=20).contains(&cells.count()), "{}", metric.name);
            let names: Vec<_> = cells.names().collect();
            assert_eq!(names.len(), cells.count());
            let parsed = names.iter().map(|name| parse(name).unwrap());
            let expected = cells.indexes.clone().map(|index| (cells.scale, index));
            assert!(parsed.eq(expected));
        }
    }

    #[test]
    fn the_ends_hold_what_lies_beyond() {
        let cells = cells("s").unwrap();
        let last = cells.count() - 1;
        for (value, position) in [
            (f64::NEG_INFINITY, 0),
            (-1.0, 0),
            (0.0, 0),
            (1e-300, 0),
            (1.0 / 128.0, 0),
            (1.0 / 127.0, 1),
            (1.0, 7),
            (1.5, 8),
            (2.0, 8),
            (128.0, last - 1),
            (129.0, last),
            (f64::INFINITY, last),
        ] {
            assert_eq!(cells.position(value), Some(position), "{value}");
        }
        assert_eq!(cells.position(f64::NAN), None);
    }

    #[test]
    fn a_cell_holds_what_its_name_says() {
        for unit in ["s", "J", "{token}", "{nat}", "1"] {
            let cells = cells(unit).unwrap();
            let named: Vec<_> = cells.names().map(|name| parse(&name).unwrap()).collect();
            for step in 1..400 {
                let value = 1.05f64.powi(step - 200);
                let (scale, index) = named[cells.position(value).unwrap()];
                let above = value > lower_bound(index, scale) || index == *cells.indexes.start();
                let below = value <= lower_bound(index + 1, scale) || index == *cells.indexes.end();
                assert!(above && below, "{unit} {value} in {scale}:{index}");
            }
        }
    }
}
