//! For whom one may send: whose token, whose certificate, whose data.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    extract::Extension,
    http::{Request, StatusCode, header},
};
use fathomline_wire::{
    identity::{Declared, Identity},
    rejection::Rejection,
};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::{
    access::{
        Rules,
        credentials::{Credentials, Holder},
        enrol::{Enrolling, router},
    },
    clock::MovedClock,
    database::Database,
    intake::{Rejected, Window},
};

/// Access over a folder of its own, with somebody who changes it from outside.
struct Office {
    _folder: TempDir,
    access: Arc<Access>,
    database: Database,
    keeper: Credentials,
}

impl Office {
    fn open(send: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let rules = Rules { send, read: false };
        let access = Access::open(folder.path(), database.clone(), rules).unwrap();
        Self {
            keeper: Credentials::open(folder.path()).unwrap(),
            access: Arc::new(access),
            database,
            _folder: folder,
        }
    }

    fn sender(&self, authorization: Option<&str>) -> Result<Sender, Refusal> {
        self.sender_at(authorization, "10.0.0.1")
    }

    fn sender_at(&self, authorization: Option<&str>, address: &str) -> Result<Sender, Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        let origin = Origin {
            address: address.parse().unwrap(),
            certified: None,
            now_us: 0,
        };
        self.access.sender(&headers, &origin)
    }

    async fn holding(&self, holder: Holder) -> Sender {
        let issued = self.keeper.create(holder).await.unwrap();
        self.access.refresh().await.unwrap();
        self.sender(Some(&format!("Bearer {}", issued.token)))
            .unwrap()
    }
}

fn arrival(declared: Option<&str>, devices: &[&str]) -> Arrival {
    let windows = devices.iter().map(|device| Window {
        installation: (*device).to_owned(),
        boot: "b".into(),
        sequence: None,
        points: vec![],
    });
    Arrival {
        declared: declared.map(|device| Declared {
            identity: Identity {
                installation: device.into(),
                boot: "b".into(),
                sequence: 1,
            },
            clock_unix_nano: None,
            is_part: false,
        }),
        token: 0,
        digest: [0; 32],
        received_us: 0,
        windows: windows.collect(),
        spans: vec![],
        rejected: Rejected::default(),
    }
}

fn rejection(result: Result<impl Sized, Refusal>) -> Option<Rejection> {
    result.err().map(|refusal| refusal.rejection)
}

#[tokio::test]
async fn where_none_is_needed_only_a_token_of_ours_can_be_wrong() {
    let office = Office::open(false);
    assert!(office.sender(None).is_ok());
    for for_others in ["Basic YTpi", "Bearer eyJhbGciOi", "Digest x", "Bearer"] {
        assert!(office.sender(Some(for_others)).is_ok(), "{for_others}");
    }
    let unknown = office.sender(Some("Bearer fathomline_0a_b"));
    assert_eq!(rejection(unknown), Some(Rejection::Unauthenticated));
}

#[tokio::test]
async fn where_one_is_needed_only_good_tokens_that_may_send_come_in() {
    let office = Office::open(true);
    for bad in [None, Some("Basic YTpi"), Some("Bearer x"), Some("Digest x")] {
        let refused = rejection(office.sender(bad));
        assert_eq!(refused, Some(Rejection::Unauthenticated), "{bad:?}");
    }
    let fleet = office.keeper.create(Holder::Fleet("f".into())).await;
    let reader = office.keeper.create(Holder::Reader("r".into())).await;
    let (fleet, reader) = (fleet.unwrap(), reader.unwrap());
    office.access.refresh().await.unwrap();
    let bearer = |token: &str| format!("Bearer {token}");
    assert!(office.sender(Some(&bearer(&fleet.token))).is_ok());
    let reads = rejection(office.sender(Some(&bearer(&reader.token))));
    assert_eq!(reads, Some(Rejection::Forbidden));
    office.keeper.revoke_token(&fleet.key).await.unwrap();
    office.access.refresh().await.unwrap();
    let refused = office.sender(Some(&bearer(&fleet.token))).unwrap_err();
    assert_eq!(refused.detail, "the token was revoked");
}

#[tokio::test]
async fn too_many_wrong_tokens_cost_their_address_a_wait_and_nobody_else() {
    let office = Office::open(true);
    let fleet = office.keeper.create(Holder::Fleet("f".into())).await;
    office.access.refresh().await.unwrap();
    let good = format!("Bearer {}", fleet.unwrap().token);
    let wrong = |address| rejection(office.sender_at(Some("Bearer wrong"), address));
    let tries = (0..200).map(|_| wrong("10.0.0.1").unwrap());
    let tries: Vec<Rejection> = tries.collect();
    assert_eq!(tries[0], Rejection::Unauthenticated);
    assert_eq!(tries[199], Rejection::Attempts);
    assert_eq!(wrong("10.0.0.2"), Some(Rejection::Unauthenticated));
    assert!(office.sender_at(Some(&good), "10.0.0.1").is_ok());
    // Who sends none guesses none.
    let none = (0..50).map(|_| rejection(office.sender_at(None, "10.0.0.3")));
    assert!(
        none.into_iter()
            .all(|r| r == Some(Rejection::Unauthenticated))
    );
}

#[tokio::test]
async fn a_devices_token_sends_as_that_device_alone() {
    let office = Office::open(true);
    let sender = office.holding(Holder::Device("d-1".into())).await;
    let admit = |declared, devices: &[&str]| {
        let mut arrival = arrival(declared, devices);
        office.access.admit(&sender, &mut arrival)
    };
    assert_eq!(admit(Some("d-1"), &["d-1"]), Ok(()));
    assert_eq!(admit(None, &["d-1"]), Ok(()));
    assert_eq!(admit(None, &[]), Ok(()), "nothing is sent for nobody");
    for (declared, device) in [
        (Some("d-2"), "d-1"),
        (Some("d-1"), "d-2"),
        (None, "d-2"),
        (None, ""),
        (None, "D-1"),
    ] {
        let refused = admit(declared, &[device]).unwrap_err();
        assert_eq!(refused.rejection, Rejection::Forbidden);
        assert!(
            refused.detail.contains("the token is of device \"d-1\""),
            "{}",
            refused.detail
        );
    }
}

#[tokio::test]
async fn a_relay_sends_for_its_fleet_and_one_revoked_device_costs_the_others_nothing() {
    let office = Office::open(true);
    office.keeper.enrol("mine", Some("f")).await.unwrap();
    office.keeper.enrol("theirs", Some("g")).await.unwrap();
    office.keeper.revoke_device("gone").await.unwrap();
    let sender = office.holding(Holder::Fleet("f".into())).await;
    let mut batch = arrival(None, &["mine", "gone", "theirs", "nobodys"]);
    office.access.admit(&sender, &mut batch).unwrap();
    let left: Vec<&str> = batch
        .windows
        .iter()
        .map(|w| w.installation.as_str())
        .collect();
    assert_eq!(left, ["mine", "nobodys"]);
    let alone = office.access.admit(&sender, &mut arrival(None, &["gone"]));
    let alone = alone.unwrap_err();
    assert_eq!(alone.rejection, Rejection::Forbidden);
    assert!(alone.detail.contains("revoked"), "{}", alone.detail);
    // Not even an administrator, or a sender without a token, brings a revoked device back.
    for sender in [
        Sender::default(),
        office.holding(Holder::Admin("a".into())).await,
    ] {
        let admitted = office.access.admit(&sender, &mut arrival(None, &["gone"]));
        assert!(admitted.is_err());
    }
}

#[tokio::test]
async fn a_certificate_that_names_a_device_sends_as_that_device_alone() {
    let office = Office::open(false);
    let sender = |device: Option<&str>| Sender {
        grant: None,
        certified: Some(Certified {
            device: device.map(str::to_owned),
        }),
    };
    assert_eq!(office.access.barred(&sender(None), "d-2"), None);
    assert_eq!(office.access.barred(&sender(Some("d-1")), "d-1"), None);
    let why = office.access.barred(&sender(Some("d-1")), "d-2").unwrap();
    assert!(
        why.contains("the certificate is of device \"d-1\""),
        "{why}"
    );
}

#[tokio::test]
async fn a_fleets_token_becomes_a_devices_own_once() {
    let office = Office::open(true);
    let routes = router(Enrolling {
        access: Arc::clone(&office.access),
        database: office.database.clone(),
        clock: Arc::new(MovedClock::at(7)),
    });
    let enrol = async |sender: &Sender, body: &'static str| {
        let routes = routes.clone().layer(Extension(sender.clone()));
        let request = Request::post("/v1/enrol").header(header::CONTENT_TYPE, "application/json");
        let answer = routes
            .oneshot(request.body(Body::from(body)).unwrap())
            .await;
        let answer = answer.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (
            status,
            serde_json::from_slice::<serde_json::Value>(&body).unwrap(),
        )
    };
    let fleet = office.holding(Holder::Fleet("f".into())).await;
    let (status, answer) = enrol(&fleet, r#"{"device": "d-1"}"#).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    // It opens the door at once, and only for this device.
    let own = format!("Bearer {}", answer["token"].as_str().unwrap());
    let own = office.sender(Some(&own)).unwrap();
    assert_eq!(office.access.barred(&own, "d-1"), None);
    assert!(office.access.barred(&own, "d-2").is_some());

    let (status, answer) = enrol(&fleet, r#"{"device": "d-1"}"#).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::CONFLICT, &"enrolled".into())
    );
    let other = office.holding(Holder::Fleet("g".into())).await;
    assert_eq!(
        enrol(&other, r#"{"device": "d-1"}"#).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        enrol(&own, r#"{"device": "d-3"}"#).await.0,
        StatusCode::FORBIDDEN
    );
    let nobody = Sender::default();
    assert_eq!(
        enrol(&nobody, r#"{"device": "d-3"}"#).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        enrol(&fleet, r#"{"device": "a b"}"#).await.0,
        StatusCode::BAD_REQUEST
    );
    office.keeper.revoke_device("d-1").await.unwrap();
    office.access.refresh().await.unwrap();
    let (status, answer) = enrol(&fleet, r#"{"device": "d-1"}"#).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    // What is not yet known here is found where it is written.
    office.keeper.revoke_device("d-4").await.unwrap();
    assert_eq!(
        enrol(&fleet, r#"{"device": "d-4"}"#).await.0,
        StatusCode::FORBIDDEN
    );
}
