//! Turns of alerts, and who is told what.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::alert::state::{self, Rule};

const COOLDOWN_US: i64 = 100;
const GROUP_US: i64 = 50;

fn cohort(model: &str, subject: &str) -> Cohort {
    Cohort {
        subject: subject.to_owned(),
        model: model.to_owned(),
        metric: format!("metric of {subject}"),
        ..Cohort::default()
    }
}

fn turned(subject: &str, time_us: i64, turn: Turn) -> Turned {
    Turned {
        cohort: cohort("tiny", subject),
        turn,
        event: format!("{subject}@{time_us}"),
        time_us,
        cooldown_us: COOLDOWN_US,
    }
}

fn fires(subject: &str, time_us: i64) -> Turned {
    turned(subject, time_us, Turn::Fires)
}

fn resolves(subject: &str, time_us: i64) -> Turned {
    turned(subject, time_us, Turn::Resolves)
}

fn board() -> Board {
    Board::new([], GROUP_US)
}

fn never(_: &Cohort) -> bool {
    false
}

fn tell(
    board: &mut Board,
    turned: Vec<Turned>,
    until_us: i64,
    muted: impl Fn(&Cohort) -> bool,
) -> Vec<Telling> {
    let every = turned.len();
    let advanced = board.advance(turned, until_us, muted);
    assert_eq!(advanced.places.len(), every, "every turn is of an incident");
    advanced.telling
}

/// Events that everybody is told, in order.
fn everybody(telling: &[Telling]) -> Vec<&str> {
    let of = telling.iter();
    let of = of.filter(|telling| telling.audience == Audience::Everybody);
    of.map(|telling| telling.event.as_str()).collect()
}

fn mirrored(telling: &[Telling]) -> Vec<&str> {
    telling
        .iter()
        .map(|telling| telling.event.as_str())
        .collect()
}

#[test]
fn a_drift_that_comes_and_goes_is_told_twice() {
    let mut board = board();
    let told = tell(
        &mut board,
        vec![fires("a", 10), resolves("a", 20)],
        30,
        never,
    );
    assert_eq!(everybody(&told), ["a@10", "a@20"]);
    let incident = board.incidents().next().unwrap();
    assert_eq!((incident.pages, incident.resolved_us), (1, Some(20)));
    assert_eq!(incident.rule, "metric of a");
}

#[test]
fn who_joins_is_told_to_those_who_mirror_and_one_end_to_everybody() {
    let mut board = board();
    let turns = vec![
        fires("b", 10),
        fires("a", 12),
        resolves("b", 20),
        resolves("a", 25),
    ];
    let told = tell(&mut board, turns, 30, never);
    assert_eq!(everybody(&told), ["b@10", "a@25"]);
    assert_eq!(mirrored(&told), ["b@10", "a@12", "b@20", "a@25", "a@25"]);
    assert_eq!(board.incidents().count(), 1);
}

#[test]
fn another_model_and_what_comes_much_later_are_incidents_of_their_own() {
    let mut board = board();
    let other = Turned {
        cohort: cohort("large", "c"),
        ..fires("c", 11)
    };
    let later = 10 + GROUP_US + 1;
    let told = tell(
        &mut board,
        vec![fires("a", 10), other, fires("b", later)],
        100,
        never,
    );
    assert_eq!(everybody(&told), ["a@10", "c@11", &format!("b@{later}")]);
    assert_eq!(board.incidents().count(), 3);
}

#[test]
fn flapping_is_one_page() {
    let mut board = board();
    let flaps = (0..50).flat_map(|n| [fires("a", 20 * n), resolves("a", 20 * n + 10)]);
    let told = tell(&mut board, flaps.collect(), 2_000, never);
    assert_eq!(everybody(&told), ["a@0", "a@10"]);
    let incident = board.incidents().next().unwrap();
    assert_eq!((board.incidents().count(), incident.pages), (1, 1));
}

#[test]
fn what_came_back_and_stands_beyond_its_cooldown_is_told_and_so_is_its_end() {
    let mut board = board();
    let turns = vec![fires("a", 0), resolves("a", 10), fires("a", 20)];
    let told = tell(&mut board, turns, 109, never);
    assert_eq!(everybody(&told), ["a@0", "a@10"]);
    let told = tell(&mut board, vec![], 110, never);
    assert_eq!(everybody(&told), ["a@20"]);
    let told = tell(&mut board, vec![resolves("a", 130)], 130, never);
    assert_eq!(everybody(&told), ["a@130"]);
    assert_eq!(board.incidents().next().unwrap().pages, 2);
}

#[test]
fn a_muted_alert_is_told_once_nothing_mutes_it_if_it_still_fires() {
    let mut board = board();
    let muted = |cohort: &Cohort| cohort.subject == "a";
    let told = tell(&mut board, vec![fires("a", 10), fires("b", 12)], 20, muted);
    assert_eq!(everybody(&told), ["b@12"], "another member is heard");
    let told = tell(&mut board, vec![], 30, never);
    assert_eq!(mirrored(&told), ["a@10"]);
    assert_eq!(
        everybody(&told),
        Vec::<&str>::new(),
        "and one page it stays"
    );

    let mut alone = super::tests::board();
    assert_eq!(tell(&mut alone, vec![fires("a", 10)], 20, muted), []);
    assert_eq!(tell(&mut alone, vec![resolves("a", 25)], 30, muted), []);
    assert_eq!(
        tell(&mut alone, vec![], 500, never),
        [],
        "it was over unheard"
    );
}

#[test]
fn the_end_of_what_was_told_is_told_though_it_is_muted() {
    let mut board = board();
    tell(&mut board, vec![fires("a", 10)], 10, never);
    let told = tell(&mut board, vec![resolves("a", 20)], 20, |_| true);
    assert_eq!(everybody(&told), ["a@20"]);
}

/// A day of verdicts of some series as turns.
fn turns_of(series: &[Vec<bool>], rule: Rule) -> Vec<Turned> {
    let mut turns = vec![];
    for (number, verdicts) in series.iter().enumerate() {
        let mut alert = None;
        for (now_us, drifts) in (0..).zip(verdicts) {
            let (next, turn) = state::step(alert, Some(*drifts), rule, now_us);
            alert = next;
            turns.extend(turn.map(|turn| turned(&format!("s{number}"), now_us, turn)));
        }
    }
    turns
}

fn days() -> impl Strategy<Value = Vec<Vec<bool>>> {
    prop::collection::vec(prop::collection::vec(any::<bool>(), 400), 1..4)
}

proptest! {
    #[test]
    fn nobody_is_paged_twice_for_a_series_within_a_cooldown_of_its_end(series in days()) {
        let mut board = board();
        let turns = turns_of(&series, Rule::default());
        let mut ends: BTreeMap<String, i64> = BTreeMap::new();
        let told = tell(&mut board, turns.clone(), 400, never);
        let paged: BTreeSet<&str> = everybody(&told).into_iter().collect();
        for turn in &turns {
            let subject = &turn.cohort.subject;
            match turn.turn {
                // Told at once, that is; what stood beyond the cooldown is told with its event too.
                Turn::Fires if paged.contains(turn.event.as_str()) => {
                    let quiet_until = ends.get(subject).map(|end| end + COOLDOWN_US);
                    let stands = turns.iter().find(|later| {
                        later.cohort.subject == *subject && later.time_us > turn.time_us
                    });
                    let stands_until = stands.map_or(401, |later| later.time_us);
                    prop_assert!(quiet_until.is_none_or(|quiet| quiet <= stands_until));
                }
                Turn::Fires => {}
                Turn::Resolves => { ends.insert(subject.clone(), turn.time_us); }
            }
        }
    }

    #[test]
    fn pages_and_ends_alternate_in_every_incident(series in days()) {
        let mut board = board();
        tell(&mut board, turns_of(&series, Rule::default()), 400, never);
        for incident in board.incidents() {
            let fires = incident.members.values().any(Member::fires);
            prop_assert_eq!(fires, incident.resolved_us.is_none());
            prop_assert!(!incident.told || fires, "an end is never owed");
            prop_assert!(incident.pages >= 1, "nothing mutes a first page");
        }
    }

    #[test]
    fn however_time_is_cut_the_same_is_told(series in days(), cut in 1_usize..60) {
        let turns = turns_of(&series, Rule::default());
        let mut whole = board();
        let at_once = tell(&mut whole, turns.clone(), 400, never);
        let mut pieces = board();
        let mut told = vec![];
        for from in (0..=400).step_by(cut) {
            let to = (from + i64::try_from(cut).unwrap() - 1).min(400);
            let within = |turn: &&Turned| (from..=to).contains(&turn.time_us);
            let of: Vec<Turned> = turns.iter().filter(within).cloned().collect();
            told.extend(tell(&mut pieces, of, to, never));
        }
        prop_assert_eq!(&whole, &pieces);
        let sorted = |told: Vec<Telling>| {
            let mut told: Vec<_> = told
                .into_iter()
                .map(|one| (one.event, one.audience == Audience::Everybody))
                .collect();
            told.sort();
            told
        };
        prop_assert_eq!(sorted(at_once), sorted(told));
    }

    #[test]
    fn other_models_change_nothing(series in days(), others in days()) {
        let turns = turns_of(&series, Rule::default());
        let others = turns_of(&others, Rule::default()).into_iter().map(|turn| Turned {
            cohort: cohort("other", &format!("other-{}", turn.cohort.subject)),
            event: format!("other-{}", turn.event),
            ..turn
        });
        let alone = tell(&mut board(), turns.clone(), 400, never);
        let beside = tell(&mut board(), turns.into_iter().chain(others).collect(), 400, never);
        let own: Vec<Telling> = beside
            .into_iter()
            .filter(|telling| !telling.event.starts_with("other-"))
            .collect();
        let sorted = |mut told: Vec<Telling>| {
            told.sort_by(|a, b| a.event.cmp(&b.event));
            told
        };
        prop_assert_eq!(sorted(alone), sorted(own));
    }
}
