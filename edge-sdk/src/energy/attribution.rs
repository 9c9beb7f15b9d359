//! Who used which joules. In: inferences that begin and end, and samples of joules. Out: joules of
//! each finished inference above idle; the rest is idle or unattributed, and all parts add up to
//! what was read. Overlapping inferences share a sample by the seconds they ran in it. Pure: times
//! are seconds on any one clock.

use super::idle::Idle;

/// Running inferences told apart; the joules of further ones are unattributed.
const RUNNING_MAX: usize = 1_024;

/// After an inference the device is taken to be warm for so long, in seconds.
const SETTLING: f64 = 10.0;

/// Names a running inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// Joules by use since the last time they were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) inference: f64,
    pub(crate) idle: f64,
    pub(crate) unattributed: f64,
    /// Whether anything was read.
    pub(crate) measured: bool,
}

#[derive(Debug)]
struct Running<K> {
    ticket: Ticket,
    key: K,
    began: f64,
    ended: Option<f64>,
    joules: f64,
    /// Every sample since its beginning was read, and what idle costs was known.
    complete: bool,
}

/// Attribution of one source.
#[derive(Debug)]
pub(crate) struct Attribution<K> {
    running: Vec<Running<K>>,
    next: u64,
    sampled: Option<f64>,
    busy_until: f64,
    idle: Idle,
    totals: Totals,
}

impl<K> Default for Attribution<K> {
    fn default() -> Self {
        Self {
            running: Vec::new(),
            next: 0,
            sampled: None,
            busy_until: f64::NEG_INFINITY,
            idle: Idle::default(),
            totals: Totals::default(),
        }
    }
}

impl<K: Copy> Attribution<K> {
    pub(crate) fn begin(&mut self, key: K, at: f64) -> Option<Ticket> {
        if self.running.len() >= RUNNING_MAX {
            return None;
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.running.push(Running {
            ticket,
            key,
            began: at,
            ended: None,
            joules: 0.0,
            complete: self.sampled.is_some(),
        });
        Some(ticket)
    }

    pub(crate) fn end(&mut self, ticket: Ticket, at: f64) {
        let found = self
            .running
            .iter_mut()
            .find(|running| running.ticket == ticket);
        if let Some(running) = found {
            running.ended = Some(at);
        }
    }

    /// Joules since the last sample, `None` if they could not be read. Returns what the inferences
    /// used that ended by `at`, of which everything is known.
    pub(crate) fn sample(&mut self, joules: Option<f64>, at: f64) -> Vec<(K, f64)> {
        let from = self.sampled.replace(at);
        match (from.filter(|from| *from < at), joules) {
            (Some(from), Some(joules)) => self.share(from, at, joules.max(0.0)),
            _ => self.running.iter_mut().for_each(|r| r.complete = false),
        }
        if !self.running.is_empty() {
            self.busy_until = at + SETTLING;
        }
        let mut finished = Vec::new();
        self.running.retain(|running| {
            let over = running.ended.is_some_and(|ended| ended <= at);
            if over && running.complete {
                finished.push((running.key, running.joules));
            }
            !over
        });
        finished
    }

    pub(crate) fn take_totals(&mut self) -> Totals {
        std::mem::take(&mut self.totals)
    }

    fn share(&mut self, from: f64, to: f64, joules: f64) {
        self.totals.measured = true;
        let seconds = to - from;
        if self.running.is_empty() && from >= self.busy_until {
            self.idle.saw(joules / seconds, to);
        }
        let Some(idle_watts) = self.idle.watts() else {
            self.totals.unattributed += joules;
            self.running.iter_mut().for_each(|r| r.complete = false);
            return;
        };
        self.split(from, to, joules, idle_watts);
    }

    /// `idle_watts` of the sample are idle; the rest goes to who ran in it.
    fn split(&mut self, from: f64, to: f64, joules: f64, idle_watts: f64) {
        let idle = joules.min(idle_watts * (to - from));
        let above = joules - idle;
        self.totals.idle += idle;
        let overlap = |running: &Running<K>| {
            let end = running.ended.unwrap_or(to).min(to);
            (end - running.began.max(from)).max(0.0)
        };
        let whole: f64 = self.running.iter().map(overlap).sum();
        if whole <= 0.0 {
            self.totals.unattributed += above;
            return;
        }
        for running in &mut self.running {
            running.joules += above * overlap(running) / whole;
        }
        self.totals.inference += above;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs the samples of one length through the split, with idle power given.
    fn run(
        seconds: f64,
        watts: &[f64],
        idle: f64,
        spans: &[(f64, f64)],
    ) -> (Vec<f64>, Attribution<usize>) {
        let mut attribution = Attribution::default();
        for (key, (began, ended)) in spans.iter().enumerate() {
            let ticket = attribution.begin(key, *began).unwrap();
            attribution.end(ticket, *ended);
        }
        for (index, watts) in watts.iter().enumerate() {
            let from = index as f64 * seconds;
            attribution.split(from, from + seconds, watts * seconds, idle);
        }
        let joules = attribution.running.iter().map(|r| r.joules).collect();
        (joules, attribution)
    }

    #[test]
    fn overlapping_inferences_share_as_the_vectors_say() {
        let folder = std::env::var("FATHOMLINE_VECTORS")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors").to_owned());
        let text = std::fs::read_to_string(format!("{folder}/energy.json")).unwrap();
        let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<f64> {
            value
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_f64().unwrap())
                .collect()
        };
        let mut equal_weights = 0;
        for case in vectors["attribution"].as_array().unwrap() {
            // The SDK gives every inference the same weight; a weight of 2 is two at once.
            let mut spans = vec![];
            let mut owners = vec![];
            for (index, inference) in case["inferences"].as_array().unwrap().iter().enumerate() {
                let span = (
                    inference["start"].as_f64().unwrap(),
                    inference["end"].as_f64().unwrap(),
                );
                let weight = inference["weight"].as_f64().unwrap();
                assert_eq!(weight.fract(), 0.0);
                for _ in 0..weight as usize {
                    spans.push(span);
                    owners.push(index);
                }
                equal_weights += usize::from(weight == 1.0);
            }
            let idle = case["idle_w"].as_f64().unwrap();
            let seconds = case["sample_seconds"].as_f64().unwrap();
            let (joules, attribution) = run(seconds, &numbers(&case["power_w"]), idle, &spans);
            let near = |found: f64, wanted: f64| {
                let close = (found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0);
                assert!(close, "{found} is not {wanted}");
            };
            for (index, wanted) in numbers(&case["joules"]).into_iter().enumerate() {
                let own = owners
                    .iter()
                    .zip(&joules)
                    .filter(|(owner, _)| **owner == index);
                near(own.map(|(_, joules)| joules).sum(), wanted);
            }
            let totals = attribution.totals;
            near(
                totals.unattributed,
                case["unattributed_j"].as_f64().unwrap(),
            );
            near(totals.idle, case["idle_j"].as_f64().unwrap());
        }
        assert!(equal_weights > 0);
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(
            watts in prop::collection::vec(0.0..50.0f64, 1..30),
            idle in 0.0..20.0f64,
            spans in prop::collection::vec((0.0..4.0f64, 0.0..2.0f64), 0..10),
        ) {
            let spans: Vec<_> = spans.iter().map(|(from, long)| (*from, from + long)).collect();
            let (joules, attribution) = run(0.1, &watts, idle, &spans);
            let Totals { inference, idle, unattributed, .. } = attribution.totals;
            let whole: f64 = watts.iter().map(|watts| watts * 0.1).sum();
            prop_assert!((inference + idle + unattributed - whole).abs() < 1e-9 * whole.max(1.0));
            prop_assert!((joules.iter().sum::<f64>() - inference).abs() < 1e-9 * whole.max(1.0));
        }
    }

    #[test]
    fn an_inference_is_known_once_its_last_sample_is() {
        let mut attribution = Attribution::default();
        attribution.sample(None, 0.0);
        (1..=100).for_each(|n| {
            attribution.sample(Some(2.0), f64::from(n));
        });
        let ticket = attribution.begin("chat", 100.5).unwrap();
        assert_eq!(attribution.sample(Some(7.0), 101.0), vec![]);
        attribution.end(ticket, 101.25);
        // Buckets are 2 % wide, so idle is known to that.
        let [(key, joules)] = attribution.sample(Some(3.0), 102.0)[..] else {
            panic!("one inference ended");
        };
        assert_eq!(key, "chat");
        assert!((joules - 6.0).abs() < 0.15, "{joules}");
        let totals = attribution.take_totals();
        let whole = totals.inference + totals.idle + totals.unattributed;
        assert!(
            totals.measured && (whole - 210.0).abs() < 1e-9,
            "{totals:?}"
        );
        assert!(!attribution.take_totals().measured);
    }

    #[test]
    fn a_gap_in_the_readings_makes_energy_absent_and_not_small() {
        let mut attribution = Attribution::default();
        (0..=100).for_each(|n| {
            attribution.sample(Some(2.0), f64::from(n));
        });
        let ticket = attribution.begin("chat", 100.0).unwrap();
        attribution.sample(None, 101.0);
        attribution.end(ticket, 101.5);
        assert_eq!(attribution.sample(Some(9.0), 102.0), vec![]);
        // Nor does anything get joules before it is known what idling costs.
        let mut fresh = Attribution::default();
        fresh.sample(None, 0.0);
        let ticket = fresh.begin("chat", 0.0).unwrap();
        fresh.end(ticket, 0.5);
        assert_eq!(fresh.sample(Some(5.0), 1.0), vec![]);
        assert_eq!(fresh.take_totals().unattributed, 5.0);
    }

    #[test]
    fn memory_is_bounded_whatever_runs() {
        let mut attribution = Attribution::default();
        let begun = (0..5_000).filter(|n| attribution.begin(*n, 0.0).is_some());
        assert_eq!(begun.count(), RUNNING_MAX);
    }
}
