//! The second half: a request, a new version, a quarter of the class, the gate, everyone, the proof.
//! Owns what happens when after the season was found out. In: the scene. Out: sentences and figures
//! of the recovery. What does not come in time is a promise that was not kept, and ends the half.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use fathomline_wire::{event::CallbackStatus, names};

use super::{
    LATENESS_US, SHIFTED,
    scene::{Scene, words},
};
use crate::{
    clock,
    device::{MODEL, SERVICE},
    house::LANE_US,
    operator::{Gate, Rollout},
    release::{self, Release},
    trainer,
};

/// Lanes with the new version alone behind the last accuracy: about 1,400 answers of the class.
const LANES_AFTER: i64 = 8;
/// How long each part may take. On two idle cores they take a tenth of it.
const REQUEST_LIMIT: Duration = Duration::from_secs(300);
const TRAINING_LIMIT: Duration = Duration::from_secs(2_400);
const GATE_LIMIT: Duration = Duration::from_secs(1_200);
const EVERYONE_LIMIT: Duration = Duration::from_secs(300);
const PROOF_LIMIT: Duration = Duration::from_secs(900);

/// Plays it as far as it goes.
pub(super) async fn play(scene: &mut Scene<'_>) -> Result<()> {
    if !requested(scene).await? || !trained(scene).await? || !promoted(scene).await? {
        return Ok(());
    }
    everyone(scene).await?;
    proven(scene).await
}

/// Drift that stands asks the trainer.
async fn requested(scene: &mut Scene<'_>) -> Result<bool> {
    let limit = scene.within(REQUEST_LIMIT);
    while scene.report.recovery.request.is_none() {
        if limit.is_over() {
            scene.say(format!("no request to train after {limit}"));
            return Ok(false);
        }
        scene.rest("drift has to stand before it asks").await?;
    }
    scene.curtain("request");
    Ok(true)
}

/// A new version is made while devices go on.
async fn trained(scene: &mut Scene<'_>) -> Result<bool> {
    let (limit, began) = (scene.within(TRAINING_LIMIT), Instant::now());
    while scene.reported != Some(CallbackStatus::Succeeded) {
        if limit.is_over() {
            scene.say(format!("no new version after {limit}"));
            return Ok(false);
        }
        let steps = scene.learned.map_or(0, |progress| progress.step);
        let elapsed = began.elapsed();
        match u32::try_from(steps).unwrap_or(0) {
            0 => scene.voice.watch("the trainer reads the new season"),
            step => {
                let total = elapsed.mul_f64(trainer::STEPS as f64 / f64::from(step));
                scene.voice.wait("the trainer fine-tunes", elapsed, total);
            }
        }
        scene.beat().await?;
    }
    scene.curtain("training");
    Ok(true)
}

/// A quarter of the class tries it, and the gate is asked as a pipeline would ask.
async fn promoted(scene: &mut Scene<'_>) -> Result<bool> {
    let release = Arc::new(Release::read(trainer::VERSION, &scene.trainer.folder())?);
    let rollout = Rollout {
        model: MODEL,
        service: SERVICE,
        candidate: trainer::VERSION,
        against: release::SHIPPED,
        improve: scene.report.recovery.metric.clone(),
    };
    let begun = scene.operator.begin(&rollout).await;
    let number = begun.context("cannot declare a rollout")?;
    let devices = scene.fleet.update_a_quarter(SHIFTED, &release);
    scene.report.recovery.trying_first = devices;
    scene.say(format!(
        "rollout {number}: {devices} devices of the {SHIFTED} class, drawn by lot, take version {}",
        trainer::VERSION
    ));
    let decision = decided(scene, &rollout).await?;
    let outcome = match decision.as_str() {
        "promote" => "promoted",
        "rollback" => "rolled_back",
        _ => "abandoned",
    };
    scene.operator.finish(number, outcome).await?;
    scene.curtain("gate");
    if outcome == "promoted" {
        scene.fleet.update_all(&release);
        scene.say("every device takes it, each in its own form: f32, or eight bits");
    }
    Ok(outcome == "promoted")
}

/// The gate's answer, once it is more than to wait.
async fn decided(scene: &mut Scene<'_>, rollout: &Rollout) -> Result<String> {
    let limit = scene.within(GATE_LIMIT);
    let mut asked = 0;
    loop {
        let gate = scene.operator.gate(rollout, SHIFTED).await;
        let gate = gate.context("cannot ask the gate")?;
        asked += 1;
        let Gate { decision, reason } = &gate;
        let over = limit.is_over();
        if asked == 1 || decision != "hold" || over {
            scene.say(format!("the gate says {decision}: {reason}"));
        }
        let decided = (decision != "hold" || over).then(|| decision.clone());
        scene.report.recovery.gate_asked = asked;
        scene.report.recovery.gate = Some(gate);
        if let Some(decision) = decided {
            return Ok(decision);
        }
        for _ in 0..LANE_US / 1_000_000 {
            scene
                .rest("both versions answer, the gate compares")
                .await?;
        }
    }
}

/// Nobody runs the old version any more; then what people say of the answers.
async fn everyone(scene: &mut Scene<'_>) -> Result<()> {
    let (limit, promoted_us) = (scene.within(EVERYONE_LIMIT), clock::now_us());
    let sql = include_str!("../../sql/running.sql")
        .replace("{metric}", names::OPERATION_DURATION)
        .replace("{version}", trainer::VERSION)
        .replace("{from_us}", &promoted_us.to_string());
    loop {
        let rows = scene.operator.rows(&sql).await?;
        let running: u64 = rows.iter().filter_map(|row| row[1].as_u64()).sum();
        if running >= scene.report.devices as u64 {
            scene.say(format!("all {running} devices run it"));
            break;
        }
        if limit.is_over() {
            scene.say(format!("after {limit} only {running} devices run it"));
            break;
        }
        scene.rest("devices install it").await?;
    }
    let since_us = clock::now_us();
    let until_us = since_us + (LANES_AFTER + 1) * LANE_US + LATENESS_US;
    while clock::now_us() < until_us {
        scene
            .rest("people say what they think of the answers")
            .await?;
    }
    let after = scene.accuracy((since_us, clock::now_us())).await?;
    let report = &scene.report;
    let of = |when: &BTreeMap<String, f64>| words(when.get(SHIFTED).copied());
    scene.say(format!(
        "{SHIFTED}: people call {} of the answers right; it was {} before the frost and {} in it",
        of(&after),
        of(&report.accuracy_before),
        of(&report.accuracy_during)
    ));
    scene.report.accuracy_after = after;
    scene.curtain("everyone");
    Ok(())
}

/// The collector holds both versions against each other, on the signal that led here.
async fn proven(scene: &mut Scene<'_>) -> Result<()> {
    let Some(request) = scene.report.recovery.request.clone() else {
        return Ok(());
    };
    let limit = scene.within(PROOF_LIMIT);
    loop {
        let now = scene.operator.retraining(&request).await?;
        let ended = now.state != "succeeded";
        let told = scene.mailbox.moves.last() == Some(&now.state);
        let recovery = &mut scene.report.recovery;
        (recovery.state, recovery.proof) = (now.state, now.proof);
        if (ended && told) || limit.is_over() {
            break;
        }
        scene.rest("the collector compares both versions").await?;
    }
    let page = scene.operator.page("/retraining").await?;
    let recovery = &mut scene.report.recovery;
    recovery.page_proven = page.contains(&request) && page.contains("proven");
    let (state, proof) = (&recovery.state, recovery.proof.clone().unwrap_or_default());
    let sentence = format!("request {request} is {state}: {proof}");
    scene.say(sentence);
    scene.curtain("proof");
    Ok(())
}
