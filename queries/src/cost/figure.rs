//! A number and how it came about, and sums of such numbers. Pure.

/// How a value came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Read off the hardware.
    Measured,
    /// Computed from something else: an estimate by processor time, a part that stands for the
    /// whole, a price spread over a lifetime.
    Modelled,
}

/// A value that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// In the unit of whoever asks.
    pub value: f64,
    /// How it came about.
    pub origin: Origin,
    /// How far off it may be, in the same unit; none where nobody said.
    pub error: Option<f64>,
}

impl Figure {
    /// What follows from prices and durations alone: as sure as they are.
    pub(super) const fn computed(value: f64) -> Self {
        Self {
            value,
            origin: Origin::Modelled,
            error: Some(0.0),
        }
    }

    /// The same in another unit.
    pub(super) fn times(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            error: self.error.map(|error| error * factor.abs()),
            ..self
        }
    }
}

/// What known and unknown parts add up to. Errors add up in size, because parts that were read the
/// same way are off the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    known: Option<Figure>,
    lacks: bool,
}

impl Total {
    /// Adds a part; none is one that nobody knows.
    pub(super) fn add(&mut self, part: Option<Figure>) {
        match (part, &mut self.known) {
            (None, _) => self.lacks = true,
            (Some(part), None) => self.known = Some(part),
            (Some(part), Some(known)) => {
                known.value += part.value;
                known.origin = known.origin.max(part.origin);
                let errors = known.error.zip(part.error);
                known.error = errors.map(|(known, part)| known + part);
            }
        }
    }

    /// Adds all parts of another.
    pub(super) fn join(&mut self, other: &Self) {
        self.lacks |= other.lacks;
        if other.known.is_some() {
            self.add(other.known);
        }
    }

    /// The whole; none if a part is unknown, or there is none.
    pub fn whole(&self) -> Option<Figure> {
        self.known.filter(|_| !self.lacks)
    }

    /// What the known parts add up to; none if there are none.
    pub const fn known(&self) -> Option<Figure> {
        self.known
    }

    /// Whether a part is unknown.
    pub const fn lacks(&self) -> bool {
        self.lacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn figure(value: f64, origin: Origin, error: Option<f64>) -> Figure {
        Figure {
            value,
            origin,
            error,
        }
    }

    #[test]
    fn a_sum_is_no_surer_than_its_parts() {
        let mut total = Total::default();
        assert_eq!((total.whole(), total.lacks()), (None, false));
        total.add(Some(figure(2.0, Origin::Measured, Some(0.1))));
        total.add(Some(figure(1.0, Origin::Modelled, Some(0.5))));
        let expected = figure(3.0, Origin::Modelled, Some(0.6));
        assert_eq!(total.whole(), Some(expected));
        total.add(Some(figure(1.0, Origin::Measured, None)));
        assert_eq!(total.whole().unwrap().error, None);
    }

    #[test]
    fn what_is_unknown_makes_the_whole_unknown_and_is_no_zero() {
        let mut total = Total::default();
        total.add(None);
        assert_eq!((total.whole(), total.known()), (None, None));
        total.add(Some(figure(2.0, Origin::Measured, None)));
        assert_eq!(total.whole(), None);
        assert_eq!(total.known().unwrap().value, 2.0);
        let mut other = Total::default();
        other.join(&total);
        assert!(other.lacks() && other.whole().is_none());
    }
}
