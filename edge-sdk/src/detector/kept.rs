//! The detector's state as bytes, so that a restart forgets nothing. Owns that layout. In: a state.
//! Out: at most 4 KiB, and the same state back, bit by bit. Bytes that are damaged, of another
//! layout, or for a reference of another size are no state: the detector then learns again.
//!
//! ```text
//! u32 crc32c of the rest | u32 layout | fields in the order of `walk`      (little endian)
//! ```

use super::{
    Detector, Tuning,
    watch::{Count, Guard, Sample, Stage, Watch},
};

/// Changes whenever a field, a constant or its meaning does.
const LAYOUT: u32 = 1;

impl Detector {
    /// At most [`STATE_BYTES_MAX`](super::STATE_BYTES_MAX).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer(LAYOUT.to_le_bytes().to_vec());
        // Walking changes nothing when it writes, but takes what it could change.
        walk(&mut self.clone(), &mut writer);
        let mut bytes = crc32c::crc32c(&writer.0).to_le_bytes().to_vec();
        bytes.append(&mut writer.0);
        bytes
    }

    /// The state that was encoded, if it is whole and its reference is of this size. How many
    /// alarms are allowed is for the present to say.
    pub(crate) fn decode(bytes: &[u8], tuning: Tuning) -> Option<Self> {
        let (check, rest) = bytes.split_first_chunk::<4>()?;
        if crc32c::crc32c(rest) != u32::from_le_bytes(*check) {
            return None;
        }
        let (layout, rest) = rest.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*layout) != LAYOUT {
            return None;
        }
        let mut reader = Reader {
            rest,
            missing: false,
        };
        let mut detector = Self::new(tuning);
        walk(&mut detector, &mut reader);
        detector.tuning.false_alarms = tuning.false_alarms;
        let whole = !reader.missing && reader.rest.is_empty();
        (whole && detector.tuning == tuning).then_some(detector)
    }
}

/// Writes a field, or reads it.
trait Walk {
    fn bytes<const N: usize>(&mut self, field: [u8; N]) -> [u8; N];

    fn u8(&mut self, field: &mut u8) {
        *field = u8::from_le_bytes(self.bytes(field.to_le_bytes()));
    }

    fn u32(&mut self, field: &mut u32) {
        *field = u32::from_le_bytes(self.bytes(field.to_le_bytes()));
    }

    fn u64(&mut self, field: &mut u64) {
        *field = u64::from_le_bytes(self.bytes(field.to_le_bytes()));
    }

    fn f32(&mut self, field: &mut f32) {
        *field = f32::from_le_bytes(self.bytes(field.to_le_bytes()));
    }

    fn f64(&mut self, field: &mut f64) {
        *field = f64::from_le_bytes(self.bytes(field.to_le_bytes()));
    }
}

struct Writer(Vec<u8>);

impl Walk for Writer {
    fn bytes<const N: usize>(&mut self, field: [u8; N]) -> [u8; N] {
        self.0.extend(field);
        field
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    missing: bool,
}

impl Walk for Reader<'_> {
    fn bytes<const N: usize>(&mut self, field: [u8; N]) -> [u8; N] {
        if let Some((found, rest)) = self.rest.split_first_chunk() {
            self.rest = rest;
            return *found;
        }
        self.missing = true;
        field
    }
}

/// Every field, in one order for both directions.
fn walk(detector: &mut Detector, to: &mut impl Walk) {
    let tuning = &mut detector.tuning;
    to.f64(&mut tuning.false_alarms);
    to.u32(&mut tuning.inferences);
    to.f64(&mut tuning.days);
    to.u64(&mut detector.model);
    to.u32(&mut detector.foreign);
    to.f64(&mut detector.now_days);
    to.f64(&mut detector.elapsed_days);
    to.u32(&mut detector.day);
    to.u32(&mut detector.batches_today);
    to.f64(&mut detector.batches_daily);
    for watch in &mut detector.watches {
        walk_watch(watch, to);
    }
    for until in &mut detector.quiet_until {
        to.f64(until);
    }
}

fn walk_watch(watch: &mut Watch, to: &mut impl Walk) {
    to.u32(&mut watch.filled);
    for count in &mut watch.batch {
        to.u8(count);
    }
    let mut stage = match watch.stage {
        Stage::Sample(_) => 0,
        Stage::Count(_) => 1,
        Stage::Guard(_) => 2,
    };
    let before = stage;
    to.u8(&mut stage);
    if stage != before {
        watch.stage = match stage {
            1 => Stage::Count(Count::default()),
            2 => Stage::Guard(Guard::default()),
            _ => Stage::Sample(Sample::default()),
        };
    }
    match &mut watch.stage {
        Stage::Sample(sample) => walk_sample(sample, to),
        Stage::Count(count) => walk_count(count, to),
        Stage::Guard(guard) => walk_guard(guard, to),
    }
}

fn walk_sample(sample: &mut Sample, to: &mut impl Walk) {
    to.u32(&mut sample.seen);
    sample.values.iter_mut().for_each(|value| to.f32(value));
}

fn walk_count(count: &mut Count, to: &mut impl Walk) {
    count.thresholds.iter_mut().for_each(|field| to.f32(field));
    to.f64(&mut count.began_days);
    to.u32(&mut count.rounds);
    to.u32(&mut count.batches);
    count.above.iter_mut().for_each(|field| to.u32(field));
    count
        .open
        .as_flattened_mut()
        .iter_mut()
        .for_each(|field| to.u32(field));
    count
        .squares
        .as_flattened_mut()
        .iter_mut()
        .for_each(|field| to.u64(field));
}

fn walk_guard(guard: &mut Guard, to: &mut impl Walk) {
    guard.thresholds.iter_mut().for_each(|field| to.f32(field));
    guard.shares.iter_mut().for_each(|field| to.f32(field));
    guard.tolerances.iter_mut().for_each(|field| to.f32(field));
    to.f32(&mut guard.weight);
    guard
        .bets
        .as_flattened_mut()
        .iter_mut()
        .for_each(|field| to.f32(field));
}
