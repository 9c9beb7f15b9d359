//! Parts as they are read before a page, and for references.

use fathomline_wire::names::{OUTPUT_FINISH, OUTPUT_SURPRISAL};

use super::*;
use crate::{
    engine::EngineLimits,
    examples::{LANE_US, counter, distribution, engine_over},
    published::{Lanes, Publication},
};

fn wanted<'a>(metrics: &'a [&'a str]) -> Wanted<'a> {
    Wanted {
        from_us: 0,
        to_us: 10 * LANE_US,
        metrics,
        models: &["assistant"],
    }
}

#[tokio::test]
async fn windows_of_a_device_at_a_site_are_one_part_and_counters_are_categories() {
    let at = |site: &str, device: &str, time, value| {
        let mut row = distribution(device, time, &[value]);
        row.columns.site = Some(site.to_owned());
        row
    };
    let rows = [
        at("oslo", "a", 1, 1.0),
        at("oslo", "a", LANE_US, 2.0),
        at("bern", "b", 2, 3.0),
        distribution("c", 3, &[4.0]),
        at("oslo", "late", 11 * LANE_US, 9.0),
    ];
    let counters = [
        counter("a", LANE_US, OUTPUT_FINISH, "stop"),
        counter("a", LANE_US, OUTPUT_FINISH, "length"),
    ];
    let engine = engine_over(&rows, &counters);
    let metrics = [OUTPUT_SURPRISAL, OUTPUT_FINISH];
    let found = together(&engine, wanted(&metrics)).await.unwrap();
    let of = |metric: &str| {
        let parts = found.iter().find(|(key, _)| key.metric == metric);
        parts.unwrap().1.clone()
    };
    let places: Vec<_> = of(OUTPUT_SURPRISAL)
        .iter()
        .map(|part| (part.device.clone(), part.site.clone(), records(part)))
        .collect();
    let place = |device: &str, site: &str, count| (device.to_owned(), site.to_owned(), count);
    assert_eq!(
        places,
        [
            place("a", "oslo", 2),
            place("b", "bern", 1),
            place("c", "", 1)
        ]
    );
    let finish = of(OUTPUT_FINISH);
    assert_eq!((finish.len(), records(&finish[0])), (1, 2));
    let none = together(
        &engine,
        Wanted {
            models: &["another"],
            ..wanted(&metrics)
        },
    );
    assert!(none.await.unwrap().is_empty());
    assert!(hours(&engine, wanted(&metrics)).await.unwrap().is_empty());
}

fn records(part: &Part) -> u64 {
    match &part.summary {
        Summary::Histogram(histogram) => histogram.count,
        Summary::Categories(counts) => counts.values().sum(),
    }
}

#[tokio::test]
async fn doors_are_told_of_no_device() {
    let lake = std::sync::Arc::clone(engine_over(&[], &[]).lake());
    let publication = Publication::of_groups(5, Lanes::every());
    let door = Engine::new(lake, EngineLimits::default(), publication).unwrap();
    let refused = together(&door, wanted(&[OUTPUT_SURPRISAL])).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("as they are stored")
    );
}
