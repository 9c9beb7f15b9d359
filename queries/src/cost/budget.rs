//! What a model will have cost when the month is over, if it goes on as until now. Pure.

use super::account::Line;

/// A month so far, and to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Money spent so far.
    pub spent: f64,
    /// Money at the end of the month, at the same pace.
    pub at_end: f64,
    /// What may be spent.
    pub budget: f64,
}

impl Forecast {
    /// Whether it will be more than may be spent.
    pub fn exceeds(self) -> bool {
        self.at_end > self.budget
    }
}

/// By the account of a month so far, of which `elapsed` is the part that is over; none where its
/// costs are unknown, or nothing is over.
pub fn forecast(line: &Line, budget: f64, elapsed: f64) -> Option<Forecast> {
    let spent = line.edge.whole()?.value;
    (elapsed > 0.0).then(|| Forecast {
        spent,
        at_end: spent / elapsed.min(1.0),
        budget,
    })
}
