//! Alerts as pages show them. In: what operators see of incidents. Out: the dashboard's words for
//! it, and acts of its forms. Never: decisions.

use fathomline_dashboard::alerts::{
    Acknowledged, AlertAct, Alerts, Evidence, Incident, Maintenance, Member, Pending, Precision,
    Silence,
};
use serde_json::Value;

use crate::{
    alert::{
        duty::{Duty, DutyError, IncidentShown, MemberShown},
        precision,
        silence::{SilenceShown, Wish},
    },
    database::silences::Acknowledgement,
};

/// Silences on one page; the API has them all.
const SILENCES: u32 = 50;

pub(super) async fn shown(duty: &Duty, incidents: u32) -> Result<Alerts, DutyError> {
    let overview = duty.overview(incidents).await?;
    let silences = duty.silences(SILENCES).await?;
    let pending = overview.pending.into_iter().map(|pending| Pending {
        series: pending.series,
        since_us: pending.since_us,
    });
    let planned = duty.maintenance().into_iter();
    let planned = planned.map(|(name, matches, holds)| Maintenance {
        name,
        matches,
        holds,
    });
    Ok(Alerts {
        incidents: overview.incidents.into_iter().map(incident).collect(),
        pending: pending.collect(),
        silences: silences.into_iter().map(silence).collect(),
        maintenance: planned.collect(),
        precision: overview.precision.into_iter().map(fared).collect(),
    })
}

pub(super) async fn act(duty: &Duty, act: AlertAct, actor: &str) -> Result<(), DutyError> {
    match act {
        AlertAct::Acknowledge {
            incident,
            answer,
            note,
        } => {
            let said = duty.acknowledge(&incident, (&answer, note), actor);
            said.await.map(drop)
        }
        AlertAct::Silence {
            model,
            version,
            class,
            site,
            metric,
            lasts,
            why,
        } => {
            let wish = Wish {
                model: Some(model),
                version: Some(version),
                class: Some(class),
                site: Some(site),
                metric: Some(metric),
                lasts: Some(lasts),
                why,
                ..Wish::default()
            };
            duty.silence(wish, actor).await.map(drop)
        }
        AlertAct::End { silence } => {
            let number = silence.parse();
            let number = number
                .map_err(|_| DutyError::Wanted(format!("{silence:?} is no number of a silence")))?;
            duty.end_silence(number, actor).await.map(drop)
        }
    }
}

fn incident(shown: IncidentShown) -> Incident {
    Incident {
        id: shown.id,
        service: shown.service,
        model: shown.model,
        opened_us: shown.opened_us,
        resolved_us: shown.resolved_us,
        pages: shown.pages,
        members: shown.members.into_iter().map(member).collect(),
        acknowledged: shown.acknowledged.map(acknowledged),
    }
}

fn member(shown: MemberShown) -> Member {
    Member {
        evidence: evidence(&shown.told),
        series: shown.subject,
        version: shown.version,
        device_class: shown.device_class,
        metric: shown.metric,
        fired_us: shown.fired_us,
        resolved_us: shown.resolved_us,
        muted: shown.muted,
    }
}

/// What the event says, as far as it says anything.
fn evidence(told: &Value) -> Option<Evidence> {
    let words = told["evidence"].as_str()?;
    let interval = told["effect"]["interval"].as_array().and_then(|of| {
        let bound = |at: usize| of.get(at).and_then(Value::as_f64);
        Some([bound(0)?, bound(1)?])
    });
    let distance = told["effect"]["psi_debiased"].as_f64();
    let contributors = told["contributors"].as_array().into_iter().flatten();
    let contributors = contributors.filter_map(|of| {
        let (kind, name) = (of["kind"].as_str()?, of["name"].as_str()?);
        Some((format!("{kind} {name}"), of["part"].as_f64()?))
    });
    Some(Evidence {
        words: words.to_owned(),
        score: told["score"].as_f64(),
        threshold: told["threshold"].as_f64(),
        distance: distance.map(|distance| (distance, interval)),
        count: told["count"].as_u64(),
        devices: told["devices"].as_u64(),
        contributors: contributors.collect(),
    })
}

fn acknowledged(said: Acknowledgement) -> Acknowledged {
    Acknowledged {
        answer: said.answer,
        note: said.note,
        by: said.by,
        time_us: said.time_us,
    }
}

fn silence(shown: SilenceShown) -> Silence {
    Silence {
        id: shown.id,
        matches: shown.matches,
        state: shown.state,
        from_us: shown.from_us,
        until_us: shown.until_us,
        why: shown.why,
        by: shown.by,
        ended_by: shown.ended_by,
    }
}

fn fared(of: precision::Precision) -> Precision {
    Precision {
        rule: of.rule,
        useful: of.useful,
        noise: of.noise,
        proposal: of
            .proposal
            .map(|proposal| (proposal.change, proposal.because)),
    }
}
