//! How things look, without knowing what a page is: numbers to words, words to URLs, distributions
//! to shapes. Pure. In: values. Out: text and coordinates for the templates.
//!
//! | module | holds |
//! |---|---|
//! | `units` | numbers, shares, times and ages for people |
//! | `names` | signals, cohorts, states |
//! | `url_state` | filters and span as part of every link |
//! | `time_range` | `from` and `to` as Grafana writes them |
//! | `axis` | scales and ticks |
//! | `overlay` | reference against current |
//! | `timeline` | values over time, with limits |

pub(crate) mod axis;
pub(crate) mod names;
pub(crate) mod overlay;
pub(crate) mod time_range;
pub(crate) mod timeline;
pub(crate) mod units;
pub(crate) mod url_state;
