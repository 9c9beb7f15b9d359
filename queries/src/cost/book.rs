//! Prices as an operator wrote them down, each from a day on and with its source. Pure. Nothing is
//! priced that is not in the book.

use std::collections::BTreeMap;

/// Since when a price holds, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// UTC day since the Unix epoch.
    pub from_day: i32,
    /// A contract, a page, a bill.
    pub source: String,
}

/// Electricity of some sites, or of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Tariff {
    /// Since when, by whom.
    pub entry: Entry,
    /// Where it holds; everywhere if there are none.
    pub sites: Vec<String>,
    /// Money a kilowatt hour.
    pub price_kwh: f64,
    /// Grams of CO2 a kilowatt hour.
    pub grid_g_per_kwh: Option<f64>,
}

/// Devices of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct DevicePrice {
    /// Since when, by whom.
    pub entry: Entry,
    /// `fathomline.device.class`.
    pub class: String,
    /// Money for one.
    pub price: f64,
    /// Days it serves.
    pub life_days: f64,
    /// The part of device and idling that models bear, up to 1.
    pub share: f64,
    /// Watts when it idles, for devices that do not measure them.
    pub idle_watts: Option<f64>,
    /// How far off these may be, as a part of them.
    pub idle_error: Option<f64>,
    /// What a device sends and receives in a day, bytes, and money a gigabyte of it.
    pub network: Option<(f64, f64)>,
}

/// A cloud model that would do the same job as well.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudPrice {
    /// Since when, by whom.
    pub entry: Entry,
    /// Its name.
    pub name: String,
    /// Models of ours whose job it would do; of all if there are none.
    pub models: Vec<String>,
    /// Money a million tokens of prompts.
    pub input_per_million: f64,
    /// Money a million generated tokens.
    pub output_per_million: f64,
    /// Watt hours a thousand tokens, and grams of CO2 a kilowatt hour there.
    pub energy: Option<(f64, f64)>,
}

/// What a model may cost in a calendar month.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Model name.
    pub model: String,
    /// Money.
    pub per_month: f64,
}

/// Every price there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceBook {
    /// In which all prices are, `EUR` say.
    pub currency: String,
    /// Electricity.
    pub tariffs: Vec<Tariff>,
    /// Devices.
    pub devices: Vec<DevicePrice>,
    /// What would be paid elsewhere.
    pub cloud: Vec<CloudPrice>,
    /// What may be spent.
    pub budgets: Vec<Budget>,
    /// How far off energy may be, as a part of it, by `fathomline.energy.source`.
    pub energy_errors: BTreeMap<String, f64>,
}

impl PriceBook {
    pub(super) fn tariff(&self, site: Option<&str>, day: i32) -> Option<&Tariff> {
        let named =
            |tariff: &Tariff| site.is_some_and(|site| tariff.sites.iter().any(|s| s == site));
        let holds = |tariff: &&Tariff| tariff.sites.is_empty() || named(tariff);
        let by = |tariff: &Tariff| (named(tariff), tariff.entry.from_day);
        in_force(self.tariffs.iter().filter(holds), day, |t| &t.entry, by)
    }

    pub(super) fn device(&self, class: &str, day: i32) -> Option<&DevicePrice> {
        let of = self.devices.iter().filter(|device| device.class == class);
        in_force(of, day, |d| &d.entry, |d| d.entry.from_day)
    }

    /// What would do the job of one of our models on that day.
    pub fn cloud(&self, model: &str, day: i32) -> Option<&CloudPrice> {
        let named = |price: &CloudPrice| price.models.iter().any(|m| m == model);
        let holds = |price: &&CloudPrice| price.models.is_empty() || named(price);
        let by = |price: &CloudPrice| (named(price), price.entry.from_day);
        in_force(self.cloud.iter().filter(holds), day, |c| &c.entry, by)
    }
}

/// The newest of those that hold by then; what names its subject comes before what holds for all.
fn in_force<'a, T, K: Ord>(
    of: impl Iterator<Item = &'a T>,
    day: i32,
    entry: impl Fn(&T) -> &Entry,
    by: impl Fn(&T) -> K,
) -> Option<&'a T> {
    of.filter(|price| entry(price).from_day <= day)
        .max_by_key(|price| by(price))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tariff(from_day: i32, sites: &[&str], price_kwh: f64) -> Tariff {
        Tariff {
            entry: Entry {
                from_day,
                source: "a bill".into(),
            },
            sites: sites.iter().map(|site| (*site).to_owned()).collect(),
            price_kwh,
            grid_g_per_kwh: None,
        }
    }

    #[test]
    fn the_newest_price_that_holds_by_then_and_names_the_site_is_taken() {
        let book = PriceBook {
            tariffs: vec![
                tariff(10, &[], 0.3),
                tariff(20, &[], 0.4),
                tariff(5, &["harbour"], 0.1),
            ],
            ..PriceBook::default()
        };
        let price = |site, day| book.tariff(site, day).map(|tariff| tariff.price_kwh);
        assert_eq!(price(None, 9), None);
        assert_eq!(price(None, 10), Some(0.3));
        assert_eq!(price(Some("mill"), 25), Some(0.4));
        assert_eq!(price(Some("harbour"), 25), Some(0.1));
        assert_eq!(price(Some("harbour"), 4), None);
    }
}
