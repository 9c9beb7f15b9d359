//! What the pages ask of this collector: the time, who may look and act, frozen references,
//! deliveries. In: requests of the dashboard's trait. Out: answers of `clock`, `access` and
//! `database`. Never: decisions.

mod alerts;

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::HeaderMap;
use fathomline_dashboard::{
    Act, Citing, Control, ControlError, Done, KeptReference, Refused,
    alerts::{AlertAct, Alerts},
    deliveries::{Answer, Deliveries, Delivery, Endpoint},
    retraining::{RetrainingAct, RetrainingRequest, RetrainingSignal, RetrainingStep},
};
use fathomline_queries::{
    drift::{Breakdown, Reference},
    gate::{self, KeptRollout, RunningVersion},
};

use fathomline_wire::event::{BriefSignal, Event, EventBody};

use crate::{
    access::{Access, Actor, Role},
    alert::{
        desk::{Desk, DeskError, EndpointState},
        duty::Duty,
    },
    api::refusal::Refusal,
    clock::Clock,
    control::{Listed, References},
    database::{audit, deliveries, references, retraining::Step},
    retraining::{Retraining, Shown, asking::Wish, progress},
    rollout::Rollouts,
    watch::apart::TakingApart,
};

/// The collector, as its pages see it.
pub(crate) struct Pages {
    pub(crate) access: Arc<Access>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) references: References,
    pub(crate) desk: Desk,
    pub(crate) duty: Duty,
    pub(crate) retraining: Retraining,
    pub(crate) rollouts: Rollouts,
    pub(crate) apart: TakingApart,
}

/// References and acts on one page; the API has them all.
const PAGE_ROWS: u32 = 200;
const ACTS: u32 = 20;
/// Deliveries on one page, likewise.
const DELIVERIES: u32 = 100;

#[async_trait]
impl Control for Pages {
    fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    fn may_look(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.actor(headers, Role::Viewer).map(drop)
    }

    async fn reference(&self, hash: &str) -> Result<Option<Reference>, ControlError> {
        let found = self.references.find(hash).await;
        found.map_err(|error| ControlError(error.into()))
    }

    async fn take_apart(
        &self,
        reference: &Reference,
        until_us: i64,
        stream: Option<usize>,
    ) -> Result<Result<Breakdown, String>, ControlError> {
        let apart = self.apart.of(reference, until_us, stream).await;
        apart.map_err(ControlError)
    }

    async fn references(&self) -> Result<Vec<KeptReference>, ControlError> {
        let listed = self.references.list(PAGE_ROWS).await;
        let listed = listed.map_err(|error| ControlError(error.into()))?;
        Ok(listed.into_iter().map(kept).collect())
    }

    async fn acts(&self) -> Result<Vec<Act>, ControlError> {
        let acts = self.references.acts(ACTS).await;
        let acts = acts.map_err(|error| ControlError(error.into()))?;
        let act = |act: audit::Act| Act {
            done: Done {
                time_us: act.time_us,
                by: act.actor,
            },
            action: act.action,
            reference: act.subject,
        };
        Ok(acts.into_iter().map(act).collect())
    }

    async fn deliveries(&self) -> Result<Deliveries, ControlError> {
        let endpoints = self.desk.endpoints().await.map_err(cannot_read)?;
        let newest = self.desk.list(DELIVERIES).await.map_err(cannot_read)?;
        Ok(Deliveries {
            endpoints: endpoints.into_iter().map(endpoint).collect(),
            newest: newest.into_iter().map(delivery).collect(),
        })
    }

    async fn replay(&self, headers: &HeaderMap, delivery: i64) -> Result<(), Refused> {
        let actor = self.actor(headers, Role::Operator)?;
        let replayed = self.desk.replay(delivery, &actor.name).await;
        replayed.map(drop).map_err(refused)
    }

    async fn enable(&self, headers: &HeaderMap, endpoint: &str) -> Result<(), Refused> {
        let actor = self.actor(headers, Role::Operator)?;
        let enabled = self.desk.enable(endpoint, &actor.name).await;
        enabled.map(drop).map_err(refused)
    }

    async fn alerts(&self) -> Result<Alerts, ControlError> {
        let shown = alerts::shown(&self.duty, PAGE_ROWS).await;
        shown.map_err(|error| ControlError(error.into()))
    }

    async fn act_on_alerts(&self, headers: &HeaderMap, act: AlertAct) -> Result<(), Refused> {
        let actor = self.actor(headers, Role::Operator)?;
        let acted = alerts::act(&self.duty, act, &actor.name).await;
        acted.map_err(refused)
    }

    async fn retraining(&self) -> Result<Vec<RetrainingRequest>, ControlError> {
        let listed = self.retraining.list(PAGE_ROWS).await;
        let listed = listed.map_err(|error| ControlError(error.into()))?;
        Ok(listed.into_iter().map(request).collect())
    }

    async fn act_on_retraining(
        &self,
        headers: &HeaderMap,
        act: RetrainingAct,
    ) -> Result<(), Refused> {
        let actor = self.actor(headers, Role::Operator)?.name;
        let (id, act) = match act {
            RetrainingAct::Ask {
                service,
                model,
                version,
            } => {
                let wish = Wish {
                    model,
                    service: Some(service),
                    version: Some(version),
                };
                let asked = self.retraining.ask(wish, &actor).await;
                return asked.map(drop).map_err(refused);
            }
            RetrainingAct::Approve(id) => (id, progress::Act::Approve),
            RetrainingAct::Decline(id) => (id, progress::Act::Decline),
            RetrainingAct::Cancel(id) => (id, progress::Act::Cancel),
        };
        let acted = self.retraining.act(&id, act, &actor).await;
        acted.map(drop).map_err(refused)
    }

    async fn rollouts(&self) -> Result<Vec<KeptRollout>, ControlError> {
        let kept = self.rollouts.kept(PAGE_ROWS).await;
        kept.map_err(|error| ControlError(error.into()))
    }

    async fn versions(&self) -> Result<Vec<RunningVersion>, ControlError> {
        let running = self.rollouts.running().await;
        running.map_err(|error| ControlError(error.into()))
    }

    async fn gate(
        &self,
        rollout: &KeptRollout,
    ) -> Result<Result<gate::Answer, String>, ControlError> {
        let told = self.rollouts.told(rollout).await;
        told.map_err(|error| ControlError(error.into()))
    }
}

impl Pages {
    fn actor(&self, headers: &HeaderMap, needed: Role) -> Result<Actor, Refused> {
        self.access.require(headers, needed).map_err(refused)
    }
}

/// What the API would answer, as a page says it.
fn refused(refusal: impl Into<Refusal>) -> Refused {
    let Refusal {
        status, message, ..
    } = refusal.into();
    Refused { status, message }
}

fn cannot_read(error: DeskError) -> ControlError {
    ControlError(error.into())
}

fn endpoint(state: EndpointState) -> Endpoint {
    Endpoint {
        name: state.name,
        kind: state.kind,
        events: state.events,
        stopped_since_us: state.stopped_since_us,
        pending: state.pending,
        stopped: state.stopped,
        failed: state.failed,
    }
}

fn delivery(mut kept: deliveries::Delivery) -> Delivery {
    let last = kept.attempts.pop().map(|attempt| Answer {
        time_us: attempt.ended_us,
        status: attempt.status,
        outcome: attempt.outcome,
    });
    Delivery {
        id: kept.id,
        event_id: kept.event_id,
        kind: kept.kind,
        endpoint: kept.endpoint,
        state: kept.state,
        created_us: kept.created_us,
        attempts: kept.attempts_made,
        last,
        next_attempt_us: kept.next_attempt_us,
    }
}

fn request(Shown { request, steps }: Shown) -> RetrainingRequest {
    let step = |step: Step| RetrainingStep {
        time_us: step.time_us,
        state: step.state,
        by: step.by,
        detail: step.detail,
    };
    RetrainingRequest {
        signals: signals(&request.body),
        id: request.id,
        service: request.service,
        model: request.model,
        version: request.version,
        state: request.state.word().to_owned(),
        open: request.state.is_open(),
        requested_by: request.requested_by,
        new_version: request.new_version,
        looks: request.looks,
        proof: request.proof,
        steps: steps.into_iter().map(step).collect(),
    }
}

/// Signals of the brief; a body that does not read has none to show.
fn signals(body: &str) -> Vec<RetrainingSignal> {
    let Ok(Event {
        body: EventBody::RetrainingRequested(asked),
        ..
    }) = serde_json::from_str(body)
    else {
        return vec![];
    };
    let signal = |signal: BriefSignal| RetrainingSignal {
        series: signal.series,
        metric: signal.metric,
        device_class: signal.device_class,
        direction: signal.direction,
        devices: signal.devices,
    };
    asked.brief.signals.into_iter().map(signal).collect()
}

fn kept(Listed { row, cited_by }: Listed) -> KeptReference {
    let done = |time_us: Option<i64>, by: Option<String>| {
        let by = by.unwrap_or_default();
        time_us.map(|time_us| Done { time_us, by })
    };
    let citing = |citing: references::Citing| Citing {
        series: citing.series,
        name: citing.name,
    };
    KeptReference {
        hash: row.hash,
        name: row.name,
        level: row.level,
        season: row.season,
        made_from: row.made_from,
        records: row.records,
        from_us: row.from_us,
        to_us: row.to_us,
        excluded_lanes: row.excluded_lanes,
        created: Done {
            time_us: row.created_us,
            by: row.created_by,
        },
        in_force: done(row.in_force_since_us, row.in_force_by),
        retired: done(row.retired_us, row.retired_by),
        cited_by: cited_by.into_iter().map(citing).collect(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use fathomline_queries::drift::Policy;

    use super::*;
    use crate::{
        access::Rules,
        clock::SystemClock,
        database::Database,
        retraining, rollout,
        watch::{WatchSettings, lanes::LaneSource, script::ScriptedLanes},
    };

    /// Pages of a collector that has nothing to show.
    fn pages(folder: &std::path::Path) -> Pages {
        let database = Database::open(folder).unwrap();
        let access = Access::open(folder, database.clone(), Rules::default()).unwrap();
        Pages {
            access: Arc::new(access),
            clock: Arc::new(SystemClock),
            references: References::new(database.clone(), Arc::new(SystemClock)),
            desk: Desk::new(database.clone(), Arc::new(SystemClock), Arc::new([])),
            duty: Duty::open(folder).unwrap(),
            retraining: retraining::tests::idle(database.clone()),
            rollouts: rollout::tests::empty(database),
            apart: apart(),
        }
    }

    /// Of lanes that are quiet.
    fn apart() -> TakingApart {
        let (lanes, clock): (Arc<dyn LaneSource>, Arc<dyn Clock>) = (
            Arc::new(ScriptedLanes {
                until: 0,
                shift_after: 0,
                factor: 1.0,
            }),
            Arc::new(SystemClock),
        );
        let second = std::time::Duration::from_secs(1);
        let settings = WatchSettings::new(second, second, Policy::default());
        TakingApart::new(&lanes, &clock, &settings)
    }

    #[tokio::test]
    async fn an_unknown_reference_is_none_and_a_wrong_token_may_not_look() {
        let folder = tempfile::tempdir().unwrap();
        let pages = pages(folder.path());
        assert_eq!(pages.reference("none").await.unwrap(), None);
        let mut headers = HeaderMap::new();
        assert_eq!(pages.may_look(&headers), Ok(()));
        headers.insert("authorization", "Bearer wrong".parse().unwrap());
        let refused = pages.may_look(&headers).unwrap_err();
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(
            refused.message.contains("admin.token"),
            "{}",
            refused.message
        );
    }

    #[tokio::test]
    async fn who_may_look_may_not_send_again() {
        let folder = tempfile::tempdir().unwrap();
        let pages = pages(folder.path());
        let mut headers = HeaderMap::new();
        let anonymous = pages.replay(&headers, 1).await.unwrap_err();
        assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
        let token = std::fs::read_to_string(folder.path().join("admin.token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        headers.insert("authorization", bearer.parse().unwrap());
        let missing = pages.replay(&headers, 1).await.unwrap_err();
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        let enabled = pages.enable(&headers, "ops").await.unwrap_err();
        assert_eq!(enabled.status, StatusCode::CONFLICT);
    }
}
