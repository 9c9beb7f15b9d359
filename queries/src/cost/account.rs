//! The account: usage at the book's prices, a line a model, class or site. Pure.
//!
//! What a class pays whether it infers or not (idling, wear, network) is shared out among the
//! models that its devices ran on that day, by tokens. Each part is priced by its own day.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    book::{DevicePrice, PriceBook},
    figure::{Figure, Origin, Total},
    formula::{self, DAY_S, Tokens},
    usage::{ClassDay, ClassKey, Usage, UsageDay},
};

/// Value of `fathomline.energy.source` of what is estimated on the device.
const ESTIMATED: &str = "estimated";
/// Devices that tell their energy for so much of their inferences tell it for all.
const COVERED: f64 = 0.999;

/// What lines stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Model, version and variant.
    Variant,
    /// Device class.
    Class,
    /// Site.
    Site,
}

/// What nobody told, so that a total is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// No device tells the energy of inferences.
    Energy,
    /// Nobody knows what devices use when they idle.
    Idle,
    /// No price of a kilowatt hour.
    Tariff,
    /// No price, life and share of a device.
    Device,
    /// No price of what is sent.
    Network,
    /// No cloud model that would do the job.
    Cloud,
    /// No tokens are counted.
    Tokens,
    /// No grams of CO2 a kilowatt hour.
    Grid,
}

/// One line, or all of them together. Money is in the book's currency, energy in joules, CO2 in
/// grams, all of the whole span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Model, version, variant and quantization; or the class; or the site, empty where it is not
    /// told.
    pub name: Vec<String>,
    /// Operations that ended.
    pub inferences: u64,
    /// Tokens of prompts, where they are counted.
    pub input_tokens: Option<f64>,
    /// Tokens generated, where they are counted.
    pub output_tokens: Option<f64>,
    /// Of inferences, above idle.
    pub energy: Total,
    /// Of idling, the share that models bear.
    pub idle: Total,
    /// What `energy` costs.
    pub energy_cost: Total,
    /// What `idle` costs.
    pub idle_cost: Total,
    /// What devices are worth less.
    pub wear: Total,
    /// What sending costs.
    pub network: Total,
    /// All of it.
    pub edge: Total,
    /// What the cloud model would cost.
    pub cloud: Total,
    /// Of `energy` and `idle`.
    pub co2: Total,
    /// Of the cloud model.
    pub cloud_co2: Total,
    /// Names of cloud models that stand beside it.
    pub cloud_models: BTreeSet<String>,
    /// Where its energy was read.
    pub sources: BTreeSet<String>,
    /// What is not known of it.
    pub lacks: BTreeSet<Lack>,
    /// Length of the span.
    pub length_days: f64,
}

/// Usage at prices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// By name.
    pub lines: Vec<Line>,
    /// All lines together.
    pub total: Line,
}

impl Account {
    /// Usage at the prices of each day.
    pub fn of(usage: &Usage, book: &PriceBook, by: By) -> Self {
        let weights = weights(usage);
        let mut lines: BTreeMap<Vec<String>, Line> = BTreeMap::new();
        let mut total = Line::new(vec![], usage.length_days);
        for day in &usage.days {
            let class = usage.classes.get(&day.key).cloned().unwrap_or_default();
            let all = weights.get(&day.key).copied().unwrap_or_default();
            let share = if all > 0.0 { weight(day) / all } else { 0.0 };
            let priced = priced(day, &class, share, book);
            let name = name(day, by);
            let line = lines.entry(name.clone());
            line.or_insert_with(|| Line::new(name, usage.length_days))
                .join(&priced);
            total.join(&priced);
        }
        Self {
            lines: lines.into_values().collect(),
            total,
        }
    }
}

fn name(day: &UsageDay, by: By) -> Vec<String> {
    match by {
        By::Variant => vec![
            day.model.clone(),
            day.version.clone(),
            day.variant.clone(),
            day.quantization.clone().unwrap_or_default(),
        ],
        By::Class => vec![day.key.class.clone()],
        By::Site => vec![day.key.site.clone().unwrap_or_default()],
    }
}

/// What a day of a cohort bears of what its class pays anyway: by tokens, or by inferences where
/// nobody counts tokens.
fn weight(day: &UsageDay) -> f64 {
    let tokens = day.input_tokens.unwrap_or_default() + day.output_tokens.unwrap_or_default();
    if tokens > 0.0 {
        tokens
    } else {
        day.inferences as f64
    }
}

fn weights(usage: &Usage) -> BTreeMap<&ClassKey, f64> {
    let mut weights = BTreeMap::new();
    for day in &usage.days {
        *weights.entry(&day.key).or_default() += weight(day);
    }
    weights
}

fn priced(day: &UsageDay, class: &ClassDay, share: f64, book: &PriceBook) -> Line {
    let mut line = Line::new(vec![], 0.0);
    line.inferences = day.inferences;
    (line.input_tokens, line.output_tokens) = (day.input_tokens, day.output_tokens);
    line.sources = day.energy.keys().cloned().collect();
    let device = book.device(&day.key.class, day.key.day);
    let energy = energy(day, book);
    let idle = idle(day, class, device, book).map(|joules| joules.times(share));
    let tariff = book.tariff(day.key.site.as_deref(), day.key.day);
    let at_price = |joules: Option<Figure>| {
        let pair = joules.zip(tariff);
        pair.map(|(joules, tariff)| joules.times(formula::kwh(1.0) * tariff.price_kwh))
    };
    let device_days = class.devices.count() as f64 * class.part * share;
    let wear = device.map(|d| formula::wear(d.price, d.share, d.life_days, device_days));
    let network = device.and_then(|device| device.network);
    let network = network.map(|(bytes, price)| formula::network(bytes * device_days, price));
    let parts = [
        at_price(energy),
        at_price(idle),
        wear.map(Figure::computed),
        network.map(Figure::computed),
    ];
    let [energy_cost, idle_cost, wear, network] = parts;
    line.energy.add(energy);
    line.idle.add(idle);
    line.energy_cost.add(energy_cost);
    line.idle_cost.add(idle_cost);
    line.wear.add(wear);
    line.network.add(network);
    parts.into_iter().for_each(|part| line.edge.add(part));
    let grid = tariff.and_then(|tariff| tariff.grid_g_per_kwh);
    for joules in [energy, idle] {
        let grams = joules.zip(grid);
        line.co2
            .add(grams.map(|(joules, grid)| joules.times(formula::kwh(1.0) * grid)));
    }
    add_cloud(&mut line, day, book);
    let lacks = [
        (energy.is_none(), Lack::Energy),
        (idle.is_none(), Lack::Idle),
        (tariff.is_none(), Lack::Tariff),
        (device.is_none(), Lack::Device),
        (network.is_none(), Lack::Network),
        (line.cloud.lacks() && tokens(day).is_some(), Lack::Cloud),
        (tokens(day).is_none(), Lack::Tokens),
        (grid.is_none(), Lack::Grid),
    ];
    let lacks = lacks.into_iter().filter(|(lacks, _)| *lacks);
    line.lacks.extend(lacks.map(|(_, lack)| lack));
    line
}

fn tokens(day: &UsageDay) -> Option<Tokens> {
    let pair = day.input_tokens.zip(day.output_tokens);
    pair.map(|(input, output)| Tokens { input, output })
}

fn add_cloud(line: &mut Line, day: &UsageDay, book: &PriceBook) {
    let price = book.cloud(&day.model, day.key.day);
    line.cloud_models = price.map(|price| price.name.clone()).into_iter().collect();
    let pair = tokens(day).zip(price);
    line.cloud.add(pair.map(|(tokens, price)| {
        let a_million = Tokens {
            input: price.input_per_million,
            output: price.output_per_million,
        };
        Figure::computed(formula::cloud(tokens, a_million))
    }));
    let grams = pair.and_then(|(tokens, price)| {
        let (wh_per_1k, grid) = price.energy?;
        Some(formula::cloud_kwh(tokens, wh_per_1k) * grid)
    });
    line.cloud_co2.add(grams.map(Figure::computed));
}

/// Joules of a day's inferences. Where only some tell, they stand for the rest, which is a model.
fn energy(day: &UsageDay, book: &PriceBook) -> Option<Figure> {
    let mut all = Total::default();
    for (source, (joules, _)) in &day.energy {
        let error = book.energy_errors.get(source);
        all.add(Some(Figure {
            value: *joules,
            origin: origin(source),
            error: error.map(|error| error * joules),
        }));
    }
    let told = all.whole()?;
    let covered: u64 = day.energy.values().map(|(_, inferences)| inferences).sum();
    if covered as f64 >= COVERED * day.inferences as f64 {
        return Some(told);
    }
    (covered > 0).then(|| Figure {
        value: told.value * day.inferences as f64 / covered as f64,
        origin: Origin::Modelled,
        error: None,
    })
}

fn origin(source: &str) -> Origin {
    match source {
        ESTIMATED => Origin::Modelled,
        _ => Origin::Measured,
    }
}

/// Joules of a class that no inference caused, the part that models bear: measured, or as the book
/// has it.
fn idle(
    day: &UsageDay,
    class: &ClassDay,
    device: Option<&DevicePrice>,
    book: &PriceBook,
) -> Option<Figure> {
    let device = device?;
    let Some(joules) = class.idle_joules else {
        let watts = device.idle_watts?;
        let seconds = class.devices.count() as f64 * class.part * DAY_S;
        let joules = watts * seconds * device.share;
        return Some(Figure {
            value: joules,
            origin: Origin::Modelled,
            error: device.idle_error.map(|error| error * joules),
        });
    };
    let (all, metered) = (class.devices.count(), class.metered.count());
    let stands_for = all as f64 / metered.max(1) as f64;
    let value = joules * device.share * stands_for;
    let sources = day.energy.keys();
    let modelled = all > metered
        || sources
            .clone()
            .any(|source| origin(source) == Origin::Modelled);
    let errors = sources.map(|source| book.energy_errors.get(source).copied());
    let worst = errors
        .reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)))
        .flatten();
    Some(Figure {
        value,
        origin: if modelled {
            Origin::Modelled
        } else {
            Origin::Measured
        },
        error: worst.filter(|_| all <= metered).map(|error| error * value),
    })
}

impl Line {
    fn new(name: Vec<String>, length_days: f64) -> Self {
        Self {
            name,
            length_days,
            ..Self::default()
        }
    }

    fn join(&mut self, other: &Self) {
        self.inferences += other.inferences;
        for (own, more) in [
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
        ] {
            *own = own.map_or(more, |own| Some(own + more.unwrap_or_default()));
        }
        let totals = [
            (&mut self.energy, &other.energy),
            (&mut self.idle, &other.idle),
            (&mut self.energy_cost, &other.energy_cost),
            (&mut self.idle_cost, &other.idle_cost),
            (&mut self.wear, &other.wear),
            (&mut self.network, &other.network),
            (&mut self.edge, &other.edge),
            (&mut self.cloud, &other.cloud),
            (&mut self.co2, &other.co2),
            (&mut self.cloud_co2, &other.cloud_co2),
        ];
        for (own, more) in totals {
            own.join(more);
        }
        self.cloud_models.extend(other.cloud_models.iter().cloned());
        self.sources.extend(other.sources.iter().cloned());
        self.lacks.extend(&other.lacks);
    }

    /// Joules a generated token, above idle; none where either is unknown.
    pub fn joules_per_token(&self) -> Option<Figure> {
        let tokens = self.output_tokens.filter(|tokens| *tokens > 0.0)?;
        self.energy.whole().map(|joules| joules.times(1.0 / tokens))
    }

    /// What the cloud model would cost more; none unless both are known as a whole.
    pub fn saving(&self) -> Option<Figure> {
        let (cloud, edge) = self.cloud.whole().zip(self.edge.whole())?;
        let errors = cloud.error.zip(edge.error);
        Some(Figure {
            value: cloud.value - edge.value,
            origin: Origin::Modelled,
            error: errors.map(|(a, b)| a + b),
        })
    }

    /// Tokens a day from which on the edge costs less than the cloud: outer none where something is
    /// unknown, inner none where no number of tokens is enough.
    pub fn break_even_tokens_a_day(&self) -> Option<Option<f64>> {
        let tokens = self.input_tokens.zip(self.output_tokens);
        let tokens = tokens.map(|(input, output)| input + output);
        let tokens = tokens.filter(|tokens| *tokens > 0.0 && self.length_days > 0.0)?;
        let whole = |total: &Total| total.whole().map(|figure| figure.value);
        let fixed = whole(&self.idle_cost)? + whole(&self.wear)? + whole(&self.network)?;
        let cloud = whole(&self.cloud)? / tokens;
        let energy = whole(&self.energy_cost)? / tokens;
        Some(formula::break_even(fixed / self.length_days, cloud, energy))
    }
}

#[cfg(test)]
mod tests;
