//! A labelled guess where no sensor is: processor seconds of this process times the watts that one
//! busy core was declared to draw. Easily half or double the truth: good for trends on one class of
//! devices, never to be mixed with what was measured.

use std::path::{Path, PathBuf};

use super::{Source, text};

/// Clock ticks a second that Linux reports processor time in, on every architecture it runs on.
const TICKS: f64 = 100.0;

/// Fields 14 and 15 of `/proc/self/stat`, counted behind the process's name.
const USER_TIME: usize = 11;

pub(super) struct Estimate {
    stat: PathBuf,
    watts: f64,
    last: Option<f64>,
}

pub(super) fn find(root: &Path, watts: f64) -> Option<Estimate> {
    let estimate = Estimate {
        stat: root.join("proc/self/stat"),
        watts,
        last: None,
    };
    estimate.seconds().is_some().then_some(estimate)
}

impl Estimate {
    fn seconds(&self) -> Option<f64> {
        let stat = text(&self.stat)?;
        // The name may hold blanks and brackets; the last bracket ends it.
        let (_, fields) = stat.rsplit_once(')')?;
        let times = fields.split_whitespace().skip(USER_TIME).take(2);
        let ticks: Option<Vec<f64>> = times.map(|time| time.parse().ok()).collect();
        ticks
            .filter(|ticks| ticks.len() == 2)
            .map(|ticks| ticks.iter().sum::<f64>() / TICKS)
    }
}

impl Source for Estimate {
    fn joules(&mut self, _at: f64) -> Option<f64> {
        let now = self.seconds();
        let last = std::mem::replace(&mut self.last, now);
        Some((now? - last?).max(0.0) * self.watts)
    }
}
