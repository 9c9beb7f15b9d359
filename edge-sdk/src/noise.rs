//! Noise for lines that must not tell of any single inference. Owns the terms: which metrics, how
//! much epsilon, how many inferences a day. In: two numbers and a list. Out: terms that hold, or
//! why they cannot.
//!
//! What is promised (`sampler` draws, `register` counts, `release` spends): each noised metric goes
//! as counts of cells fixed beforehand, each with noise of its own, empty ones too; nothing else
//! that inferences leave behind is sent. A release tells of one inference at most `metrics` times
//! the epsilon of a cell (twice that on a day that reaches its limit, because one more inference
//! then pushes out another), of a whole day at most the day's epsilon: no more inferences than
//! declared are counted. Releases go on when the limit is reached, with noise alone: a silence
//! would tell. Not covered: that a device runs at all, its load, temperature and memory.

mod register;
mod release;
pub(crate) mod sampler;

use fathomline_wire::{names, noise::cells};
use serde_json::{Value, json};

use crate::{
    meter::SIGNALS,
    words::{Feedback, FinishReason, Validity},
};

pub(crate) use register::Register;
pub(crate) use release::{Release, Releases};

/// Epsilons are whole numbers of millionths, so that they can be drawn from exactly.
const MILLION: u32 = 1_000_000;

/// Metrics that are noised unless others are named.
pub(crate) const DEFAULT_METRICS: [&str; 6] = [
    names::OPERATION_DURATION,
    names::OUTPUT_TOKENS,
    names::OUTPUT_SURPRISAL,
    names::OUTPUT_UNCERTAINTY,
    names::INPUT_SURPRISAL,
    names::OUTPUT_FINISH,
];

/// What an application asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) epsilon_per_day: f64,
    pub(crate) inferences_per_day: u32,
    pub(crate) metrics: Vec<String>,
}

/// What is kept to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Terms {
    pub(crate) metrics: Vec<Metric>,
    /// Epsilon of one cell in one release, in millionths.
    pub(crate) cell_millionths: u32,
    pub(crate) inferences_per_day: u32,
}

/// A metric and the names of its cells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) cells: Vec<String>,
}

impl Wish {
    /// The terms that keep to it; `labels` are declared and sorted.
    ///
    /// # Errors
    /// What was asked for, and why it cannot be.
    pub(crate) fn terms(&self, labels: &[String]) -> Result<Terms, (String, &'static str)> {
        let mut metrics: Vec<Metric> = Vec::new();
        for name in &self.metrics {
            let metric = metric(name, labels).ok_or((
                name.clone(),
                "noise is for distributions of inferences and for finish, validity, feedback and \
                 label",
            ))?;
            if !metrics.contains(&metric) {
                metrics.push(metric);
            }
        }
        let contributions = f64::from(self.inferences_per_day) * metrics.len() as f64;
        let millionths = self.epsilon_per_day * f64::from(MILLION) / contributions;
        let asked = || format!("{} for {contributions}", self.epsilon_per_day);
        if !millionths.is_finite() || millionths < 1.0 {
            let rule = "an epsilon is at least a millionth for each metric of each inference";
            return Err((asked(), rule));
        }
        // A larger one hides nothing: a cell is wrong once in 500 million times.
        if millionths > 20.0 * f64::from(MILLION) {
            return Err((asked(), "an epsilon above 20 for a cell is no noise"));
        }
        let mut cell_millionths = millionths as u32;
        // Downwards: what is stated is never exceeded, not by a last bit either.
        if f64::from(cell_millionths) * contributions > self.epsilon_per_day * f64::from(MILLION) {
            cell_millionths -= 1;
        }
        Ok(Terms {
            metrics,
            cell_millionths: cell_millionths.max(1),
            inferences_per_day: self.inferences_per_day,
        })
    }
}

impl Terms {
    /// Epsilon of one inference, in millionths.
    fn inference_millionths(&self) -> u64 {
        self.metrics.len() as u64 * u64::from(self.cell_millionths)
    }

    /// Epsilon of a day, in millionths: what was asked for, less what rounding left over.
    fn day_millionths(&self) -> u64 {
        u64::from(self.inferences_per_day) * self.inference_millionths()
    }

    /// Epsilon of one cell, as it is sent.
    pub(crate) fn cell_epsilon(&self) -> String {
        epsilon(self.cell_millionths.into()).to_string()
    }

    /// For whoever looks after the device.
    fn described(&self) -> Value {
        let metrics: Vec<_> = self.metrics.iter().map(|metric| metric.name).collect();
        json!({
            "unit": "millionths of epsilon",
            "metrics": metrics,
            "inferences_per_day": self.inferences_per_day,
            "epsilon_of_a_cell": epsilon(self.cell_millionths.into()),
            "epsilon_of_an_inference": epsilon(self.inference_millionths()),
            "epsilon_of_a_day": epsilon(self.day_millionths()),
        })
    }
}

fn epsilon(millionths: u64) -> f64 {
    millionths as f64 / f64::from(MILLION)
}

fn metric(name: &str, labels: &[String]) -> Option<Metric> {
    let known = names::metric(name)?;
    let cells = match known.name {
        names::OUTPUT_FINISH => owned(&FinishReason::ALL.map(FinishReason::name)),
        names::OUTPUT_VALIDITY => owned(&Validity::ALL.map(Validity::name)),
        names::FEEDBACK => owned(&Feedback::ALL.map(Feedback::name)),
        names::OUTPUT_LABEL => {
            let labels = labels.iter().cloned();
            labels.chain([names::OTHER.to_owned()]).collect()
        }
        // Not about inferences.
        names::MODEL_LOAD_DURATION | names::PROBE_DISTANCE => return None,
        signal if SIGNALS.contains(&signal) => cells(known.unit)?.names().collect(),
        _ => return None,
    };
    Some(Metric {
        name: known.name,
        cells,
    })
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests;
