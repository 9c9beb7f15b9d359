//! What every command that asks the query engine runs on: all cores, and stacks that are deep
//! enough for whatever the engine's limits let through.

use std::{io, thread};

use tokio::runtime::{Builder, Runtime};

/// Plans are walked by recursion: see the limits of the query engine.
const STACK_BYTES: usize = 8 << 20;

pub(super) fn build() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
}

/// Waits for one answer of the query engine. On a thread of its own, because the stack of the first
/// one is as deep as the system says.
pub(super) fn ask<T, E>(answer: impl Future<Output = Result<T, E>> + Send) -> anyhow::Result<T>
where
    T: Send,
    E: Into<anyhow::Error> + Send,
{
    let runtime = build()?;
    let wait = || runtime.block_on(answer);
    thread::scope(|scope| {
        let waiting = thread::Builder::new().stack_size(STACK_BYTES);
        let waiting = waiting.spawn_scoped(scope, wait)?;
        match waiting.join() {
            Ok(answer) => answer.map_err(Into::into),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
