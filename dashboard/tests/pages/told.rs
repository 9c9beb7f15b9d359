//! Deliveries of every state, and a collector that lets one token act on them.

use axum::http::{HeaderMap, StatusCode};
use fathomline_dashboard::{
    Refused,
    deliveries::{Answer, Deliveries, Delivery, Endpoint},
};

const MINUTE_US: i64 = 60_000_000;

pub(crate) fn deliveries(now_us: i64) -> Deliveries {
    Deliveries {
        endpoints: vec![
            endpoint("trainer", "webhook", "fathomline.retraining.*", None),
            endpoint("pager <b>", "slack", "*", Some(now_us - 30 * MINUTE_US)),
        ],
        newest: vec![
            delivery(4, "pending", now_us, (0, None)),
            Delivery {
                next_attempt_us: Some(now_us + 5 * MINUTE_US),
                ..delivery(3, "pending", now_us, (2, Some(503)))
            },
            delivery(2, "stopped", now_us, (1, Some(410))),
            delivery(1, "delivered", now_us, (1, Some(200))),
        ],
    }
}

fn endpoint(name: &str, kind: &str, events: &str, stopped_since_us: Option<i64>) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        kind: kind.to_owned(),
        events: vec![events.to_owned()],
        stopped_since_us,
        pending: 2,
        stopped: i64::from(stopped_since_us.is_some()),
        failed: 1_000,
    }
}

fn delivery(id: i64, state: &str, now_us: i64, (attempts, status): (u32, Option<u16>)) -> Delivery {
    let last = status.map(|status| Answer {
        time_us: now_us - MINUTE_US,
        status: Some(status),
        outcome: match status {
            200 => "delivered".to_owned(),
            status => format!("the endpoint answered {status} <i>"),
        },
    });
    Delivery {
        id,
        event_id: format!("evt_{id:032x}"),
        kind: "fathomline.verdict.changed".to_owned(),
        endpoint: "trainer".to_owned(),
        state: state.to_owned(),
        created_us: now_us - (10 - id) * MINUTE_US,
        attempts,
        last,
        next_attempt_us: (state == "pending").then_some(now_us),
    }
}

pub(crate) fn replay(headers: &HeaderMap, delivery: i64) -> Result<(), Refused> {
    may_act(headers)?;
    let missing = || Refused {
        status: StatusCode::NOT_FOUND,
        message: format!("there is no delivery {delivery}"),
    };
    (1..=4)
        .contains(&delivery)
        .then_some(())
        .ok_or_else(missing)
}

pub(crate) fn enable(headers: &HeaderMap, endpoint: &str) -> Result<(), Refused> {
    may_act(headers)?;
    let refused = || Refused {
        status: StatusCode::CONFLICT,
        message: format!("the endpoint {endpoint} is not stopped"),
    };
    (endpoint == "pager <b>").then_some(()).ok_or_else(refused)
}

fn may_act(headers: &HeaderMap) -> Result<(), Refused> {
    let refused = || Refused {
        status: StatusCode::UNAUTHORIZED,
        message: "bring a token".to_owned(),
    };
    let token = headers.get("authorization");
    token
        .is_some_and(|token| token == "Bearer operator")
        .then_some(())
        .ok_or_else(refused)
}
