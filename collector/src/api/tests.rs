//! The API over an empty collector: who may ask what, and how it says no.

use axum::{
    body::{Body, to_bytes},
    http::{Request, header},
};
use datafusion::datasource::MemTable;
use fathomline_queries::{
    drift::Policy, engine::EngineLimits, lake::Lake, published::Publication, schema::Table,
};
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::{
    access::Rules,
    clock::MovedClock,
    retraining::tests::idle,
    rollout,
    watch::{WatchSettings, script::ScriptedLanes},
};

fn state(folder: &std::path::Path) -> ApiState {
    let tables = Table::ALL.map(|table| {
        let empty = MemTable::try_new(table.arrow_schema(), vec![vec![]]).unwrap();
        (table, Arc::new(empty) as _)
    });
    let lake = Arc::new(Lake::new(tables, -1));
    let second = std::time::Duration::from_secs(1);
    let settings = WatchSettings::new(second, second, Policy::default());
    let lanes = ScriptedLanes {
        until: 40,
        shift_after: 40,
        factor: 1.0,
    };
    let database = Database::open(folder).unwrap();
    let clock = Arc::new(MovedClock::at(60_000_000));
    let engine = Engine::new(lake, EngineLimits::default(), Publication::everything());
    let engine = Arc::new(engine.unwrap());
    let control = Control::new(database.clone(), Arc::new(lanes), clock, &settings);
    ApiState {
        access: Arc::new(Access::open(folder, database.clone(), Rules::default()).unwrap()),
        control: Arc::new(control),
        references: References::new(database.clone(), Arc::new(MovedClock::at(60_000_000))),
        desk: Desk::new(
            database.clone(),
            Arc::new(MovedClock::at(60_000_000)),
            Arc::new([]),
        ),
        duty: Duty::open(folder).unwrap(),
        retraining: idle(database.clone()),
        rollouts: rollout::tests::empty(database.clone()),
        database,
        engine,
        store: StoreHealth::always(),
        observer: Observer::default(),
    }
}

async fn ask(router: &Router, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json");
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn looking_needs_no_token_and_freezing_does() {
    let folder = tempfile::tempdir().unwrap();
    let router = router(state(folder.path()));
    let token = std::fs::read_to_string(folder.path().join("admin.token")).unwrap();
    let freeze = r#"{"model": "tiny", "from_us": 0, "to_us": 40000000}"#;
    for path in [
        "/api/v1/references",
        "/api/v1/verdicts",
        "/api/v1/deliveries",
        "/api/v1/alerts",
        "/api/v1/silences",
    ] {
        assert_eq!(ask(&router, "GET", path, "", "").await.0, 200, "{path}");
        assert_eq!(
            ask(&router, "GET", path, "wrong", "").await.0,
            401,
            "{path}"
        );
    }
    let path = "/api/v1/references";
    let (status, refused) = ask(&router, "POST", path, "", freeze).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &json!("token")));
    let (status, frozen) = ask(&router, "POST", path, token.trim(), freeze).await;
    assert_eq!(
        (status, frozen["references"].as_array().map(Vec::len)),
        (200, Some(2))
    );
    let (_, listed) = ask(&router, "GET", path, "", "").await;
    assert_eq!(listed["references"][0]["created_by"], "admin");
}

#[tokio::test]
async fn sql_reads_and_refuses_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let router = router(state(folder.path()));
    let sql = async |query: &str| {
        let body = json!({ "query": query }).to_string();
        ask(&router, "POST", "/api/v1/sql", "", &body).await
    };
    let (status, answer) = sql("SELECT count(*) AS n FROM rollups").await;
    assert_eq!((status, &answer["rows"]), (200, &json!([[0]])));
    for (query, code) in [
        ("INSERT INTO rollups SELECT * FROM rollups", "sql_read_only"),
        (
            "EXPLAIN ANALYZE INSERT INTO rollups SELECT * FROM rollups",
            "sql_read_only",
        ),
        ("SELECT * FROM '/etc/passwd'", "sql_invalid"),
        ("SELEKT", "sql_invalid"),
    ] {
        let (status, refused) = sql(query).await;
        assert_eq!(
            (status, &refused["error"]["code"]),
            (400, &json!(code)),
            "{query}"
        );
    }
    let (status, refused) = ask(&router, "POST", "/api/v1/sql", "", r#"{"sql": "x"}"#).await;
    assert_eq!(status, 422, "{refused}");
}

#[tokio::test]
async fn limits_beyond_a_page_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let router = router(state(folder.path()));
    for query in ["limit=0", "limit=1001", "limit=x", "unknown=1"] {
        let path = format!("/api/v1/verdicts?{query}");
        let (status, refused) = ask(&router, "GET", &path, "", "").await;
        assert_eq!(
            (status, &refused["error"]["code"]),
            (400, &json!("malformed")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn who_may_look_sees_deliveries_and_only_an_operator_sends_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let event = fathomline_queries::rows::EventRow {
        time: 1,
        id: "evt_1".to_owned(),
        kind: "fathomline.webhook.test".to_owned(),
        subject: "s".to_owned(),
        body: "{}".to_owned(),
    };
    let put = move |t: &rusqlite::Transaction<'_>| {
        crate::database::outbox::put(t, &event, ["ops"], event.time)
    };
    state.database.transact(put).await.unwrap();
    let router = router(state);
    let token = std::fs::read_to_string(folder.path().join("admin.token")).unwrap();
    let (status, listed) = ask(&router, "GET", "/api/v1/deliveries", "", "").await;
    assert_eq!(status, 200);
    let one = &listed["deliveries"][0];
    assert_eq!(
        (&one["event_id"], &one["state"]),
        (&json!("evt_1"), &json!("pending"))
    );
    let path = "/api/v1/deliveries/1/replay";
    assert_eq!(ask(&router, "POST", path, "", "").await.0, 401);
    // The endpoint is not configured, here or any more.
    let (status, refused) = ask(&router, "POST", path, token.trim(), "").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("endpoint"))
    );
    for (path, status) in [
        ("/api/v1/deliveries/9/replay", 404),
        ("/api/v1/deliveries/nine/replay", 400),
        ("/api/v1/endpoints/ops/enable", 409),
    ] {
        assert_eq!(ask(&router, "POST", path, "", "").await.0, 401, "{path}");
        let answer = ask(&router, "POST", path, token.trim(), "").await;
        assert_eq!(answer.0, status, "{path}: {}", answer.1);
    }
}

#[tokio::test]
async fn who_may_look_sees_silences_and_only_an_operator_makes_and_ends_them() {
    let folder = tempfile::tempdir().unwrap();
    let router = router(state(folder.path()));
    let token = std::fs::read_to_string(folder.path().join("admin.token")).unwrap();
    let wish = r#"{"model": "tiny", "lasts": "2h", "why": "a rollout"}"#;
    let (path, end) = ("/api/v1/silences", "/api/v1/silences/1/end");
    let acknowledge = "/api/v1/alerts/inc_1/acknowledge";
    let useful = r#"{"answer": "useful"}"#;
    for (path, body) in [(path, wish), (end, ""), (acknowledge, useful)] {
        assert_eq!(ask(&router, "POST", path, "", body).await.0, 401, "{path}");
    }
    let (status, made) = ask(&router, "POST", path, token.trim(), wish).await;
    assert_eq!((status, &made["state"]), (201, &json!("active")), "{made}");
    let (_, listed) = ask(&router, "GET", path, "", "").await;
    assert_eq!(listed["silences"][0]["by"], "admin", "{listed}");
    for (path, body, status) in [
        (end, "", 200),
        (end, "", 404),
        ("/api/v1/silences/nine/end", "", 400),
        (path, r#"{"lasts": "2h", "why": "everything"}"#, 400),
        (
            path,
            r#"{"model": "tiny", "lasts": "99d", "why": "long"}"#,
            400,
        ),
        (path, r#"{"modle": "tiny"}"#, 422),
        (acknowledge, useful, 404),
        (acknowledge, r#"{"answer": "maybe"}"#, 400),
    ] {
        let answer = ask(&router, "POST", path, token.trim(), body).await;
        assert_eq!(answer.0, status, "{path} {body}: {}", answer.1);
    }
}
