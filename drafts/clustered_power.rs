//! What `fathomline power` says a series could detect, held against what its detector needs.
//!
//! In: worlds, and how soon a change is to be seen. Out: the change that is said to be seen by half
//! of all detectors in time, and the one that half of them see in fact, over several references.

use fathomline_queries::drift::{Detector, Direction, Policy, Power, Reference, Shortfall};

use crate::world::{DAY, HOUR, Kind, MINUTE_US, Shift, World, key};

/// Days that references are made of.
const PAST: i64 = 3 * DAY;
/// Detectors a reference.
const LUCKS: u64 = 4;
/// Halvings of where a change lies between nothing and three times what is said.
const HALVINGS: usize = 9;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    kind: Kind,
    per_minute: f64,
    hours: i64,
}

const fn case(name: &'static str, kind: Kind, per_minute: f64, hours: i64) -> Case {
    Case {
        name,
        kind,
        per_minute,
        hours,
    }
}

pub(crate) const CASES: [Case; 6] = [
    case("independent, 20 a minute, 1 h", Kind::Independent, 20.0, 1),
    case("independent, 3 a minute, 24 h", Kind::Independent, 3.0, 24),
    case("10 devices, 20 a minute, 24 h", Kind::Clustered(10), 20.0, 24),
    case("30 devices, 20 a minute, 24 h", Kind::Clustered(30), 20.0, 24),
    case("50 devices, 60 a minute, 6 h", Kind::Clustered(50), 60.0, 6),
    case("50 devices, 60 a minute, 24 h", Kind::Clustered(50), 60.0, 24),
];

/// What is said, in deviations, the mean of all references; and what of it is needed in fact, the
/// median of all detectors.
pub(crate) struct Held {
    pub(crate) said: f64,
    pub(crate) needed: f64,
}

impl Case {
    /// # Errors
    /// When there is too little for a reference.
    pub(crate) fn held(&self, references: u64) -> Result<Held, Shortfall> {
        let (mut said, mut needed) = (Vec::new(), Vec::new());
        for seed in 0..references {
            let mut world = World::new(self.kind, self.per_minute, 11 + seed * 1000);
            let policy = Policy::default();
            let reference = Reference::freeze(key(), &world.lanes(PAST), &policy)?;
            let power = Power::of(&reference, &policy, self.per_minute);
            let within_us = self.hours * HOUR * MINUTE_US;
            let Some(found) = power.detectable(within_us, Direction::More) else {
                continue;
            };
            said.push(found.deviations);
            for luck in 0..LUCKS {
                let seen = |size| self.sees((&world, 7_000 + seed * LUCKS + luck), &reference, size);
                needed.push(smallest(3.0 * found.deviations, seen) / found.deviations);
            }
        }
        needed.sort_by(f64::total_cmp);
        let middle = needed.len() / 2;
        Ok(Held {
            said: said.iter().sum::<f64>() / said.len().max(1) as f64,
            needed: needed.get(middle).copied().unwrap_or(f64::NAN),
        })
    }

    /// Whether one detector sees a change in time.
    fn sees(&self, (world, luck): (&World, u64), reference: &Reference, size: f64) -> bool {
        let mut world = world.again(luck);
        world.shift = Some((PAST, Shift::Mean(size)));
        let mut detector = Detector::new(reference, &Policy::default());
        (0..self.hours * HOUR).any(|_| detector.fold(reference, &world.lane()).page)
    }
}

/// The smallest change below `high` that is seen.
fn smallest(mut high: f64, seen: impl Fn(f64) -> bool) -> f64 {
    let mut low = 0.0;
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        match seen(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    high
}
