//! Lanes to references. In: a request, where lanes come from, incidents. Out: references that are
//! not kept yet, and what the others lack. Reads one signal and one day at a time, because four
//! weeks of everything fit into no memory.

use std::collections::BTreeMap;

use fathomline_queries::{
    drift::{
        DEVICES_REPORTING, Lane, Level, Making, Part, Policy, REFERENCE_BYTES_MAX, Reference,
        SeriesKey,
    },
    lanes::parts::SeriesParts,
    published,
};

use super::{ControlError, CreateRequest, Missing};
use crate::{
    clock::{DAY_US, HOUR_US},
    database::{Database, DatabaseError, references},
    watch::{
        WatchSettings,
        lanes::{Asked, AskedParts, LaneSource, SeriesLanes},
        schedule::Span,
    },
};

/// Lanes read at once: a day of minutes.
const CHUNK_LANES: i64 = 1_440;

/// Lanes that are held at once, about a kilobyte each.
const HELD_LANES_MAX: usize = 300_000;

/// Parts that are held at once, about a kilobyte each.
const HELD_PARTS_MAX: usize = 200_000;

/// What a request comes to.
pub(super) struct Made {
    pub(super) references: Vec<(Reference, usize)>,
    pub(super) shortfalls: Vec<Missing>,
}

/// Where to read, and by what to make.
pub(super) struct Maker<'a> {
    pub(super) database: &'a Database,
    pub(super) lanes: &'a dyn LaneSource,
    pub(super) settings: &'a WatchSettings,
    pub(super) request: &'a CreateRequest,
    pub(super) span: Span,
}

/// A series to be frozen.
struct Wanted {
    making: Making,
    lanes: Vec<Lane>,
    excluded: usize,
}

/// Lanes of every series that is one at the level that was asked for.
#[derive(Default)]
struct Together {
    shown: Vec<Lane>,
    /// Of series whose lanes are all of few devices.
    of_few: Vec<Lane>,
    excluded: usize,
}

impl Together {
    /// As with lanes, so with series: what is of few devices is used where there is nothing else.
    fn lanes(self) -> Vec<Lane> {
        taken_together(match self.shown.is_empty() {
            true => self.of_few,
            false => self.shown,
        })
    }
}

impl Maker<'_> {
    pub(super) async fn make(&self) -> Result<Made, ControlError> {
        let mut made = Made {
            references: vec![],
            shortfalls: vec![],
        };
        for metrics in self.parts() {
            let wanted = self.wanted(&metrics).await?;
            let policy = self.settings.policy.clone();
            let freeze = move || freeze_all(wanted, &policy);
            let frozen = tokio::task::spawn_blocking(freeze).await;
            let (references, shortfalls) = frozen.map_err(|_| DatabaseError::Stopped)??;
            made.references
                .extend(self.with_devices(references, &metrics).await?);
            made.shortfalls.extend(shortfalls);
        }
        if made.references.is_empty() && made.shortfalls.is_empty() {
            return Err(ControlError::Nothing {
                model: self.request.model.clone(),
                from_us: self.span.from_us,
                to_us: self.span.to_us,
            });
        }
        Ok(made)
    }

    /// Signals that are read together: all of them where the span is short. How many devices report
    /// is known by other signals, so it is never read alone.
    fn parts(&self) -> Vec<Vec<String>> {
        let all = &self.settings.metrics;
        let lanes = (self.span.to_us - self.span.from_us) / self.settings.cadence.lane_us;
        if lanes <= CHUNK_LANES {
            return vec![all.clone()];
        }
        let only = self.request.metric.as_deref();
        let asked = |metric: &str| only.is_none_or(|only| only == metric);
        let others = all.iter().filter(|metric| *metric != DEVICES_REPORTING);
        let mut parts: Vec<Vec<String>> = others
            .filter(|metric| asked(metric) || only == Some(DEVICES_REPORTING))
            .map(|metric| vec![metric.clone()])
            .collect();
        let counted = all.iter().any(|metric| metric == DEVICES_REPORTING);
        if counted && asked(DEVICES_REPORTING) {
            parts.truncate(if only.is_some() { 1 } else { parts.len() });
            let first = parts.iter_mut().take(1);
            first.for_each(|part| part.push(DEVICES_REPORTING.to_owned()));
        }
        parts
    }

    /// Series of some signals as they are called at the level that was asked for.
    async fn wanted(&self, metrics: &[String]) -> Result<Vec<Wanted>, ControlError> {
        let level = self.request.level;
        let mut wanted: BTreeMap<SeriesKey, Together> = BTreeMap::new();
        let read = self.read(metrics).await?.into_iter();
        // Devices of several variants may be the same ones: nobody can say how many report.
        let told = |key: &SeriesKey| level == Level::Variant || key.metric != DEVICES_REPORTING;
        for (key, mut lanes) in read.filter(|(key, _)| told(key)) {
            let excluded = self.exclude_incidents(&key, &mut lanes).await?;
            let together = wanted.entry(key.at(level)).or_default();
            match keep_what_is_shown(&mut lanes, &key.metric, self.settings.min_devices) {
                true => together.shown.append(&mut lanes),
                false => together.of_few.append(&mut lanes),
            }
            together.excluded += excluded;
        }
        let wanted = wanted.into_iter().map(|(key, together)| Wanted {
            making: Making {
                key,
                level,
                season: self.request.season(),
            },
            excluded: together.excluded,
            lanes: together.lanes(),
        });
        Ok(wanted.collect())
    }

    async fn read(&self, metrics: &[String]) -> Result<SeriesLanes, ControlError> {
        let lane_us = self.settings.cadence.lane_us;
        let (mut read, mut held) = (SeriesLanes::new(), 0);
        let mut from_us = self.span.from_us;
        while from_us < self.span.to_us {
            let chunk_us = CHUNK_LANES.saturating_mul(lane_us);
            let span = Span {
                from_us,
                to_us: from_us.saturating_add(chunk_us).min(self.span.to_us),
            };
            let asked = Asked {
                span,
                lane_us,
                metrics,
            };
            let found = self.lanes.lanes(asked).await.map_err(ControlError::Lanes)?;
            for (key, lanes) in found {
                if metrics.contains(&key.metric) && self.request.wants(&key) && !lanes.is_empty() {
                    held += lanes.len();
                    read.entry(key).or_default().extend(lanes);
                }
            }
            if held > HELD_LANES_MAX {
                return Err(ControlError::Request(format!(
                    "there are more than {HELD_LANES_MAX} lanes of {} in this span; choose one class of devices, one version or a shorter span",
                    metrics.join(", ")
                )));
            }
            from_us = span.to_us;
        }
        Ok(read)
    }

    /// Adds what devices say: how much they differ, and at which sites they were. Parents are made
    /// without it: they never page.
    async fn with_devices(
        &self,
        references: Vec<(Reference, usize)>,
        metrics: &[String],
    ) -> Result<Vec<(Reference, usize)>, ControlError> {
        if references.is_empty() || self.request.level != Level::Variant {
            return Ok(references);
        }
        let mut parts = self.parts_of(metrics).await;
        let mut with = Vec::with_capacity(references.len());
        for (reference, excluded) in references {
            let key = reference.key();
            let min_devices = published::devices_needed(self.settings.min_devices, &key.metric);
            let own = match parts.remove(key) {
                Some(own) if excluded > 0 => Some(self.without_incidents(key, own).await?),
                own => own,
            };
            let reference = match own {
                Some(own) => reference.with_devices(&own, min_devices),
                None => reference,
            };
            with.push((reference, excluded));
        }
        Ok(with)
    }

    /// What devices did in its lanes of a reference, of which some were left out: hours that are
    /// known as a whole stay only where no incident touches them, shorter spans are read again.
    async fn without_incidents(
        &self,
        key: &SeriesKey,
        mut parts: Vec<Part>,
    ) -> Result<Vec<Part>, ControlError> {
        let incidents = self.incidents(key).await?;
        if self.by_hour() {
            let touches = |part: &Part, (since_us, to_us): &(i64, i64)| {
                part.end_us > *since_us && part.end_us - HOUR_US < *to_us
            };
            parts.retain(|part| !incidents.iter().any(|incident| touches(part, incident)));
            return Ok(parts);
        }
        parts.clear();
        for span in between(self.span, incidents) {
            let asked = AskedParts {
                span,
                metrics: &[&key.metric],
                models: &[&key.model],
                hourly: false,
            };
            let mut read = self.lanes.parts(asked).await.map_err(ControlError::Lanes)?;
            parts.append(&mut read.remove(key).unwrap_or_default());
        }
        Ok(parts)
    }

    /// Whether what devices did is read hour by hour.
    fn by_hour(&self) -> bool {
        self.span.to_us - self.span.from_us > 2 * HOUR_US
    }

    /// What each device did: of a short span its rows, of a longer one the hours of its last day,
    /// the newest first, as many as fit.
    async fn parts_of(&self, metrics: &[String]) -> SeriesParts {
        let others = metrics.iter().filter(|metric| *metric != DEVICES_REPORTING);
        let metrics: Vec<&str> = others.map(String::as_str).collect();
        let hourly = self.by_hour();
        let begin_us = match hourly {
            true => self.span.from_us.max(self.span.to_us - DAY_US),
            false => self.span.from_us,
        };
        let (mut parts, mut held) = (SeriesParts::new(), 0);
        let mut to_us = self.span.to_us;
        while to_us > begin_us && held < HELD_PARTS_MAX {
            let from_us = if hourly {
                (to_us - HOUR_US).max(begin_us)
            } else {
                begin_us
            };
            let asked = AskedParts {
                span: Span { from_us, to_us },
                metrics: &metrics,
                models: &[&self.request.model],
                hourly,
            };
            match self.lanes.parts(asked).await {
                Ok(found) => {
                    for (key, found) in found {
                        held += found.len();
                        parts.entry(key).or_default().extend(found);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "making references without what devices say");
                    return SeriesParts::new();
                }
            }
            to_us = from_us;
        }
        parts
    }

    /// A drift is not how it was: its lanes enter no reference unless somebody wants them.
    async fn exclude_incidents(
        &self,
        key: &SeriesKey,
        lanes: &mut Vec<Lane>,
    ) -> Result<usize, ControlError> {
        if self.request.include_incidents {
            return Ok(0);
        }
        let incidents = self.incidents(key).await?;
        let before = lanes.len();
        let during = |lane: &Lane, (since_us, to_us): &(i64, i64)| {
            lane.end_us > *since_us && lane.end_us <= *to_us
        };
        lanes.retain(|lane| !incidents.iter().any(|incident| during(lane, incident)));
        Ok(before - lanes.len())
    }

    /// Spans in which a series drifted.
    async fn incidents(&self, key: &SeriesKey) -> Result<Vec<(i64, i64)>, ControlError> {
        let (series, span) = (key.id(), (self.span.from_us, self.span.to_us));
        let read = self
            .database
            .transact(move |t| references::incidents(t, &series, span));
        Ok(read.await?)
    }
}

/// What of a span is in no incident.
fn between(span: Span, mut incidents: Vec<(i64, i64)>) -> Vec<Span> {
    incidents.sort_unstable();
    let (mut from_us, mut found) = (span.from_us, vec![]);
    for (since_us, until_us) in incidents.into_iter().chain([(span.to_us, span.to_us)]) {
        let to_us = since_us.min(span.to_us);
        if from_us < to_us {
            found.push(Span { from_us, to_us });
        }
        from_us = from_us.max(until_us);
    }
    found
}

/// References are drawn beside what is published. One that held the lanes of few devices as well
/// would tell of them by what it has more, so it is made of the others, where there are any. Where
/// there are none, its own number of devices keeps it from being drawn. Whether there were any.
fn keep_what_is_shown(lanes: &mut Vec<Lane>, metric: &str, min_devices: u32) -> bool {
    let shown = |lane: &Lane| published::shows(min_devices, metric, lane.devices);
    let any = lanes.iter().any(shown);
    if any {
        lanes.retain(shown);
    }
    any
}

/// Lanes of several series that ended together, as one. One device may run several variants, so
/// there are at least as many devices as the largest of them has.
fn taken_together(mut lanes: Vec<Lane>) -> Vec<Lane> {
    lanes.sort_by_key(|lane| lane.end_us);
    let mut together: Vec<Lane> = Vec::with_capacity(lanes.len());
    for lane in lanes {
        match together
            .last_mut()
            .filter(|last| last.end_us == lane.end_us)
        {
            Some(last) => {
                last.summary.merge(&lane.summary);
                last.count += lane.count;
                last.device_windows += lane.device_windows;
                last.devices = last.devices.max(lane.devices);
            }
            None => together.push(lane),
        }
    }
    together
}

type Frozen = (Vec<(Reference, usize)>, Vec<Missing>);

fn freeze_all(wanted: Vec<Wanted>, policy: &Policy) -> Result<Frozen, ControlError> {
    let (mut references, mut shortfalls) = (vec![], vec![]);
    for Wanted {
        making,
        lanes,
        excluded,
    } in wanted
    {
        let (series, name) = (making.key.id(), making.key.to_string());
        match making.freeze(&lanes, policy) {
            Ok(reference) => references.push((reference, excluded)),
            Err(shortfall) => shortfalls.push(Missing {
                series,
                name,
                shortfall: with_excluded(shortfall.to_string(), excluded),
            }),
        }
    }
    Ok((references, shortfalls))
}

fn with_excluded(shortfall: String, excluded: usize) -> String {
    match excluded {
        0 => shortfall,
        _ => format!(
            "{shortfall}; {excluded} lanes were left out because the series drifted then, unless include_incidents says otherwise"
        ),
    }
}

/// The bytes of a reference, as they are kept.
pub(super) fn encode(reference: &Reference) -> Result<Vec<u8>, ControlError> {
    let failed = |why: String| ControlError::Reference {
        name: reference.key().to_string(),
        why,
    };
    let bytes = postcard::to_allocvec(reference).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > REFERENCE_BYTES_MAX {
        return Err(failed(format!(
            "it takes {} bytes and {REFERENCE_BYTES_MAX} are allowed; choose a shorter span",
            bytes.len()
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_incident_is_left_in_order_and_without_overlap() {
        let of = |from_us, to_us| Span { from_us, to_us };
        let between = |incidents: &[(i64, i64)]| between(of(10, 20), incidents.to_vec());
        assert_eq!(between(&[]), [of(10, 20)]);
        assert_eq!(between(&[(12, 15), (12, 14)]), [of(10, 12), of(15, 20)]);
        assert_eq!(between(&[(18, 25), (5, 11)]), [of(11, 18)]);
        assert_eq!(between(&[(13, 14), (14, 16)]), [of(10, 13), of(16, 20)]);
        assert_eq!(between(&[(10, 20)]), []);
    }
}
