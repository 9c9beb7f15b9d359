//! The fleet at a glance. In: a span of lanes. Out: how many devices reported, and one line a
//! cohort with speed, volume, surprisal and what people made of the output. Nothing measured is
//! none, not zero.

use crate::{
    catalog::FLEET_OVERVIEW,
    engine::{Engine, QueryError},
    row::{Row, rows},
    rows::DeviceSketch,
    schema::column,
    series::Span,
};

/// The fleet over a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetOverview {
    /// Distinct devices of all cohorts, approximate above 128.
    pub devices: u64,
    /// One a cohort.
    pub lines: Vec<FleetLine>,
}

/// One cohort over a span.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetLine {
    /// `service.name`.
    pub service: String,
    /// Model name.
    pub model: String,
    /// Model version.
    pub version: String,
    /// Model variant.
    pub variant: String,
    /// `fathomline.device.class`.
    pub device_class: String,
    /// f32, q8_0, ...
    pub quantization: Option<String>,
    /// End of the last lane that has a row.
    pub last_us: i64,
    /// Distinct devices, approximate above 128.
    pub devices: u64,
    /// Operations that ended.
    pub inferences: u64,
    /// Duration of an operation, seconds.
    pub duration: Quantiles,
    /// Time to the first token, seconds.
    pub time_to_first_token: Quantiles,
    /// Tokens generated.
    pub output_tokens: Option<f64>,
    /// Tokens generated a second of inference.
    pub tokens_per_second: Option<f64>,
    /// Mean surprisal of an inference, nats.
    pub surprisal: Option<f64>,
    /// Feedback that said right or wrong.
    pub judged: u64,
    /// The share of it that said right.
    pub correct_share: Option<f64>,
}

/// Half and nearly all values are at most this.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
}

/// Every cohort that has rows in the span.
///
/// # Errors
/// When the engine's limits are reached.
pub async fn overview(engine: &Engine, span: Span) -> Result<FleetOverview, QueryError> {
    let batches = engine.ask(&FLEET_OVERVIEW, span.parameters()).await?;
    let mut devices = DeviceSketch::default();
    for row in rows(&batches) {
        // A device that runs two models is one device.
        devices.merge(&row.devices(column::DEVICES)?);
    }
    let lines: Vec<_> = rows(&batches).map(line).collect::<Result<_, _>>()?;
    Ok(FleetOverview {
        devices: devices.count(),
        lines: lines.into_iter().filter(FleetLine::is_of_a_model).collect(),
    })
}

impl FleetLine {
    /// What devices say of themselves, of their energy say, is no cohort.
    fn is_of_a_model(&self) -> bool {
        !self.model.is_empty() || self.inferences > 0
    }
}

fn line(row: Row<'_>) -> Result<FleetLine, QueryError> {
    let output_tokens = row.float("output_tokens")?;
    let surprisals = row.count("surprisal_count")? as f64;
    let (correct, wrong) = (row.count("correct")?, row.count("wrong")?);
    let judged = correct + wrong;
    Ok(FleetLine {
        service: row.text(column::SERVICE)?,
        model: row.text(column::MODEL)?,
        version: row.text(column::VERSION)?,
        variant: row.text(column::VARIANT)?,
        device_class: row.text(column::DEVICE_CLASS)?,
        quantization: row.optional_text(column::QUANTIZATION)?,
        last_us: row.time("last_time")?,
        devices: row.devices(column::DEVICES)?.count(),
        inferences: row.count("inferences")?,
        duration: quantiles(row, "duration")?,
        time_to_first_token: quantiles(row, "time_to_first_token")?,
        output_tokens,
        tokens_per_second: ratio(output_tokens, row.float("duration_sum")?),
        surprisal: ratio(row.float("surprisal_sum")?, Some(surprisals)),
        judged,
        correct_share: ratio(Some(correct as f64), Some(judged as f64)),
    })
}

fn quantiles(row: Row<'_>, name: &str) -> Result<Quantiles, QueryError> {
    let histogram = row.histogram(name)?;
    let at = |q| {
        histogram
            .as_ref()
            .and_then(|histogram| histogram.quantile(q))
    };
    Ok(Quantiles {
        p50: at(0.5),
        p95: at(0.95),
    })
}

/// None where there is nothing to divide by.
fn ratio(of: Option<f64>, by: Option<f64>) -> Option<f64> {
    of.zip(by.filter(|by| *by > 0.0)).map(|(of, by)| of / by)
}

#[cfg(test)]
mod tests;
