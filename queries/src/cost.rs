//! What energy was used and what money it cost, here and had a cloud model done the job.
//!
//! In: rollups of a span, and an operator's [`PriceBook`], in which every price has a date and a
//! source. Out: an [`Account`] of lines by model, class or site. Each value is measured, modelled
//! or unknown; what is unknown is never zero, and nothing has a price that nobody wrote down.
//! Formulas: `formula.rs`. Times are UTC days. Never: a default price, a clock.

mod account;
mod book;
mod budget;
mod figure;
mod formula;
mod usage;

pub use account::{Account, By, Lack, Line};
pub use book::{Budget, CloudPrice, DevicePrice, Entry, PriceBook, Tariff};
pub use budget::{Forecast, forecast};
pub use figure::{Figure, Origin, Total};
pub use usage::{ClassDay, ClassKey, Usage, UsageDay, usage};
