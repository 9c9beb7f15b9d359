//! What an application asks to be hidden by noise. In: an epsilon, a number of inferences, names of
//! metrics. Out: checked terms, or what is wrong with them. Part of [`Builder`].

use super::{Builder, invalid};
use crate::{error::Error, noise};

impl Builder {
    /// Lets nothing leave of inferences but noised counts of fixed cells, once an hour. A whole
    /// day of inferences shows with at most `epsilon_per_day` (differential privacy, pure): no
    /// more than `inferences_per_day` are counted, and each may use an equal share. What is spent
    /// is kept in the spool folder, and `fathomline-edge status` shows it. Counts of one device
    /// say little then; those of a fleet add up. See [`noised_metrics`](Self::noised_metrics).
    pub fn noise(mut self, epsilon_per_day: f64, inferences_per_day: u32) -> Self {
        let metrics = self.noise.take().map(|wish| wish.metrics);
        let default = || noise::DEFAULT_METRICS.map(str::to_owned).to_vec();
        self.noise = Some(noise::Wish {
            epsilon_per_day,
            inferences_per_day,
            metrics: metrics.unwrap_or_else(default),
        });
        self
    }

    /// After [`noise`](Self::noise): the metrics to send, by their names in the contract, instead
    /// of duration, output tokens, surprisal of output and input, uncertainty and finish. They
    /// share the epsilon, so fewer are sharper.
    pub fn noised_metrics<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        if let Some(wish) = &mut self.noise {
            wish.metrics = names.into_iter().map(Into::into).collect();
        }
        self
    }

    /// After the labels, which may be cells.
    pub(super) fn check_noise(&mut self) -> Result<(), Error> {
        #[cfg(feature = "otel-bridge")]
        if self.noise.is_some() && self.plan.instruments.is_some() {
            let rule = "instruments of the application would be told exact values";
            return Err(invalid("noise", "with a bridge", rule));
        }
        let terms = self
            .noise
            .as_ref()
            .map(|wish| wish.terms(&self.plan.labels));
        let terms = terms.transpose();
        self.plan.noise = terms.map_err(|(value, rule)| invalid("noise", &value, rule))?;
        Ok(())
    }
}
