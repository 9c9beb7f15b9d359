//! What is kept of a probe's run, and how far two runs are apart. In: logits and tokens. Out: a
//! digest of the tokens, and for each of the first rows its spread and eight projections onto
//! random signs. Owns that reduction and its JSON. Pure; a token cannot be read back.
//!
//! A projection is the sum of the logits with random signs, over the root of their number. The
//! mean square difference of two rows' projections estimates the mean square difference of their
//! logits without keeping either, and a single logit that changed moves all eight. Numbers are
//! kept in steps of 2^-32, so that the same run gives the same integers and a file keeps them.

use std::{collections::BTreeMap, io};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Outcome, PROBES_MAX};
use crate::model::{Model, hex};

const FORMAT: u64 = 1;

/// Rows that are looked at.
const ROWS_MAX: usize = 64;

const PROJECTIONS: usize = 8;

/// Steps in one unit of a kept number.
const STEPS: f64 = (1u64 << 32) as f64;

/// A run that is under way.
#[derive(Debug, Default)]
pub(crate) struct Running {
    tokens: Sha256,
    rows: Vec<Row>,
    unsound: bool,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Of the tokens, in hexadecimal digits.
    digest: String,
    rows: Vec<Row>,
    unsound: bool,
}

/// A row of logits, reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    spread: i64,
    projections: [i64; PROJECTIONS],
}

impl Running {
    pub(super) fn add(&mut self, logits: &[f32], token: u32) {
        self.tokens.update(token.to_le_bytes());
        if self.rows.len() >= ROWS_MAX {
            return;
        }
        let row = Row::of(logits);
        self.unsound |= row.is_none();
        self.rows.push(row.unwrap_or_default());
    }

    pub(super) fn end(self) -> Run {
        Run {
            digest: hex(&self.tokens.finalize()),
            rows: self.rows,
            unsound: self.unsound,
        }
    }
}

impl Run {
    /// Whether others may be measured by it.
    pub(super) fn is_sound(&self) -> bool {
        !self.unsound && !self.rows.is_empty()
    }

    /// `None` when one of the two has no rows.
    pub(super) fn against(&self, golden: &Self) -> Option<Outcome> {
        let rows = self.rows.iter().zip(&golden.rows);
        let (sum, count) = rows.fold((0.0, 0.0), |(sum, count), (row, golden)| {
            (sum + row.distance(golden), count + 1.0)
        });
        (count > 0.0).then(|| Outcome {
            distance: sum / count,
            same_answer: self.digest == golden.digest,
        })
    }

    fn print(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let numbers = [row.spread].into_iter().chain(row.projections);
            numbers.collect::<Vec<i64>>()
        });
        json!({"tokens": self.digest, "rows": rows.collect::<Vec<_>>()})
    }

    fn parse(value: &Value) -> Option<Self> {
        let rows = value["rows"].as_array()?.iter().take(ROWS_MAX);
        let run = Self {
            digest: value["tokens"].as_str()?.to_owned(),
            rows: rows.map(Row::parse).collect::<Option<_>>()?,
            unsound: false,
        };
        run.is_sound().then_some(run)
    }
}

impl Row {
    /// `None` for a row that makes no sense. Tokens that were ruled out count as nothing.
    fn of(logits: &[f32]) -> Option<Self> {
        let is_logit = |logit: &f32| !logit.is_nan() && *logit != f32::INFINITY;
        if !logits.iter().all(is_logit) {
            return None;
        }
        let (mut count, mut sum, mut squares) = (0.0f64, 0.0, 0.0);
        let mut projections = [0.0; PROJECTIONS];
        for (index, logit) in logits.iter().enumerate() {
            if *logit == f32::NEG_INFINITY {
                continue;
            }
            let logit = f64::from(*logit);
            (count, sum, squares) = (count + 1.0, sum + logit, squares + logit * logit);
            let signs = signs(index);
            for (bit, projection) in projections.iter_mut().enumerate() {
                *projection += if signs >> bit & 1 == 1 { logit } else { -logit };
            }
        }
        if count == 0.0 {
            return None;
        }
        let variance = (squares / count - (sum / count).powi(2)).max(0.0);
        let root = count.sqrt();
        Some(Self {
            spread: steps(variance.sqrt()),
            projections: projections.map(|projection| steps(projection / root)),
        })
    }

    fn distance(&self, golden: &Self) -> f64 {
        let pairs = self.projections.iter().zip(&golden.projections);
        let squares = pairs.map(|(ours, theirs)| (*ours as f64 - *theirs as f64).powi(2));
        let change = (squares.sum::<f64>() / PROJECTIONS as f64).sqrt();
        // A row without spread has no scale of its own.
        let scale = if golden.spread > 0 {
            golden.spread as f64
        } else {
            STEPS
        };
        change / scale
    }

    fn parse(value: &Value) -> Option<Self> {
        let numbers = value.as_array()?.iter().map(Value::as_i64);
        let numbers = numbers.collect::<Option<Vec<i64>>>()?;
        let (spread, projections) = numbers.split_first()?;
        Some(Self {
            spread: *spread,
            projections: projections.try_into().ok()?,
        })
    }
}

/// The signs of one logit, a bit for each projection: splitmix64 of its place.
fn signs(index: usize) -> u64 {
    let mut mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Saturates, far beyond any logit.
fn steps(value: f64) -> i64 {
    (value * STEPS).round() as i64
}

/// Goldens of one model, by the name of the probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Goldens {
    model: String,
    version: String,
    variant: String,
    pub(super) probes: BTreeMap<String, Run>,
    /// When each probe last ran here, in seconds since the Unix epoch.
    pub(super) ran: BTreeMap<String, u64>,
}

impl Goldens {
    pub(super) fn of(model: &Model) -> Self {
        Self {
            model: model.name().to_owned(),
            version: model.version().to_owned(),
            variant: model.variant(),
            probes: BTreeMap::new(),
            ran: BTreeMap::new(),
        }
    }

    /// What people call the model: a file that was damaged on one device has another variant, and
    /// must still be measured by what was shipped.
    pub(super) fn is_model(&self, model: &Model) -> bool {
        self.model == model.name() && self.version == model.version()
    }

    pub(super) fn is_variant(&self, model: &Model) -> bool {
        self.is_model(model) && self.variant == model.variant()
    }

    /// A file's content.
    ///
    /// # Errors
    /// When it is no goldens of this format.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let value: Value = serde_json::from_slice(bytes)?;
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it holds no goldens");
        Self::from_value(&value).ok_or_else(invalid)
    }

    pub(super) fn print(&self) -> String {
        format!("{}\n", self.to_value(false))
    }

    fn from_value(value: &Value) -> Option<Self> {
        if value["format"].as_u64()? != FORMAT {
            return None;
        }
        let text = |key: &str| Some(value[key].as_str()?.to_owned());
        let probes = value["probes"].as_object()?.iter().take(PROBES_MAX);
        let probes = probes.map(|(name, run)| Some((name.clone(), Run::parse(run)?)));
        let ran = value["ran"].as_object().into_iter().flatten();
        let ran = ran.take(PROBES_MAX);
        Some(Self {
            model: text("model")?,
            version: text("version")?,
            variant: text("variant")?,
            probes: probes.collect::<Option<_>>()?,
            ran: ran
                .filter_map(|(name, at)| Some((name.clone(), at.as_u64()?)))
                .collect(),
        })
    }

    fn to_value(&self, with_runs: bool) -> Value {
        let probes = self.probes.iter();
        let probes: Map<_, _> = probes
            .map(|(name, run)| (name.clone(), run.print()))
            .collect();
        let mut value = json!({
            "format": FORMAT,
            "model": self.model,
            "version": self.version,
            "variant": self.variant,
            "probes": probes,
        });
        if with_runs {
            value["ran"] = json!(self.ran);
        }
        value
    }
}

/// The goldens of several variants, as the spool folder keeps them.
pub(super) fn print_all(goldens: &[Goldens]) -> String {
    let all = goldens.iter().map(|goldens| goldens.to_value(true));
    Value::from_iter(all).to_string()
}

pub(super) fn parse_all(bytes: &[u8]) -> Option<Vec<Goldens>> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    value.as_array()?.iter().map(Goldens::from_value).collect()
}
