//! What the gate answers, with everything needed to check it. Logarithms of e-values are natural.

use serde::{Deserialize, Serialize};

use super::{Role, Settings};

/// What to do with the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Shown to be no more than the margin worse in everything that was looked at.
    Promote,
    /// Shown to be worse.
    Rollback,
    /// Neither: wait, or ask a person.
    Hold,
}

impl Decision {
    /// The word in answers and on pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Hold => "hold",
        }
    }
}

/// What is known of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Shown to be worse.
    Worse,
    /// Shown to be within the margin, and better where it must be.
    Fine,
    /// A change without a better side.
    Changed,
    /// Too little is known.
    Undecided,
}

impl Standing {
    /// The word in answers and on pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Fine => "fine",
            Self::Changed => "changed",
            Self::Undecided => "undecided",
        }
    }
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What to do.
    pub decision: Decision,
    /// Why, in a sentence.
    pub reason: String,
    /// `service.name`.
    pub service: String,
    /// Model name.
    pub model: String,
    /// The version that wants to go on.
    pub candidate: String,
    /// The version it is held against.
    pub against: String,
    /// Since when the candidate runs, microseconds since the Unix epoch.
    pub started_us: i64,
    /// End of the last window that was looked at.
    pub judged_until_us: Option<i64>,
    /// End of the window that decided.
    pub decided_us: Option<i64>,
    /// End of the window that first allowed to promote, even if it was rolled back later.
    pub promoted_us: Option<i64>,
    /// The metric that must get better, if one must.
    pub improve: Option<String>,
    /// Ln of the evidence of harm over everything that was looked at.
    pub harm_ln_e: Option<f64>,
    /// Ln of the evidence that rolls back.
    pub rollback_ln_e: f64,
    /// Ln of the evidence that each signal needs before a promotion.
    pub promote_ln_e: f64,
    /// The signal with the most evidence of harm.
    pub leading: Option<Leading>,
    /// Class by class.
    pub classes: Vec<ClassAnswer>,
    /// By which settings.
    pub settings: Settings,
}

/// Where the most evidence of harm is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leading {
    /// On which device class.
    pub device_class: String,
    /// Metric name.
    pub metric: String,
    /// The event in words.
    pub event: String,
    /// Ln of the evidence.
    pub ln_e: f64,
}

/// One device class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassAnswer {
    /// Its name.
    pub device_class: String,
    /// What this class alone says.
    pub decision: Decision,
    /// What it lacks, or what is wrong, in sentences.
    pub reasons: Vec<String>,
    /// Devices with the candidate.
    pub candidate_devices: u64,
    /// Devices with the baseline.
    pub against_devices: u64,
    /// Like compared with like before the start; none where there was too little for that.
    pub comparable: Option<Comparable>,
    /// Signal by signal.
    pub signals: Vec<SignalAnswer>,
}

/// What comparing the baseline's devices with each other showed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparable {
    /// Whether they may be compared at all.
    pub comparable: bool,
    /// Windows of both halves.
    pub windows: u64,
    /// Ln of the evidence that they differ.
    pub ln_e: f64,
    /// Ln of the evidence that refuses.
    pub limit_ln_e: f64,
}

/// Events of one arm since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmSeen {
    /// Events.
    pub events: f64,
    /// Inferences.
    pub records: u64,
}

impl ArmSeen {
    /// Share of the events, 0 to 1; none of no inferences.
    pub fn share(&self) -> Option<f64> {
        (self.records > 0).then(|| self.events / self.records as f64)
    }
}

/// One signal of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalAnswer {
    /// Metric name.
    pub metric: String,
    /// Source of energy; empty otherwise.
    pub source: String,
    /// The event in words.
    pub event: String,
    /// What more of it means.
    pub role: Role,
    /// Where it begins, in the metric's unit.
    pub threshold: Option<f64>,
    /// What is known.
    pub standing: Standing,
    /// Share of the baseline before the start, 0 to 1, frozen with the event.
    pub frozen_share: f64,
    /// The share it is held against where the event is too rare for a ratio.
    pub held_against_share: Option<f64>,
    /// What the candidate did.
    pub candidate: ArmSeen,
    /// What the baseline did at the same time.
    pub against: ArmSeen,
    /// Times as frequent with the candidate; none where the baseline had none.
    pub ratio: Option<f64>,
    /// Windows that both arms had records in.
    pub windows: u64,
    /// Windows left out, because too few devices were behind them.
    pub left_out: u64,
    /// How much less evidence clustered events are.
    pub design_effect: f64,
    /// Ln of the evidence of harm, or of change.
    pub harm_ln_e: f64,
    /// Ln of the evidence of being within the margin; none where that is not asked.
    pub ok_ln_e: Option<f64>,
    /// Ln of the evidence of being better; none where that is not asked.
    pub better_ln_e: Option<f64>,
}
