//! A histogram as bytes: the state that aggregates exchange and the value that SQL hands on.
//!
//! Not a storage format: it may change with any version. In order: scale, zero count, zero
//! threshold, sum, min, max, then positive and negative buckets (offset, length, counts; a zero
//! count is followed by how many more follow it). Integers are variable-length, signed ones
//! zigzagged, floats little-endian. Reading checks everything: strangers may make bytes up.

use fathomline_wire::{
    histogram::{Buckets, ExponentialHistogram, LentBuckets, LentHistogram, Parts},
    limits::HISTOGRAM_BUCKETS_ACCEPTED_MAX,
};

pub(super) fn pack(histogram: &ExponentialHistogram) -> Vec<u8> {
    let mut bytes = vec![];
    put(&mut bytes, zigzag(histogram.scale));
    put(&mut bytes, histogram.zero_count);
    let floats = [
        histogram.zero_threshold,
        histogram.sum,
        histogram.min,
        histogram.max,
    ];
    floats
        .iter()
        .for_each(|float| bytes.extend(float.to_le_bytes()));
    for side in [&histogram.positive, &histogram.negative] {
        put_buckets(&mut bytes, side);
    }
    bytes
}

/// Reads what [`pack`] wrote; none for anything else.
pub(crate) fn unpack(bytes: &[u8]) -> Option<ExponentialHistogram> {
    let mut reader = Reader::default();
    let lent = reader.read(bytes)?;
    let unsigned = |count: &i64| u64::try_from(*count).ok();
    let buckets = |side: LentBuckets<'_>| -> Option<Buckets> {
        let counts = side.counts.iter().map(unsigned).collect::<Option<_>>()?;
        let offset = side.offset;
        Some(Buckets { offset, counts })
    };
    let (positive, negative) = (buckets(lent.positive)?, buckets(lent.negative)?);
    let zero_count = unsigned(&lent.zero_count)?;
    let mut counts = positive.counts.iter().chain(&negative.counts);
    let count = counts.try_fold(zero_count, |sum, count| sum.checked_add(*count))?;
    let parts = Parts {
        scale: lent.scale,
        zero_threshold: lent.zero_threshold,
        zero_count,
        count,
        sum: lent.sum,
        min: lent.min,
        max: lent.max,
        positive,
        negative,
    };
    ExponentialHistogram::from_merged(parts).ok()
}

/// Reads bytes one after another into the same two lists of counts.
#[derive(Debug, Default)]
pub(super) struct Reader {
    positive: Vec<i64>,
    negative: Vec<i64>,
}

impl Reader {
    /// What the bytes say, counts beyond 63 bits as negative ones; none where they say nothing.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<LentHistogram<'_>> {
        let mut rest = bytes;
        let scale = unzigzag(take(&mut rest)?)?;
        let zero_count = take(&mut rest)?.cast_signed();
        let zero_threshold = take_float(&mut rest)?;
        let sum = take_float(&mut rest)?;
        let min = Some(take_float(&mut rest)?).filter(|min| min.is_finite());
        let max = Some(take_float(&mut rest)?).filter(|max| max.is_finite());
        let mut side = |counts| take_buckets(&mut rest, counts);
        let offsets = (side(&mut self.positive)?, side(&mut self.negative)?);
        if !rest.is_empty() {
            return None;
        }
        Some(LentHistogram {
            scale,
            zero_threshold,
            zero_count,
            sum,
            min,
            max,
            positive: LentBuckets {
                offset: offsets.0,
                counts: &self.positive,
            },
            negative: LentBuckets {
                offset: offsets.1,
                counts: &self.negative,
            },
        })
    }
}

fn put_buckets(bytes: &mut Vec<u8>, buckets: &Buckets) {
    put(bytes, zigzag(buckets.offset));
    put(bytes, buckets.counts.len() as u64);
    let mut counts = buckets.counts.as_slice();
    while let [count, rest @ ..] = counts {
        put(bytes, *count);
        counts = rest;
        if *count == 0 {
            let more = rest.iter().take_while(|count| **count == 0).count();
            put(bytes, more as u64);
            counts = &rest[more..];
        }
    }
}

/// Replaces `counts`, and gives their offset.
fn take_buckets(bytes: &mut &[u8], counts: &mut Vec<i64>) -> Option<i32> {
    let offset = unzigzag(take(bytes)?)?;
    let length = usize::try_from(take(bytes)?).ok()?;
    if length > HISTOGRAM_BUCKETS_ACCEPTED_MAX {
        return None;
    }
    counts.clear();
    while counts.len() < length {
        let count = take(bytes)?.cast_signed();
        let more = if count == 0 {
            usize::try_from(take(bytes)?).ok()?
        } else {
            0
        };
        if more >= length - counts.len() {
            return None;
        }
        counts.extend(std::iter::repeat_n(count, more + 1));
    }
    Some(offset)
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(first & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        value |= part << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_float(bytes: &mut &[u8]) -> Option<f64> {
    let (float, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(f64::from_le_bytes(*float))
}

fn zigzag(value: i32) -> u64 {
    u64::from(((value << 1) ^ (value >> 31)) as u32)
}

fn unzigzag(value: u64) -> Option<i32> {
    let value = u32::try_from(value).ok()?;
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::examples::histogram;

    proptest! {
        #[test]
        fn packing_loses_nothing(values in prop::collection::vec(-1e9f64..1e9, 0..200)) {
            let histogram = histogram(&values);
            let read = unpack(&pack(&histogram)).unwrap();
            prop_assert!(read.agrees_with(&histogram));
            prop_assert_eq!((read.min, read.max), (histogram.min, histogram.max));
        }

        #[test]
        fn what_was_merged_comes_back_however_much_it_counts(
            counts in prop::collection::vec(0u64..1 << 56, 1..30),
            offset in -20_000i32..20_000,
        ) {
            let count = counts.iter().sum();
            let positive = Buckets { offset, counts };
            let parts = Parts { scale: 4, count, positive, ..Parts::default() };
            let merged = ExponentialHistogram::from_merged(parts).unwrap();
            let read = unpack(&pack(&merged)).unwrap();
            prop_assert_eq!(read, merged);
        }

        #[test]
        fn bytes_that_were_made_up_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = unpack(&bytes);
        }

        #[test]
        fn no_truncation_is_taken_for_a_histogram(values in prop::collection::vec(0.1f64..9.0, 1..20)) {
            let bytes = pack(&histogram(&values));
            for end in 0..bytes.len() {
                prop_assert_eq!(unpack(&bytes[..end]), None);
            }
        }
    }

    #[test]
    fn integers_of_every_size_come_back() {
        for value in [0, 127, 128, u64::MAX] {
            let mut bytes = vec![];
            put(&mut bytes, value);
            assert_eq!(take(&mut bytes.as_slice()), Some(value));
        }
        assert_eq!(take(&mut [0xff; 11].as_slice()), None);
        for value in [0, -1, 1, i32::MIN, i32::MAX] {
            assert_eq!(unzigzag(zigzag(value)), Some(value));
        }
    }
}
