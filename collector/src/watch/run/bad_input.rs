//! What a fleet may send that no reference was made for, case by case through the whole judge, from
//! lanes to stored verdicts. Each is undecided and says why, or is judged by what can be told.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fathomline_queries::drift::{Lane, Level, SeriesKey, Summary};
use fathomline_wire::histogram::ExponentialHistogram;

use super::{
    tests::{Bench, QUIET, UNTIL, tick_until_done},
    *,
};
use crate::{
    clock::MovedClock,
    watch::{
        lanes::{Asked, LanesError, SeriesLanes},
        script::{self, LANE_US, lane},
    },
};

const RECORDS: u64 = 240;

/// A series: what it did before and after its reference was made, what became of the reference,
/// and what its last verdict says; for an undecided one, why.
struct Case {
    before: fn(i64) -> Lane,
    after: fn(i64) -> Lane,
    spoilt_by: Option<&'static str>,
    says: (&'static str, &'static str),
}

const RETIRED: &str = "DELETE FROM references_in_force WHERE series = ?1";
const OF_ANOTHER_CONTRACT: &str = "UPDATE kept_references SET contract = 7 WHERE series = ?1";
const UNREADABLE: &str = "UPDATE kept_references SET body = x'00' WHERE series = ?1";

const STEADY: (&str, &str) = ("steady", "");
const DRIFTING: (&str, &str) = ("drifting", "");

fn undecided(why: &'static str) -> (&'static str, &'static str) {
    ("undecided", why)
}

fn cases() -> BTreeMap<&'static str, Case> {
    let usual: fn(i64) -> Lane = |n| lane(1, n, 1.3);
    let one_bin: fn(i64) -> Lane = |n| constant(n, 2.0);
    let split: fn(i64) -> Lane = |n| category(n, "stop");
    let judged = |before, after, says| Case {
        before,
        after,
        spoilt_by: None,
        says,
    };
    let spoilt = |by, why| Case {
        spoilt_by: Some(by),
        ..judged(usual, usual, undecided(why))
    };
    BTreeMap::from([
        ("nothing unusual", judged(usual, usual, STEADY)),
        (
            "zero counts",
            judged(usual, empty, undecided("holds no records")),
        ),
        (
            "too few",
            judged(usual, few, undecided("hold 3 of 30 records")),
        ),
        (
            "a count that lies",
            judged(usual, lies, undecided("says 241 records and holds 240")),
        ),
        (
            "disjoint supports",
            judged(usual, |n| lane(1, n, 1e6), DRIFTING),
        ),
        ("another scale", judged(usual, |n| coarse(n, 1), STEADY)),
        ("a coarse scale", judged(usual, |n| coarse(n, -1), STEADY)),
        (
            "a useless scale",
            judged(
                usual,
                |n| coarse(n, -10),
                undecided("(scale -10) are wider"),
            ),
        ),
        (
            "categories for values",
            judged(usual, split, undecided("the lane categories")),
        ),
        (
            "values for categories",
            judged(split, usual, undecided("the lane values")),
        ),
        ("one bin", judged(one_bin, one_bin, STEADY)),
        (
            "one bin, elsewhere",
            judged(one_bin, |n| constant(n, 3.0), DRIFTING),
        ),
        ("one category", judged(split, split, STEADY)),
        (
            "a category never seen",
            judged(split, |n| category(n, "error"), DRIFTING),
        ),
        ("no reference", spoilt(RETIRED, "no reference: freeze one")),
        (
            "another contract",
            spoilt(OF_ANOTHER_CONTRACT, "contract version 7"),
        ),
        (
            "unreadable",
            spoilt(UNREADABLE, "cannot be read; freeze a new one"),
        ),
    ])
}

fn constant(number: i64, value: f64) -> Lane {
    let mut histogram = ExponentialHistogram::new(4);
    (0..RECORDS).for_each(|_| assert!(histogram.record(value)));
    Lane {
        summary: Summary::Histogram(histogram),
        ..lane(1, number, 1.0)
    }
}

fn category(number: i64, name: &str) -> Lane {
    Lane {
        summary: Summary::Categories([(name.to_owned(), RECORDS)].into()),
        ..lane(1, number, 1.0)
    }
}

fn coarse(number: i64, scale: i32) -> Lane {
    let mut lane = lane(1, number, 1.3);
    if let Summary::Histogram(histogram) = &mut lane.summary {
        histogram.downscale(histogram.scale.abs_diff(scale));
    }
    lane
}

fn empty(number: i64) -> Lane {
    Lane {
        summary: Summary::Histogram(ExponentialHistogram::new(4)),
        count: 0,
        ..lane(1, number, 1.0)
    }
}

/// One record a lane, as usual as any.
fn few(number: i64) -> Lane {
    let value = [0.02, 0.2, 0.6, 1.2][number.rem_euclid(4) as usize];
    let mut histogram = ExponentialHistogram::new(4);
    assert!(histogram.record(value));
    Lane {
        summary: Summary::Histogram(histogram),
        count: 1,
        ..lane(1, number, 1.0)
    }
}

fn lies(number: i64) -> Lane {
    Lane {
        count: RECORDS + 1,
        ..lane(1, number, 1.3)
    }
}

/// Every case as a device class of its own.
struct Cases;

fn key(name: &str) -> SeriesKey {
    script::key(name)
}

#[async_trait]
impl LaneSource for Cases {
    async fn lanes(&self, asked: Asked<'_>) -> Result<SeriesLanes, LanesError> {
        let first = asked.span.from_us.div_euclid(LANE_US) + 1;
        let last = asked.span.to_us.div_euclid(LANE_US).min(UNTIL);
        let of = |case: &Case| {
            let lane = |number| match number <= QUIET {
                true => (case.before)(number),
                false => (case.after)(number),
            };
            (first.max(1)..=last).map(lane).collect()
        };
        let cases = cases();
        Ok(cases.iter().map(|(name, c)| (key(name), of(c))).collect())
    }
}

#[tokio::test]
async fn bad_input_is_undecided_with_its_reason_or_judged_by_what_can_be_told() {
    let mut bench = Bench::open();
    bench.parts.lanes = Arc::new(Cases);
    // A first look, so that judging of those without a reference begins with the quiet lanes.
    bench.parts.clock = Arc::new(MovedClock::at((QUIET + 2) * LANE_US));
    tick_until_done(&mut bench.watcher()).await;
    bench.freeze_series(Level::Variant, cases().len()).await;
    for (name, case) in cases() {
        let Some(sql) = case.spoilt_by else { continue };
        let series = key(name).id();
        let spoil = move |t: &Transaction<'_>| Ok(t.execute(sql, [series])?);
        assert_eq!(bench.parts.database.transact(spoil).await.unwrap(), 1);
    }
    bench.parts.clock = Arc::new(MovedClock::at((UNTIL + 2) * LANE_US));
    tick_until_done(&mut bench.watcher()).await;
    let verdicts = bench.verdicts().await;
    for (name, case) in cases() {
        let mut of = verdicts.iter().filter(|row| row.device_class == name);
        let last = of
            .next_back()
            .unwrap_or_else(|| panic!("{name}: no verdict"));
        let (state, why) = case.says;
        assert_eq!(last.state, state, "{name}: {last:?}");
        assert!(last.evidence.contains(why), "{name}: {}", last.evidence);
        let evidence: serde_json::Value = serde_json::from_str(&last.evidence).unwrap();
        assert_eq!(
            evidence["shortfall"].is_string(),
            state == "undecided",
            "{name}"
        );
        if state != "undecided" {
            let psi = &evidence["distances"]["psi"];
            assert!(psi.is_f64() || name.starts_with("one bin"), "{name}: {psi}");
            assert!(last.score.unwrap().is_finite(), "{name}");
        }
    }
}
