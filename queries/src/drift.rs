//! Drift you can believe: the QX e-CUSUM detector (statistics, section d; design, section 7). Pure
//! folds over closed lanes: no clock, no IO, the same lanes give the same bits.
//!
//! | file | holds |
//! |---|---|
//! | `series.rs` | which series: service, model, version, variant, device class, metric |
//! | `lane.rs` | what a series did in one lane |
//! | `parts.rs` | what each device did, as a reference counts it |
//! | `policy.rs` | what an operator may choose |
//! | `stream.rs` | exceedance and category streams of a reference |
//! | `bins.rs` | bins that are frozen with a reference |
//! | `reference.rs` | what it was: frozen, named by its hash |
//! | `observed.rs` | what the streams see of a lane |
//! | `bets.rs` | bets against the reference at one width of lanes |
//! | `recovery.rs` | a drift that goes on, and its end |
//! | `detector.rs` | the fold: lane in, verdict out |
//! | `reporting.rs` | how many devices report, as a series of its own |
//! | `power.rs` | the smallest change that would be seen |
//! | `breakdown.rs` | a change taken apart by site and bin |
//! | `better.rs` | a new version held against the one that drifted |
//! | `incident.rs` | what drifts together, taken apart |
//! | `resampling.rs` | how sure a distance is, by leaving devices out |
//! | `rule.rs` | fixed rules, to compare with |
//! | `backtest.rs` | what would have been paged |
//! | `shown.rs` | distances that are shown and never page |
//! | `verdict.rs` | steady, drifting or undecided, with the evidence |
//!
//! In words for those who are paged: 5 % of inferences should exceed the reference p95. We keep a
//! bet on "more than that" and one on "less". When the winnings exceed what luck could give once
//! in 30 days over all series, we page.

mod backtest;
mod bets;
mod better;
mod bins;
mod breakdown;
mod detector;
mod incident;
mod lane;
mod observed;
mod parts;
mod policy;
mod power;
mod recovery;
mod reference;
mod reporting;
mod resampling;
mod rule;
mod series;
mod shown;
mod stream;
mod verdict;

use observed::Observed;

pub use backtest::{Backtest, Judge, Judged, Page};
pub use better::{Comparison, MovedShare, Side};
pub use bins::Bins;
pub use breakdown::{BinPart, Breakdown, Explained, Mix, SitePart, Window};
pub use detector::Detector;
pub use incident::{ContributorKind, Incident, IncidentPart};
pub use lane::{Lane, Summary};
pub use parts::{Counted, Part, Site};
pub use policy::Policy;
pub use power::{Detectable, Power};
pub use reference::{Making, REFERENCE_BYTES_MAX, Reference, Shortfall};
pub use reporting::{DEVICES_REPORTING, devices_reporting, nobody_reporting};
pub use rule::{Rule, ks_p};
pub use series::{Level, SeriesKey};
pub use stream::Stream;
pub(crate) use stream::{above, snap};
pub use verdict::{Direction, Distances, Leading, Verdict, VerdictState, Wide};
