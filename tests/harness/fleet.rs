//! A class of devices with a signal that is quiet, or not. In: who, when, and by what factor the
//! signal grew. Out: the same windows every time, as a function of the seed alone.

use super::{
    device::{Device, Span, Window},
    house::House,
};

/// Width of a lane in these tests; windows are as long as lanes.
pub(crate) const LANE_US: i64 = 1_000_000;

/// Inferences a device does in one lane.
const RECORDS: u64 = 40;

/// Devices of one class over a stretch of lanes.
#[derive(Clone, Copy)]
pub(crate) struct Fleet {
    pub(crate) service: &'static str,
    pub(crate) class: &'static str,
    pub(crate) devices: usize,
    /// End of the lane before the first; whole lanes since the epoch.
    pub(crate) began_us: i64,
    pub(crate) seed: u64,
}

/// What was sent, as the books must show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) windows: i64,
    pub(crate) records: i64,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.windows += other.windows;
        self.records += other.records;
    }
}

impl Fleet {
    /// A fleet whose last of `lanes` lanes ended a moment ago.
    pub(crate) fn ending_now(class: &'static str, lanes: i64, seed: u64) -> Self {
        let last = super::clock::now_us() / LANE_US - 1;
        Self {
            service: "assistant",
            class,
            devices: 6,
            began_us: (last - lanes) * LANE_US,
            seed,
        }
    }

    /// The newest lane that has ended, counted as the others are.
    pub(crate) fn lane_ending_now(&self) -> i64 {
        (super::clock::now_us() - self.began_us) / LANE_US - 1
    }

    /// The same, hours ago: nobody is still adding to those.
    pub(crate) fn hours_ago(self, hours: i64) -> Self {
        let began_us = self.began_us - hours * 3_600_000_000;
        Self { began_us, ..self }
    }

    /// The same with more or fewer devices.
    pub(crate) fn of(self, devices: usize) -> Self {
        Self { devices, ..self }
    }

    /// The end of lane `lane`, counted from 1.
    pub(crate) fn end_of(&self, lane: i64) -> i64 {
        self.began_us + lane * LANE_US
    }

    /// Windows of one lane, their surprisals multiplied by `factor`.
    pub(crate) fn windows(&self, lane: i64, factor: f64) -> Vec<Window> {
        let span = Span {
            start_us: self.end_of(lane - 1),
            end_us: self.end_of(lane),
        };
        let sequence = u64::try_from(lane).expect("lanes are counted from 1");
        (0..self.devices)
            .map(|number| {
                let device = Device {
                    service: self.service.to_owned(),
                    ..Device::of_class(number, self.class)
                };
                device.window(sequence, span, &self.surprisals(number, sequence, factor))
            })
            .collect()
    }

    /// Sends lanes `lanes` and waits for each acknowledgement.
    pub(crate) fn tell(
        &self,
        house: &House,
        lanes: std::ops::RangeInclusive<i64>,
        factor: f64,
    ) -> Sent {
        let mut sent = Sent::default();
        for window in lanes.flat_map(|lane| self.windows(lane, factor)) {
            house.receive(&window);
            sent += Sent {
                windows: 1,
                records: i64::try_from(RECORDS).unwrap(),
            };
        }
        sent
    }

    /// Log-normal around 0.05 nat: a sum of four uniform draws is close enough to normal.
    fn surprisals(&self, device: usize, lane: u64, factor: f64) -> Vec<f64> {
        let stream = self.seed << 40 | (device as u64) << 32 | lane << 12;
        let draw = |index: u64| {
            let bits = mix(stream | index) >> 11;
            #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float")]
            let uniform = bits as f64 / (1_u64 << 53) as f64;
            uniform
        };
        let value = |record: u64| {
            let normal: f64 = (0..4).map(|part| draw(record * 4 + part)).sum::<f64>() - 2.0;
            factor * 0.05 * normal.exp()
        };
        (0..RECORDS).map(value).collect()
    }
}

/// The finaliser of splitmix64: neighbouring numbers come out unrelated.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
