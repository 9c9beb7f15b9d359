//! One world, judged by everything at once. In: a world. Out: how often each method paged, or how
//! late.

use fathomline_queries::drift::{
    Detector, Distances, Lane, Policy, Reference, SeriesKey, Shortfall,
};

use crate::{
    rules::{Held, Pages, RULES},
    world::{BEGINNING_US, DAY, HOUR, Kind, MINUTE_US, REFERENCE, Random, Shift, World, together},
};

const MONITORED: i64 = 30 * DAY;
/// A change is looked for during a week.
const DELAY_MAX: i64 = 7 * DAY;

/// The detector as it is shipped, and at one width of lanes; with a budget for one series, and for
/// a thousand.
const POLICIES: [(&str, u32, u32); 4] = [
    ("**QX, 1 min and 1 h (as shipped)**", 60, 1),
    ("QX, 1 min alone", 1, 1),
    ("QX as shipped, one of 1,000 series", 60, 1000),
    ("QX, 1 min alone, one of 1,000 series", 1, 1000),
];

pub(crate) fn policy(long_lanes: u32, series_budget: u32) -> Policy {
    Policy {
        long_lanes,
        series_budget,
        ..Policy::default()
    }
}

pub(crate) fn key() -> SeriesKey {
    SeriesKey {
        service: "calibration".into(),
        model: "m".into(),
        version: "1".into(),
        variant: "v".into(),
        device_class: "kiosk".into(),
        metric: "fathomline.output.surprisal".into(),
    }
}

/// Everything that judges, and what it did.
struct Bench {
    reference: Reference,
    detectors: Vec<(Detector, Pages)>,
    held: Held,
    by_minute: [Pages; RULES.len()],
    by_hour: [Pages; RULES.len()],
    hour: Vec<Lane>,
    /// Alarms before are false ones.
    after_us: i64,
}

impl Bench {
    fn new(lanes: &[Lane], after_us: i64) -> Result<Self, Shortfall> {
        let reference = freeze(lanes)?;
        let detector = |(_, long_lanes, budget): &(&str, u32, u32)| {
            let detector = Detector::new(&reference, &policy(*long_lanes, *budget));
            (detector, Pages::default())
        };
        Ok(Self {
            detectors: POLICIES.iter().map(detector).collect(),
            held: Held::of(&reference, lanes),
            reference,
            by_minute: Default::default(),
            by_hour: Default::default(),
            hour: Vec::new(),
            after_us,
        })
    }

    /// With the rules at every minute, too.
    fn judge_all(&mut self, lane: Lane) {
        let distances = Distances::of(&self.reference, &lane, lane.count as f64);
        apply(
            &self.held,
            &mut self.by_minute,
            &lane,
            distances,
            self.after_us,
        );
        self.judge(lane);
    }

    fn judge(&mut self, lane: Lane) {
        for (detector, pages) in &mut self.detectors {
            let verdict = detector.fold(&self.reference, &lane);
            if verdict.page {
                pages.alarm(verdict.end_us, self.after_us);
            }
        }
        let ends = lane.end_us % (HOUR * MINUTE_US) == 0;
        self.hour.push(lane);
        if let Some(hour) = together(&self.hour).filter(|_| ends) {
            let distances = Distances::of(&self.reference, &hour, hour.count as f64);
            apply(
                &self.held,
                &mut self.by_hour,
                &hour,
                distances,
                self.after_us,
            );
            self.hour.clear();
        }
    }

    fn pages(&self) -> Vec<Pages> {
        let detectors = self.detectors.iter().map(|(_, pages)| *pages);
        detectors
            .chain(self.by_hour)
            .chain(self.by_minute)
            .collect()
    }
}

fn apply(
    held: &Held,
    pages: &mut [Pages],
    window: &Lane,
    distances: Option<Distances>,
    after_us: i64,
) {
    let Some(distances) = distances else { return };
    for (rule, pages) in RULES.into_iter().zip(pages) {
        if held.pages(rule, window, &distances) {
            pages.alarm(window.end_us, after_us);
        }
    }
}

pub(crate) fn freeze(lanes: &[Lane]) -> Result<Reference, Shortfall> {
    Reference::freeze(key(), lanes, &Policy::default())
}

fn names() -> Vec<String> {
    let detectors = POLICIES.iter().map(|(name, _, _)| (*name).to_owned());
    let rules = |window: &'static str| {
        let name = move |rule: &crate::rules::Beside| format!("{}, {window}", rule.name());
        RULES.iter().map(name)
    };
    detectors
        .chain(rules("1 h"))
        .chain(rules("1 min"))
        .collect()
}

/// Pages of each method, and the share of runs in which it paged.
pub(crate) struct NullPages(Vec<u64>, u64);

/// Thirty days in which nothing is wrong.
///
/// # Errors
/// When the world has too little for a reference.
pub(crate) fn null(kind: Kind, per_minute: f64, runs: u64) -> Result<NullPages, Shortfall> {
    let mut sums = vec![0; names().len()];
    for run in 0..runs {
        let mut world = World::new(kind, per_minute, 20 + run * 1000);
        let mut bench = Bench::new(&world.lanes(REFERENCE), i64::MAX)?;
        for _ in 0..MONITORED {
            bench.judge_all(world.lane());
        }
        for (sum, pages) in sums.iter_mut().zip(bench.pages()) {
            *sum += pages.count;
        }
    }
    Ok(NullPages(sums, runs))
}

impl NullPages {
    pub(crate) fn header() -> String {
        let names = names();
        format!(
            "| world | {} |\n|---|{}",
            names.join(" | "),
            "---|".repeat(names.len())
        )
    }

    pub(crate) fn row(&self, world: &str) -> String {
        let mean = |sum: &u64| format!(" {:.1} |", *sum as f64 / self.1 as f64);
        let cells: String = self.0.iter().map(mean).collect();
        format!("| {world} |{cells}")
    }
}

/// For each method and shift, the delays in minutes; none where a week was not enough.
pub(crate) struct Delays(Vec<Vec<Vec<Option<i64>>>>);

/// What each method needs to see each shift, a day or two after the reference. Rules at every
/// minute page daily without a shift, and how soon they page with one says nothing; they are left
/// out.
///
/// # Errors
/// When the world has too little for a reference.
pub(crate) fn delays(per_minute: f64, shifts: &[Shift], runs: u64) -> Result<Delays, Shortfall> {
    let mut found = vec![vec![Vec::new(); shifts.len()]; names().len()];
    for run in 0..runs {
        let mut world = World::new(Kind::Real, per_minute, 77 + run * 1000);
        let lanes = world.lanes(REFERENCE);
        let mut moments = Random::new(run);
        let since = REFERENCE + DAY + (moments.uniform() * 24.0) as i64 * HOUR;
        let since_us = BEGINNING_US + since * MINUTE_US;
        for (number, shift) in shifts.iter().enumerate() {
            let mut bench = Bench::new(&lanes, since_us)?;
            let mut shifted = world.again(run * 100 + number as u64);
            shifted.shift = Some((since, *shift));
            for _ in REFERENCE..since + DELAY_MAX {
                bench.judge(shifted.lane());
            }
            for (method, pages) in bench.pages().into_iter().enumerate() {
                let delay = pages.first_us.map(|us| (us - since_us) / MINUTE_US);
                found[method][number].push(delay);
            }
        }
    }
    Ok(Delays(found))
}

impl Delays {
    pub(crate) fn header(shifts: &[&str]) -> String {
        format!(
            "| method | {} |\n|---|{}",
            shifts.join(" | "),
            "---|".repeat(shifts.len())
        )
    }

    pub(crate) fn rows(&self) -> Vec<String> {
        let named = names()
            .into_iter()
            .zip(&self.0)
            .take(POLICIES.len() + RULES.len());
        let row = |(name, of): (String, &Vec<Vec<Option<i64>>>)| {
            let cells: String = of
                .iter()
                .map(|delays| format!(" {} |", cell(delays)))
                .collect();
            format!("| {name} |{cells}")
        };
        named.map(row).collect()
    }
}

/// Median in hours, and the share that was seen at all if not all were.
fn cell(delays: &[Option<i64>]) -> String {
    let mut minutes: Vec<i64> = delays.iter().map(|d| d.unwrap_or(i64::MAX)).collect();
    minutes.sort_unstable();
    let (low, high) = (minutes[(minutes.len() - 1) / 2], minutes[minutes.len() / 2]);
    let seen = delays.iter().flatten().count() as f64 / delays.len().max(1) as f64;
    let share = if seen < 1.0 {
        format!(" ({seen:.1})")
    } else {
        String::new()
    };
    if high == i64::MAX {
        return format!("none{share}");
    }
    format!("{:.2}{share}", (low + high) as f64 / 120.0)
}
