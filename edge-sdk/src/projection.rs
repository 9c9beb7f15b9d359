//! Seeded random projections of embeddings: what moves when meaning moves, without the embedding.
//! In: a vector. Out: a few numbers of spread about 1, each in a histogram with fixed bounds
//! (`statistics`: signed values do not suit exponential buckets). Another seed is another series.
//! Pure; a vector that makes no sense is left out.

use fathomline_wire::histogram::ExplicitHistogram;

/// Bounds reach from minus to plus this, four to one.
const REACH: i32 = 4;
const BOUNDS_PER_UNIT: i32 = 4;

/// Components that a line may ask for.
pub(crate) const COMPONENTS_MAX: usize = 16;

/// Which projections a line takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) components: usize,
}

impl Plan {
    /// The projections of `embedding`, brought to length 1 first; none when it is empty, zero or
    /// not a number.
    pub(crate) fn project(&self, embedding: &[f32]) -> Option<Vec<f64>> {
        let squares = embedding.iter().map(|x| f64::from(*x) * f64::from(*x));
        let length = squares.sum::<f64>().sqrt();
        if !(length.is_finite() && length > 0.0) {
            return None;
        }
        let dimensions = embedding.len() as u64;
        let component = |i: usize| {
            let first = self.seed.wrapping_add((i as u64).wrapping_mul(dimensions));
            let signed = embedding.iter().zip(0u64..).map(|(x, j)| {
                let negative = splitmix64(first.wrapping_add(j)) >> 63 == 1;
                f64::from(if negative { -*x } else { *x })
            });
            signed.sum::<f64>() / length
        };
        Some((0..self.components).map(component).collect())
    }

    /// The category of one component on the wire.
    pub(crate) fn category(&self, component: usize) -> String {
        format!("{:x}.{component}", self.seed)
    }
}

/// One histogram a component; empty until the first projection.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Projections {
    pub(crate) components: Vec<ExplicitHistogram>,
}

impl Projections {
    pub(crate) fn add(&mut self, values: &[f64]) {
        if self.components.is_empty() {
            self.components = vec![empty(); values.len()];
        }
        for (histogram, value) in self.components.iter_mut().zip(values) {
            let bucket = histogram.bounds.partition_point(|bound| bound < value);
            histogram.counts[bucket] += 1;
            histogram.count += 1;
            histogram.sum = histogram.sum.map(|sum| sum + value);
            histogram.min = Some(histogram.min.map_or(*value, |min| min.min(*value)));
            histogram.max = Some(histogram.max.map_or(*value, |max| max.max(*value)));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if self.components.is_empty() {
            self.components.clone_from(&other.components);
            return;
        }
        for (ours, theirs) in self.components.iter_mut().zip(&other.components) {
            // A line has one plan, so the bounds are the same.
            ours.merge(theirs);
        }
    }
}

/// Upper bounds of the buckets, the last apart, ascending.
pub(crate) fn bounds() -> Vec<f64> {
    let ends = REACH * BOUNDS_PER_UNIT;
    (-ends..=ends)
        .map(|step| f64::from(step) / f64::from(BOUNDS_PER_UNIT))
        .collect()
}

fn empty() -> ExplicitHistogram {
    let bounds = bounds();
    ExplicitHistogram {
        counts: vec![0; bounds.len() + 1],
        bounds,
        count: 0,
        sum: Some(0.0),
        min: None,
        max: None,
    }
}

/// The finalizer of Vigna's splitmix64, on the state after `x` steps from zero.
fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, numbers};
    use serde_json::Value;

    fn embedding(of: &Value) -> Vec<f32> {
        numbers(of).into_iter().map(|x| x as f32).collect()
    }

    #[test]
    fn signs_come_from_the_published_generator() {
        let vectors = vectors::read("sliced_wasserstein.json");
        for pair in vectors["splitmix64"].as_array().unwrap() {
            let (x, wanted) = (pair[0].as_u64().unwrap(), pair[1].as_str().unwrap());
            assert_eq!(splitmix64(x).to_string(), wanted);
        }
        for case in vectors["cases"].as_array().unwrap() {
            let plan = Plan {
                seed: case["seed"].as_u64().unwrap(),
                components: 1,
            };
            let signs = numbers(&case["signs_row0"]);
            for (at, sign) in signs.iter().enumerate() {
                let mut unit = vec![0.0f32; signs.len()];
                unit[at] = 1.0;
                assert_eq!(plan.project(&unit).unwrap(), [*sign]);
            }
        }
    }

    #[test]
    fn projections_and_their_buckets_are_those_of_the_vectors() {
        let vectors = vectors::read("sliced_wasserstein.json");
        for case in vectors["cases"].as_array().unwrap() {
            let plan = Plan {
                seed: case["seed"].as_u64().unwrap(),
                components: case["k"].as_u64().unwrap() as usize,
            };
            for side in ["a", "b"] {
                let embeddings = case[side].as_array().unwrap();
                let mut all = Projections::default();
                for of in embeddings {
                    all.add(&plan.project(&embedding(of)).unwrap());
                }
                let first = plan.project(&embedding(&embeddings[0])).unwrap();
                let wanted = numbers(&case[format!("proj_{side}_first")]);
                assert_eq!(first.len(), wanted.len());
                for (found, wanted) in first.iter().zip(&wanted) {
                    // The vectors hold 64-bit embeddings, models give 32-bit ones.
                    assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
                }
                let counts = all.components[0].counts.iter().map(|n| *n as f64);
                let wanted = numbers(&case[format!("hist_{side}_0")]);
                assert_eq!(counts.collect::<Vec<_>>(), wanted);
            }
        }
    }

    #[test]
    fn a_projection_of_unit_length_keeps_its_scale() {
        let plan = Plan {
            seed: 7,
            components: 8,
        };
        let embedding: Vec<f32> = (0..512)
            .map(|n| ((n * 37 % 101) as f32 - 50.0) / 3.0)
            .collect();
        let once = plan.project(&embedding).unwrap();
        let doubled: Vec<f32> = embedding.iter().map(|x| x * 2.0).collect();
        let twice = plan.project(&doubled).unwrap();
        for (a, b) in once.iter().zip(&twice) {
            assert!((a - b).abs() < 1e-12 && a.abs() < 5.0, "{a} {b}");
        }
        for nonsense in [&[][..], &[0.0, 0.0], &[f32::NAN], &[f32::INFINITY]] {
            assert_eq!(plan.project(nonsense), None);
        }
    }

    #[test]
    fn components_merge_as_if_recorded_in_one_place() {
        let (mut one, mut two, mut all) = Default::default();
        let add = |into: &mut Projections, value: f64| into.add(&[value, -value]);
        for value in [-5.0, -0.25, 0.0, 0.3] {
            add(&mut one, value);
            add(&mut all, value);
        }
        add(&mut two, 4.5);
        add(&mut all, 4.5);
        one.merge(&two);
        assert_eq!(one, all);
        let mut none = Projections::default();
        none.merge(&one);
        assert_eq!(none, one);
        // Upper bounds belong to their bucket.
        assert_eq!(all.components[0].counts[15], 1);
    }
}
