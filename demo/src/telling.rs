//! Tells the story on the terminal. In: the flags. Out: the story on standard error, one line of
//! JSON on standard output where asked for, and exit code 0 when everything went as promised, 1
//! when something did not. Owns signals: the first one drains, the second leaves at once.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use fathomline_demo::{
    report::Report,
    story::{self, Plan, Told},
    voice::Voice,
};
use tokio::{runtime::Runtime, sync::oneshot};

use crate::options::Telling;

/// What shells show for a program that was interrupted.
const INTERRUPTED: i32 = 130;

pub(crate) fn run(telling: Telling) -> Result<ExitCode> {
    let json = telling.json;
    let plan = Plan::from(telling);
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let voice = Voice::new();
    let told = runtime.block_on(story::tell(&plan, &voice, interrupted(&runtime)));
    voice.end();
    let Told { report, finished } = told?;
    conclude(&voice, &report, finished);
    if json {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    }
    // Whoever looks at the pages and leaves early has not failed.
    let left_early = !finished && !plan.once;
    Ok(ExitCode::from(u8::from(!report.as_promised && !left_early)))
}

fn conclude(voice: &Voice, report: &Report, finished: bool) {
    if !finished {
        return voice.say("stopped before the story's end");
    }
    let (inferences, windows) = (report.inferences, report.windows);
    if report.as_promised {
        voice.say(format!(
            "everything went as promised: {inferences} inferences in {windows} windows, each counted \
             once"
        ));
    }
    for promise in &report.broken {
        voice.say(format!("not as promised: {promise}"));
    }
}

/// Ends at the first signal; the second one ends the program wherever it is. Listens from now on.
fn interrupted(runtime: &Runtime) -> impl Future<Output = ()> + use<> {
    let (first, stop) = oneshot::channel();
    runtime.spawn(async move {
        signalled().await;
        let _ = first.send(());
        signalled().await;
        std::process::exit(INTERRUPTED);
    });
    async {
        let _ = stop.await;
    }
}

#[cfg(unix)]
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    // Without the second signal the first one is still there.
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn signalled() {
    let _ = tokio::signal::ctrl_c().await;
}
