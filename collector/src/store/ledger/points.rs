//! One point after another of a window that was admitted. In: points, and the basis on which they
//! are told apart from repeats. Out: rows, duplicates counted, reasons for no. Turns cumulative
//! points into increases.

use fathomline_queries::rows::{DistributionRow, MeasurementKind, MeasurementRow};
use fathomline_wire::{identity::CLONE_MARK, rejection::Rejection};

use super::{
    Basis, Case, Entry, Ledger, Limits,
    boots::Piece,
    judge::{self, Judged, Receipt, Verdict},
    names::Maker,
    times,
};
use crate::intake::{Point, PointBody, Temporality, Window};

impl Ledger {
    pub(super) fn admit_points(&mut self, window: Window, basis: &Basis, case: &mut Case<'_>) {
        let mut cohort = None;
        for mut point in window.points {
            let end_us = basis.times.corrected(point.columns.time);
            if times::is_too_old(end_us, case.received_us) {
                case.decision.outcome.rejected.add(Rejection::TooOld, 1);
                continue;
            }
            let is_ahead = basis.times.is_ahead(point.columns.time, case.received_us);
            match basis.whole.tell(point.columns.time, is_ahead) {
                Piece::Own => {}
                Piece::Copy => {
                    case.decision.outcome.duplicates += 1;
                    continue;
                }
                Piece::Untold => {
                    case.decision.outcome.rejected.add(Rejection::TooOld, 1);
                    continue;
                }
            }
            let admitted = self
                .admit_names(&mut point, basis.maker, &mut cohort, case)
                .and_then(|()| self.admit_point(&mut point, basis, case));
            match admitted {
                Ok(true) => push_row(point, basis, case),
                Ok(false) => {}
                Err(reason) => case.decision.outcome.rejected.add(reason, 1),
            }
        }
    }

    /// Decides by the stream's history; turns a cumulative point into its increase.
    /// `Ok(false)` if there is nothing to store.
    fn admit_point(
        &mut self,
        point: &mut Point,
        basis: &Basis,
        case: &mut Case<'_>,
    ) -> Result<bool, Rejection> {
        if !basis.by_stream && point.temporality != Temporality::Cumulative {
            return Ok(true);
        }
        let receipt = Receipt {
            times: basis.times,
            received_us: case.received_us,
        };
        let Judged { verdict, remember } = judge::judge(&self.streams, point, receipt)?;
        let streams = &self.streams;
        let grows = remember.iter().map(|(name, c)| c.grows(streams.get(*name)));
        let grows = grows.sum();
        let Maker { device, token } = basis.maker;
        case.decision.outcome.duplicates += u64::from(verdict == Verdict::Repeat);
        if !self.has_room(device, grows, &case.rules.limits) {
            let by_sequence = basis.is_identified && point.temporality != Temporality::Cumulative;
            return match verdict {
                Verdict::Repeat => Ok(false),
                Verdict::Count | Verdict::Baseline if by_sequence => Ok(true),
                Verdict::Count | Verdict::Baseline => Err(Rejection::Cardinality),
            };
        }
        for (stream, counted) in remember {
            let entry = Entry::Point {
                stream,
                device,
                token,
                seen_us: case.received_us,
                counted,
            };
            self.remember(entry, case);
        }
        case.decision.outcome.baselines += u64::from(verdict == Verdict::Baseline);
        Ok(verdict == Verdict::Count)
    }

    fn has_room(&self, device: u128, grows: u64, limits: &Limits) -> bool {
        let of_device = self.devices.get(device);
        let of_device = of_device.map_or(0, |device| device.stream_bytes);
        of_device + grows <= limits.device_stream_bytes()
            && self.streams.bytes() + grows <= limits.stream_bytes
    }
}

fn push_row(mut point: Point, basis: &Basis, case: &mut Case<'_>) {
    point.columns.sequence = basis.sequence;
    basis.times.correct(&mut point.columns, case.received_us);
    point.columns.late = case.rules.is_late(point.columns.time, case.received_us);
    if let Some(boot) = &basis.counts_as {
        point.columns.device.push(CLONE_MARK);
        point.columns.device.push_str(boot);
    }
    let outcome = &mut case.decision.outcome;
    outcome.accepted += 1;
    outcome.late += u64::from(point.columns.late);
    outcome.newest_us = outcome.newest_us.max(point.columns.time);
    let Point {
        columns,
        category,
        temporality,
        body,
        ..
    } = point;
    let kind = match temporality {
        Temporality::Gauge => MeasurementKind::Gauge,
        Temporality::Delta | Temporality::Cumulative => MeasurementKind::Delta,
    };
    let frame = &mut case.decision.frame;
    let (count, value) = match body {
        PointBody::Distribution(distribution) => {
            frame.distributions.push(DistributionRow {
                columns,
                category,
                distribution,
            });
            return;
        }
        PointBody::Integer(count) => (Some(count), None),
        PointBody::Number(value) => (None, Some(value)),
    };
    frame.measurements.push(MeasurementRow {
        columns,
        category,
        kind,
        count,
        value,
    });
}
