//! What was used: inferences, tokens, joules and devices by UTC day, site and cohort. In: a span.
//! Out: days of cohorts, and days of classes, because devices idle for all models they run.

use std::collections::BTreeMap;

use fathomline_wire::names;

use crate::{
    catalog::{BUILT, COST_USAGE},
    engine::{Engine, QueryError},
    lanes::texts,
    row::{Row, rows, timestamp},
    rows::DeviceSketch,
    schema::column,
    series::Span,
};

const DAY_US: i64 = 86_400_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// Values of [`names::ENERGY_USE`] that no inference caused.
const BESIDE: [&str; 2] = ["idle", "unattributed"];

/// What tells of it.
const METRICS: [&str; 5] = [
    names::OPERATION_DURATION,
    names::INPUT_TOKENS,
    names::OUTPUT_TOKENS,
    names::INFERENCE_ENERGY,
    names::DEVICE_ENERGY,
];

/// What was used in a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Of cohorts.
    pub days: Vec<UsageDay>,
    /// Of classes, by which devices and idling are shared out.
    pub classes: BTreeMap<ClassKey, ClassDay>,
    /// Length of the span in days.
    pub length_days: f64,
}

/// Devices of one class at one site on one day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassKey {
    /// UTC day since the Unix epoch.
    pub day: i32,
    /// `service.name`.
    pub service: String,
    /// `fathomline.site`; none where it is not told, or its hour is not built yet.
    pub site: Option<String>,
    /// `fathomline.device.class`.
    pub class: String,
}

/// What one cohort used on one day at one site.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageDay {
    /// Where and when.
    pub key: ClassKey,
    /// Model name.
    pub model: String,
    /// Model version.
    pub version: String,
    /// Model variant.
    pub variant: String,
    /// f32, q8_0, ...
    pub quantization: Option<String>,
    /// Operations that ended.
    pub inferences: u64,
    /// Tokens of prompts; none if no device counts them.
    pub input_tokens: Option<f64>,
    /// Tokens generated; none if no device counts them.
    pub output_tokens: Option<f64>,
    /// Joules above idle and of how many inferences, by source.
    pub energy: BTreeMap<String, (f64, u64)>,
    /// Which devices, approximately beyond 128.
    pub devices: DeviceSketch,
}

/// What the devices of a class did on one day beside inferring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassDay {
    /// The part of the day that the span covers, up to 1.
    pub part: f64,
    /// Which devices, approximately beyond 128.
    pub devices: DeviceSketch,
    /// Those of them that tell what they use when idle.
    pub metered: DeviceSketch,
    /// Joules of idling and of what no inference caused; none if no device tells.
    pub idle_joules: Option<f64>,
}

/// What was used in `span`: hours that are built, and the lanes since.
///
/// # Errors
/// When the engine's limits are reached.
pub async fn usage(engine: &Engine, span: Span) -> Result<Usage, QueryError> {
    // Hours do not begin within the span's first one; its lanes are read instead of a part of it.
    let from_us = span.from_us.div_euclid(HOUR_US) * HOUR_US;
    let asked = vec![("from", timestamp(from_us)), ("to", timestamp(span.to_us))];
    let built = engine.ask(&BUILT, asked).await?;
    let mut hours_to = from_us;
    for row in rows(&built) {
        hours_to = row.optional_time("hours_to")?.unwrap_or(from_us);
    }
    let parameters = vec![
        (column::WIDTH_US, span.width_us.into()),
        ("from", timestamp(from_us)),
        ("hours_to", timestamp(hours_to)),
        ("to", timestamp(span.to_us)),
        ("metrics", texts(&METRICS)),
    ];
    let batches = engine.ask(&COST_USAGE, parameters).await?;
    let mut found = Found::default();
    for row in rows(&batches) {
        found.add(row)?;
    }
    let whole = (from_us, span.to_us);
    for (key, class) in &mut found.classes {
        class.part = part_of_day(key.day, whole);
    }
    Ok(Usage {
        days: found.days.into_values().collect(),
        classes: found.classes,
        length_days: (whole.1 - whole.0) as f64 / DAY_US as f64,
    })
}

fn part_of_day(day: i32, (from_us, to_us): (i64, i64)) -> f64 {
    let start_us = i64::from(day) * DAY_US;
    let covered = to_us.min(start_us + DAY_US) - from_us.max(start_us);
    covered.max(0) as f64 / DAY_US as f64
}

#[derive(Default)]
struct Found {
    days: BTreeMap<(ClassKey, [String; 3]), UsageDay>,
    classes: BTreeMap<ClassKey, ClassDay>,
}

impl Found {
    fn add(&mut self, row: Row<'_>) -> Result<(), QueryError> {
        let key = ClassKey {
            day: row.day("day")?,
            service: row.text(column::SERVICE)?,
            site: row.optional_text(column::SITE)?,
            class: row.text(column::DEVICE_CLASS)?,
        };
        let devices = row.devices(column::DEVICES)?;
        let class = self.classes.entry(key.clone()).or_default();
        class.devices.merge(&devices);
        let (metric, category) = (row.text(column::METRIC)?, row.text(column::CATEGORY)?);
        let sum = row.float(column::SUM)?;
        if metric == names::DEVICE_ENERGY {
            class.metered.merge(&devices);
            if BESIDE.contains(&category.as_str()) {
                let joules = class.idle_joules.get_or_insert(0.0);
                *joules += sum.unwrap_or_default();
            }
            return Ok(());
        }
        let of = [column::MODEL, column::VERSION, column::VARIANT].map(|name| row.text(name));
        let [model, version, variant] = of;
        let of = [model?, version?, variant?];
        let day = self.days.entry((key.clone(), of.clone()));
        let day = day.or_insert_with(|| UsageDay::new(key, of));
        day.quantization = row.optional_text(column::QUANTIZATION)?;
        day.devices.merge(&devices);
        let count = row.count(column::COUNT)?;
        match metric.as_str() {
            names::OPERATION_DURATION => day.inferences += count,
            names::INPUT_TOKENS => add(&mut day.input_tokens, sum),
            names::OUTPUT_TOKENS => add(&mut day.output_tokens, sum),
            names::INFERENCE_ENERGY => {
                let (joules, inferences) = day.energy.entry(category).or_default();
                *joules += sum.unwrap_or_default();
                *inferences += count;
            }
            _ => {}
        }
        Ok(())
    }
}

fn add(to: &mut Option<f64>, more: Option<f64>) {
    if let Some(more) = more {
        *to.get_or_insert(0.0) += more;
    }
}

impl UsageDay {
    fn new(key: ClassKey, [model, version, variant]: [String; 3]) -> Self {
        Self {
            key,
            model,
            version,
            variant,
            quantization: None,
            inferences: 0,
            input_tokens: None,
            output_tokens: None,
            energy: BTreeMap::new(),
            devices: DeviceSketch::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_by_the_part_of_it_that_the_span_covers() {
        let span = (DAY_US / 2, 2 * DAY_US + DAY_US / 4);
        let parts = [0, 1, 2, 3].map(|day| part_of_day(day, span));
        assert_eq!(parts, [0.5, 1.0, 0.25, 0.0]);
    }
}
