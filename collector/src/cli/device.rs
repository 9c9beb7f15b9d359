//! `fathomline device`: which devices have a token of their own, and which may send no more. In: a
//! data folder and a name. Out: a token on standard output, this once, or rows.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Subcommand;
use fathomline_collector::{
    clock::rfc3339,
    credentials::{Credentials, DeviceRow},
    sentence,
};

use super::{
    keeping::{Folder, Listed, Shape, list, remark, wait},
    token::show,
};

/// How long `erase` waits for a running collector.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Give a device a token of its own and print it, or take a revoked device back.
    Enrol {
        /// The device's `device.id`.
        device: String,
        /// The fleet it belongs to: tokens of other fleets may not send for it.
        #[arg(long, value_name = "NAME")]
        fleet: Option<String>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Show devices that were enrolled or revoked.
    List {
        #[command(flatten)]
        folder: Folder,
        /// How to print rows.
        #[arg(long, value_enum, default_value_t = Shape::Table)]
        format: Shape,
    },
    /// Remove every row of a device, and take nothing from it any more. There is no way back.
    Erase {
        /// The device's `device.id`.
        device: String,
        #[command(flatten)]
        folder: Folder,
    },
    /// End a device: its tokens, and whatever others send for it.
    Revoke {
        /// The device's `device.id`.
        device: String,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Device {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Enrol {
                device,
                fleet,
                folder,
            } => show(&wait(folder.open()?.enrol(&device, fleet.as_deref()))?)?,
            Self::List { folder, format } => list(&wait(folder.open()?.devices())?, format)?,
            Self::Erase { device, folder } => erase(&folder.open()?, &device)?,
            Self::Revoke { device, folder } => {
                let tokens = wait(folder.open()?.revoke_device(&device))?;
                remark(&format!(
                    "revoked device {device:?} and {tokens} tokens of its own"
                ));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks, and waits a while for a collector that runs on the folder.
fn erase(credentials: &Credentials, device: &str) -> anyhow::Result<()> {
    wait(credentials.erase_device(device))?;
    remark(&format!("nothing is taken from device {device:?} any more"));
    let began = Instant::now();
    let mut done = false;
    let runs = || match credentials.collector_runs() {
        Ok(runs) => runs,
        Err(error) => {
            remark(&sentence(&error));
            false
        }
    };
    while !done && runs() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(200));
        done = wait(credentials.erasures_are_done())?;
    }
    remark(match done {
        true => "no table has a row of it any more",
        false => "its rows go as soon as a collector works on this folder",
    });
    remark(&format!(
        "files that held them are removed by {} if a collector runs (upkeep.vacuum_after, 168h unless set, and a day); cohort rollups keep the counts they merged",
        credentials.files_gone_by()
    ));
    Ok(())
}

impl Listed for DeviceRow {
    const COLUMNS: &'static [&'static str] = &["device", "fleet", "enrolled", "revoked"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.device.clone(),
            self.fleet.clone().unwrap_or_default(),
            self.enrolled_us.map(rfc3339).unwrap_or_default(),
            self.revoked_us.map(rfc3339).unwrap_or_default(),
        ]
    }
}
