//! Series taken apart because somebody asks, whether they drift or not.
//!
//! In: a frozen reference, a moment. Out: what the last lanes before it are made of, or why that is
//! not told. Which lanes is not for whoever asks to say: two spans that overlap would tell, by what
//! one has more, of devices that were too few for either. So lanes are taken in fixed steps, and
//! only where each of them is published.

use std::sync::Arc;

use fathomline_queries::{
    drift::{Breakdown, DEVICES_REPORTING, Reference, Window},
    published,
};

use super::{
    WatchSettings,
    lanes::{Asked, AskedParts, LaneSource, LanesError},
    schedule::{Cadence, Span},
};
use crate::clock::Clock;

/// Lanes that are taken apart together.
const LANES: i64 = 12;

/// Takes series apart.
#[derive(Clone)]
pub(crate) struct TakingApart {
    lanes: Arc<dyn LaneSource>,
    clock: Arc<dyn Clock>,
    cadence: Cadence,
    min_devices: u32,
}

impl TakingApart {
    pub(crate) fn new(
        lanes: &Arc<dyn LaneSource>,
        clock: &Arc<dyn Clock>,
        settings: &WatchSettings,
    ) -> Self {
        Self {
            lanes: Arc::clone(lanes),
            clock: Arc::clone(clock),
            cadence: settings.cadence,
            min_devices: settings.min_devices,
        }
    }

    /// What the last lanes up to `until_us` are made of, the mix of sites by `stream`, or a
    /// sentence that says why not.
    ///
    /// # Errors
    /// When lanes cannot be read.
    pub(crate) async fn of(
        &self,
        reference: &Reference,
        until_us: i64,
        stream: Option<usize>,
    ) -> Result<Result<Breakdown, String>, LanesError> {
        let key = reference.key();
        if key.metric == DEVICES_REPORTING {
            return Ok(Err(
                "How many devices report is not made of values.".to_owned()
            ));
        }
        let span = self.span(until_us);
        let metrics = [key.metric.clone()];
        let asked = Asked {
            span,
            lane_us: self.cadence.lane_us,
            metrics: &metrics,
        };
        let lanes = self
            .lanes
            .lanes(asked)
            .await?
            .remove(key)
            .unwrap_or_default();
        let shows = |devices| published::shows(self.min_devices, &key.metric, devices);
        if !lanes.iter().all(|lane| shows(lane.devices)) {
            let few = self.min_devices;
            return Ok(Err(format!(
                "In some of these lanes fewer than {few} devices reported; outputs are told of that many or more (privacy.min_devices)."
            )));
        }
        let asked = AskedParts {
            span,
            metrics: &[&key.metric],
            models: &[&key.model],
            hourly: false,
        };
        let parts = self
            .lanes
            .parts(asked)
            .await?
            .remove(key)
            .unwrap_or_default();
        let window = Window {
            start_us: span.from_us,
            end_us: span.to_us,
            stream,
            min_devices: published::devices_needed(self.min_devices, &key.metric).into(),
        };
        let apart = Breakdown::of(reference, &parts, window);
        Ok(apart.filter(|apart| shows(apart.devices)).ok_or_else(|| {
            "No device sent anything in these lanes, or what they sent is not kept any more."
                .to_owned()
        }))
    }

    /// The last whole step of closed lanes.
    fn span(&self, until_us: i64) -> Span {
        let closed_us = self.cadence.closed_until(self.clock.now_us());
        let step_us = LANES * self.cadence.lane_us;
        let to_us = until_us.min(closed_us).div_euclid(step_us) * step_us;
        Span {
            from_us: to_us - step_us,
            to_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use fathomline_queries::{
        drift::{Part, Policy},
        lanes::parts::SeriesParts,
    };

    use super::*;
    use crate::{
        clock::MovedClock,
        watch::{
            lanes::SeriesLanes,
            script::{LANE_US, key, lane},
        },
    };

    /// Lanes of six devices at two sites, of which one lane has fewer.
    struct Fleet {
        devices_in_17: AtomicU64,
    }

    #[async_trait]
    impl LaneSource for Fleet {
        async fn lanes(&self, asked: Asked<'_>) -> Result<SeriesLanes, LanesError> {
            let numbers = asked.span.from_us / LANE_US + 1..=asked.span.to_us / LANE_US;
            let lanes = numbers.map(|number| {
                let mut lane = lane(1, number, 1.0);
                if number == 17 {
                    lane.devices = self.devices_in_17.load(Ordering::Relaxed);
                }
                lane
            });
            Ok([(key("kiosk"), lanes.collect())].into())
        }

        async fn parts(&self, asked: AskedParts<'_>) -> Result<SeriesParts, LanesError> {
            let part = |number: u64| Part {
                device: number.to_string(),
                site: if number < 5 { "bern" } else { "oslo" }.to_owned(),
                end_us: asked.span.to_us,
                summary: lane(number, 1, 2.0).summary,
            };
            Ok([(key("kiosk"), (0..6).map(part).collect())].into())
        }
    }

    fn taking_apart(devices_in_17: u64) -> (TakingApart, Reference) {
        let lanes: Vec<_> = (1..=60).map(|number| lane(1, number, 1.0)).collect();
        let second = std::time::Duration::from_secs(1);
        let settings = WatchSettings::new(second, second * 2, Policy::default());
        let reference = Reference::freeze(key("kiosk"), &lanes, &settings.policy).unwrap();
        let fleet: Arc<dyn LaneSource> = Arc::new(Fleet {
            devices_in_17: devices_in_17.into(),
        });
        let clock: Arc<dyn Clock> = Arc::new(MovedClock::at(200 * LANE_US));
        (TakingApart::new(&fleet, &clock, &settings), reference)
    }

    #[tokio::test]
    async fn lanes_are_taken_in_steps_that_do_not_overlap_whatever_is_asked_for() {
        let (taking, reference) = taking_apart(6);
        for (asked, end) in [(36, 36), (47, 36), (48, 48), (500, 192)] {
            let apart = taking.of(&reference, asked * LANE_US, Some(0)).await;
            let apart = apart.unwrap().unwrap();
            let span = (apart.start_us / LANE_US, apart.end_us / LANE_US);
            assert_eq!(span, (end - 12, end), "asked for {asked}");
            assert_eq!(apart.devices, 6);
            assert!(apart.psi_debiased.unwrap() > 0.1, "{apart:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_told_of_lanes_of_which_one_is_not_published() {
        let (taking, reference) = taking_apart(4);
        let of = async |until: i64| taking.of(&reference, until * LANE_US, None).await.unwrap();
        let refused = of(24).await.unwrap_err();
        assert!(refused.contains("fewer than 5 devices"), "{refused}");
        assert!(of(36).await.is_ok(), "the next ones are");
    }
}
