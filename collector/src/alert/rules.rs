//! By which rule the alert of each signal fires. Pure. In: section `alert` of the configuration.
//! Out: the rule of a metric. Never: who is told.

use std::{collections::BTreeMap, time::Duration};

use super::state::Rule;

/// Rules by signal, and how alerts become incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Of signals that have none of their own.
    pub(crate) usual: Rule,
    /// By metric name.
    pub(crate) own: BTreeMap<String, Rule>,
    /// Alerts of one model that fire within it after an incident opened are of it.
    pub(crate) group_within: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            usual: Rule::default(),
            own: BTreeMap::new(),
            group_within: Duration::from_secs(3_600),
        }
    }
}

impl Rules {
    pub(crate) fn of(&self, metric: &str) -> Rule {
        self.own.get(metric).copied().unwrap_or(self.usual)
    }

    pub(crate) fn group_us(&self) -> i64 {
        i64::try_from(self.group_within.as_micros()).unwrap_or(i64::MAX)
    }
}
