//! The retraining contract: what a trainer is asked, what it answers, and what others are told of
//! it. Holds counts and shares, never text that a user wrote or a model produced.

use serde::{Deserialize, Serialize};

use super::Span;

/// What a trainer is asked to do, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrainingRequested {
    /// Names this request for good; a consumer that has seen it refuses it.
    pub request: String,
    /// Service whose devices run the model.
    pub service: String,
    /// The model.
    pub model: String,
    /// The version whose outputs drift.
    pub version: String,
    /// `drift`, or `operator`.
    pub requested_by: String,
    /// Id of the event that led to it; none where a person asked.
    pub cause: Option<String>,
    /// What moved.
    pub brief: Brief,
    /// How many more requests may follow.
    pub budget: Budget,
    /// Where to report, see [`Callback`].
    pub callback: String,
    /// Where a person can look.
    pub link: Option<String>,
}

/// The data brief: which signals moved where, by how much, on how many devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// From the earliest estimate of when a signal moved until it was last judged; none without
    /// signals.
    pub window: Option<Span>,
    /// Signals that drift now: what led here, then the strongest first.
    pub signals: Vec<BriefSignal>,
    /// Signals beyond those that there was room for.
    pub signals_left_out: u64,
}

/// One signal of one cohort.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BriefSignal {
    /// Stable identifier of the series.
    pub series: String,
    /// The signal, by its metric name.
    pub metric: String,
    /// Its UCUM unit.
    pub unit: String,
    /// Class of the devices in this cohort.
    pub device_class: String,
    /// Version and variant that these devices run.
    pub version: String,
    /// Short hash of weights, quantization, tokenizer, sampler and backend.
    pub variant: String,
    /// `up` or `down`: where the share that leads went; none where it is not told.
    pub direction: Option<String>,
    /// The share that leads, in words; none where it is not told.
    pub stream: Option<String>,
    /// What it is in the reference, 0 to 1.
    pub reference_share: Option<f64>,
    /// What it was when it was found out, 0 to 1.
    pub share: Option<f64>,
    /// Estimate of when it began, RFC 3339 in UTC.
    pub since: Option<String>,
    /// Inferences in the last lane judged.
    pub count: u64,
    /// Devices that reported in it.
    pub devices: u64,
    /// Hash of the frozen reference.
    pub reference: Option<String>,
    /// Debiased PSI of the window that paged; none where it is not told.
    pub psi_debiased: Option<f64>,
    /// Where it lies with 95 % certainty, by devices.
    pub interval: Option<(f64, f64)>,
    /// What the distance is made of, the largest first; empty where devices are too few to tell.
    pub bins: Vec<BriefBin>,
    /// Why values are not told, where they are not.
    pub withheld: Option<String>,
}

/// A range of values, or a category, that holds more or less than it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BriefBin {
    /// Which values or category, in words.
    pub bin: String,
    /// Its part of the records in the reference, 0 to 1.
    pub reference_share: f64,
    /// Its part of the records now, 0 to 1.
    pub share: f64,
}

/// What is left of the budget once this request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Requests that may still be made for this model in the current period.
    pub left: u32,
    /// Length of the period, in seconds.
    pub period_s: u64,
    /// No drift asks for this model again so soon, in seconds.
    pub cooldown_s: u64,
}

/// What a trainer reports to [`RetrainingRequested::callback`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// How far it has come.
    pub status: CallbackStatus,
    /// The version that devices will report; with `succeeded` only, and needed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A word of the trainer's own for why it failed, `[a-z0-9_.-]{1,64}`; with `failed` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How far a trainer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackStatus {
    /// It will train.
    Accepted,
    /// It trains.
    Running,
    /// There is a new version.
    Succeeded,
    /// There is none.
    Failed,
}

/// A request is no longer where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrainingChanged {
    /// Which request.
    pub request: String,
    /// Service whose devices run the model.
    pub service: String,
    /// The model.
    pub model: String,
    /// The version whose outputs drifted.
    pub version: String,
    /// Where it is now.
    pub state: String,
    /// Where it was.
    pub previous: String,
    /// Who moved it: `trainer`, `collector`, or a person's name.
    pub by: String,
    /// The version that was trained, once there is one.
    pub new_version: Option<String>,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// Where a person can look.
    pub link: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trainer_reports_in_one_line_and_what_is_unknown_is_refused() {
        let said = r#"{"status":"succeeded","version":"2"}"#;
        let callback: Callback = serde_json::from_str(said).unwrap();
        assert_eq!(callback.status, CallbackStatus::Succeeded);
        assert_eq!(serde_json::to_string(&callback).unwrap(), said);
        for wrong in [
            r#"{"status":"finished"}"#,
            r#"{"status":"failed","message":"what a user wrote"}"#,
            r#"{"version":"2"}"#,
        ] {
            assert!(serde_json::from_str::<Callback>(wrong).is_err(), "{wrong}");
        }
    }
}
