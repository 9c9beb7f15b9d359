//! Options: what is not said, what is wrong, what each may be.

use super::*;

fn builder() -> Builder {
    Fathomline::builder("assistant", "1.4.0")
}

#[test]
fn what_is_not_said_has_a_default() {
    let settings = builder().checked().unwrap();
    assert_eq!(
        (
            settings.service.as_str(),
            settings.destination.url().as_str()
        ),
        ("assistant", "http://127.0.0.1:4318/v1/metrics")
    );
    assert!(settings.spool.ends_with("fathomline/assistant"));
}

#[test]
fn an_invalid_option_is_named_with_its_rule() {
    let long = "x".repeat(65);
    let many: Vec<String> = (0..65).map(|n| format!("label-{n}")).collect();
    for (builder, message) in [
        (
            builder().endpoint("127.0.0.1:4318"),
            "cannot declare endpoint \"127.0.0.1:4318\": give a URL",
        ),
        (builder().endpoint("http:///x"), "cannot declare endpoint"),
        (builder().installation(long), "cannot declare installation"),
        (
            builder().window(Duration::from_millis(1)),
            "cannot declare window \"1ms\"",
        ),
        (builder().spool_bytes(1), "cannot declare spool size \"1\""),
        (builder().labels(["Open"]), "cannot declare label \"Open\""),
        (builder().labels(many), "cannot declare labels \"65\""),
        (
            builder().estimated_watts_per_core(-1.0),
            "cannot declare watts per core \"-1\"",
        ),
        (builder().daily_bytes(7), "cannot declare daily bytes \"7\""),
        (
            builder().noise(-1.0, 5),
            "cannot declare noise \"-1 for 30\"",
        ),
        (
            builder().noise(1.0, 5).noised_metrics(["prompt"]),
            "cannot declare noise \"prompt\": noise is for distributions",
        ),
        (builder().site(""), "cannot declare site"),
        (
            builder().projections(7, 17),
            "cannot declare projections \"17\"",
        ),
        (
            builder().token("secret\n"),
            "cannot declare token \"(hidden)\"",
        ),
    ] {
        let error = builder.checked().unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn bytes_are_limited_unless_the_window_is_the_applications_own() {
    let limits = |builder: Builder| {
        let settings = builder.checked().unwrap();
        (settings.window.as_secs(), settings.daily_bytes)
    };
    assert_eq!(limits(builder()), (60, Some(2 << 20)));
    assert_eq!(limits(builder().window(Duration::from_secs(5))), (5, None));
    assert_eq!(limits(builder().metered()), (1_800, Some(64 << 10)));
    let both = builder()
        .window(Duration::from_secs(5))
        .daily_bytes(1 << 20);
    assert_eq!(limits(both), (5, Some(1 << 20)));
}

#[test]
fn a_token_is_in_no_log() {
    let builder = builder().token("s3cret");
    assert!(!format!("{builder:?}").contains("s3cret"));
    let settings = builder.checked().unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn labels_are_sorted_and_each_is_there_once() {
    let settings = builder()
        .labels(["open", "close", "open"])
        .checked()
        .unwrap();
    assert_eq!(settings.plan.labels, ["close", "open"]);
}

#[test]
fn a_service_cannot_name_a_path() {
    assert!(default_spool("../../etc").ends_with("fathomline/______etc"));
}

#[cfg(feature = "otel-bridge")]
#[test]
fn noise_and_exact_values_on_instruments_exclude_each_other() {
    let provider = opentelemetry_sdk::metrics::SdkMeterProvider::builder().build();
    let error = builder().noise(1.0, 5).bridge(&provider).checked();
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("cannot declare noise"), "{error}");
    builder().bridge(&provider).checked().unwrap();
}
