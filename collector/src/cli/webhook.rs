//! `fathomline webhook`: tries an endpoint, and looks after deliveries. In: a configuration and a
//! name, or a data folder, whether its collector runs or not. Out: what the endpoint answered, or
//! rows, on standard output; everything else on standard error.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use fathomline_collector::{
    Config,
    clock::rfc3339,
    deliveries::{Delivery, Desk, Trial},
};

use super::keeping::{Folder, Listed, Shape, list, print, remark, wait};

/// Who did it, in the audit.
const COMMAND_LINE: &str = "command line";

#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// Send a signed test event to an endpoint of the configuration, and say what it answered.
    Test {
        /// Its name in the configuration.
        endpoint: String,
        /// Configuration file (TOML) that names it.
        #[arg(long)]
        config: PathBuf,
    },
    /// Show what was told to whom, newest first.
    List {
        /// At most so many.
        #[arg(long, value_name = "NUMBER", default_value_t = 100,
              value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        folder: Folder,
        /// How to print rows.
        #[arg(long, value_enum, default_value_t = Shape::Table)]
        format: Shape,
    },
    /// Send a delivery again, under the id it has.
    Replay {
        /// The number that `webhook list` shows.
        delivery: i64,
        #[command(flatten)]
        folder: Folder,
    },
    /// Enable an endpoint that answered 410; what was kept for it is sent.
    Enable {
        /// Its name in the configuration.
        endpoint: String,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Webhook {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Test { endpoint, config } => {
                return test(&endpoint, &Config::load(Some(&config))?);
            }
            Self::List {
                limit,
                folder,
                format,
            } => list(&wait(open(&folder)?.list(limit))?, format)?,
            Self::Replay { delivery, folder } => {
                let delivery = wait(open(&folder)?.replay(delivery, COMMAND_LINE))?;
                let (id, endpoint) = (delivery.event_id, delivery.endpoint);
                remark(&format!("{id} is sent to {endpoint} again"));
            }
            Self::Enable { endpoint, folder } => {
                let enabled = wait(open(&folder)?.enable(&endpoint, COMMAND_LINE))?;
                let letters = enabled.letters;
                remark(&format!(
                    "enabled {endpoint}; letters that had waited: {letters}"
                ));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn open(folder: &Folder) -> anyhow::Result<Desk> {
    Ok(Desk::open(folder.path())?)
}

/// Yes if it was delivered, no if it was not.
fn test(endpoint: &str, config: &Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let Trial {
        event_id,
        delivered,
        status,
        outcome,
    } = runtime.block_on(config.try_endpoint(endpoint))?;
    let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    print(|out| writeln!(out, "{endpoint}  {event_id}  {status}  {outcome}"))?;
    Ok(match delivered {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

impl Listed for Delivery {
    const COLUMNS: &'static [&'static str] = &[
        "delivery",
        "created",
        "event",
        "id",
        "endpoint",
        "state",
        "attempts",
        "last answer",
        "next attempt",
    ];

    fn cells(&self) -> Vec<String> {
        let last = self.attempts.last();
        vec![
            self.id.to_string(),
            rfc3339(self.created_us),
            self.kind.clone(),
            self.event_id.clone(),
            self.endpoint.clone(),
            self.state.clone(),
            self.attempts_made.to_string(),
            last.map(|attempt| attempt.outcome.clone())
                .unwrap_or_default(),
            self.next_attempt_us.map(rfc3339).unwrap_or_default(),
        ]
    }
}
