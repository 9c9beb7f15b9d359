//! Energy and cost: what inferences used, what that cost here, and what a cloud model would have
//! cost. In: rollups of the span, the operator's price book. Out: the account by model, class and
//! site. Each number says whether it is measured or modelled; what is unknown is said, with what
//! to write to know it, and is never drawn as zero.

use askama::Template;
use axum::{extract::State, response::Html};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use fathomline_queries::{
    cost::{self, Account, By, Figure, Lack, Line, Origin, PriceBook, Total, Usage},
    series::Span,
};

use super::{Shell, failure::Failure, render};
use crate::{router::Dashboard, view::units, visit::Visit};

#[derive(Template)]
#[template(path = "energy.html")]
struct EnergyPage {
    shell: Shell,
    lead: String,
    tiles: Vec<Tile>,
    tables: Vec<Table>,
    lacks: Vec<&'static str>,
    budgets: Vec<BudgetLine>,
    prices: Vec<Price>,
    currency: String,
}

struct Tile {
    name: &'static str,
    value: Shown,
}

/// A value as it is shown: the number, and how it came about.
struct Shown {
    value: String,
    note: String,
}

struct Table {
    id: &'static str,
    title: &'static str,
    column: &'static str,
    lines: Vec<CostLine>,
}

struct CostLine {
    name: String,
    more: String,
    inferences: String,
    tokens: String,
    a_token: Shown,
    energy: Shown,
    parts: [Shown; 4],
    edge: Shown,
    cloud: Shown,
    saving: Shown,
    break_even: String,
    co2: Shown,
}

struct BudgetLine {
    model: String,
    spent: String,
    at_end: String,
    budget: String,
    badge: (&'static str, &'static str, &'static str),
}

struct Price {
    what: String,
    price: String,
    from: String,
    source: String,
}

pub(crate) async fn show(
    State(dashboard): State<Dashboard>,
    visit: Visit,
) -> Result<Html<String>, Failure> {
    let book = &dashboard.prices;
    let mut usage = cost::usage(&dashboard.engine, visit.span).await?;
    usage.days.retain(|day| {
        let wanted = |filter: &Option<String>, is: &str| filter.as_deref().is_none_or(|f| f == is);
        wanted(&visit.url.model, &day.model) && wanted(&visit.url.class, &day.key.class)
    });
    let budgets = match book.budgets.is_empty() {
        true => vec![],
        false => budgets(&dashboard, visit.now_us).await?,
    };
    render(&page(&visit, &usage, book, budgets))
}

fn page(visit: &Visit, usage: &Usage, book: &PriceBook, budgets: Vec<BudgetLine>) -> EnergyPage {
    let of = |by| Account::of(usage, book, by);
    let by_variant = of(By::Variant);
    let total = &by_variant.total;
    let table = |(id, column), title, account: &Account| Table {
        id,
        title,
        column,
        lines: account
            .lines
            .iter()
            .map(|line| cost_line(line, book))
            .collect(),
    };
    EnergyPage {
        lead: lead(total, book),
        tiles: tiles(total, book),
        lacks: total.lacks.iter().map(|lack| advice(*lack)).collect(),
        tables: vec![
            table(("models", "Model"), "By model", &by_variant),
            table(("classes", "Class"), "By class of device", &of(By::Class)),
            table(("sites", "Site"), "By site", &of(By::Site)),
        ],
        budgets,
        prices: prices(book),
        currency: book.currency.clone(),
        shell: Shell::new(visit, "Energy and cost", "energy", "/energy"),
    }
}

/// The whole of it in a sentence.
fn lead(total: &Line, book: &PriceBook) -> String {
    if total.inferences == 0 {
        return String::new();
    }
    let money = |value: f64| money(value, book);
    let here = match (total.energy.whole(), total.edge.whole()) {
        (Some(joules), Some(cost)) => format!(
            "used {} above idle and cost {} here",
            energy(joules.value),
            money(cost.value)
        ),
        (Some(joules), None) => format!(
            "used {} above idle; what they cost here is unknown in part",
            energy(joules.value)
        ),
        (None, _) => "used energy and money of which a part is unknown".to_owned(),
    };
    let names = Vec::from_iter(total.cloud_models.iter().map(String::as_str)).join(", ");
    let cloud = total.cloud.whole();
    let cloud = cloud.map(|cost| format!("; {names} would have cost {}", money(cost.value)));
    format!(
        "{} inferences {here}{}.",
        units::count(total.inferences),
        cloud.unwrap_or_default()
    )
}

fn tiles(total: &Line, book: &PriceBook) -> Vec<Tile> {
    let tile = |name, value| Tile { name, value };
    let in_money = |value: f64| money(value, book);
    vec![
        tile("energy of inferences", shown_total(&total.energy, energy)),
        tile("energy of idling", shown_total(&total.idle, energy)),
        tile(
            "a generated token",
            shown(total.joules_per_token(), |joules| {
                units::quantity(joules, "J")
            }),
        ),
        tile("cost here", shown_total(&total.edge, in_money)),
        tile("cost in the cloud", shown_total(&total.cloud, in_money)),
        tile("saved", saved(total, book)),
        tile("CO2 here", shown_total(&total.co2, grams)),
        tile("CO2 in the cloud", shown_total(&total.cloud_co2, grams)),
    ]
}

/// What is known of the edge's costs is the least they are, so that the saving is at most so much.
fn saved(line: &Line, book: &PriceBook) -> Shown {
    if let Some(saving) = line.saving() {
        return shown(Some(saving), |value| money(value, book));
    }
    let known = line.cloud.whole().zip(line.edge.known());
    match known {
        Some((cloud, edge)) => Shown {
            value: format!("≤ {}", money(cloud.value - edge.value, book)),
            note: "a part of the cost here is unknown".to_owned(),
        },
        None => shown(None, |value| money(value, book)),
    }
}

fn cost_line(line: &Line, book: &PriceBook) -> CostLine {
    let in_money = |value: f64| money(value, book);
    let part = |total: &Total| shown_total(total, in_money);
    let (name, more) = match line.name.split_first() {
        Some((name, more)) if !name.is_empty() => (name.clone(), more.join(" ")),
        _ => ("not told".to_owned(), String::new()),
    };
    CostLine {
        name,
        more,
        inferences: units::count(line.inferences),
        tokens: units::maybe(line.output_tokens, "1"),
        a_token: shown(line.joules_per_token(), |joules| {
            units::quantity(joules, "J")
        }),
        energy: shown_total(&line.energy, energy),
        parts: [
            &line.energy_cost,
            &line.idle_cost,
            &line.wear,
            &line.network,
        ]
        .map(part),
        edge: part(&line.edge),
        cloud: part(&line.cloud),
        saving: saved(line, book),
        break_even: match line.break_even_tokens_a_day() {
            None => "unknown".to_owned(),
            Some(None) => "never".to_owned(),
            Some(Some(tokens)) => units::significant(tokens),
        },
        co2: shown_total(&line.co2, grams),
    }
}

/// A sum of which a part may be unknown: then it is at least so much.
fn shown_total(total: &Total, value: impl Fn(f64) -> String) -> Shown {
    match (total.whole(), total.known()) {
        (None, Some(known)) => Shown {
            value: format!("≥ {}", value(known.value)),
            note: "a part is unknown".to_owned(),
        },
        (whole, _) => shown(whole, value),
    }
}

fn shown(figure: Option<Figure>, value: impl Fn(f64) -> String) -> Shown {
    let Some(figure) = figure else {
        return Shown {
            value: "unknown".to_owned(),
            note: String::new(),
        };
    };
    let origin = match figure.origin {
        Origin::Measured => "measured",
        Origin::Modelled => "modelled",
    };
    let error = match figure.error {
        // Derived from what was written down alone.
        Some(0.0) => String::new(),
        Some(error) => format!(", ± {}", value(error)),
        None => ", error not stated".to_owned(),
    };
    Shown {
        value: value(figure.value),
        note: format!("{origin}{error}"),
    }
}

fn money(value: f64, book: &PriceBook) -> String {
    let digits = match value.abs() {
        size if size >= 0.995 || size == 0.0 => format!("{value:.2}").replace('-', "−"),
        _ => units::significant(value),
    };
    format!("{digits} {}", book.currency)
}

fn energy(joules: f64) -> String {
    match joules.abs() {
        size if size >= 3.6e6 => format!("{} kWh", units::significant(joules / 3.6e6)),
        size if size >= 3.6e3 => format!("{} Wh", units::significant(joules / 3.6e3)),
        _ => units::quantity(joules, "J"),
    }
}

fn grams(grams: f64) -> String {
    match grams.abs() {
        size if size >= 1e6 => format!("{} t", units::significant(grams / 1e6)),
        size if size >= 1e3 => format!("{} kg", units::significant(grams / 1e3)),
        _ => format!("{} g", units::significant(grams)),
    }
}

/// What is unknown, and what would tell.
const fn advice(lack: Lack) -> &'static str {
    match lack {
        Lack::Energy => {
            "Energy of some inferences: their devices neither measure nor estimate it. The SDK reads \
             it by itself where the hardware has a meter."
        }
        Lack::Idle => {
            "Energy of idling of some devices: they do not measure it. Write idle_watts of their \
             class into cost.devices."
        }
        Lack::Tariff => {
            "The price of electricity of some days or sites: write it into cost.tariffs."
        }
        Lack::Device => {
            "What some classes of devices cost, how long they serve, and which share models bear: \
             write it into cost.devices."
        }
        Lack::Network => {
            "What sending costs on some classes: write bytes_per_day and price_gb into cost.devices; \
             0 where it costs nothing."
        }
        Lack::Cloud => {
            "Which cloud model would do the job of some models as well, and at which price: write it \
             into cost.cloud."
        }
        Lack::Tokens => "Tokens of some inferences: their applications do not count them.",
        Lack::Grid => {
            "Grams of CO2 a kilowatt hour of some days or sites: write grid_g_per_kwh into \
             cost.tariffs."
        }
    }
}

/// What each model with a budget has cost in this month, and will at its end.
async fn budgets(dashboard: &Dashboard, now_us: i64) -> Result<Vec<BudgetLine>, Failure> {
    let book = &dashboard.prices;
    let (start_us, end_us) = month(now_us);
    let span = Span {
        width_us: dashboard.lane_us,
        from_us: start_us,
        to_us: now_us,
    };
    let usage = cost::usage(&dashboard.engine, span).await?;
    let elapsed = (now_us - start_us) as f64 / (end_us - start_us).max(1) as f64;
    let lines = book.budgets.iter().map(|budget| {
        let of = usage.days.iter().filter(|day| day.model == budget.model);
        let usage = Usage {
            days: of.cloned().collect(),
            ..usage.clone()
        };
        let line = Account::of(&usage, book, By::Variant).total;
        let seen = cost::forecast(&line, budget.per_month, elapsed);
        let amount = |value: Option<f64>| match value {
            Some(value) => money(value, book),
            None => "unknown".to_owned(),
        };
        BudgetLine {
            model: budget.model.clone(),
            spent: amount(seen.map(|seen| seen.spent)),
            at_end: amount(seen.map(|seen| seen.at_end)),
            budget: money(budget.per_month, book),
            badge: match seen.map(cost::Forecast::exceeds) {
                Some(true) => ("drifting", "▲", "over budget"),
                Some(false) => ("steady", "●", "within budget"),
                None => ("undecided", "◌", "unknown"),
            },
        }
    });
    Ok(lines.collect())
}

/// The calendar month around a moment, by UTC.
fn month(now_us: i64) -> (i64, i64) {
    let now = DateTime::<Utc>::from_timestamp_micros(now_us).unwrap_or_default();
    let start = now.date_naive().with_day(1).unwrap_or_default();
    let end = start.checked_add_months(Months::new(1)).unwrap_or(start);
    let us = |day: NaiveDate| {
        day.and_time(chrono::NaiveTime::MIN)
            .and_utc()
            .timestamp_micros()
    };
    (us(start), us(end))
}

/// The book, as it is written.
fn prices(book: &PriceBook) -> Vec<Price> {
    let price = |what: String, price: String, entry: &cost::Entry| Price {
        what,
        price,
        from: day(entry.from_day),
        source: entry.source.clone(),
    };
    let amount = |value: f64| money(value, book);
    let tariffs = book.tariffs.iter().map(|tariff| {
        let sites = match tariff.sites.is_empty() {
            true => "everywhere".to_owned(),
            false => format!("at {}", tariff.sites.join(", ")),
        };
        let grid = tariff.grid_g_per_kwh;
        let grid = grid.map(|grid| format!(", {} CO2", grams(grid)));
        let cost = format!(
            "{} a kWh{}",
            amount(tariff.price_kwh),
            grid.unwrap_or_default()
        );
        price(format!("electricity {sites}"), cost, &tariff.entry)
    });
    let devices = book.devices.iter().map(|device| {
        let cost = format!(
            "{} for {} days, {} of it for models",
            amount(device.price),
            units::significant(device.life_days),
            units::percent(device.share)
        );
        price(
            format!("a device of class {}", device.class),
            cost,
            &device.entry,
        )
    });
    let cloud = book.cloud.iter().map(|cloud| {
        let cost = format!(
            "{} and {} a million tokens of prompts and answers",
            amount(cloud.input_per_million),
            amount(cloud.output_per_million)
        );
        let models = match cloud.models.is_empty() {
            true => "all models".to_owned(),
            false => cloud.models.join(", "),
        };
        price(
            format!("{} instead of {models}", cloud.name),
            cost,
            &cloud.entry,
        )
    });
    tariffs.chain(devices).chain(cloud).collect()
}

fn day(days: i32) -> String {
    let epoch = NaiveDate::default();
    let day = match u64::try_from(days) {
        Ok(days) => epoch.checked_add_days(Days::new(days)),
        Err(_) => epoch.checked_sub_days(Days::new(days.unsigned_abs().into())),
    };
    day.unwrap_or(epoch).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_the_calendar_s() {
        // 2026-11-24 14:03:05 UTC.
        let (start_us, end_us) = month(1_795_528_985_000_000);
        assert_eq!(units::rfc3339(start_us), "2026-11-01T00:00:00Z");
        assert_eq!(units::rfc3339(end_us), "2026-12-01T00:00:00Z");
        assert_eq!(
            (day(0), day(20_454)),
            ("1970-01-01".into(), "2026-01-01".into())
        );
    }

    #[test]
    fn what_is_unknown_is_no_number() {
        let unknown = shown(None, energy);
        assert_eq!(
            (unknown.value.as_str(), unknown.note.as_str()),
            ("unknown", "")
        );
        let figure = Figure {
            value: 7.2e6,
            origin: Origin::Measured,
            error: Some(3.6e5),
        };
        let seen = shown(Some(figure), energy);
        assert_eq!(
            (seen.value.as_str(), seen.note.as_str()),
            ("2.00 kWh", "measured, ± 100 Wh")
        );
    }
}
