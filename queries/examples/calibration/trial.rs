//! One world, judged by everything at once. In: a world. Out: how often each method paged, or how
//! late.

use fathomline_queries::{
    drift::{Detector, Lane, Level, Making, Policy, Reference, Shortfall},
    stats::Season,
};

use crate::{
    rules::{Held, Pages, RULES},
    world::{BEGINNING_US, DAY, HOUR, Kind, MINUTE_US, REFERENCE, Shift, World, key, together},
};

const MONITORED: i64 = 30 * DAY;
/// A change is looked for during a week.
const DELAY_MAX: i64 = 7 * DAY;

/// A detector: its name, width of its lanes in minutes, how many of them it also takes together,
/// how many series share its budget, and the season of its reference.
type Method = (&'static str, i64, u32, u32, Season);

/// The detector as it is shipped, and at one width; with a budget for one series, and for a
/// thousand; and against a reference that knows no hours.
const METHODS: [Method; 7] = [
    (
        "**QX, 1 min and 1 h (as shipped)**",
        1,
        60,
        1,
        Season::HourOfWeek,
    ),
    ("QX, 1 min alone", 1, 1, 1, Season::HourOfWeek),
    ("QX, 1 h alone", HOUR, 1, 1, Season::HourOfWeek),
    (
        "QX as shipped, one of 1,000 series",
        1,
        60,
        1000,
        Season::HourOfWeek,
    ),
    (
        "QX, 1 min alone, one of 1,000 series",
        1,
        1,
        1000,
        Season::HourOfWeek,
    ),
    (
        "QX, 1 h alone, one of 1,000 series",
        HOUR,
        1,
        1000,
        Season::HourOfWeek,
    ),
    ("QX as shipped, no season", 1, 60, 1, Season::None),
];

pub(crate) fn policy(lane_minutes: i64, long_lanes: u32, series_budget: u32) -> Policy {
    Policy {
        lane_us: lane_minutes * MINUTE_US,
        long_lanes,
        series_budget,
        ..Policy::default()
    }
}

/// A reference of lanes that are so many minutes wide.
///
/// # Errors
/// When the lanes hold too little.
pub(crate) fn freeze(
    lanes: &[Lane],
    lane_minutes: i64,
    season: Season,
) -> Result<Reference, Shortfall> {
    let (key, level) = (key(), Level::Variant);
    Making { key, level, season }.freeze(lanes, &policy(lane_minutes, 1, 1))
}

/// What judges, before it has seen anything.
#[derive(Clone)]
struct Bench {
    methods: Vec<(Reference, Detector, Pages)>,
    by_minute: Beside,
    by_hour: Beside,
    hour: Vec<Lane>,
    /// Alarms before are false ones.
    after_us: i64,
}

/// The rules, at one width of lanes.
#[derive(Clone)]
struct Beside {
    reference: Reference,
    held: Held,
    pages: [Pages; RULES.len()],
}

impl Bench {
    fn new(minutes: &[Lane]) -> Result<Self, Shortfall> {
        let hours = hours(minutes);
        let of = |width: i64| if width == HOUR { &hours[..] } else { minutes };
        let method = |(_, width, long_lanes, budget, season): Method| {
            let reference = freeze(of(width), width, season)?;
            let detector = Detector::new(&reference, &policy(width, long_lanes, budget));
            Ok((reference, detector, Pages::default()))
        };
        let beside = |width: i64| {
            let reference = freeze(of(width), width, Season::None)?;
            Ok(Beside {
                held: Held::of(&reference, of(width)),
                reference,
                pages: Default::default(),
            })
        };
        Ok(Self {
            methods: METHODS.into_iter().map(method).collect::<Result<_, _>>()?,
            by_minute: beside(1)?,
            by_hour: beside(HOUR)?,
            hour: Vec::new(),
            after_us: i64::MAX,
        })
    }

    /// Judges the next minute; rules at every minute only if `all`.
    fn judge(&mut self, lane: Lane, all: bool) {
        let after_us = self.after_us;
        self.methods_judge(1, &lane);
        if all {
            self.by_minute.judge(&lane, after_us);
        }
        let ends = lane.end_us % (HOUR * MINUTE_US) == 0;
        self.hour.push(lane);
        if let Some(hour) = together(&self.hour).filter(|_| ends) {
            self.methods_judge(HOUR, &hour);
            self.by_hour.judge(&hour, after_us);
            self.hour.clear();
        }
    }

    fn methods_judge(&mut self, width: i64, lane: &Lane) {
        let methods = self.methods.iter_mut().zip(METHODS);
        for ((reference, detector, pages), (_, of, ..)) in methods {
            if of == width && detector.fold(reference, lane).page {
                pages.alarm(lane.end_us, self.after_us);
            }
        }
    }

    fn pages(&self) -> Vec<Pages> {
        let methods = self.methods.iter().map(|(_, _, pages)| *pages);
        methods
            .chain(self.by_hour.pages)
            .chain(self.by_minute.pages)
            .collect()
    }
}

impl Beside {
    fn judge(&mut self, window: &Lane, after_us: i64) {
        let alarms = self.held.alarms(&self.reference, window);
        for (pages, alarm) in self.pages.iter_mut().zip(alarms) {
            if alarm {
                pages.alarm(window.end_us, after_us);
            }
        }
    }
}

fn hours(minutes: &[Lane]) -> Vec<Lane> {
    let hours = minutes.chunks(HOUR as usize);
    hours.filter_map(together).collect()
}

fn names() -> Vec<String> {
    let methods = METHODS.iter().map(|(name, ..)| (*name).to_owned());
    let rules = |window: &'static str| {
        let name = move |rule: &crate::rules::Beside| format!("{}, {window}", rule.name());
        RULES.iter().map(name)
    };
    methods.chain(rules("1 h")).chain(rules("1 min")).collect()
}

/// Pages of each method in each world, the mean of all runs.
pub(crate) struct NullPages {
    worlds: Vec<&'static str>,
    /// World by world, method by method.
    pages: Vec<Vec<f64>>,
}

/// Thirty days in which nothing is wrong.
fn null(kind: Kind, per_minute: f64, runs: u64) -> Result<Vec<f64>, Shortfall> {
    let mut sums = vec![0.0; names().len()];
    for run in 0..runs {
        let mut world = World::new(kind, per_minute, 20 + run * 1000);
        let mut bench = Bench::new(&world.lanes(REFERENCE))?;
        for _ in 0..MONITORED {
            bench.judge(world.lane(), true);
        }
        for (sum, pages) in sums.iter_mut().zip(bench.pages()) {
            *sum += pages.count as f64 / runs as f64;
        }
    }
    Ok(sums)
}

impl NullPages {
    /// # Errors
    /// When a world has too little for a reference.
    pub(crate) fn of(worlds: &[(&'static str, Kind, f64)], runs: u64) -> Result<Self, Shortfall> {
        let pages = worlds.iter().map(|(_, kind, per)| null(*kind, *per, runs));
        Ok(Self {
            worlds: worlds.iter().map(|(name, ..)| *name).collect(),
            pages: pages.collect::<Result<_, _>>()?,
        })
    }

    /// One row a method, one column a world.
    pub(crate) fn rows(&self) -> Vec<String> {
        let header = header(&self.worlds);
        let row = |(method, name): (usize, String)| {
            let cell = |world: &Vec<f64>| format!(" {:.1} |", world[method]);
            let cells: String = self.pages.iter().map(cell).collect();
            format!("| {name} |{cells}")
        };
        std::iter::once(header)
            .chain(names().into_iter().enumerate().map(row))
            .collect()
    }
}

fn header(columns: &[&str]) -> String {
    let lines = "---|".repeat(columns.len());
    format!("| method | {} |\n|---|{lines}", columns.join(" | "))
}

/// For each method and shift, the delays in minutes; none where a week was not enough.
pub(crate) struct Delays(Vec<Vec<Vec<Option<i64>>>>);

/// What each method needs to see each shift, from an hour of the second day after the reference
/// on. Rules at every minute page daily without a shift, and how soon they page with one says
/// nothing; they are left out.
///
/// # Errors
/// When the world has too little for a reference.
pub(crate) fn delays(
    (per_minute, hours): (f64, [i64; 10]),
    shifts: &[Shift],
    runs: u64,
) -> Result<Delays, Shortfall> {
    let mut found = vec![vec![Vec::new(); shifts.len()]; names().len()];
    for run in 0..runs {
        let mut world = World::new(Kind::Real, per_minute, 77 + run * 1000);
        let fresh = Bench::new(&world.lanes(REFERENCE))?;
        let since = REFERENCE + DAY + hours[run as usize % hours.len()] * HOUR;
        let since_us = BEGINNING_US + since * MINUTE_US;
        for (number, shift) in shifts.iter().enumerate() {
            let mut bench = fresh.clone();
            bench.after_us = since_us;
            let mut shifted = world.again(run * 100 + number as u64);
            shifted.shift = Some((since, *shift));
            for _ in REFERENCE..since + DELAY_MAX {
                bench.judge(shifted.lane(), false);
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
    /// One row a method, one column a shift.
    pub(crate) fn rows(&self, shifts: &[&str]) -> Vec<String> {
        let named = names()
            .into_iter()
            .zip(&self.0)
            .take(METHODS.len() + RULES.len());
        let row = |(name, of): (String, &Vec<Vec<Option<i64>>>)| {
            let cells: String = of
                .iter()
                .map(|delays| format!(" {} |", cell(delays)))
                .collect();
            format!("| {name} |{cells}")
        };
        std::iter::once(header(shifts))
            .chain(named.map(row))
            .collect()
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
