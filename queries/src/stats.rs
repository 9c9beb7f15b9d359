//! The mathematics of judging, as pure functions of counts. Nothing here knows what a model or a
//! device is.
//!
//! | file | holds |
//! |---|---|
//! | `bins.rs` | reference-quantile bins, two histograms on common buckets |
//! | `distance.rs` | PSI, Jensen-Shannon, Hellinger, KS, Wasserstein, chi-square, Cramer's V |
//! | `evidence.rs` | log e-values of exceedance shares, e-CUSUM, e-BH |
//! | `proportion.rs` | the difference of two shares, with an interval |
//! | `ratio.rs` | log e-values of the ratio of two shares, design effects |
//! | `season.rs` | expected shares by hour of day or week |
//! | `student.rs` | points of Student's t |
//!
//! `ln` and `exp` come from the pure-Rust `libm`, so that a score has the same bits everywhere.

mod bins;
mod distance;
mod evidence;
mod proportion;
mod ratio;
mod season;
mod student;

pub use bins::{Aligned, BINS, bin, bins_for, explicit_positions, reference_cuts};
pub(crate) use distance::psi_of;
pub use distance::{
    ChiSquare, PsiPart, chi_square, hellinger, jensen_shannon, jensen_shannon_distance, ks, psi,
    psi_debiased, psi_expected_of_noise, psi_expected_without_drift, psi_parts, sliced_wasserstein,
    wasserstein,
};
pub use evidence::{
    Accumulators, Expectation, ODDS_RATIOS, PER_STREAM, e_bh, ln_mean, log_e_values,
};
pub use proportion::{Difference, Proportion, difference};
pub use ratio::{Mixture, Pair, design_effect};
pub use season::{Season, SeasonWindow, SeasonalShares};
pub use student::student_point;
