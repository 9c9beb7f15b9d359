//! A signal that comes and goes: one page, whatever the detector says meanwhile.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{tests::*, *};
use crate::{
    alert::{
        rules::Rules,
        state::{Rule, State},
    },
    clock::MovedClock,
    database::deliveries,
    watch::script::{LANE_US, key, lane},
};

/// Lanes of the kiosks; every second stretch of lanes after the quiet ones is shifted.
const STRETCH: i64 = 40;
const UNTIL: i64 = QUIET + 10 * STRETCH;

struct FlappingLanes;

#[async_trait]
impl LaneSource for FlappingLanes {
    async fn lanes(
        &self,
        asked: crate::watch::lanes::Asked<'_>,
    ) -> Result<SeriesLanes, LanesError> {
        let first = asked.span.from_us.div_euclid(LANE_US) + 1;
        let last = asked.span.to_us.div_euclid(LANE_US).min(UNTIL);
        let of = (first.max(1)..=last).map(|number| {
            let shifted = number > QUIET && (number - QUIET - 1) / STRETCH % 2 == 1;
            lane(1, number, if shifted { 2.0 } else { 1.0 })
        });
        Ok(SeriesLanes::from([(key("kiosk"), of.collect())]))
    }
}

fn flapping(rules: Rules) -> Bench {
    let mut bench = Bench::open();
    bench.parts.lanes = Arc::new(FlappingLanes);
    bench.parts.clock = Arc::new(MovedClock::at((UNTIL + 2) * LANE_US));
    // The detector pauses after a page of its own; here the alert has to do alone.
    bench.parts.settings.policy.mute_us = 0;
    bench.parts.settings.rules = Arc::new(rules.clone());
    bench.parts.pager.rules = Arc::new(rules);
    bench
}

/// What was told of drifts and of ends, in order, and how often the alert turned.
async fn told(bench: &Bench) -> (Vec<String>, usize) {
    bench
        .freeze_series(fathomline_queries::drift::Level::Variant, 1)
        .await;
    tick_until_done(&mut bench.watcher()).await;
    let work = |t: &Transaction<'_>| Ok((deliveries::list(t, 100)?, events::after(t, 0, 100)?));
    let (letters, events) = bench.parts.database.transact(work).await.unwrap();
    let states: BTreeMap<String, String> = events
        .iter()
        .map(|(_, event)| {
            let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
            assert!(body["data"]["incident_id"].is_string(), "{body}");
            let state = body["data"]["state"].as_str().unwrap();
            (event.id.clone(), state.to_owned())
        })
        .collect();
    let letters = letters.iter().rev();
    let told = letters.map(|letter| states[&letter.event_id].clone());
    (told.collect(), events.len())
}

#[tokio::test]
async fn flapping_is_one_page() {
    let bench = flapping(Rules::default());
    let (told, turns) = told(&bench).await;
    assert!(turns >= 6, "the fixture flaps: {turns}");
    assert_eq!(told, ["drifting", "steady"]);
    let work = |t: &Transaction<'_>| Ok((alerts::live(t, 0)?, alerts::all(t)?));
    let (incidents, alerts) = bench.parts.database.transact(work).await.unwrap();
    assert_eq!(
        (incidents.len(), incidents[0].pages),
        (1, 1),
        "{incidents:?}"
    );
    let open = incidents[0].resolved_us.is_none();
    let alert = alerts[&key("kiosk").id()];
    assert_eq!(open, alert.state == State::Firing, "{alert:?}");
}

#[tokio::test]
async fn without_a_cooldown_the_same_signal_pages_again_and_again() {
    let rule = Rule {
        steady: 1,
        cooldown: Duration::ZERO,
        ..Rule::default()
    };
    let rules = Rules {
        usual: rule,
        ..Rules::default()
    };
    let (told, turns) = told(&flapping(rules)).await;
    let pages = told.iter().filter(|state| *state == "drifting").count();
    assert!(pages >= 3, "{told:?}");
    assert_eq!(told.len(), turns, "everything is told");
}

/// The ticks of a killed collector are cut in other places.
#[tokio::test]
async fn a_restart_after_every_tick_tells_the_same() {
    let straight = flapping(Rules::default());
    let expected = told(&straight).await;
    let mut bench = flapping(Rules::default());
    bench
        .freeze_series(fathomline_queries::drift::Level::Variant, 1)
        .await;
    // Seven divides neither stretches nor what a tick takes at most.
    for number in (QUIET..UNTIL).step_by(7).chain([UNTIL + 2]) {
        bench.parts.clock = Arc::new(MovedClock::at(number * LANE_US));
        bench.parts.database = Database::open(bench.folder.path()).unwrap();
        tick_until_done(&mut bench.watcher()).await;
    }
    let rows = |t: &Transaction<'_>| {
        let letters = deliveries::list(t, 100)?.into_iter();
        let letters: Vec<String> = letters.map(|letter| letter.event_id).collect();
        Ok((
            letters,
            events::after(t, 0, 100)?.len(),
            alerts::live(t, 0)?,
        ))
    };
    let one = straight.parts.database.transact(rows).await.unwrap();
    let other = bench.parts.database.transact(rows).await.unwrap();
    assert_eq!(one, other, "letters, events and incidents are the same");
    assert_eq!(one.1, expected.1);
}
