//! Noised counts, once an hour. In: the register, the time, random bits. Out: one [`Release`].
//! What inferences cost is spent, and on disk, before it is released; what cannot be spent is
//! discarded. A release that was drawn may be sent any number of times: it is the same noise.

use std::path::Path;

use super::{
    MILLION, Register, Terms,
    register::empty_table,
    sampler::{Bits, Geometric},
};
use crate::{
    ledger::{self, Ledger},
    windows::Window,
};

const HOUR_NANOS: u64 = 3_600 * 1_000_000_000;

/// Noised counts of a span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Release {
    pub(crate) start_unix_nano: u64,
    pub(crate) end_unix_nano: u64,
    /// By variant, metric and cell, each in their order.
    pub(crate) tables: Vec<Vec<Vec<i64>>>,
}

/// When one line releases, and what it spent.
#[derive(Debug)]
pub(crate) struct Releases {
    ledger: Ledger,
    began_unix_nano: u64,
}

impl Releases {
    /// Reads what was spent, and lets `register` count what is left.
    pub(crate) fn open(folder: &Path, register: &Register, now_unix_nano: u64) -> Self {
        let terms = register.terms();
        let today = ledger::day(now_unix_nano, 0);
        let path = folder.join("privacy.json");
        let ledger = Ledger::open(path, terms.day_millionths(), terms.described(), today);
        let releases = Self {
            ledger,
            began_unix_nano: now_unix_nano,
        };
        releases.allow(register, today);
        releases
    }

    /// The release that goes with `window`: when an hour has turned, or the line ends. `variants`
    /// are known, however many of them inferred.
    pub(crate) fn with_window(
        &mut self,
        window: &Window,
        ends: bool,
        register: &Register,
        variants: usize,
    ) -> Option<Release> {
        let hour = |unix_nano: u64| unix_nano / HOUR_NANOS;
        let turned = hour(window.end_unix_nano) > hour(self.began_unix_nano);
        let mut bits = super::sampler::System::new();
        (turned || ends)
            .then(|| self.release(window.end_unix_nano, register, variants, &mut bits))
            .flatten()
    }

    /// Spends, then draws. What could not be spent is not in it; none when there are no random
    /// bits.
    pub(super) fn release(
        &mut self,
        now_unix_nano: u64,
        register: &Register,
        variants: usize,
        bits: &mut impl Bits,
    ) -> Option<Release> {
        let terms = register.terms();
        let today = ledger::day(now_unix_nano, 0);
        let start_unix_nano = std::mem::replace(&mut self.began_unix_nano, now_unix_nano);
        let (mut tables, inferences) = register.take();
        let cost = u64::from(inferences) * terms.inference_millionths();
        let spent = cost == 0
            || self.ledger.spend(today, cost).unwrap_or_else(|error| {
                tracing::warn!(%error, "epsilon not noted as spent; counts discarded");
                false
            });
        if !spent {
            tables.clear();
        }
        self.allow(register, today);
        let noise = Geometric::new(terms.cell_millionths, MILLION);
        let tables = (0..variants).map(|variant| {
            let exact = tables.remove(&variant);
            let exact = exact.unwrap_or_else(|| empty_table(terms));
            let noised = exact.into_iter().map(|cells| {
                let noised = cells.into_iter().map(|count| {
                    let drawn = noise.draw(bits)?;
                    Some(i64::from(count).saturating_add(drawn))
                });
                noised.collect::<Option<Vec<_>>>()
            });
            noised.collect::<Option<Vec<_>>>()
        });
        Some(Release {
            start_unix_nano,
            end_unix_nano: now_unix_nano,
            tables: tables.collect::<Option<Vec<_>>>()?,
        })
    }

    fn allow(&self, register: &Register, today: u64) {
        let terms: &Terms = register.terms();
        let left = self.ledger.left(today) / terms.inference_millionths().max(1);
        register.allow(u32::try_from(left).unwrap_or(u32::MAX));
    }
}
