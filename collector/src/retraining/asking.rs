//! A request is made: by drift that stands, or by a person. In: alerts, earlier requests. Out: a
//! row with the bytes that the trainer gets, and its letters.

use std::{collections::BTreeMap, sync::Arc};

use fathomline_queries::rows::EventRow;
use fathomline_wire::{
    event::{Budget, Event, EventBody, RetrainingRequested},
    names,
};
use rusqlite::Transaction;

use super::{
    Retraining, RetrainingError, RetrainingSettings, Telling, brief, moving,
    progress::State,
    rule::{self, By},
};
use crate::{
    alert::story,
    clock::rfc3339,
    database::{
        DatabaseError,
        audit::{self, AuditEntry},
        retraining::{self as rows, Alerted, Request},
        verdicts,
    },
};

/// Signals of outputs, inputs and what people made of them: who is slower needs no training.
pub(super) const METRICS: [&str; 10] = [
    names::OUTPUT_SURPRISAL,
    names::OUTPUT_ENTROPY,
    names::OUTPUT_UNCERTAINTY,
    names::OUTPUT_MARGIN,
    names::OUTPUT_REPETITION,
    names::OUTPUT_FINISH,
    names::OUTPUT_LABEL,
    names::OUTPUT_VALIDITY,
    names::INPUT_SURPRISAL,
    names::FEEDBACK,
];

/// Who asks when it is drift.
const DRIFT: &str = "drift";

/// What a person asks for.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    pub(crate) model: String,
    /// May be left out where only one service runs the model.
    pub(crate) service: Option<String>,
    /// May be left out where one version drifts, or there is only one.
    pub(crate) version: Option<String>,
}

/// Whose version of which model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    service: String,
    model: String,
    version: String,
}

impl Subject {
    fn of(alerted: &Alerted) -> Self {
        let row = &alerted.drifting.now;
        Self {
            service: row.service.clone(),
            model: row.model.clone(),
            version: row.version.clone(),
        }
    }
}

/// A request that the rule admits.
struct Admitted<'a> {
    subject: Subject,
    budget: Budget,
    by: &'a str,
    cause: Option<String>,
    state: State,
    /// The first of them led to it.
    alerted: Vec<Alerted>,
}

impl Retraining {
    /// A person's request.
    pub(crate) async fn ask(&self, wish: Wish, by: &str) -> Result<Request, RetrainingError> {
        let (settings, telling) = (Arc::clone(&self.settings), self.telling.clone());
        let (by, now_us) = (by.to_owned(), self.clock.now_us());
        let work = move |t: &Transaction<'_>| {
            let alerted = rows::alerted(t)?;
            let subject = match chosen(t, &wish, &alerted)? {
                Ok(subject) => subject,
                Err(why) => return Ok(Err(RetrainingError::Model(why))),
            };
            let past = rows::past(t, &subject.service, &subject.model)?;
            let asks = (By::Person, now_us);
            let budget = match rule::may_ask(&past, &subject.version, asks, &settings) {
                Ok(budget) => budget,
                Err(not_now) => return Ok(Err(not_now.into())),
            };
            let admitted = Admitted {
                alerted: of_subject(alerted, &subject),
                subject,
                budget,
                by: &by,
                cause: None,
                // Who asks by hand has approved.
                state: State::Requested,
            };
            let request = make(t, admitted, &telling, now_us)?;
            let entry = AuditEntry {
                time_us: now_us,
                actor: by,
                action: "retraining.request",
                subject: request.id.clone(),
                detail: "{}".to_owned(),
            };
            audit::record(t, &entry)?;
            Ok(Ok(request))
        };
        let request = self.database.transact(work).await??;
        self.wake.notify_waiters();
        Ok(request)
    }

    /// Asks for every model whose drift has stood long enough; how many were asked for.
    pub(super) async fn ask_for_drift(&self) -> Result<usize, RetrainingError> {
        let (settings, telling) = (Arc::clone(&self.settings), self.telling.clone());
        let now_us = self.clock.now_us();
        let work = move |t: &Transaction<'_>| {
            let mut asked = 0;
            for (subject, alerted) in that_stand(rows::alerted(t)?, &settings, now_us) {
                let past = rows::past(t, &subject.service, &subject.model)?;
                let asks = (By::Drift, now_us);
                // What keeps it back may be over with the next look.
                let Ok(budget) = rule::may_ask(&past, &subject.version, asks, &settings) else {
                    continue;
                };
                let first = alerted.first();
                let admitted = Admitted {
                    cause: first.and_then(|alerted| alerted.event.clone()),
                    subject,
                    budget,
                    by: DRIFT,
                    state: match settings.approval {
                        true => State::Waiting,
                        false => State::Requested,
                    },
                    alerted,
                };
                make(t, admitted, &telling, now_us)?;
                asked += 1;
            }
            Ok(asked)
        };
        Ok(self.database.transact(work).await?)
    }
}

/// Alerts that have stood long enough on a metric that asks, and what drifts with them, by model
/// and version.
fn that_stand(
    alerted: Vec<Alerted>,
    settings: &RetrainingSettings,
    now_us: i64,
) -> BTreeMap<Subject, Vec<Alerted>> {
    let wait_us = i64::try_from(settings.wait.as_micros()).unwrap_or(i64::MAX);
    let mut subjects: BTreeMap<Subject, Vec<Alerted>> = BTreeMap::new();
    for alerted in alerted {
        if settings.metrics.contains(&alerted.drifting.now.metric) {
            subjects
                .entry(Subject::of(&alerted))
                .or_default()
                .push(alerted);
        }
    }
    subjects.retain(|_, of| {
        of.sort_by_key(|alerted| alerted.since_us);
        of.first()
            .is_some_and(|first| now_us.saturating_sub(first.since_us) >= wait_us)
    });
    subjects
}

fn of_subject(alerted: Vec<Alerted>, subject: &Subject) -> Vec<Alerted> {
    let of = alerted.into_iter();
    of.filter(|alerted| Subject::of(alerted) == *subject)
        .collect()
}

/// What a person means: a model that is known, and the one version of it that drifts or there is.
fn chosen(
    transaction: &Transaction<'_>,
    wish: &Wish,
    alerted: &[Alerted],
) -> Result<Result<Subject, String>, DatabaseError> {
    let known = verdicts::current(transaction)?;
    let fits = |subject: &Subject| {
        let asked = |wish: &Option<String>, is: &str| wish.as_deref().is_none_or(|wish| wish == is);
        subject.model == wish.model
            && asked(&wish.service, &subject.service)
            && asked(&wish.version, &subject.version)
    };
    let sorted = |mut subjects: Vec<Subject>| {
        subjects.retain(fits);
        subjects.sort();
        subjects.dedup();
        subjects
    };
    let known = known.into_iter().map(|(_, row)| Subject {
        service: row.service,
        model: row.model,
        version: row.version,
    });
    let (known, drifting) = (
        sorted(known.collect()),
        sorted(alerted.iter().map(Subject::of).collect()),
    );
    Ok(match (known.as_slice(), drifting.as_slice()) {
        (_, [only]) | ([only], _) => Ok(only.clone()),
        ([], _) => Err(format!(
            "nothing that is judged is of model {:?} as asked for; GET /api/v1/verdicts lists what is",
            wish.model
        )),
        _ => Err(format!(
            "model {:?} has several versions or services; name one with \"version\" and \"service\"",
            wish.model
        )),
    })
}

fn make(
    transaction: &Transaction<'_>,
    admitted: Admitted<'_>,
    telling: &Telling,
    now_us: i64,
) -> Result<Request, DatabaseError> {
    let Subject {
        service,
        model,
        version,
    } = admitted.subject;
    // A model has one open request, so no two are made at one moment.
    let id = story::digest(&format!("{service}\n{model}\n{version}\n{now_us}"));
    let id = format!("rtr_{id}");
    let base = telling.base_url.trim_end_matches('/');
    let drifting = admitted.alerted.into_iter().map(|alerted| alerted.drifting);
    let asked = RetrainingRequested {
        request: id.clone(),
        service: service.clone(),
        model: model.clone(),
        version: version.clone(),
        requested_by: match admitted.by {
            DRIFT => DRIFT.to_owned(),
            _ => "operator".to_owned(),
        },
        cause: admitted.cause.clone(),
        brief: brief::brief(drifting.collect()),
        budget: admitted.budget,
        callback: format!("{base}/api/v1/retraining/{id}/status"),
        link: Some(moving::link(telling, &id)),
    };
    let event = Event {
        timestamp: rfc3339(now_us),
        body: EventBody::RetrainingRequested(Box::new(asked)),
    };
    let request = Request {
        id,
        service,
        model,
        version,
        state: admitted.state,
        requested_by: admitted.by.to_owned(),
        cause: admitted.cause,
        created_us: now_us,
        changed_us: now_us,
        new_version: None,
        body: moving::text(&event)?,
        looks: 0,
        proof: None,
    };
    rows::insert(transaction, &request)?;
    if request.state == State::Requested {
        send(transaction, &request, telling, now_us)?;
    }
    tracing::info!(
        request = request.id,
        model = request.model,
        state = request.state.word(),
        "retraining requested"
    );
    Ok(request)
}

/// Tells trainers, with the bytes that were written down when it was made.
pub(super) fn send(
    transaction: &Transaction<'_>,
    request: &Request,
    telling: &Telling,
    now_us: i64,
) -> Result<(), DatabaseError> {
    let event = EventRow {
        time: now_us,
        id: request.id.clone(),
        kind: "fathomline.retraining.requested".to_owned(),
        subject: request.id.clone(),
        body: request.body.clone(),
    };
    moving::deliver(transaction, &event, (telling, now_us))
}
