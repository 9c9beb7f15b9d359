//! What a back-test says of one series. In: what was judged. Out: a row for people, or the same
//! with every page for programs. Outputs of few devices are counted and not told.

use fathomline_collector::clock::rfc3339;
use fathomline_queries::{
    drift::{Judged, Page, SeriesKey},
    published,
};
use serde::Serialize;

use crate::cli::keeping::Listed;

/// One series.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    series: String,
    name: String,
    /// Lanes that were judged, of those how many had too little, and in how many a drift went on.
    pub(super) judged: u64,
    pub(super) undecided: u64,
    drifting: u64,
    pages: Vec<Paged>,
    /// Why nothing was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    shortfall: Option<String>,
}

#[derive(Debug, Serialize)]
struct Paged {
    time: String,
    since: Option<String>,
    threshold: f64,
    count: u64,
    devices: u64,
    /// Not told of few devices, like the evidence.
    score: Option<f64>,
    evidence: String,
}

impl Line {
    pub(super) fn of(key: &SeriesKey, judged: Judged, min_devices: u32) -> Self {
        let told = |page: &Page| published::shows(min_devices, &key.metric, page.devices);
        let paged = |page: Page| Paged {
            time: rfc3339(page.end_us),
            since: page.since_us.map(rfc3339),
            threshold: page.threshold,
            count: page.count,
            devices: page.devices,
            score: told(&page).then_some(page.score),
            evidence: if told(&page) {
                page.evidence
            } else {
                format!("not told of {} devices", page.devices)
            },
        };
        Self {
            series: key.id(),
            name: key.to_string(),
            judged: judged.lanes,
            undecided: judged.undecided,
            drifting: judged.drifting,
            pages: judged.pages.into_iter().map(paged).collect(),
            shortfall: None,
        }
    }

    pub(super) fn without(key: &SeriesKey, shortfall: String) -> Self {
        Self {
            series: key.id(),
            name: key.to_string(),
            judged: 0,
            undecided: 0,
            drifting: 0,
            pages: Vec::new(),
            shortfall: Some(shortfall),
        }
    }
}

impl Listed for Line {
    const COLUMNS: &'static [&'static str] = &[
        "series",
        "lanes",
        "undecided",
        "drifting",
        "pages",
        "first page",
        "why",
    ];

    fn cells(&self) -> Vec<String> {
        let first = self.pages.first();
        let why = first.map(|page| page.evidence.clone());
        vec![
            self.name.clone(),
            self.judged.to_string(),
            self.undecided.to_string(),
            self.drifting.to_string(),
            self.pages.len().to_string(),
            first.map_or_else(String::new, |page| page.time.clone()),
            why.or(self.shortfall.clone()).unwrap_or_default(),
        ]
    }
}
