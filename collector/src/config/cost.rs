//! Section `cost`: prices as an operator wrote them down. In: text. Out: a price book in which
//! every price has a day and a source. Nothing has a default: what nobody priced stays unpriced.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use fathomline_queries::cost::{Budget, CloudPrice, DevicePrice, Entry, PriceBook, Tariff};
use fathomline_wire::names::ENERGY_SOURCES;
use serde::Deserialize;

use super::ConfigError;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCost {
    currency: Option<String>,
    tariffs: Vec<RawTariff>,
    devices: Vec<RawDevice>,
    cloud: Vec<RawCloud>,
    budgets: Vec<RawBudget>,
    /// How far off energy may be, as a part of it, by where it is read.
    energy_error: BTreeMap<String, f64>,
}

/// A kilowatt hour.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTariff {
    from: toml::value::Datetime,
    source: String,
    #[serde(default)]
    sites: Vec<String>,
    price_kwh: f64,
    grid_g_per_kwh: Option<f64>,
}

/// A device of a class.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDevice {
    from: toml::value::Datetime,
    source: String,
    class: String,
    price: f64,
    life_days: f64,
    share: f64,
    idle_watts: Option<f64>,
    idle_error: Option<f64>,
    bytes_per_day: Option<f64>,
    price_gb: Option<f64>,
}

/// A cloud model that would do the job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCloud {
    from: toml::value::Datetime,
    source: String,
    name: String,
    #[serde(default)]
    models: Vec<String>,
    input_per_million: f64,
    output_per_million: f64,
    wh_per_1k_tokens: Option<f64>,
    grid_g_per_kwh: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBudget {
    model: String,
    per_month: f64,
}

pub(super) fn book(raw: RawCost) -> Result<PriceBook, ConfigError> {
    let unpriced = raw.tariffs.is_empty() && raw.devices.is_empty() && raw.cloud.is_empty();
    let priced = !(unpriced && raw.budgets.is_empty());
    let currency = raw.currency.map(|currency| currency.trim().to_owned());
    let currency = match currency.filter(|currency| !currency.is_empty()) {
        Some(currency) => currency,
        None if priced => {
            return Err(wrong(
                "cost.currency",
                "",
                "say what prices are in, such as EUR",
            ));
        }
        None => String::new(),
    };
    for (source, error) in &raw.energy_error {
        if !ENERGY_SOURCES.contains(&source.as_str()) {
            let advice = "write a source of energy, such as \"measured.rail\" or \"estimated\"";
            return Err(wrong("cost.energy_error", source, advice));
        }
        amount("cost.energy_error", *error)?;
    }
    let budgets = raw.budgets.into_iter().map(|budget| {
        Ok(Budget {
            per_month: amount("cost.budgets.per_month", budget.per_month)?,
            model: budget.model,
        })
    });
    Ok(PriceBook {
        currency,
        tariffs: raw
            .tariffs
            .into_iter()
            .map(tariff)
            .collect::<Result<_, _>>()?,
        devices: raw
            .devices
            .into_iter()
            .map(device)
            .collect::<Result<_, _>>()?,
        cloud: raw.cloud.into_iter().map(cloud).collect::<Result<_, _>>()?,
        budgets: budgets.collect::<Result<_, ConfigError>>()?,
        energy_errors: raw.energy_error,
    })
}

fn tariff(raw: RawTariff) -> Result<Tariff, ConfigError> {
    let grid = raw.grid_g_per_kwh;
    Ok(Tariff {
        entry: entry("cost.tariffs.from", raw.from, raw.source)?,
        sites: raw.sites,
        price_kwh: amount("cost.tariffs.price_kwh", raw.price_kwh)?,
        grid_g_per_kwh: optional("cost.tariffs.grid_g_per_kwh", grid)?,
    })
}

fn device(raw: RawDevice) -> Result<DevicePrice, ConfigError> {
    let life_days = amount("cost.devices.life_days", raw.life_days)?;
    if life_days == 0.0 {
        return Err(wrong("cost.devices.life_days", "0", "write days above 0"));
    }
    let share = amount("cost.devices.share", raw.share)?;
    if share > 1.0 {
        let advice = "write the part of a device that models bear, from 0 to 1";
        return Err(wrong("cost.devices.share", &share.to_string(), advice));
    }
    let bytes = optional("cost.devices.bytes_per_day", raw.bytes_per_day)?;
    let price_gb = optional("cost.devices.price_gb", raw.price_gb)?;
    if bytes.is_some() != price_gb.is_some() {
        let advice = "bytes_per_day and price_gb go together: write both, or neither";
        return Err(wrong("cost.devices.price_gb", &raw.class, advice));
    }
    Ok(DevicePrice {
        entry: entry("cost.devices.from", raw.from, raw.source)?,
        class: raw.class,
        price: amount("cost.devices.price", raw.price)?,
        life_days,
        share,
        idle_watts: optional("cost.devices.idle_watts", raw.idle_watts)?,
        idle_error: optional("cost.devices.idle_error", raw.idle_error)?,
        network: bytes.zip(price_gb),
    })
}

fn cloud(raw: RawCloud) -> Result<CloudPrice, ConfigError> {
    let energy = optional("cost.cloud.wh_per_1k_tokens", raw.wh_per_1k_tokens)?;
    let grid = optional("cost.cloud.grid_g_per_kwh", raw.grid_g_per_kwh)?;
    if energy.is_some() != grid.is_some() {
        let advice = "wh_per_1k_tokens and grid_g_per_kwh go together: write both, or neither";
        return Err(wrong("cost.cloud.grid_g_per_kwh", &raw.name, advice));
    }
    Ok(CloudPrice {
        entry: entry("cost.cloud.from", raw.from, raw.source)?,
        name: raw.name,
        models: raw.models,
        input_per_million: amount("cost.cloud.input_per_million", raw.input_per_million)?,
        output_per_million: amount("cost.cloud.output_per_million", raw.output_per_million)?,
        energy: energy.zip(grid),
    })
}

fn entry(
    key: &'static str,
    from: toml::value::Datetime,
    source: String,
) -> Result<Entry, ConfigError> {
    let text = from.to_string();
    let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d")
        .map_err(|_| wrong(key, &text, "write a day alone, such as 2026-11-01"))?;
    if source.trim().is_empty() {
        return Err(wrong(key, &text, "say in `source` where the price is from"));
    }
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    Ok(Entry {
        from_day: i32::try_from(days).unwrap_or(i32::MAX),
        source,
    })
}

fn optional(key: &'static str, value: Option<f64>) -> Result<Option<f64>, ConfigError> {
    value.map(|value| amount(key, value)).transpose()
}

fn amount(key: &'static str, value: f64) -> Result<f64, ConfigError> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(value),
        false => Err(wrong(
            key,
            &value.to_string(),
            "write a number of 0 or more",
        )),
    }
}

fn wrong(key: &'static str, value: &str, advice: &'static str) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_owned(),
        advice,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const TARIFF: &str = "[[cost.tariffs]]\nfrom = 2026-01-01\nsource = \"a bill\"\n";

    #[test]
    fn prices_have_a_day_and_a_source_and_what_is_not_written_is_unpriced() {
        let none = Config::from_toml("").unwrap().cost;
        assert!(none.tariffs.is_empty() && none.cloud.is_empty() && none.currency.is_empty());
        let text = format!("[cost]\ncurrency = \"EUR\"\n{TARIFF}price_kwh = 0.31\n");
        let book = Config::from_toml(&text).unwrap().cost;
        assert_eq!(book.tariffs[0].entry.from_day, 20_454);
        assert_eq!(book.tariffs[0].entry.source, "a bill");
        assert_eq!(book.tariffs[0].grid_g_per_kwh, None);
    }

    #[test]
    fn what_is_no_price_is_named() {
        let device = "[[cost.devices]]\nfrom = 2026-01-01\nsource = \"a shop\"\nclass = \"pi\"\n\
                      price = 80.0\n";
        let cloud = "[[cost.cloud]]\nfrom = 2026-01-01\nsource = \"a page\"\nname = \"c\"\n\
                     input_per_million = 0.1\noutput_per_million = 0.4\n";
        for (text, says) in [
            (format!("{TARIFF}price_kwh = 0.3"), "cost.currency"),
            (format!("{TARIFF}price_kwh = -0.3"), "price_kwh = -0.3"),
            (format!("{TARIFF}price_kwh = nan"), "price_kwh = NaN"),
            (
                TARIFF.replace("2026-01-01", "07:00:00") + "price_kwh = 1.0",
                "a day alone",
            ),
            (
                TARIFF.replace("a bill", " ") + "price_kwh = 1.0",
                "`source`",
            ),
            (
                TARIFF.replace("source", "sauce") + "price_kwh = 1.0",
                "sauce",
            ),
            (format!("{device}life_days = 0.0\nshare = 0.5"), "life_days"),
            (
                format!("{device}life_days = 9.0\nshare = 1.5"),
                "from 0 to 1",
            ),
            (
                format!("{device}life_days = 9.0\nshare = 1.0\nprice_gb = 1.0"),
                "go together",
            ),
            (format!("{cloud}wh_per_1k_tokens = 0.3"), "go together"),
            (
                "[cost.energy_error]\nguess = 0.5".to_owned(),
                "measured.rail",
            ),
        ] {
            let text = match says {
                "cost.currency" => text,
                _ => format!("[cost]\ncurrency = \"EUR\"\n{text}"),
            };
            let error = Config::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{error} lacks {says}");
        }
    }
}
