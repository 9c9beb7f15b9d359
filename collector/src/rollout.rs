//! May a new version go on? Which versions and rollouts there are, and what the gate says of one.
//!
//! In: versions that devices report, and what an operator whose role was checked at the door
//! declares. Out: rollouts, kept in SQLite with their events, and the answers of
//! `queries::gate` to whoever asks. Never: decisions (those are the gate's, and pure), HTTP.
//!
//! | file | does |
//! |---|---|
//! | `asked.rs` | a question, and why it cannot be answered |
//! | `noticed.rs` | versions and rollouts that nobody declared |
//! | `declared.rs` | rollouts that an operator begins and ends |
//! | `folder.rs` | the same question to a data folder |
//! | `shown.rs` | rollouts for the pages |

mod asked;
mod declared;
mod folder;
mod noticed;
mod shown;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use fathomline_queries::{
    engine::Engine,
    gate::{self, Answer, Settings},
    lanes::rollout::{self, VersionSeen, Wanted},
};

pub(crate) use self::declared::{Declared, Finished};
pub use self::{
    asked::{Asked, GateError},
    folder::decide_in,
};
use crate::{
    clock::Clock,
    database::{Database, rollouts},
    watch::Cadence,
};

/// Answers that are kept until their next lane closes: a pipeline asks more often than that.
const ANSWERS_MAX: usize = 64;

/// Answers by question, each with the end of its last lane.
type Answers = BTreeMap<Asked, (i64, Answer)>;

/// Rollouts of one collector.
#[derive(Clone)]
pub(crate) struct Rollouts {
    /// Shows everything: what is judged is what is stored, and what is told is the gate's business.
    engine: Arc<Engine>,
    database: Database,
    clock: Arc<dyn Clock>,
    cadence: Cadence,
    settings: Settings,
    answers: Arc<Mutex<Answers>>,
}

impl Rollouts {
    pub(crate) fn new(
        engine: Arc<Engine>,
        database: Database,
        clock: Arc<dyn Clock>,
        (cadence, settings): (Cadence, Settings),
    ) -> Self {
        Self {
            engine,
            database,
            clock,
            cadence,
            settings,
            answers: Arc::default(),
        }
    }

    /// What the gate says of a rollout, by the lanes that have closed. A candidate that nobody has
    /// seen is undecided, because a pipeline may ask before the first device has it.
    pub(crate) async fn decide(&self, asked: &Asked) -> Result<Answer, GateError> {
        let to_us = self.cadence.closed_until(self.clock.now_us());
        if let Some((until_us, answer)) = self.answers().get(asked)
            && *until_us == to_us
        {
            return Ok(answer.clone());
        }
        let answer = self.decide_until(asked, to_us).await?;
        let mut answers = self.answers();
        answers.retain(|_, (until_us, _)| *until_us == to_us);
        if answers.len() < ANSWERS_MAX {
            answers.insert(asked.clone(), (to_us, answer.clone()));
        }
        Ok(answer)
    }

    async fn decide_until(&self, asked: &Asked, to_us: i64) -> Result<Answer, GateError> {
        let known = self
            .database
            .transact(|t| rollouts::versions(t, None))
            .await?;
        let service = asked.service(&known)?;
        let candidate = asked.candidate.clone();
        let (named, model) = (service.clone(), asked.model.clone());
        let kept = self
            .database
            .transact(move |t| rollouts::of(t, (&named, &model, &candidate)))
            .await?;
        let kept = kept.filter(|row| row.against == asked.against);
        let first_us = first_us(&known, &service, asked);
        let declared_us = kept.as_ref().map(|row| row.started_us);
        let improve = asked.improve.clone().or(kept.and_then(|row| row.improve));
        if let Some(improve) = &improve {
            asked::check_improve(improve, &self.settings)?;
        }
        let wanted = Wanted {
            service: &service,
            model: &asked.model,
            candidate: &asked.candidate,
            against: &asked.against,
            device_class: asked.class.as_deref(),
            started_us: declared_us.or(first_us).unwrap_or(to_us),
            to_us,
            lane_us: self.cadence.lane_us,
            improve: improve.as_deref(),
            settings: &self.settings,
        };
        let seen = rollout::seen(&self.engine, &wanted).await?;
        let mut answer = gate::decide(&seen, &self.settings, to_us);
        if first_us.is_none() {
            let seen = asked::versions_of(&known, &service, &asked.model);
            answer.reason = format!("{}; seen so far: {seen}", answer.reason);
        }
        Ok(answer)
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the candidate was first seen, on the class that is asked for or on any.
fn first_us(known: &[VersionSeen], service: &str, asked: &Asked) -> Option<i64> {
    let its = known.iter().filter(|seen| {
        let class = asked.class.as_ref();
        seen.service == service
            && seen.model == asked.model
            && seen.version == asked.candidate
            && class.is_none_or(|class| *class == seen.device_class)
    });
    its.map(|seen| seen.first_us).min()
}

#[cfg(test)]
pub(crate) mod tests;
