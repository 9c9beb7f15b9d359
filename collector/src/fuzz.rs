//! Entrances for bytes from outside, for those who feed them rubbish. In: bytes. Out: nothing, or
//! a panic that names the promise they broke. `fuzz/` has a target for each; the tests here drive
//! the same entrances with seeded mutations. Never part of a normal build.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;

use crate::{intake, receiver::fuzz as receiver, store::fuzz as store};

/// A body of OTLP metrics in protobuf: decoded, checked, counted, written to the log, read again.
pub fn otlp_metrics(bytes: &[u8]) {
    let Ok(request) = ExportMetricsServiceRequest::decode(bytes) else {
        return;
    };
    if intake::check_points(&request).is_err() {
        return;
    }
    let (windows, rejected) = intake::from_request(&request);
    store::count(windows, rejected);
}

/// A body of OTLP metrics in JSON: what it becomes in protobuf keeps every promise of that.
pub fn otlp_json(bytes: &[u8]) {
    if let Some(protobuf) = receiver::metrics(bytes) {
        otlp_metrics(&protobuf);
    }
}

/// A segment of the log: whatever it holds, reading ends and gives only whole frames.
pub fn log_segment(bytes: &[u8]) {
    store::read_segment(bytes);
}

/// One frame of the log.
pub fn log_frame(bytes: &[u8]) {
    store::read_frame(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs of each entrance in a normal run; `FATHOMLINE_FUZZ_INPUTS` asks for another number.
    const INPUTS: u64 = 2_000;

    /// SplitMix64: the same inputs for the same seed, everywhere.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.roll() % bound.max(1) as u64) as usize
        }
    }

    /// Bytes that decoders stumble over: ends of varints, extreme floats, absurd lengths.
    const ODD: [&[u8]; 8] = [
        &[0xff; 10],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0x00],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0, 0, 0, 0, 0, 0, 0xf0, 0x7f],
        &[0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
        &[0xff, 0xff, 0xff, 0x7f],
        &[0x0a, 0x0a, 0x0a, 0x0a],
    ];

    fn mutated(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[dice.below(seeds.len())].clone();
        for _ in 0..=dice.below(6) {
            let at = dice.below(bytes.len());
            match dice.below(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
                1 => bytes.truncate(at),
                2 => {
                    let end = (at + dice.below(16)).min(bytes.len());
                    bytes.drain(at..end);
                }
                3 => {
                    let odd = ODD[dice.below(ODD.len())];
                    bytes.splice(at..at, odd.iter().copied());
                }
                4 => {
                    let odd = ODD[dice.below(ODD.len())];
                    let end = (at + odd.len()).min(bytes.len());
                    bytes.splice(at..end, odd.iter().copied());
                }
                _ => {
                    let other = &seeds[dice.below(seeds.len())];
                    let from = dice.below(other.len());
                    bytes.splice(at..at, other[from..].iter().take(64).copied());
                }
            }
        }
        bytes
    }

    fn drive(name: &str, seeds: &[Vec<u8>], entrance: fn(&[u8])) {
        let asked = std::env::var("FATHOMLINE_FUZZ_INPUTS").ok();
        let inputs = asked.map_or(INPUTS, |number| number.parse().unwrap());
        seeds.iter().for_each(|seed| entrance(seed));
        for seed in 0..inputs {
            let bytes = mutated(&mut Dice(seed), seeds);
            let run = std::panic::catch_unwind(|| entrance(&bytes));
            assert!(run.is_ok(), "{name}: seed {seed} panics: {bytes:?}");
        }
        eprintln!("{name}: {inputs} inputs");
    }

    #[test]
    fn no_body_of_metrics_breaks_a_promise() {
        let seeds: Vec<_> = intake::tests::requests()
            .iter()
            .map(Message::encode_to_vec)
            .collect();
        drive("otlp_metrics", &seeds, otlp_metrics);
    }

    #[test]
    fn no_json_of_metrics_breaks_a_promise() {
        let requests = intake::tests::requests();
        let seeds: Vec<_> = requests.iter().map(receiver::spelt).collect();
        drive("otlp_json", &seeds, otlp_json);
    }

    #[test]
    fn no_segment_of_the_log_breaks_a_promise() {
        let frames = frames();
        let seeds = [
            store::segment(&frames),
            store::segment(&frames[..1]),
            store::segment(&[vec![], vec![1, 2, 3], vec![0; 300]]),
        ];
        drive("log_segment", &seeds, log_segment);
    }

    #[test]
    fn no_frame_of_the_log_breaks_a_promise() {
        drive("log_frame", &frames(), log_frame);
    }

    fn frames() -> Vec<Vec<u8>> {
        let requests = intake::tests::requests();
        let windows = requests.iter().map(|r| intake::from_request(r).0);
        windows.map(store::frame_of).collect()
    }
}
