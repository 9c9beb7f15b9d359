//! What two versions of a model did at the same time, as the gate asks for it, and which versions
//! there are.
//!
//! In: a service, a model, two versions and when the candidate began. Out: a [`Rollout`]. Both
//! versions are read from rollups; devices are read one by one only where rollups cannot tell: who
//! ran what, and the baseline's own devices before the start. Never: who they are.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::ScalarValue;
use sha2::{Digest as _, Sha256};

use super::{shows_everything, texts};
use crate::{
    catalog::{ROLLOUT_DEVICES, ROLLOUT_HALVES, ROLLOUT_VERSIONS, ROLLOUT_WINDOWS},
    drift::Summary,
    engine::{Engine, QueryError},
    gate::{Arm, ArmWindow, Class, Rollout, Settings},
    row::{Row, rows, timestamp},
    schema::column,
    series::Span,
};

/// Devices of the group that stands for the candidate before the start: more of them tell no more,
/// and every row is looked up among them.
const GROUP_MAX: usize = 256;

/// A version that reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionSeen {
    /// `service.name`.
    pub service: String,
    /// Model name.
    pub model: String,
    /// Model version.
    pub version: String,
    /// Device class.
    pub device_class: String,
    /// Start of its first lane in the span, microseconds since the Unix epoch.
    pub first_us: i64,
    /// End of its last.
    pub last_us: i64,
    /// Distinct devices, approximate above 128.
    pub devices: u64,
}

/// Versions that reported in a span.
///
/// # Errors
/// When the engine's limits are reached.
pub async fn versions(engine: &Engine, span: Span) -> Result<Vec<VersionSeen>, QueryError> {
    let batches = engine.ask(&ROLLOUT_VERSIONS, span.parameters()).await?;
    let seen = |row: Row<'_>| {
        Ok(VersionSeen {
            service: row.text(column::SERVICE)?,
            model: row.text(column::MODEL)?,
            version: row.text(column::VERSION)?,
            device_class: row.text(column::DEVICE_CLASS)?,
            first_us: row.time("first_time")?,
            last_us: row.time("last_time")?,
            devices: row.devices(column::DEVICES)?.count(),
        })
    };
    rows(&batches).map(seen).collect()
}

/// Which rollout.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// `service.name`.
    pub service: &'a str,
    /// Model name.
    pub model: &'a str,
    /// The version that wants to go on.
    pub candidate: &'a str,
    /// The version it is held against.
    pub against: &'a str,
    /// One device class; none for all.
    pub device_class: Option<&'a str>,
    /// When the candidate began to run, microseconds since the Unix epoch.
    pub started_us: i64,
    /// End of the last lane that is closed.
    pub to_us: i64,
    /// Width of the collector's lanes.
    pub lane_us: i64,
    /// The metric that must get better, if one must.
    pub improve: Option<&'a str>,
    /// How it will be judged.
    pub settings: &'a Settings,
}

/// Reads what the gate decides by. Windows begin with the first lane after the start, and only
/// whole ones are read.
///
/// # Errors
/// When the engine folds small groups, or its limits are reached.
pub async fn seen(engine: &Engine, wanted: &Wanted<'_>) -> Result<Rollout, QueryError> {
    shows_everything(engine)?;
    let since = wanted.since();
    let devices = devices(engine, wanted, since).await?;
    let group = devices.group(wanted.settings.min_devices);
    let mut classes: BTreeMap<String, Class> = BTreeMap::new();
    for (device_class, counted) in &devices.0 {
        if counted.candidate.is_empty() {
            continue;
        }
        let class = Class {
            device_class: device_class.clone(),
            candidate_devices: counted.candidate.len() as u64,
            against_devices: counted.against.len() as u64,
            ..Class::default()
        };
        classes.insert(device_class.clone(), class);
    }
    if !classes.is_empty() {
        read_since(engine, wanted, since, &mut classes).await?;
        read_before(engine, wanted, since.from_us, &group, &mut classes).await?;
    }
    Ok(Rollout {
        service: wanted.service.to_owned(),
        model: wanted.model.to_owned(),
        candidate: wanted.candidate.to_owned(),
        against: wanted.against.to_owned(),
        started_us: since.from_us,
        improve: wanted.improve.map(str::to_owned),
        classes: classes.into_values().collect(),
    })
}

impl Wanted<'_> {
    /// Whole windows since the start.
    fn since(&self) -> Span {
        let lane_us = self.lane_us.max(1);
        let from_us = (self.started_us + lane_us - 1).div_euclid(lane_us) * lane_us;
        let window_us = self.settings.window_us.max(1);
        let windows = (self.to_us - from_us).max(0) / window_us;
        Span {
            width_us: self.lane_us,
            from_us,
            to_us: from_us + windows * window_us,
        }
    }

    fn is_wanted(&self, device_class: &str) -> bool {
        self.device_class
            .is_none_or(|wanted| wanted == device_class)
    }

    fn parameters(&self) -> Vec<(&'static str, ScalarValue)> {
        let metrics: Vec<&str> = self.settings.metrics.iter().map(String::as_str).collect();
        vec![
            (column::SERVICE, ScalarValue::from(self.service)),
            (column::MODEL, ScalarValue::from(self.model)),
            ("metrics", texts(&metrics)),
        ]
    }

    fn step(&self) -> ScalarValue {
        let nanos = self.settings.window_us.saturating_mul(1000);
        ScalarValue::new_interval_mdn(0, 0, nanos)
    }
}

/// Devices of one class.
#[derive(Default)]
struct Counted {
    /// Ran the candidate since the start.
    candidate: BTreeSet<String>,
    /// Ran the baseline since the start.
    against: BTreeSet<String>,
    /// Ran the baseline before it.
    before: BTreeSet<String>,
}

struct Devices(BTreeMap<String, Counted>);

impl Devices {
    /// Those whose rows before the start stand for the candidate: the very devices that run it now,
    /// if enough of them ran the baseline; otherwise as large a part of the others, by a hash.
    fn group(&self, min_devices: u64) -> BTreeSet<String> {
        let each = self
            .0
            .values()
            .filter(|counted| !counted.candidate.is_empty());
        each.flat_map(|counted| counted.group(min_devices))
            .collect()
    }
}

impl Counted {
    fn group(&self, min_devices: u64) -> Vec<String> {
        let moved: Vec<&String> = self.before.intersection(&self.candidate).collect();
        let stayed = self.before.len() - moved.len();
        let enough = |devices: usize| devices as u64 >= min_devices;
        if enough(moved.len()) && enough(stayed) {
            return some(moved, GROUP_MAX);
        }
        let (candidate, against) = (self.candidate.len(), self.against.len());
        let share = candidate as f64 / (candidate + against).max(1) as f64;
        let most = self.before.len().saturating_sub(1).min(GROUP_MAX);
        let size = (share * self.before.len() as f64).round() as usize;
        some(self.before.iter().collect(), size.clamp(most.min(1), most))
    }
}

/// So many of them, by the hash of their name: chance that is the same every time.
fn some(devices: Vec<&String>, size: usize) -> Vec<String> {
    let mut hashed: Vec<([u8; 32], &String)> = devices
        .into_iter()
        .map(|device| (Sha256::digest(device).into(), device))
        .collect();
    hashed.sort_unstable();
    hashed.truncate(size);
    hashed
        .into_iter()
        .map(|(_, device)| device.clone())
        .collect()
}

async fn devices(engine: &Engine, wanted: &Wanted<'_>, since: Span) -> Result<Devices, QueryError> {
    let before_us = since.from_us.saturating_sub(wanted.settings.aa_us);
    let mut found: BTreeMap<String, Counted> = BTreeMap::new();
    // Before and since the start apart: a version may have run at both times.
    let both = [wanted.candidate, wanted.against];
    let spans: [(bool, i64, i64, &[&str]); 2] = [
        (true, before_us, since.from_us, &[wanted.against]),
        (false, since.from_us, since.to_us, &both),
    ];
    for (is_before, from_us, to_us, versions) in spans {
        let mut parameters = wanted.parameters();
        parameters.extend([
            ("from", timestamp(from_us)),
            ("to", timestamp(to_us)),
            ("versions", texts(versions)),
        ]);
        let batches = engine.ask(&ROLLOUT_DEVICES, parameters).await?;
        for row in rows(&batches) {
            let device_class = row.text(column::DEVICE_CLASS)?;
            if !wanted.is_wanted(&device_class) {
                continue;
            }
            let counted = found.entry(device_class).or_default();
            let version = row.text(column::VERSION)?;
            let of = match (is_before, version == wanted.candidate) {
                (true, _) => &mut counted.before,
                (false, true) => &mut counted.candidate,
                (false, false) => &mut counted.against,
            };
            of.insert(row.text(column::DEVICE)?);
        }
    }
    Ok(Devices(found))
}

/// Both versions since the start, from rollups.
async fn read_since(
    engine: &Engine,
    wanted: &Wanted<'_>,
    since: Span,
    classes: &mut BTreeMap<String, Class>,
) -> Result<(), QueryError> {
    let mut parameters = wanted.parameters();
    parameters.extend(since.parameters());
    parameters.extend([
        ("step", wanted.step()),
        ("versions", texts(&[wanted.candidate, wanted.against])),
    ]);
    let batches = engine.ask(&ROLLOUT_WINDOWS, parameters).await?;
    for row in rows(&batches) {
        let Some(class) = classes.get_mut(&row.text(column::DEVICE_CLASS)?) else {
            continue;
        };
        let arm = match row.text(column::VERSION)? == wanted.candidate {
            true => Arm::Candidate,
            false => Arm::Against,
        };
        let devices = row.devices(column::DEVICES)?.count();
        class.since.push(window(row, (arm, devices), wanted)?);
    }
    Ok(())
}

/// The baseline's devices in two groups before the start.
async fn read_before(
    engine: &Engine,
    wanted: &Wanted<'_>,
    started_us: i64,
    group: &BTreeSet<String>,
    classes: &mut BTreeMap<String, Class>,
) -> Result<(), QueryError> {
    let group: Vec<&str> = group.iter().map(String::as_str).collect();
    let mut parameters = wanted.parameters();
    parameters.extend([
        (
            "from",
            timestamp(started_us.saturating_sub(wanted.settings.aa_us)),
        ),
        ("to", timestamp(started_us)),
        ("step", wanted.step()),
        (column::VERSION, ScalarValue::from(wanted.against)),
        ("group", texts(&group)),
    ]);
    let batches = engine.ask(&ROLLOUT_HALVES, parameters).await?;
    for row in rows(&batches) {
        let Some(class) = classes.get_mut(&row.text(column::DEVICE_CLASS)?) else {
            continue;
        };
        let arm = match row.flag("in_group")? {
            true => Arm::Candidate,
            false => Arm::Against,
        };
        class.before.push(window(row, (arm, 0), wanted)?);
    }
    Ok(())
}

/// One row as what an arm did: of a distribution its category is what it must not be mixed over, of
/// a counter what was counted.
fn window(
    row: Row<'_>,
    (arm, devices): (Arm, u64),
    wanted: &Wanted<'_>,
) -> Result<ArmWindow, QueryError> {
    let category = row.text(column::CATEGORY)?;
    let (source, summary) = match row.histogram("histogram")? {
        Some(histogram) => (category, Summary::Histogram(histogram)),
        None => {
            // Intake lets no negative count in; what an older version stored stops no other.
            let count = row.integer(column::COUNT)?.max(0).unsigned_abs();
            let counts = BTreeMap::from([(category, count)]);
            (String::new(), Summary::Categories(counts))
        }
    };
    Ok(ArmWindow {
        arm,
        end_us: row.time(column::START_TIME)? + wanted.settings.window_us,
        metric: row.text(column::METRIC)?,
        source,
        summary,
        devices,
    })
}

#[cfg(test)]
mod tests;
