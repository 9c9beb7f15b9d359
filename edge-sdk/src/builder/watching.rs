//! What an application asks the line to watch on the device itself: the detector and golden
//! probes. In: options. Out: the same, checked. Part of [`Builder`].

use std::{fs, path::Path, time::Duration};

use super::{Builder, invalid};
use crate::{detector::Tuning, error::Error, probe::Goldens};

/// How often a probe runs.
const PROBE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// More would be alarms every hour, which nobody asks for.
const FALSE_ALARMS_MAX: f64 = 1_000.0;

/// Fewer values cannot tell what is usual; more would take a busy device a year.
const INFERENCES: std::ops::RangeInclusive<u32> = 256..=1_000_000;

const SPAN_MAX: Duration = Duration::from_secs(28 * 24 * 3600);

/// A golden file is a few KiB a probe.
const GOLDEN_BYTES_MAX: u64 = 4 << 20;

/// Options of what is watched on the device.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    tuning: Tuning,
    pub(crate) goldens: Vec<Goldens>,
    pub(crate) probe_every: Duration,
}

impl Default for Watching {
    fn default() -> Self {
        Self {
            tuning: Tuning::default(),
            goldens: Vec::new(),
            probe_every: PROBE_EVERY,
        }
    }
}

impl Builder {
    /// Watches on the device whether answers move from what the model's first ones were, with so
    /// many false alarms allowed in 30 days, all signals together: above 0, up to 1000. Alarms are
    /// counted by signal in `fathomline.device.alarm` and in
    /// [`Health::alarms`](crate::Health::alarms). Off unless set.
    ///
    /// The reference is learned from the first inferences of a model, all operations together, and
    /// kept in the spool folder; another model is learned anew. How often a quantile of the
    /// reference is exceeded must move by a twentieth of its standard deviation at least, or by
    /// what the reference may be wrong by if that is more.
    pub fn detector(mut self, false_alarms_per_month: f64) -> Self {
        self.watching.tuning.false_alarms = false_alarms_per_month;
        self.plan.detector = Some(self.watching.tuning);
        self
    }

    /// What the detector's reference takes at least: values of a signal, 256 to 1,000,000, and a
    /// span of time, up to 28 days, of which it takes whole multiples. 2,048 and a week unless
    /// set: what has not seen a night and a weekend will take them for a change. A span of zero is
    /// no rule.
    pub fn detector_reference(mut self, inferences: u32, span: Duration) -> Self {
        self.watching.tuning.inferences = inferences;
        self.watching.tuning.days = span.as_secs_f64() / 86_400.0;
        self.plan.detector = self.plan.detector.map(|_| self.watching.tuning);
        self
    }

    /// Reads what golden probes of a model must answer, as
    /// [`goldens`](crate::Fathomline::goldens) printed it on a machine that is trusted. Without
    /// it the first run on each device is the golden. One file a model.
    ///
    /// # Errors
    /// When the file cannot be read or holds no goldens.
    pub fn golden(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let goldens = read(path).map_err(|source| Error::Golden {
            path: path.to_owned(),
            source,
        })?;
        self.watching.goldens.push(goldens);
        Ok(self)
    }

    /// How often a golden probe is due; once a day unless set.
    pub fn probe_every(mut self, interval: Duration) -> Self {
        self.watching.probe_every = interval;
        self
    }

    pub(super) fn check_detector(&self) -> Result<(), Error> {
        let Some(tuning) = self.plan.detector else {
            return Ok(());
        };
        let alarms = tuning.false_alarms;
        if !(alarms > 0.0 && alarms <= FALSE_ALARMS_MAX) {
            let rule = "give false alarms a month, above 0 and up to 1000";
            return Err(invalid("detector", &alarms.to_string(), rule));
        }
        if !INFERENCES.contains(&tuning.inferences) {
            let inferences = tuning.inferences.to_string();
            let rule = "it must take 256 to 1000000 inferences";
            return Err(invalid("detector reference", &inferences, rule));
        }
        if tuning.days > SPAN_MAX.as_secs_f64() / 86_400.0 {
            let days = format!("{} days", tuning.days);
            return Err(invalid(
                "detector reference",
                &days,
                "it must span 28 days at most",
            ));
        }
        Ok(())
    }
}

fn read(path: &Path) -> std::io::Result<Goldens> {
    if fs::metadata(path)?.len() > GOLDEN_BYTES_MAX {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Goldens::parse(&fs::read(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fathomline;

    fn builder() -> Builder {
        Fathomline::builder("assistant", "1.4.0")
    }

    #[test]
    fn what_cannot_be_watched_is_refused_with_its_rule() {
        let day = Duration::from_secs(86_400);
        for (builder, message) in [
            (builder().detector(0.0), "cannot declare detector \"0\""),
            (
                builder().detector(f64::NAN),
                "cannot declare detector \"NaN\"",
            ),
            (builder().detector(1e4), "cannot declare detector \"10000\""),
            (
                builder().detector(1.0).detector_reference(9, day),
                "cannot declare detector reference \"9\"",
            ),
            (
                builder().detector_reference(300, 29 * day).detector(1.0),
                "cannot declare detector reference \"29 days\"",
            ),
        ] {
            let error = builder.check_detector().unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn the_order_of_the_two_options_does_not_matter() {
        let day = Duration::from_secs(86_400);
        let one = builder().detector(2.0).detector_reference(300, day);
        let other = builder().detector_reference(300, day).detector(2.0);
        assert_eq!(one.plan.detector, other.plan.detector);
        let off = builder().detector_reference(9, day);
        assert_eq!(off.plan.detector, None);
    }

    #[test]
    fn a_golden_file_that_is_none_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("golden.json");
        for text in ["", "{}", "[1]", r#"{"format":9}"#] {
            fs::write(&path, text).unwrap();
            let error = builder().golden(&path).unwrap_err().to_string();
            assert!(error.contains("golden.json"), "{error}");
        }
    }
}
