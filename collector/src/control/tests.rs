//! References of scripted lanes: made, pinned, retired, sent through files, compared.

use fathomline_queries::{
    drift::{Level, Part, Policy, Reference, Summary},
    lanes::parts::SeriesParts,
    rows::VerdictRow,
};
use fathomline_wire::{histogram::ExponentialHistogram, names};

use super::*;
use crate::{
    clock::MovedClock,
    database::verdicts,
    watch::{
        lanes::{Asked, AskedParts, LanesError, SeriesLanes},
        script::{LANE_US, ScriptedLanes, key},
    },
};

fn quiet() -> ScriptedLanes {
    ScriptedLanes {
        until: 60,
        shift_after: 60,
        factor: 1.0,
    }
}

fn control(folder: &std::path::Path) -> Control {
    control_of(folder, quiet())
}

fn control_of(folder: &std::path::Path, lanes: impl LaneSource + 'static) -> Control {
    let policy = Policy::default();
    let second = std::time::Duration::from_secs(1);
    let settings = WatchSettings::new(second, second * 2, policy);
    let database = Database::open(folder).unwrap();
    let clock = Arc::new(MovedClock::at(62 * LANE_US));
    Control::new(database, Arc::new(lanes), clock, &settings)
}

fn span_us(from_us: i64, to_us: i64) -> CreateRequest {
    CreateRequest {
        from_us: Some(from_us),
        to_us: Some(to_us),
        ..CreateRequest::of("tiny")
    }
}

fn span(model: &str, from: i64, to: i64) -> CreateRequest {
    CreateRequest {
        model: model.into(),
        ..span_us(from * LANE_US, to * LANE_US)
    }
}

#[tokio::test]
async fn the_same_span_gives_the_same_hashes_and_another_span_others() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    let hashes = async |to| {
        let answer = control.create(&span("tiny", 0, to), "admin").await.unwrap();
        let hashes = answer.references.into_iter().map(|frozen| frozen.hash);
        hashes.collect::<Vec<_>>()
    };
    let first = hashes(40).await;
    assert_eq!(first.len(), 2);
    assert_eq!(first, hashes(40).await);
    assert_ne!(first, hashes(50).await);
}

#[tokio::test]
async fn what_cannot_be_frozen_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    for (request, needle) in [
        (span("tiny", 9, 9), "ends before it begins"),
        (span("tiny", 90, 95), "no whole lane that has closed"),
        (span("tiny", -90_000, 50), "choose a shorter one"),
        (
            span_us(i64::MIN, i64::MIN + 1),
            "no whole lane that has closed",
        ),
        (span_us(i64::MAX, i64::MIN), "ends before it begins"),
        (span_us(i64::MIN, i64::MAX), "choose a shorter one"),
        (span("other", 0, 40), "no watched series of model \"other\""),
    ] {
        let error = control
            .create(&request, "admin")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(needle), "{error} lacks {needle}");
    }
    let short = control.create(&span("tiny", 0, 5), "admin").await.unwrap();
    assert!(short.references.is_empty());
    assert_eq!(short.shortfalls.len(), 2);
    assert!(short.shortfalls[0].shortfall.contains("5 of 20 lanes"));
}

/// What was said of the kiosks in the lane that ended at `lane`.
fn drifting(lane: i64, since: i64) -> VerdictRow {
    let key = key("kiosk");
    VerdictRow {
        time: lane * LANE_US,
        series: key.id(),
        service: key.service,
        device_class: key.device_class,
        model: key.model,
        version: key.version,
        variant: key.variant,
        metric: names::OUTPUT_SURPRISAL.to_owned(),
        revision: 0,
        state: "drifting".to_owned(),
        method: "test".to_owned(),
        score: None,
        threshold: None,
        count: 1,
        effective_count: None,
        devices: 6,
        since: Some(since * LANE_US),
        reference: None,
        evidence: "{}".to_owned(),
    }
}

/// Six devices at one site, each of which sends a record a lane.
struct OfDevices(ScriptedLanes);

#[async_trait::async_trait]
impl LaneSource for OfDevices {
    async fn lanes(&self, asked: Asked<'_>) -> Result<SeriesLanes, LanesError> {
        self.0.lanes(asked).await
    }

    async fn parts(&self, asked: AskedParts<'_>) -> Result<SeriesParts, LanesError> {
        let mut summary = ExponentialHistogram::new(4);
        let lanes = (asked.span.to_us - asked.span.from_us) / LANE_US;
        (0..lanes).for_each(|_| assert!(summary.record(0.5)));
        let of = |device: u32| Part {
            device: device.to_string(),
            site: "bern".to_owned(),
            end_us: asked.span.to_us,
            summary: Summary::Histogram(summary.clone()),
        };
        Ok([(key("kiosk"), (0..6).map(of).collect())].into())
    }
}

#[tokio::test]
async fn what_devices_did_in_lanes_of_an_incident_enters_no_reference_either() {
    let folder = tempfile::tempdir().unwrap();
    let control = control_of(folder.path(), OfDevices(quiet()));
    let told = [drifting(20, 14), drifting(21, 14)];
    let work = move |t: &Transaction<'_>| told.iter().try_for_each(|row| verdicts::insert(t, row));
    control.database.transact(work).await.unwrap();
    let mut at_sites = vec![];
    for include_incidents in [false, true] {
        let request = CreateRequest {
            device_class: Some("kiosk".to_owned()),
            include_incidents,
            ..span("tiny", 0, 50)
        };
        let made = control.create(&request, "admin").await.unwrap();
        let hash = &made.references[0].hash;
        let reference = control.references().find(hash).await.unwrap().unwrap();
        at_sites.push(reference.sites()[0].counted.count);
    }
    assert_eq!(at_sites, [6 * (50 - 7), 6 * 50]);
}

#[tokio::test]
async fn lanes_of_an_incident_enter_no_reference_unless_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    let told = [drifting(20, 14), drifting(21, 14)];
    let work = move |t: &Transaction<'_>| told.iter().try_for_each(|row| verdicts::insert(t, row));
    control.database.transact(work).await.unwrap();
    let kiosks = |include_incidents| CreateRequest {
        device_class: Some("kiosk".to_owned()),
        include_incidents,
        ..span("tiny", 0, 50)
    };
    let of = async |request: &CreateRequest| {
        let mut answer = control.create(request, "admin").await.unwrap();
        assert_eq!(
            (answer.references.len(), answer.shortfalls.len()),
            (1, 0),
            "{answer:?}"
        );
        answer.references.remove(0)
    };
    let (without, with) = (of(&kiosks(false)).await, of(&kiosks(true)).await);
    // Lanes 15 to 21.
    assert_eq!((without.excluded_lanes, with.excluded_lanes), (7, 0));
    assert_eq!(with.records - without.records, 7 * 240);
    let short = CreateRequest {
        from_us: Some(0),
        to_us: Some(22 * LANE_US),
        ..kiosks(false)
    };
    let answer = control.create(&short, "admin").await.unwrap();
    let missing = &answer.shortfalls[0].shortfall;
    assert!(missing.contains("7 lanes were left out"), "{missing}");
}

#[tokio::test]
async fn a_wish_that_names_no_lanes_says_what_to_name() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    let weeks = |weeks| CreateRequest {
        weeks: Some(weeks),
        ..CreateRequest::of("tiny")
    };
    let both = CreateRequest {
        from_us: Some(0),
        ..weeks(1)
    };
    for (request, needle) in [
        (CreateRequest::of("tiny"), "say one of"),
        (both, "say one of"),
        (weeks(0), "0 weeks are not 1 to 4"),
        (weeks(5), "5 weeks are not 1 to 4"),
    ] {
        let error = control
            .create(&request, "admin")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(needle), "{error} lacks {needle}");
    }
    // A week of seconds is more lanes than a reference may have; a version's are cut.
    let error = control
        .create(&weeks(1), "admin")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("choose a shorter one"), "{error}");
    let version = CreateRequest {
        version: Some("1".to_owned()),
        ..CreateRequest::of("tiny")
    };
    let answer = control.create(&version, "admin").await.unwrap();
    assert_eq!(answer.references[0].made_from, "version");
}

#[tokio::test]
async fn a_season_needs_its_days_and_a_level_takes_series_together() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    let seasonal = CreateRequest {
        season: Some(fathomline_queries::stats::Season::HourOfWeek),
        ..span("tiny", 0, 50)
    };
    let answer = control.create(&seasonal, "admin").await.unwrap();
    let missing = &answer.shortfalls[0].shortfall;
    assert!(
        missing.contains("0 of 14 days that its season needs"),
        "{missing}"
    );
    let model = CreateRequest {
        level: Level::Model,
        ..span("tiny", 0, 50)
    };
    let answer = control.create(&model, "admin").await.unwrap();
    let row = &answer.references[0];
    assert_eq!(row.level, "model");
    assert_eq!(row.series, key("kiosk").at(Level::Model).id());
    assert!(row.name.contains("tiny * (*) on kiosk"), "{}", row.name);
}

#[tokio::test]
async fn every_act_is_written_down_with_who_and_when() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    let kept = control.references();
    let unpinned = CreateRequest {
        pin: false,
        device_class: Some("kiosk".to_owned()),
        ..span("tiny", 0, 40)
    };
    let row = control
        .create(&unpinned, "ann")
        .await
        .unwrap()
        .references
        .remove(0);
    assert_eq!(row.in_force_since_us, None);
    let digits = &row.hash[..8];
    let pinned = kept.pin(digits, "ben").await.unwrap();
    assert_eq!(pinned.in_force_by.as_deref(), Some("ben"));
    let file = kept.export(digits).await.unwrap();
    assert!(
        kept.retire(digits, "cid")
            .await
            .unwrap()
            .in_force_since_us
            .is_none()
    );
    let again = kept.retire(digits, "cid").await.unwrap_err().to_string();
    assert!(again.contains("was retired before"), "{again}");
    let imported = kept.import(&file, true, "dee").await.unwrap();
    assert!(!imported.new && imported.row.in_force_by.as_deref() == Some("dee"));
    let shown = kept.show(digits).await.unwrap();
    assert_eq!(
        shown.content.map(|content| content.hash()),
        Some(row.hash.clone())
    );
    let acts: Vec<(String, String)> = shown
        .acts
        .into_iter()
        .map(|act| (act.actor, act.action))
        .collect();
    let acts: Vec<(&str, &str)> = acts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        acts,
        [
            ("dee", "reference.pin"),
            ("dee", "reference.import"),
            ("cid", "reference.retire"),
            ("ben", "reference.pin"),
            ("ann", "reference.create"),
        ]
    );
    assert_eq!(kept.acts(3).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_file_makes_the_same_reference_elsewhere() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (here, there) = (control(folders[0].path()), control(folders[1].path()));
    let answer = here.create(&span("tiny", 0, 40), "admin").await.unwrap();
    let hash = &answer.references[0].hash;
    let file = here.references().export(hash).await.unwrap();
    let imported = there.references().import(&file, false, "ci").await.unwrap();
    assert!(imported.new);
    assert_eq!(
        (&imported.row.hash, imported.row.made_from.as_str()),
        (hash, "file")
    );
    assert_eq!(imported.row.in_force_since_us, None);
    let (a, b) = (
        here.references().show(hash).await,
        there.references().show(hash).await,
    );
    assert_eq!(a.unwrap().content, b.unwrap().content, "to the last bit");
}

#[tokio::test]
async fn two_references_are_compared_and_names_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    let kept = control.references();
    let first = control.create(&span("tiny", 0, 30), "admin").await.unwrap();
    let second = control
        .create(&span("tiny", 30, 60), "admin")
        .await
        .unwrap();
    let (first, second) = (&first.references[0].hash, &second.references[0].hash);
    let same = kept.compare(first, first).await.unwrap();
    assert_eq!((same.distances.psi, same.distances.ks), (0.0, 0.0));
    let compared = kept.compare(first, second).await.unwrap();
    assert!(compared.distances.psi_debiased < 0.02, "{compared:?}");
    assert_eq!(compared.streams.len(), same.streams.len());
    for (name, needle) in [
        ("abc", "6 to 64 hexadecimal digits"),
        ("../etc", "6 to 64 hexadecimal digits"),
        ("000000", "there is no reference 000000"),
        (&"a".repeat(65), "6 to 64 hexadecimal digits"),
    ] {
        let error = kept.show(name).await.unwrap_err().to_string();
        assert!(error.contains(needle), "{error} lacks {needle}");
    }
}

#[tokio::test]
async fn a_reference_in_force_that_cannot_be_read_is_named_and_not_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    let kept = control.references();
    let made = control.create(&span("tiny", 0, 40), "admin").await.unwrap();
    let hash = made.references[0].hash.clone();
    let mut hashes: Vec<_> = made.references.into_iter().map(|row| row.hash).collect();
    hashes.sort();
    let mut found: Vec<_> = kept
        .in_force()
        .await
        .unwrap()
        .iter()
        .map(Reference::hash)
        .collect();
    found.sort();
    assert_eq!(found, hashes);
    let damaged = hash.clone();
    let damage = move |t: &Transaction<'_>| {
        let sql = "UPDATE kept_references SET body = x'07' WHERE hash = ?1";
        Ok(t.execute(sql, [damaged])?)
    };
    assert_eq!(control.database.transact(damage).await.unwrap(), 1);
    for error in [
        kept.in_force().await.unwrap_err().to_string(),
        kept.content(&hash[..8]).await.unwrap_err().to_string(),
    ] {
        let says = format!("the reference {hash} cannot be read");
        assert!(
            error.starts_with(&says) && error.ends_with("make a new one"),
            "{error}"
        );
    }
    let later = |t: &Transaction<'_>| {
        Ok(t.execute(
            "UPDATE kept_references SET contract = 7 WHERE body = x'07'",
            (),
        )?)
    };
    assert_eq!(control.database.transact(later).await.unwrap(), 1);
    let error = kept.in_force().await.unwrap_err().to_string();
    let says = format!("the reference {hash} is of another contract version; make one");
    assert!(error.starts_with(&says), "{error}");
    control.create(&span("tiny", 0, 50), "admin").await.unwrap();
    assert_eq!(kept.in_force().await.unwrap().len(), 2, "the new one helps");
}
