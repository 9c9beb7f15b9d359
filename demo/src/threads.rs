//! One thread for each matrix product. candle looks up `RAYON_NUM_THREADS` at every product and,
//! where it is not set, reads the machine's core count from a file each time: ten times slower for
//! a model this small. In: the environment. Out: the same program, started again with it set.

use std::{
    env,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

const SETTING: &str = "RAYON_NUM_THREADS";

/// Runs this program again with the setting in place; `None` when it already is. Setting it in
/// here is no way: that is unsafe once any thread runs, and unsafe code is denied.
pub fn restart_with_setting() -> Result<Option<ExitCode>> {
    if env::var_os(SETTING).is_some() {
        return Ok(None);
    }
    let program = env::current_exe().context("cannot find this program to start it again")?;
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1)).env(SETTING, "1");
    replace(command).context("cannot start this program again")
}

/// Takes this one's place, so that signals and exit codes stay plain.
#[cfg(unix)]
fn replace(mut command: Command) -> Result<Option<ExitCode>> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> Result<Option<ExitCode>> {
    let status = command.status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Some(ExitCode::from(code.unwrap_or(2))))
}
