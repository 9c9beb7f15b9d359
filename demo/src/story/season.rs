//! How fast the season changes. Owns the steps. In: time since it began. Out: the share of requests
//! that are new. Pure.

use std::time::Duration;

/// A slope, as a season has one: the first frost reaches one street after the other.
const STEPS: [(Duration, f64); 3] = [
    (Duration::ZERO, 0.1),
    (Duration::from_secs(10), 0.3),
    (Duration::from_secs(20), 0.6),
];

/// From here on the share stays.
pub(super) const FULL_AFTER: Duration = STEPS[STEPS.len() - 1].0;

/// Share of new requests so long after the change began.
pub(super) fn share_after(elapsed: Duration) -> f64 {
    let reached = STEPS.iter().take_while(|(from, _)| *from <= elapsed);
    reached.last().map_or(0.0, |(_, share)| *share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_season_comes_in_steps_and_stays() {
        let shares = [0, 9, 10, 19, 20, 3_600].map(|s| share_after(Duration::from_secs(s)));
        assert_eq!(shares, [0.1, 0.1, 0.3, 0.3, 0.6, 0.6]);
        assert_eq!(share_after(FULL_AFTER), 0.6);
    }
}
