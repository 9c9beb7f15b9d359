//! Who used which joules. In: inferences that begin and end, samples of joules, and what idling
//! draws. Out: joules of each finished inference above idle; the rest is idle or unattributed, and
//! all parts add up to what was read. Overlapping inferences share a sample by the seconds they ran
//! in it. Pure: times are seconds on any one clock.

/// Running inferences told apart; the joules of further ones are unattributed.
const RUNNING_MAX: usize = 1_024;

/// After an inference the device is taken to be warm for so long, in seconds.
const SETTLING: f64 = 10.0;

/// Names a running inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    Known(u64),
    /// One of those that are only counted.
    Beyond,
}

/// Joules by use since the last time they were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) inference: f64,
    pub(crate) idle: f64,
    pub(crate) unattributed: f64,
    /// Whether anything was read.
    pub(crate) measured: bool,
    /// Whether it could be told apart: before it is known what idling draws, it cannot.
    pub(crate) told_apart: bool,
}

impl Totals {
    pub(super) fn add(&mut self, other: Self) {
        self.inference += other.inference;
        self.idle += other.idle;
        self.unattributed += other.unattributed;
        self.measured |= other.measured;
        self.told_apart |= other.told_apart;
    }
}

/// What one sample brought to light.
#[derive(Debug, PartialEq)]
pub(super) struct Sampled<K> {
    /// Joules of the inferences that ended, of which everything is known.
    pub(super) finished: Vec<(K, f64)>,
    /// Seconds and watts of the sample, if nothing ran in it and nothing had for a while.
    pub(super) quiet: Option<(f64, f64)>,
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
pub(super) struct Attribution<K> {
    running: Vec<Running<K>>,
    next: u64,
    /// How many run that are not among `running`, and the most of them since the last sample.
    beyond: u32,
    beyond_most: u32,
    sampled: Option<f64>,
    busy_until: f64,
    totals: Totals,
}

impl<K> Default for Attribution<K> {
    fn default() -> Self {
        Self {
            running: Vec::new(),
            next: 0,
            beyond: 0,
            beyond_most: 0,
            sampled: None,
            busy_until: f64::NEG_INFINITY,
            totals: Totals::default(),
        }
    }
}

impl<K: Copy> Attribution<K> {
    pub(super) fn begin(&mut self, key: K, at: f64) -> Ticket {
        if self.running.len() >= RUNNING_MAX {
            self.beyond = self.beyond.saturating_add(1);
            self.beyond_most = self.beyond_most.max(self.beyond);
            return Ticket::Beyond;
        }
        let ticket = Ticket::Known(self.next);
        self.next += 1;
        self.running.push(Running {
            ticket,
            key,
            began: at,
            ended: None,
            joules: 0.0,
            complete: self.sampled.is_some(),
        });
        ticket
    }

    pub(super) fn end(&mut self, ticket: Ticket, at: f64) {
        if ticket == Ticket::Beyond {
            self.beyond = self.beyond.saturating_sub(1);
            return;
        }
        let found = self
            .running
            .iter_mut()
            .find(|running| running.ticket == ticket);
        if let Some(running) = found {
            running.ended = Some(at);
        }
    }

    /// Joules since the last sample, `None` if they could not be read, and the watts of idling if
    /// they are known.
    pub(super) fn sample(
        &mut self,
        joules: Option<f64>,
        at: f64,
        idle_watts: Option<f64>,
    ) -> Sampled<K> {
        let from = self.sampled.replace(at).filter(|from| *from < at);
        let quiet = match (from, joules) {
            (Some(from), Some(joules)) => {
                let quiet = self.running.is_empty() && from >= self.busy_until;
                self.share(from, at, joules.max(0.0), idle_watts);
                quiet.then(|| (at - from, joules.max(0.0) / (at - from)))
            }
            _ => {
                self.running.iter_mut().for_each(|r| r.complete = false);
                None
            }
        };
        if !self.running.is_empty() {
            self.busy_until = at + SETTLING;
        }
        self.beyond_most = self.beyond;
        let finished = self.finished(at);
        Sampled { finished, quiet }
    }

    pub(super) fn take_totals(&mut self) -> Totals {
        std::mem::take(&mut self.totals)
    }

    /// Totals that were taken and did not arrive.
    pub(super) fn put_back(&mut self, totals: Totals) {
        self.totals.add(totals);
    }

    fn finished(&mut self, at: f64) -> Vec<(K, f64)> {
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

    fn share(&mut self, from: f64, to: f64, joules: f64, idle_watts: Option<f64>) {
        self.totals.measured = true;
        let Some(idle_watts) = idle_watts else {
            self.totals.unattributed += joules;
            self.running.iter_mut().for_each(|r| r.complete = false);
            return;
        };
        self.totals.told_apart = true;
        let idle = joules.min(idle_watts * (to - from));
        self.totals.idle += idle;
        self.split(from, to, joules - idle);
    }

    /// Joules above idle go to who ran in the sample.
    fn split(&mut self, from: f64, to: f64, joules: f64) {
        let overlap = |running: &Running<K>| {
            let end = running.ended.unwrap_or(to).min(to);
            (end - running.began.max(from)).max(0.0)
        };
        let known: f64 = self.running.iter().map(overlap).sum();
        let whole = known + f64::from(self.beyond_most) * (to - from);
        if known <= 0.0 {
            self.totals.unattributed += joules;
            return;
        }
        for running in &mut self.running {
            running.joules += joules * overlap(running) / whole;
        }
        self.totals.inference += joules * known / whole;
        self.totals.unattributed += joules * (whole - known) / whole;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{self, numbers};

    /// Runs the samples of one length through the split, with idle power given.
    fn run(
        seconds: f64,
        watts: &[f64],
        idle: f64,
        spans: &[(f64, f64)],
    ) -> (Vec<f64>, Attribution<usize>) {
        let mut attribution = Attribution::default();
        for (key, (began, ended)) in spans.iter().enumerate() {
            let ticket = attribution.begin(key, *began);
            attribution.end(ticket, *ended);
        }
        for (index, watts) in watts.iter().enumerate() {
            let from = index as f64 * seconds;
            attribution.share(from, from + seconds, watts * seconds, Some(idle));
        }
        let joules = attribution.running.iter().map(|r| r.joules).collect();
        (joules, attribution)
    }

    #[test]
    fn overlapping_inferences_share_as_the_vectors_say() {
        let mut equal_weights = 0;
        for case in vectors::read("energy.json")["attribution"]
            .as_array()
            .unwrap()
        {
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

    proptest! {
        /// The same through every door: gaps, unknown idle, inferences that begin and end between
        /// samples or are never ended.
        #[test]
        fn nothing_read_is_lost_or_counted_twice(
            steps in prop::collection::vec(
                (prop::option::weighted(0.9, 0.0..5.0f64), prop::option::weighted(0.8, 0.0..20.0f64)),
                1..40,
            ),
            spans in prop::collection::vec((0.0..4.0f64, 0.0..2.0f64), 0..10),
        ) {
            let mut attribution = Attribution::default();
            attribution.sample(None, 0.0, None);
            let mut tickets = vec![None; spans.len()];
            let mut finished = 0.0;
            let mut whole = 0.0;
            for (index, (joules, idle_watts)) in steps.iter().enumerate() {
                let to = (index + 1) as f64 * 0.1;
                for (ticket, (began, long)) in tickets.iter_mut().zip(&spans) {
                    if *began < to && ticket.is_none() {
                        *ticket = Some(attribution.begin((), *began));
                    }
                    if let (Some(ticket), true) = (*ticket, began + long < to) {
                        attribution.end(ticket, began + long);
                    }
                }
                whole += joules.unwrap_or(0.0);
                let sampled = attribution.sample(*joules, to, *idle_watts);
                finished += sampled.finished.iter().map(|(_, joules)| joules).sum::<f64>();
            }
            let Totals { inference, idle, unattributed, .. } = attribution.take_totals();
            prop_assert!((inference + idle + unattributed - whole).abs() < 1e-9 * whole.max(1.0));
            prop_assert!(finished <= inference + 1e-9);
        }
    }

    #[test]
    fn an_inference_is_known_once_its_last_sample_is() {
        let mut attribution = Attribution::default();
        attribution.sample(None, 0.0, None);
        assert_eq!(
            attribution.sample(Some(2.0), 1.0, None).quiet,
            Some((1.0, 2.0))
        );
        let ticket = attribution.begin("chat", 1.5);
        let sampled = attribution.sample(Some(7.0), 2.0, Some(2.0));
        assert_eq!((sampled.finished, sampled.quiet), (vec![], None));
        attribution.end(ticket, 2.25);
        let sampled = attribution.sample(Some(3.0), 3.0, Some(2.0));
        assert_eq!(sampled.finished, [("chat", 6.0)]);
        let totals = attribution.take_totals();
        assert_eq!(
            (totals.inference, totals.idle, totals.unattributed),
            (6.0, 4.0, 2.0)
        );
        assert!(totals.measured && totals.told_apart);
        assert_eq!(attribution.take_totals(), Totals::default());
        attribution.put_back(totals);
        assert_eq!(attribution.take_totals(), totals);
    }

    #[test]
    fn a_device_is_quiet_ten_seconds_after_its_last_inference() {
        let mut attribution = Attribution::default();
        attribution.sample(None, 0.0, None);
        let ticket = attribution.begin((), 0.2);
        attribution.end(ticket, 0.4);
        let quiet: Vec<_> = (1..=13)
            .filter(|second| {
                let sampled = attribution.sample(Some(1.0), f64::from(*second), None);
                sampled.quiet.is_some()
            })
            .collect();
        assert_eq!(quiet, [12, 13]);
    }

    #[test]
    fn a_gap_in_the_readings_makes_energy_absent_and_not_small() {
        let mut attribution = Attribution::default();
        attribution.sample(Some(2.0), 99.0, Some(2.0));
        attribution.sample(Some(2.0), 100.0, Some(2.0));
        let ticket = attribution.begin("chat", 100.0);
        attribution.sample(None, 101.0, Some(2.0));
        attribution.end(ticket, 101.5);
        let sampled = attribution.sample(Some(9.0), 102.0, Some(2.0));
        assert_eq!(sampled.finished, vec![]);
    }

    #[test]
    fn nothing_is_told_apart_before_it_is_known_what_idling_draws() {
        let mut attribution = Attribution::default();
        attribution.sample(None, 0.0, None);
        let ticket = attribution.begin("chat", 0.0);
        attribution.end(ticket, 0.5);
        assert_eq!(attribution.sample(Some(5.0), 1.0, None).finished, vec![]);
        let totals = attribution.take_totals();
        assert_eq!(totals.unattributed, 5.0);
        assert!(totals.measured && !totals.told_apart);
    }

    #[test]
    fn memory_is_bounded_and_what_is_beyond_it_takes_nobodys_place() {
        let mut attribution = Attribution::default();
        attribution.sample(None, 0.0, Some(0.0));
        let tickets: Vec<_> = (0..2 * RUNNING_MAX)
            .map(|n| attribution.begin(n, 0.0))
            .collect();
        assert_eq!(attribution.running.len(), RUNNING_MAX);
        attribution.sample(Some(8.0), 1.0, Some(0.0));
        for ticket in tickets {
            attribution.end(ticket, 2.0);
        }
        let sampled = attribution.sample(Some(8.0), 2.0, Some(0.0));
        assert_eq!(sampled.finished.len(), RUNNING_MAX);
        let totals = attribution.take_totals();
        assert!((totals.inference - 8.0).abs() < 1e-9, "{totals:?}");
        assert!((totals.unattributed - 8.0).abs() < 1e-9, "{totals:?}");
        assert_eq!((attribution.running.len(), attribution.beyond), (0, 0));
    }
}
