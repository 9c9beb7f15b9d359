//! The story, act by act: devices answer, a reference is frozen, the season changes for one class,
//! a verdict follows, a webhook tells, a trainer is asked and the loop closes (`recovery`). Owns
//! what happens when and how long we are prepared to wait.
//! In: how people want it told. Out: sentences, pages, and a report in which every figure was read
//! back. Deadlines end a story that hangs; how fast the machine is decides nothing.

mod recovery;
mod scene;
mod season;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use fathomline_wire::names;

use crate::{
    clock,
    device::MODEL,
    fleet::{Fleet, Muster},
    house::{House, LANE_US, Wishes},
    receiver::{self, Secret},
    report::Report,
    trainer::Trainer,
    voice::{Voice, grouped},
};
use scene::{Scene, number, words};

/// The class whose season changes.
pub const SHIFTED: &str = "kiosk";
/// What a reference needs is 20 lanes and 3,000 inferences; a little more is no risk.
const LANES_NEEDED: u32 = 21;
const INFERENCES_NEEDED: u64 = 3_100;
/// Lanes that every series is judged on before anything changes.
const STEADY_LANES: u64 = 3;
/// Lanes close so long after their end.
const LATENESS_US: i64 = 2 * LANE_US;
/// How long each act may take. On two idle cores they take a tenth of it.
const OPENING_LIMIT: Duration = Duration::from_secs(300);
const QUIET_LIMIT: Duration = Duration::from_secs(1_200);
const FREEZE_LIMIT: Duration = Duration::from_secs(300);
const STEADY_LIMIT: Duration = Duration::from_secs(300);
const VERDICT_LIMIT: Duration = Duration::from_secs(600);
const WEBHOOK_LIMIT: Duration = Duration::from_secs(180);
const AFTERMATH_LIMIT: Duration = Duration::from_secs(300);

/// How people want the story told.
#[derive(Clone, Debug)]
pub struct Plan {
    pub devices: usize,
    pub seed: u64,
    pub wishes: Wishes,
    /// Ends with the story, instead of keeping the pages open.
    pub once: bool,
}

/// A story that was told.
pub struct Told {
    pub report: Report,
    /// Whether it came to its end before somebody stopped it.
    pub finished: bool,
}

/// Tells the story until its end, or until `stop`; then everything is drained and put away.
pub async fn tell(plan: &Plan, voice: &Voice, stop: impl Future<Output = ()>) -> Result<Told> {
    let secret = Secret::random();
    let receiver = receiver::listen(secret.clone()).await?;
    let house = House::open(&plan.wishes, receiver.url.clone(), &secret).await?;
    announce(voice, &house);
    let trainer = Trainer::new(secret, plan.seed, house.trainer_folder());
    let played = play((plan, voice), &house, (receiver, trainer), stop).await;
    voice.watch("the collector commits what it has");
    let closed = house.close().await;
    // What went wrong first says more than what followed from it.
    let told = played?;
    closed?;
    Ok(told)
}

fn announce(voice: &Voice, house: &House) {
    if let Some(taken) = house.taken {
        voice.say(format!(
            "{taken} is in use by something else; a free port was taken instead"
        ));
    }
    let fate = match house.kept {
        true => "stays",
        false => "removed at the end; --data FOLDER keeps it",
    };
    let token = house.data.join("admin.token");
    voice.say(format!("the dashboard is at {}", house.dashboard()));
    voice.say(format!("data is in {} ({fate})", house.data.display()));
    voice.say(format!("the admin token is in {}", token.display()));
}

async fn play(
    (plan, voice): (&Plan, &Voice),
    house: &House,
    (receiver, trainer): (receiver::Receiver, Trainer),
    stop: impl Future<Output = ()>,
) -> Result<Told> {
    let fleet = Fleet::start(&Muster {
        devices: plan.devices,
        seed: plan.seed,
        endpoint: &house.endpoint(),
        folder: &house.fleet_folder(),
    })?;
    let mut scene = Scene::new(voice, house, (fleet, trainer), receiver.deliveries)?;
    scene.report.seed = plan.seed;
    let acted = tokio::select! {
        acted = acts(&mut scene, plan.once) => acted,
        () = stop => Ok(()),
    };
    let finished = scene.finished;
    let report = match (acted, scene.settle().await) {
        (Ok(()), settled) => settled?,
        (Err(error), Ok(_)) => return Err(error),
        // Why a device gave up comes out when the fleet is stopped.
        (Err(error), Err(reason)) => return Err(reason.context(format!("{error:#}"))),
    };
    Ok(Told { report, finished })
}

async fn acts(scene: &mut Scene<'_>, once: bool) -> Result<()> {
    opening(scene).await?;
    let began_us = clock::now_us();
    quiet(scene, began_us).await?;
    freeze(scene, began_us).await?;
    steady(scene, began_us).await?;
    scene.change_season(SHIFTED);
    verdict(scene).await?;
    webhook(scene).await?;
    aftermath(scene).await?;
    if scene.has_found(SHIFTED) {
        recovery::play(scene).await?;
    }
    scene.finished = true;
    if once {
        return Ok(());
    }
    let dashboard = &scene.report.dashboard;
    scene.voice.say(format!(
        "that was the story; devices go on. Look at {dashboard}, then Ctrl-C"
    ));
    loop {
        scene.rest("people go on talking").await?;
    }
}

/// Devices are switched on and heard.
async fn opening(scene: &mut Scene<'_>) -> Result<()> {
    let (devices, classes) = (scene.report.devices, scene.report.classes.clone());
    let (each, list) = (devices / classes.len(), classes.join(", "));
    scene.say(format!(
        "{devices} devices are on, {each} of each class: {list}"
    ));
    let mut first = true;
    let limit = scene.within(OPENING_LIMIT);
    loop {
        let rows = scene
            .operator
            .rows(include_str!("../sql/heard.sql"))
            .await?;
        let heard = number(&rows, 0);
        if heard > 0 && first {
            first = false;
            scene.say("the first windows closed, arrived and are on disk");
        }
        if heard >= devices as u64 {
            scene.say(format!("all {devices} devices are heard"));
            scene.curtain("opening");
            return Ok(());
        }
        if limit.is_over() {
            bail!(
                "after {limit} only {heard} of {devices} devices were heard; is this machine out of memory or threads?"
            );
        }
        scene.rest("devices send their first windows").await?;
    }
}

/// Nothing happens, and that is measured.
async fn quiet(scene: &mut Scene<'_>, began_us: i64) -> Result<()> {
    let (lanes, inferences) = (LANES_NEEDED, grouped(INFERENCES_NEEDED));
    scene.say(format!(
        "quiet: people ask as always. A reference needs {lanes} lanes of 5 s and {inferences} \
         inferences in each class"
    ));
    let limit = scene.within(QUIET_LIMIT);
    let lane = Duration::from_micros(LANE_US.unsigned_abs());
    loop {
        let until_us = clock::now_us() - LATENESS_US;
        let sql = scene::filled(
            include_str!("../sql/quiet.sql"),
            names::OUTPUT_SURPRISAL,
            (began_us, until_us),
        );
        let rows = scene.operator.rows(&sql).await?;
        let least = |column: usize| {
            rows.iter()
                .map(|row| row[column].as_u64().unwrap_or(0))
                .min()
        };
        let all = rows.len() == scene.report.classes.len();
        let (inferences, lanes) = match all {
            true => (least(1).unwrap_or(0), least(2).unwrap_or(0)),
            false => (0, 0),
        };
        if inferences >= INFERENCES_NEEDED && lanes >= u64::from(LANES_NEEDED) {
            return Ok(());
        }
        if limit.is_over() {
            bail!(
                "after {limit} a class had only {inferences} inferences in {lanes} lanes; this \
                 machine is too busy for {} devices, end what else runs on it",
                scene.report.devices
            );
        }
        let share = (inferences as f64 / INFERENCES_NEEDED as f64)
            .min(lanes as f64 / f64::from(LANES_NEEDED));
        let total = lane * LANES_NEEDED;
        scene.voice.wait(
            "quiet: a reference needs history",
            total.mul_f64(share.min(1.0)),
            total,
        );
        scene.beat().await?;
    }
}

/// What was quiet becomes the reference, by the request any operator would make.
async fn freeze(scene: &mut Scene<'_>, began_us: i64) -> Result<()> {
    let limit = scene.within(FREEZE_LIMIT);
    loop {
        let answer = scene
            .operator
            .freeze(MODEL, began_us, clock::now_us())
            .await;
        let answer = answer.context("cannot freeze a reference")?;
        let Some(missing) = answer.shortfalls.first() else {
            scene.freeze(answer.references);
            scene.curtain("quiet");
            return Ok(());
        };
        let (name, shortfall) = (&missing.name, &missing.shortfall);
        if limit.is_over() {
            bail!("after {limit} {name} still has too little for a reference: {shortfall}");
        }
        scene.say(format!(
            "not yet: {name} has too little for a reference: {shortfall}"
        ));
        for _ in 0..2 * LANE_US / 1_000_000 {
            scene.rest("two more lanes").await?;
        }
    }
}

/// The same people, judged: no series may drift.
async fn steady(scene: &mut Scene<'_>, began_us: i64) -> Result<()> {
    let series = scene.report.reference.series;
    let limit = scene.within(STEADY_LIMIT);
    while scene.ledger.decided(STEADY_LANES) < series {
        if limit.is_over() {
            let decided = scene.ledger.decided(STEADY_LANES);
            bail!("after {limit} only {decided} of {series} series have {STEADY_LANES} verdicts");
        }
        scene
            .rest("nothing has changed, and that is judged")
            .await?;
    }
    scene.report.steady_series = scene.ledger.steady();
    scene.say(format!(
        "{} of {series} series are steady after {STEADY_LANES} lanes: nothing happened, and it says so",
        scene.report.steady_series
    ));
    let before = scene.accuracy((began_us, clock::now_us())).await?;
    scene.report.accuracy_before = before;
    scene.curtain("steady");
    Ok(())
}

/// Too late is not an error but a promise that was not kept.
async fn verdict(scene: &mut Scene<'_>) -> Result<()> {
    let limit = scene.within(VERDICT_LIMIT);
    while !scene.has_found(SHIFTED) {
        if limit.is_over() {
            scene.say(format!("no verdict after {limit}"));
            return Ok(());
        }
        scene
            .rest("the season changed, and nobody was told")
            .await?;
    }
    scene.report.delay_s = scene.since_shift();
    scene.report.verdict_at_s = Some(scene.seconds());
    scene.curtain("verdict");
    Ok(())
}

async fn webhook(scene: &mut Scene<'_>) -> Result<()> {
    let limit = scene.within(WEBHOOK_LIMIT);
    while scene.has_found(SHIFTED) && !scene.mailbox.has_told() {
        if limit.is_over() {
            scene.say(format!("no webhook after {limit}"));
            return Ok(());
        }
        scene.rest("a webhook is on its way").await?;
    }
    Ok(())
}

/// Classes of which the pages show a drifting series.
async fn pages_drifting(scene: &Scene<'_>) -> Result<Vec<String>> {
    let mut drifting = vec![];
    for class in &scene.report.classes {
        let path = format!("/drift?state=drifting&class={class}");
        let page = scene.operator.page(&path).await?;
        if page.contains("badge drifting") {
            drifting.push((*class).to_owned());
        }
    }
    Ok(drifting)
}

/// Other signals and classes get their chance, once the season has changed to its full extent.
async fn aftermath(scene: &mut Scene<'_>) -> Result<()> {
    let limit = scene.within(AFTERMATH_LIMIT);
    while scene.has_found(SHIFTED) && !scene.is_judged_in_full(SHIFTED) && !limit.is_over() {
        scene.rest("the other classes are watched").await?;
    }
    let Some(shift_us) = scene.shift_us() else {
        return Ok(());
    };
    scene.report.pages_drifting = pages_drifting(scene).await?;
    scene.say(format!(
        "the pages show drift on: {}",
        scene.report.pages_drifting.join(", ")
    ));
    let after = scene.accuracy((shift_us, clock::now_us())).await?;
    for (class, share) in &after {
        let before = scene.report.accuracy_before.get(class).copied();
        scene.say(format!(
            "{class}: people call {} of the answers right, {} before",
            words(Some(*share)),
            words(before)
        ));
    }
    scene.report.accuracy_during = after;
    scene.curtain("aftermath");
    Ok(())
}
