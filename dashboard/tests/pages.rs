//! Each page on golden rows, through the public router: a changed page shows up in review as a
//! changed snapshot. What this does not prove: that the collector mounts the pages, which the
//! system tests do.

#![allow(clippy::unwrap_used)]

#[path = "pages/asked.rs"]
mod asked;
#[path = "pages/fired.rs"]
mod fired;
#[path = "pages/golden.rs"]
mod golden;
#[path = "pages/told.rs"]
mod told;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use tower::ServiceExt as _;

async fn get(router: &Router, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The page without the names of assets, which change with every rule of the style sheet.
async fn page(path: &str) -> String {
    let (status, html) = get(&golden::router(), path).await;
    assert_eq!(status, 200, "{path}: {html}");
    assert!(html.len() < 200_000, "{path} weighs {} bytes", html.len());
    let mut parts = html.split("/assets/");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("/assets/");
        plain.push_str(&part[part.find('"').unwrap()..]);
    }
    plain
}

#[tokio::test]
async fn the_fleet() {
    insta::assert_snapshot!(page("/").await);
}

#[tokio::test]
async fn the_list_of_series() {
    insta::assert_snapshot!(page("/drift").await);
}

#[tokio::test]
async fn a_drifting_series() {
    let path = format!("/drift/{}", golden::SURPRISAL);
    insta::assert_snapshot!(page(&path).await);
}

#[tokio::test]
async fn a_series_is_taken_apart_for_whoever_asks() {
    let path = format!("/drift/{}?apart=now", golden::SURPRISAL);
    let html = page(&path).await;
    let (_, apart) = html.split_once("<h2 id=\"apart\">").unwrap();
    let (apart, _) = apart.split_once("</section>").unwrap();
    insta::assert_snapshot!(apart);
    let unknown = format!("/drift/{}?apart=now", golden::FEEDBACK);
    assert!(
        !page(&unknown).await.contains("id=\"apart\""),
        "there is nothing to hold it against"
    );
}

#[tokio::test]
async fn a_series_of_categories_without_a_reference() {
    let path = format!("/drift/{}?from=now-5m&to=now", golden::FEEDBACK);
    insta::assert_snapshot!(page(&path).await);
}

#[tokio::test]
async fn what_inferences_used_and_cost() {
    insta::assert_snapshot!(page("/energy").await);
    // One class alone, all of it known: it adds up to a whole.
    let html = page("/energy?class=kiosk").await;
    assert!(!html.contains("What is unknown"), "{html}");
    let html = page("/energy?from=now-5m&to=now-4m").await;
    assert!(html.contains("No inference ended in this range"), "{html}");
}

#[tokio::test]
async fn what_series_are_held_against_and_two_of_them_compared() {
    let [first, second] = golden::hashes();
    let path = format!("/references?first={first}&second={second}");
    insta::assert_snapshot!(page(&path).await);
}

#[tokio::test]
async fn what_was_told_to_whom() {
    insta::assert_snapshot!(page("/deliveries").await);
}

/// As a form without JavaScript does: where it leads, and what it says.
async fn press(path: &str, token: Option<&str>) -> (u16, String, String) {
    let mut request = Request::post(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).unwrap();
    let response = golden::router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let leads = response.headers().get(header::LOCATION).cloned();
    let leads = leads.map_or_else(String::new, |leads| leads.to_str().unwrap().to_owned());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, leads, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn buttons_lead_back_to_the_list_or_say_why_not() {
    let enable = "/deliveries/endpoints/pager%20%3Cb%3E/enable";
    for path in ["/deliveries/3/replay", enable] {
        let (status, leads, _) = press(path, Some("operator")).await;
        assert_eq!((status, leads.as_str()), (303, "/deliveries"), "{path}");
        let (status, _, html) = press(path, None).await;
        assert_eq!(status, 401, "{path}");
        assert!(html.contains("bring a token"), "{html}");
    }
    let html = page("/deliveries").await;
    assert!(html.contains(&format!(r#"action="{enable}""#)), "{html}");
    for (path, wrong, says) in [
        ("/deliveries/99/replay", 404, "there is no delivery 99"),
        ("/deliveries/nine/replay", 400, ""),
        ("/deliveries/endpoints/trainer/enable", 409, "not stopped"),
    ] {
        let (status, _, html) = press(path, Some("operator")).await;
        assert_eq!(status, wrong, "{path}: {html}");
        assert!(html.contains(says), "{html}");
    }
}

#[tokio::test]
async fn a_rollout_that_is_worse_on_one_class() {
    insta::assert_snapshot!(page("/rollouts").await);
}

#[tokio::test]
async fn rollouts_of_a_model_and_one_that_is_over() {
    let over = page("/rollouts?rollout=1").await;
    assert!(over.contains("cannot be decided any more"), "{over}");
    let other = page("/rollouts?model=other").await;
    assert!(other.contains("No second version has reported"), "{other}");
    let (status, html) = get(&golden::router(), "/rollouts?rollout=9").await;
    assert_eq!(status, 404, "{html}");
    let (status, html) = get(&golden::router(), "/rollouts?rollout=x").await;
    assert_eq!(status, 400, "{html}");
}

#[tokio::test]
async fn what_cannot_be_compared_says_why() {
    let [first, _] = golden::hashes();
    for (path, status, says) in [
        (
            format!("/references?first={first}"),
            400,
            "choose two references",
        ),
        (
            format!("/references?first={first}&second=abcdef012345"),
            404,
            "there is no reference",
        ),
        (
            "/references?first=%3Cb%3E&second=x".to_owned(),
            404,
            "choose two of the list",
        ),
    ] {
        let (found, html) = get(&golden::router(), &path).await;
        assert_eq!(found, status, "{path}: {html}");
        assert!(
            html.contains(says) && !html.contains("<b>"),
            "{path}: {html}"
        );
    }
}

#[tokio::test]
async fn links_keep_the_range_and_reloading_can_be_stopped() {
    let fleet = page("/?from=now-1h&to=now&refresh=5").await;
    assert!(fleet.contains(r#"<meta http-equiv="refresh" content="5">"#));
    assert!(fleet.contains("stop reloading"));
    let link = format!(
        "/drift/{}?from=now-1h&#38;to=now&#38;refresh=5",
        golden::SURPRISAL
    );
    assert!(fleet.contains(&link), "no {link} in {fleet}");
}

#[tokio::test]
async fn a_range_before_everything_is_empty_and_not_zero() {
    let fleet = page("/?from=2026-11-01T00:00:00Z&to=2026-11-01T01:00:00Z").await;
    assert!(
        fleet.contains("No device has reported in this range"),
        "{fleet}"
    );
    let list = page("/drift?from=2026-11-01T00:00:00Z&to=2026-11-01T01:00:00Z").await;
    assert!(
        list.contains("Nothing has been judged in this range"),
        "{list}"
    );
}

#[tokio::test]
async fn who_may_not_look_is_told_what_to_do() {
    let (status, html) = get(&golden::closed_router(), "/").await;
    assert_eq!(status, 401);
    assert!(html.contains("bring a token"), "{html}");
}

#[tokio::test]
async fn every_answer_forbids_scripts_and_only_assets_are_kept() {
    let router = golden::router();
    for path in ["/", "/nowhere", "/?from=x", "/assets/none"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert_eq!(
            response.headers()[header::CACHE_CONTROL],
            "no-store",
            "{path}"
        );
    }
    let (_, html) = get(&router, "/").await;
    let style = html
        .split('"')
        .find(|part| part.starts_with("/assets/fathomline."))
        .unwrap();
    let request = Request::get(style).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert!(
        response.headers()[header::CACHE_CONTROL]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
}

#[tokio::test]
async fn requests_to_train_again_and_what_became_of_them() {
    insta::assert_snapshot!(page("/retraining").await);
}

/// A form that is sent: where it leads, and what is said.
async fn fill(path: &str, body: &str) -> (u16, Option<header::HeaderValue>, String) {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = golden::router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let to = response.headers().get(header::LOCATION).cloned();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, to, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_fires_and_what_people_did_about_it() {
    insta::assert_snapshot!(page("/alerts").await);
}

#[tokio::test]
async fn what_a_page_was_worth_and_silences_are_said_by_forms() {
    let said = "act=acknowledge&incident=inc_1&note=&answer=noise";
    let named = "act=silence&model=tiny&version=&class=&site=&metric=&lasts=2h&why=a+rollout";
    for body in [said, named, "act=end&silence=2"] {
        let (status, to, page) = fill("/alerts", body).await;
        assert_eq!(status, 303, "{body}: {page}");
        assert_eq!(to.unwrap().to_str().unwrap(), "/alerts");
    }
    let (status, _, page) = fill("/alerts", "act=end&silence=9").await;
    assert!(status == 404 && page.contains("no silence 9"), "{page}");
    for malformed in [
        "",
        "act=launch",
        "act=acknowledge",
        "act=silence&model=tiny",
    ] {
        assert_eq!(fill("/alerts", malformed).await.0, 400, "{malformed}");
    }
}

#[tokio::test]
async fn a_button_is_pressed_once_and_a_refusal_says_why() {
    let press = async |body: &str| fill("/retraining", body).await;
    let id = format!("rtr_{}", "0".repeat(32));
    let (status, to, _) = press(&format!("act=approve&id={id}")).await;
    assert_eq!(
        (status, to.unwrap().to_str().unwrap()),
        (303, "/retraining")
    );
    let (status, _, page) = press(&format!("act=cancel&id={id}")).await;
    assert!(status == 409 && page.contains("cannot be done"), "{page}");
    for malformed in ["", "act=launch", "act=approve"] {
        assert_eq!(press(malformed).await.0, 400, "{malformed}");
    }
}
