//! Alerts of every state, and a collector that knows one incident and two silences.

use axum::http::StatusCode;
use fathomline_dashboard::{
    Refused,
    alerts::{
        Acknowledged, AlertAct, Alerts, Evidence, Incident, Maintenance, Member, Pending,
        Precision, Silence,
    },
};
use fathomline_wire::names;

use crate::golden;

const MINUTE_US: i64 = 60_000_000;

pub(crate) fn alerts(now_us: i64) -> Alerts {
    let open = Incident {
        id: "inc_1".to_owned(),
        service: "assistant".to_owned(),
        model: "building-assistant <b>".to_owned(),
        opened_us: now_us - 20 * MINUTE_US,
        resolved_us: None,
        pages: 1,
        members: members(now_us),
        acknowledged: None,
    };
    let over = Incident {
        id: "inc_0".to_owned(),
        opened_us: now_us - 90 * MINUTE_US,
        resolved_us: Some(now_us - 60 * MINUTE_US),
        acknowledged: Some(Acknowledged {
            answer: "noise".to_owned(),
            note: Some("a <i>fire drill</i>".to_owned()),
            by: "ann".to_owned(),
            time_us: now_us - 50 * MINUTE_US,
        }),
        ..open.clone()
    };
    Alerts {
        incidents: vec![open, over],
        pending: vec![Pending {
            series: golden::FEEDBACK.to_owned(),
            since_us: now_us - MINUTE_US,
        }],
        silences: silences(now_us),
        maintenance: vec![Maintenance {
            name: "backup".to_owned(),
            matches: None,
            holds: false,
        }],
        precision: vec![
            precision(names::OUTPUT_SURPRISAL, (18, 2), None),
            precision(
                names::FEEDBACK,
                (4, 16),
                Some(("[[alert.rules]]\ndrifting = 3", "12 of 16 were soon over")),
            ),
        ],
    }
}

fn members(now_us: i64) -> Vec<Member> {
    let drifts = Member {
        series: golden::SURPRISAL.to_owned(),
        version: "1".to_owned(),
        device_class: "kiosk".to_owned(),
        metric: names::OUTPUT_SURPRISAL.to_owned(),
        fired_us: now_us - 20 * MINUTE_US,
        resolved_us: None,
        muted: None,
        evidence: Some(Evidence {
            words: "above the reference p95 (0.9): 21.0 % now, 5.0 % in the reference".to_owned(),
            score: Some(19.25),
            threshold: Some(11.5),
            distance: Some((0.3, Some([0.2, 0.4]))),
            count: Some(2_700),
            devices: Some(9),
            contributors: vec![("site north".to_owned(), 0.21)],
        }),
    };
    vec![
        drifts.clone(),
        Member {
            metric: names::FEEDBACK.to_owned(),
            muted: Some("silence 2 by ann: a rollout".to_owned()),
            evidence: None,
            ..drifts.clone()
        },
        Member {
            metric: names::OUTPUT_FINISH.to_owned(),
            resolved_us: Some(now_us - 5 * MINUTE_US),
            ..drifts
        },
    ]
}

fn silences(now_us: i64) -> Vec<Silence> {
    let active = Silence {
        id: 2,
        matches: "model building-assistant, signal fathomline.feedback".to_owned(),
        state: "active".to_owned(),
        from_us: now_us - 30 * MINUTE_US,
        until_us: now_us + 90 * MINUTE_US,
        why: "a rollout".to_owned(),
        by: "ann".to_owned(),
        ended_by: None,
    };
    let over = Silence {
        id: 1,
        state: "over".to_owned(),
        until_us: now_us - 10 * MINUTE_US,
        ended_by: Some("bob".to_owned()),
        ..active.clone()
    };
    vec![active, over]
}

fn precision(
    rule: &str,
    (useful, noise): (usize, usize),
    proposal: Option<(&str, &str)>,
) -> Precision {
    Precision {
        rule: rule.to_owned(),
        useful,
        noise,
        proposal: proposal.map(|(change, because)| (change.to_owned(), because.to_owned())),
    }
}

pub(crate) fn act(act: AlertAct) -> Result<(), Refused> {
    let missing = |message: String| Refused {
        status: StatusCode::NOT_FOUND,
        message,
    };
    match act {
        AlertAct::Acknowledge { incident, .. } if incident == "inc_1" => Ok(()),
        AlertAct::Acknowledge { incident, .. } => Err(missing(format!("no incident {incident}"))),
        AlertAct::Silence { .. } => Ok(()),
        AlertAct::End { silence } if silence == "2" => Ok(()),
        AlertAct::End { silence } => Err(missing(format!("no silence {silence}"))),
    }
}
