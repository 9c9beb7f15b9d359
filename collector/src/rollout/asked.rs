//! A question to the gate, as whoever asks writes it. Owns why it cannot be answered. Pure.

use std::collections::BTreeSet;

use fathomline_queries::{engine::QueryError, gate::Settings, lanes::rollout::VersionSeen};
use fathomline_wire::names;
use serde::{Deserialize, Serialize};

use crate::database::DatabaseError;

/// Which rollout. Empty texts are as if they were not there, which is how pipelines fill templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    /// Model name.
    pub model: String,
    /// The version that wants to go on.
    pub candidate: String,
    /// The version it is held against.
    pub against: String,
    /// One device class; all where it is absent.
    pub class: Option<String>,
    /// `service.name`; needed only where several services run the model.
    pub service: Option<String>,
    /// A metric that must get better.
    pub improve: Option<String>,
}

/// Why the gate does not answer.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A part of the question is missing.
    #[error("cannot ask the gate without {0}: name model, candidate and against")]
    Missing(&'static str),
    /// Nothing to compare.
    #[error("cannot hold version {0} against itself; name two versions")]
    Same(String),
    /// Nobody runs it.
    #[error("no device has reported the model {model:?}; models seen: {known}")]
    Model {
        /// Which model.
        model: String,
        /// Those there are.
        known: String,
    },
    /// Several do.
    #[error("the model {model:?} runs in several services; name one of them: {known}")]
    Service {
        /// Which model.
        model: String,
        /// Its services.
        known: String,
    },
    /// There is nothing to hold the candidate against.
    #[error("no device has reported version {version:?} of {model:?}; versions seen: {known}")]
    Version {
        /// Which version.
        version: String,
        /// Of which model.
        model: String,
        /// Those there are.
        known: String,
    },
    /// Nobody is of this class.
    #[error("no device of class {class:?} has reported {model:?}; classes seen: {known}")]
    Class {
        /// Which class.
        class: String,
        /// Of which model.
        model: String,
        /// Those there are.
        known: String,
    },
    /// It has no better side, or is not looked at.
    #[error("{0:?} cannot be asked to get better; name one of {1}")]
    Improve(String, String),
    /// A rollout that is declared in a way that cannot be.
    #[error("cannot declare the rollout: {0}")]
    Declared(String),
    /// There is no such rollout.
    #[error("there is no rollout {0}; GET /api/v1/rollouts lists them")]
    Unknown(i64),
    /// It is over.
    #[error("rollout {0} was finished before")]
    Over(i64),
    /// There is no collector's data.
    #[error("{} holds no data of a collector; name the folder with --data", .0.display())]
    Nowhere(std::path::PathBuf),
    /// The folder's tables cannot be read.
    #[error(transparent)]
    Tables(#[from] fathomline_queries::engine::committed::OpenError),
    /// The engine's limits were reached.
    #[error("cannot read what both versions did: {0}")]
    Query(#[from] QueryError),
    /// The database failed; its message says what to do.
    #[error("{0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
}

impl From<DatabaseError> for GateError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}

impl Asked {
    /// The question without empty texts.
    ///
    /// # Errors
    /// When a part is missing, or both versions are one.
    pub fn checked(self) -> Result<Self, GateError> {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let asked = Self {
            class: some(self.class),
            service: some(self.service),
            improve: some(self.improve),
            ..self
        };
        for (name, text) in [
            ("a model", &asked.model),
            ("a candidate", &asked.candidate),
            ("a version to hold it against", &asked.against),
        ] {
            if text.is_empty() {
                return Err(GateError::Missing(name));
            }
        }
        match asked.candidate == asked.against {
            true => Err(GateError::Same(asked.candidate)),
            false => Ok(asked),
        }
    }

    /// The service that is meant, if the model, the version and the class are known.
    pub(super) fn service(&self, known: &[VersionSeen]) -> Result<String, GateError> {
        let model = || self.model.clone();
        let of_model: Vec<&VersionSeen> = known
            .iter()
            .filter(|seen| seen.model == self.model)
            .collect();
        if of_model.is_empty() {
            let known = listed(known.iter().map(|seen| &seen.model));
            return Err(GateError::Model {
                model: model(),
                known,
            });
        }
        let both = [&self.candidate, &self.against];
        let meant = of_model.iter().filter(|seen| match &self.service {
            Some(service) => seen.service == *service,
            None => both.contains(&&seen.version),
        });
        let services: BTreeSet<&String> = meant.map(|seen| &seen.service).collect();
        let all = || listed(of_model.iter().map(|seen| &seen.service));
        let service = match services.len() {
            1 => services.first().map(|service| (*service).clone()),
            0 if self.service.is_none() => None,
            _ => {
                return Err(GateError::Service {
                    model: model(),
                    known: all(),
                });
            }
        };
        let own = of_model
            .iter()
            .filter(|seen| Some(&seen.service) == service.as_ref());
        if !own.clone().any(|seen| seen.version == self.against) {
            return Err(GateError::Version {
                version: self.against.clone(),
                model: model(),
                known: listed(of_model.iter().map(|seen| &seen.version)),
            });
        }
        if let Some(class) = &self.class
            && !own.clone().any(|seen| seen.device_class == *class)
        {
            return Err(GateError::Class {
                class: class.clone(),
                model: model(),
                known: listed(own.map(|seen| &seen.device_class)),
            });
        }
        Ok(service.unwrap_or_default())
    }
}

/// # Errors
/// When a metric has no better side, or is not looked at.
pub(super) fn check_improve(metric: &str, settings: &Settings) -> Result<(), GateError> {
    let sided =
        |name: &&String| ![names::OUTPUT_LABEL, names::INPUT_SCRIPT].contains(&name.as_str());
    let known: Vec<&String> = settings.metrics.iter().filter(sided).collect();
    match known.iter().any(|name| *name == metric) {
        true => Ok(()),
        false => Err(GateError::Improve(
            metric.to_owned(),
            listed(known.into_iter()),
        )),
    }
}

/// Versions of a model, for a sentence.
pub(super) fn versions_of(known: &[VersionSeen], service: &str, model: &str) -> String {
    let its = known
        .iter()
        .filter(|seen| seen.service == service && seen.model == model);
    listed(its.map(|seen| &seen.version))
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.into_iter().collect::<Vec<_>>().join(", "),
    }
}
