//! What accounts promise.

use super::*;
use crate::{
    cost::{
        book::{CloudPrice, Entry, Tariff},
        forecast,
    },
    rows::DeviceSketch,
};

const DAY: i32 = 20_000;

fn entry() -> Entry {
    Entry {
        from_day: DAY - 10,
        source: "a bill".into(),
    }
}

fn book() -> PriceBook {
    PriceBook {
        currency: "EUR".into(),
        tariffs: vec![Tariff {
            entry: entry(),
            sites: vec![],
            price_kwh: 0.3,
            grid_g_per_kwh: Some(400.0),
        }],
        devices: vec![DevicePrice {
            entry: entry(),
            class: "pi".into(),
            price: 100.0,
            life_days: 1000.0,
            share: 0.5,
            idle_watts: None,
            idle_error: None,
            network: Some((1e9, 0.1)),
        }],
        cloud: vec![CloudPrice {
            entry: entry(),
            name: "cloud-small".into(),
            models: vec!["assistant".into()],
            input_per_million: 0.5,
            output_per_million: 2.0,
            energy: None,
        }],
        budgets: vec![],
        energy_errors: [("measured.rail".to_owned(), 0.1)].into(),
    }
}

fn devices(names: &[&str]) -> DeviceSketch {
    let mut sketch = DeviceSketch::default();
    for name in names {
        sketch.merge(&DeviceSketch::of(name));
    }
    sketch
}

fn day(model: &str, tokens: f64, source: &str) -> UsageDay {
    UsageDay {
        key: ClassKey {
            day: DAY,
            service: "kiosk".into(),
            site: Some("mill".into()),
            class: "pi".into(),
        },
        model: model.into(),
        version: "1".into(),
        variant: "v".into(),
        quantization: None,
        inferences: 100,
        input_tokens: Some(tokens / 4.0),
        output_tokens: Some(tokens * 3.0 / 4.0),
        energy: [(source.to_owned(), (3.6e6, 100))].into(),
        devices: devices(&["a"]),
    }
}

fn usage(days: Vec<UsageDay>) -> Usage {
    let class = ClassDay {
        part: 1.0,
        devices: devices(&["a", "b"]),
        metered: devices(&["a", "b"]),
        idle_joules: Some(7.2e6),
    };
    let classes = days.iter().map(|day| (day.key.clone(), class.clone()));
    Usage {
        classes: classes.collect(),
        days,
        length_days: 1.0,
    }
}

fn near(found: Option<Figure>, expected: f64) {
    let found = found.unwrap().value;
    assert!(
        (found - expected).abs() < 1e-9,
        "{found}, expected {expected}"
    );
}

#[test]
fn a_day_is_what_its_parts_cost() {
    let usage = usage(vec![day("assistant", 4e6, "measured.rail")]);
    let line = Account::of(&usage, &book(), By::Variant).total;
    // 1 kWh of inferences, half of the 2 kWh of idling, two devices for a day, two gigabytes.
    near(line.energy_cost.whole(), 0.3);
    near(line.idle_cost.whole(), 0.3);
    near(line.wear.whole(), 0.1);
    near(line.network.whole(), 0.2);
    near(line.edge.whole(), 0.9);
    near(line.cloud.whole(), 0.5 + 6.0);
    near(line.saving(), 5.6);
    near(line.co2.whole(), 800.0);
    near(line.joules_per_token(), 3.6e6 / 3e6);
    let error = line.energy_cost.whole().unwrap().error.unwrap();
    assert!((error - 0.03).abs() < 1e-12);
    assert_eq!(line.energy_cost.whole().unwrap().origin, Origin::Measured);
    assert_eq!(line.edge.whole().unwrap().origin, Origin::Modelled);
    let even = line.break_even_tokens_a_day().unwrap().unwrap();
    assert!((even - 0.6 / (6.5 / 4e6 - 0.3 / 4e6)).abs() < 1e-6);
    assert_eq!(line.lacks, [].into());
}

#[test]
fn models_share_what_their_class_pays_anyway_and_lines_add_up_to_the_whole() {
    let days = vec![
        day("assistant", 3e6, "measured.rail"),
        day("summary", 1e6, "measured.rail"),
    ];
    let account = Account::of(&usage(days), &book(), By::Variant);
    near(account.lines[0].idle_cost.whole(), 0.225);
    near(account.lines[1].idle_cost.whole(), 0.075);
    let sum: f64 = account
        .lines
        .iter()
        .map(|line| line.edge.whole().unwrap().value)
        .sum();
    near(account.total.edge.whole(), sum);
    // Nobody said which cloud model would do the other one's job.
    assert!(account.lines[1].cloud.whole().is_none());
    assert!(account.lines[1].lacks.contains(&Lack::Cloud));
    assert!(account.total.saving().is_none() && account.total.cloud.known().is_some());
}

#[test]
fn what_nobody_priced_is_unknown_and_not_zero() {
    let usage = usage(vec![day("assistant", 4e6, "measured.rail")]);
    let line = Account::of(&usage, &PriceBook::default(), By::Class).total;
    for total in [
        line.energy_cost,
        line.idle,
        line.wear,
        line.edge,
        line.cloud,
        line.co2,
    ] {
        assert_eq!((total.whole(), total.known()), (None, None));
    }
    near(line.energy.whole(), 3.6e6);
    let lacks = [
        Lack::Idle,
        Lack::Tariff,
        Lack::Device,
        Lack::Network,
        Lack::Cloud,
        Lack::Grid,
    ];
    assert_eq!(line.lacks, lacks.into());
    assert_eq!(line.break_even_tokens_a_day(), None);
}

#[test]
fn what_is_estimated_or_stands_for_others_is_a_model() {
    let estimated = usage(vec![day("assistant", 4e6, "estimated")]);
    let line = Account::of(&estimated, &book(), By::Site).total;
    let energy = line.energy.whole().unwrap();
    assert_eq!((energy.origin, energy.error), (Origin::Modelled, None));
    let mut half = day("assistant", 4e6, "measured.rail");
    half.energy = [("measured.rail".to_owned(), (1.8e6, 50))].into();
    let line = Account::of(&usage(vec![half]), &book(), By::Site).total;
    let energy = line.energy.whole().unwrap();
    assert_eq!((energy.value, energy.origin), (3.6e6, Origin::Modelled));
    let mut none = day("assistant", 4e6, "measured.rail");
    none.energy.clear();
    let line = Account::of(&usage(vec![none]), &book(), By::Site).total;
    assert!(line.energy.whole().is_none() && line.lacks.contains(&Lack::Energy));
    // The rest is known, so that it costs at least so much.
    assert!(line.edge.whole().is_none());
    near(line.edge.known(), 0.6);
}

#[test]
fn idling_that_nobody_measures_is_what_the_book_says() {
    let mut usage = usage(vec![day("assistant", 4e6, "measured.rail")]);
    for class in usage.classes.values_mut() {
        class.idle_joules = None;
        class.metered = DeviceSketch::default();
    }
    let mut book = book();
    assert!(
        Account::of(&usage, &book, By::Class)
            .total
            .lacks
            .contains(&Lack::Idle)
    );
    book.devices[0].idle_watts = Some(2.0);
    book.devices[0].idle_error = Some(0.2);
    let idle = Account::of(&usage, &book, By::Class)
        .total
        .idle
        .whole()
        .unwrap();
    assert_eq!((idle.value, idle.origin), (172_800.0, Origin::Modelled));
    assert_eq!(idle.error, Some(0.2 * 172_800.0));
}

#[test]
fn a_month_ends_at_the_pace_it_has() {
    let usage = usage(vec![day("assistant", 4e6, "measured.rail")]);
    let line = Account::of(&usage, &book(), By::Variant).total;
    let seen = forecast(&line, 5.0, 0.25).unwrap();
    assert!((seen.at_end - 3.6).abs() < 1e-9 && !seen.exceeds());
    assert!(forecast(&line, 3.0, 0.25).unwrap().exceeds());
    assert_eq!(forecast(&line, 3.0, 0.0), None);
    assert_eq!(forecast(&Line::default(), 3.0, 0.5), None);
}
