//! An asynchronous application, observed: inference runs where it may block, and the end waits for
//! the last window without holding up the runtime. In: nothing; a function stands in for a model.
//! Out: tokens generated, and how the line is doing.
//!
//! Run: `cargo run -p fathomline-edge --example async_app`

use std::{io::Write, sync::Arc, time::Duration};

use fathomline_edge::{Fathomline, FinishReason, Operation};
use tokio::task::{JoinSet, spawn_blocking};

fn answer(line: &Fathomline, request: u32) -> u32 {
    let mut op = line.operation(Operation::Chat);
    let mut token = request;
    for _ in 0..16 {
        let logits: Vec<f32> = (0..32).map(|n| ((n * 7 + token) % 13) as f32).collect();
        token = op.greedy(&logits).unwrap_or_default();
    }
    op.finish(FinishReason::Length);
    token
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Reads and locks files, so not on a thread of the runtime.
    let line = spawn_blocking(|| Fathomline::builder("async_app", "0.1.0").start()).await??;
    let line = Arc::new(line);
    let mut requests = JoinSet::new();
    for request in 0..8 {
        let line = Arc::clone(&line);
        requests.spawn_blocking(move || answer(&line, request));
    }
    let answers = requests.join_all().await;
    // All requests are done, so nobody else holds it.
    let line = Arc::into_inner(line).ok_or("a request still runs")?;
    let health = spawn_blocking(move || line.shutdown(Duration::from_secs(1))).await?;
    writeln!(std::io::stdout(), "{} answers\n{health:?}", answers.len())?;
    Ok(())
}
