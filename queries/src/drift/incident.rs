//! An incident taken apart: which classes, versions, signals, sites and values of what drifts
//! together it is made of.
//!
//! In: series with what each is made of. Out: a score, and contributors of each kind, the largest
//! first, which add up to it. The score is the debiased PSI of all its series together: PSI is a
//! sum of two relative entropies, and those of signals that do not depend on each other add up. It
//! ranks what people look at, and never pages.

use std::collections::BTreeMap;

use super::{Breakdown, SeriesKey};

/// Series that drift together, taken apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incident {
    /// Nats.
    pub score: f64,
    /// Series whose distance is known.
    pub series: u32,
    /// Series that drift with them and of which no distance is known, or told.
    pub untold: u32,
    parts: BTreeMap<(ContributorKind, String), IncidentPart>,
}

/// What contributors are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContributorKind {
    /// Class of devices.
    Class,
    /// Version of the model.
    Version,
    /// Metric.
    Signal,
    /// Where devices are.
    Site,
    /// Range of values, or category, of one signal.
    Bin,
}

/// What one of them adds.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentPart {
    /// Which one, in words; a signal by its metric.
    pub name: String,
    /// Of which metric a bin is.
    pub metric: Option<String>,
    /// Series that it adds up from.
    pub series: u32,
    /// What it adds, nats; a site may take away.
    pub part: f64,
}

impl ContributorKind {
    /// All there are, from the widest to the narrowest.
    pub const ALL: [Self; 5] = [
        Self::Class,
        Self::Version,
        Self::Signal,
        Self::Site,
        Self::Bin,
    ];

    /// Its name in events and on pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Version => "version",
            Self::Signal => "signal",
            Self::Site => "site",
            Self::Bin => "bin",
        }
    }
}

impl Incident {
    /// Takes apart what drifts together. A series without a breakdown is counted and adds nothing.
    pub fn of<'a>(
        series: impl IntoIterator<Item = (&'a SeriesKey, Option<&'a Breakdown>)>,
    ) -> Self {
        let mut incident = Self::default();
        let mut ordered: Vec<_> = series.into_iter().collect();
        // Sums have the same bits whatever order series come in.
        ordered.sort_by(|a, b| a.0.cmp(b.0));
        for (key, breakdown) in ordered {
            incident.add(key, breakdown);
        }
        incident
    }

    fn add(&mut self, key: &SeriesKey, breakdown: Option<&Breakdown>) {
        let known = breakdown.and_then(|of| Some((of, of.psi_debiased?)));
        let Some((breakdown, distance)) = known else {
            self.untold += 1;
            return;
        };
        self.series += 1;
        self.score += distance;
        let of_series = [
            (ContributorKind::Class, &key.device_class),
            (ContributorKind::Version, &key.version),
            (ContributorKind::Signal, &key.metric),
        ];
        for (kind, name) in of_series {
            self.contribute(kind, name.clone(), None, distance);
        }
        for site in &breakdown.sites {
            self.contribute(ContributorKind::Site, site.named(), None, site.part);
        }
        if breakdown.sites.is_empty() {
            let unknown = "where the reference knows no sites".to_owned();
            self.contribute(ContributorKind::Site, unknown, None, distance);
        }
        for bin in &breakdown.bins {
            let of = Some(&key.metric);
            self.contribute(ContributorKind::Bin, bin.bin.clone(), of, bin.part);
        }
    }

    fn contribute(
        &mut self,
        kind: ContributorKind,
        name: String,
        metric: Option<&String>,
        part: f64,
    ) {
        let place = match metric {
            Some(metric) => format!("{metric}\n{name}"),
            None => name.clone(),
        };
        let sum = self.parts.entry((kind, place)).or_insert(IncidentPart {
            name,
            metric: metric.cloned(),
            series: 0,
            part: 0.0,
        });
        sum.series += 1;
        sum.part += part;
    }

    /// Contributors of a kind, the largest first; where there are more than `most`, all beyond are
    /// one, so that they add up to the score.
    pub fn ranked(&self, kind: ContributorKind, most: usize) -> Vec<IncidentPart> {
        let of_kind = self.parts.iter().filter(|((of, _), _)| *of == kind);
        let mut ranked: Vec<IncidentPart> = of_kind.map(|(_, part)| part.clone()).collect();
        // Equal ones stay in the order of their names.
        ranked.sort_by(|a, b| b.part.total_cmp(&a.part));
        if ranked.len() > most {
            let rest = ranked.split_off(most.saturating_sub(1));
            ranked.push(IncidentPart {
                name: format!("{} others", rest.len()),
                metric: None,
                series: rest.iter().map(|part| part.series).max().unwrap_or(0),
                part: rest.iter().map(|part| part.part).sum(),
            });
        }
        ranked
    }
}

#[cfg(test)]
mod tests;
