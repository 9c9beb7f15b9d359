//! How much may be made new, and what is done beyond it. In: a point's names. Out: the point as it
//! may be stored, or a reason for no. Beyond a device's or a token's share its points are rejected;
//! where everyone together made too much, cohorts and categories count as `other`, so that nobody's
//! data is lost because of a neighbour, and metrics are rejected.

use fathomline_queries::rows::{DeviceColumns, lane_end};
use fathomline_wire::{
    names::{self as wire_names, NOISED, OTHER},
    rejection::Rejection,
};

use super::{
    Case, Entry, Ledger,
    devices::Devices,
    names::{self, Full, Kind, Maker, TOKEN_SHARE},
};
use crate::intake::Point;

/// One device's streams may take one in so many bytes of what all may take.
const DEVICE_STREAM_SHARE: u64 = 64;

/// Most of everything, all senders together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) devices: u32,
    pub(crate) services: u32,
    pub(crate) cohorts: u32,
    pub(crate) metrics: u32,
    pub(crate) categories: u32,
    /// Memory of the streams that are told apart by their intervals.
    pub(crate) stream_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            devices: 4_000_000,
            services: 1_000,
            cohorts: 2_000,
            metrics: 2_000,
            categories: 20_000,
            stream_bytes: 512 << 20,
        }
    }
}

impl Limits {
    pub(super) fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Service => self.services,
            Kind::Cohort => self.cohorts,
            Kind::Metric => self.metrics,
            Kind::Category => self.categories,
        }
    }

    pub(super) fn device_stream_bytes(&self) -> u64 {
        self.stream_bytes / DEVICE_STREAM_SHARE
    }
}

/// What the ledger goes by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    pub(crate) lane_us: i64,
    /// How long a lane stays open after its end.
    pub(crate) lateness_us: i64,
}

impl Rules {
    /// Whether a row that is received now belongs to a lane that has closed.
    pub(super) fn is_late(&self, time_us: i64, received_us: i64) -> bool {
        let closes_us = lane_end(time_us, self.lane_us.max(1)).saturating_add(self.lateness_us);
        received_us > closes_us
    }
}

impl Devices {
    /// Whether no further device may be met, or none with this token.
    pub(super) fn are_full(&self, token: u64, limits: &Limits) -> bool {
        let share = limits.devices.div_ceil(TOKEN_SHARE) as usize;
        self.len() >= limits.devices as usize || (token != 0 && self.with_token(token) >= share)
    }
}

impl Ledger {
    /// Whether the names of a point may be used. `cohort` holds the names of the point before, as
    /// they were sent: most points of a window are of one cohort.
    pub(super) fn admit_names(
        &mut self,
        point: &mut Point,
        maker: Maker,
        cohort: &mut Option<(DeviceColumns, bool)>,
        case: &mut Case<'_>,
    ) -> Result<(), Rejection> {
        let exact = point.columns.metric.strip_suffix(NOISED);
        let metric = exact.unwrap_or(&point.columns.metric);
        if wire_names::metric(metric).is_none() {
            let name = point.columns.metric.clone();
            self.make((Kind::Metric, name), maker, case)
                .map_err(|_| Rejection::Cardinality)?;
        }
        let known = cohort.as_ref();
        let known = known.filter(|(before, _)| names::same_cohort(before, &point.columns));
        let folds = match known {
            Some((_, folds)) => *folds,
            None => {
                let folds = self.folds_cohort(&point.columns, maker, case)?;
                *cohort = Some((point.columns.clone(), folds));
                folds
            }
        };
        let mut folded = folds;
        if folds {
            names::fold(&mut point.columns);
        }
        if let Some(category) = &mut point.category {
            let name = names::category(&point.columns, category);
            match self.make((Kind::Category, name), maker, case) {
                Ok(()) => {}
                Err(Full::Share) => return Err(Rejection::Cardinality),
                Err(Full::All) => {
                    OTHER.clone_into(category);
                    folded = true;
                }
            }
        }
        case.decision.outcome.folded += u64::from(folded);
        Ok(())
    }

    /// Whether a row counts under the cohort `other`.
    fn folds_cohort(
        &mut self,
        columns: &DeviceColumns,
        maker: Maker,
        case: &mut Case<'_>,
    ) -> Result<bool, Rejection> {
        let service = (Kind::Service, columns.service.clone());
        let cohort = (Kind::Cohort, names::cohort(columns));
        for name in [service, cohort] {
            match self.make(name, maker, case) {
                Ok(()) => {}
                Err(Full::Share) => return Err(Rejection::Cardinality),
                Err(Full::All) => return Ok(true),
            }
        }
        Ok(false)
    }

    fn make(
        &mut self,
        (kind, name): (Kind, String),
        maker: Maker,
        case: &mut Case<'_>,
    ) -> Result<(), Full> {
        let limits = &case.rules.limits;
        let names = &self.names;
        if names.check((kind, &name), maker, limits, case.received_us)? {
            let entry = Entry::Name {
                kind,
                name,
                device: maker.device,
                token: maker.token,
                seen_us: case.received_us,
            };
            self.remember(entry, case);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        intake::{Arrival, Temporality},
        store::ledger::{
            Decision, Held, Ledger,
            keys::device_key,
            tests::{NOW_US, RULES, admit, arrival, point},
        },
    };
    use fathomline_wire::rejection::Rejection;

    /// A foreign device's request with one point for each name.
    fn request(device: &str, token: u64, names: &[(&str, &str)]) -> Arrival {
        let points = names.iter().enumerate().map(|(n, (metric, variant))| {
            let end = NOW_US + n as i64 * 10;
            let mut point = point(Temporality::Delta, (end - 10, end), 1);
            point.columns.metric = (*metric).into();
            point.columns.variant = (*variant).into();
            point.columns.device = device.into();
            point.stream = device_key(&format!("{device} {metric} {variant}"));
            point
        });
        let mut arrival = arrival(None, 0, points.collect());
        arrival.token = token;
        arrival.windows[0].sequence = None;
        device.clone_into(&mut arrival.windows[0].installation);
        arrival
    }

    fn rejected(decision: &Decision) -> u64 {
        decision.outcome.rejected.of(Rejection::Cardinality)
    }

    fn of(held: Held, at: usize) -> usize {
        held.names[at].1
    }

    #[test]
    fn a_device_that_invents_metrics_and_variants_leaves_room_for_others() {
        let mut ledger = Ledger::default();
        let invented: Vec<String> = (0..50).map(|n| format!("x{n}")).collect();
        let metrics: Vec<_> = invented.iter().map(|name| (name.as_str(), "v")).collect();
        let hostile = admit(&mut ledger, request("hostile", 0, &metrics)).unwrap();
        // A quarter of 20.
        assert_eq!((hostile.outcome.accepted, rejected(&hostile)), (5, 45));
        let variants: Vec<_> = invented.iter().map(|name| ("x0", name.as_str())).collect();
        let hostile = admit(&mut ledger, request("hostile", 0, &variants)).unwrap();
        assert_eq!(rejected(&hostile), 46, "one was made with the metrics");
        let held = ledger.held();
        assert_eq!((of(held, 1), of(held, 2)), (5, 5));
        let honest = request("honest", 0, &[("app.latency", "f32"), ("x0", "f32")]);
        let honest = admit(&mut ledger, honest).unwrap();
        assert_eq!((honest.outcome.accepted, rejected(&honest)), (2, 0));
    }

    #[test]
    fn a_token_has_a_share_however_many_devices_it_names() {
        let mut ledger = Ledger::default();
        let (mut metrics, mut devices) = (0, 0);
        for n in 0..50 {
            let name = format!("x{n}");
            let sent = request(&format!("d{n}"), 7, &[(&name, "v")]);
            metrics += admit(&mut ledger, sent).unwrap().outcome.accepted;
            let sent = request(&format!("d{n}"), 7, &[("x0", "v")]);
            devices += admit(&mut ledger, sent).unwrap().outcome.accepted;
        }
        // The first device's second request repeats its first.
        assert_eq!((metrics, ledger.held().devices, devices), (5, 25, 24));
        let honest = request("honest", 8, &[("app.latency", "f32")]);
        assert_eq!(admit(&mut ledger, honest).unwrap().outcome.accepted, 1);
    }

    #[test]
    fn beyond_all_there_may_be_cohorts_and_categories_count_as_other() {
        let mut ledger = Ledger::default();
        let mut folded = 0;
        for n in 0..40 {
            let variant = format!("v{n}");
            let mut sent = request(&format!("d{n}"), 0, &[("x", &variant)]);
            sent.windows[0].points[0].category = Some(format!("label-{n}"));
            let decision = admit(&mut ledger, sent).unwrap();
            let row = &decision.frame.measurements[0];
            folded += decision.outcome.folded;
            let is_other = row.columns.variant == "other" && row.columns.service == "other";
            assert_eq!(is_other, n >= 20, "{n}");
            assert_eq!(row.columns.device, format!("d{n}"));
            assert_eq!(row.category.as_deref() == Some("other"), n >= 20, "{n}");
        }
        assert_eq!((folded, of(ledger.held(), 1)), (20, 20));
    }

    #[test]
    fn streams_of_one_device_take_a_share_of_memory_and_identified_windows_lose_nothing() {
        let mut ledger = Ledger::default();
        let mut sent = request("d", 0, &[("x", "v"); 500]);
        let points = &mut sent.windows[0].points;
        let names = points.iter_mut().enumerate();
        names.for_each(|(n, point)| point.stream = n as u128);
        let decision = admit(&mut ledger, sent.clone()).unwrap();
        let room = RULES.limits.stream_bytes / super::DEVICE_STREAM_SHARE;
        assert_eq!(decision.outcome.accepted, room / (160 + 16));
        assert_eq!(rejected(&decision), 500 - decision.outcome.accepted);
        assert!(ledger.held().stream_bytes <= room);
        let mut identified = arrival(Some(1), 7, sent.windows.remove(0).points);
        identified.windows[0].points.iter_mut().for_each(|point| {
            point.stream += 1_000;
        });
        let mut other = Ledger::default();
        identified.declared.as_mut().unwrap().is_part = true;
        assert_eq!(admit(&mut other, identified).unwrap().outcome.accepted, 500);
    }
}
