//! `fathomline sql`: one query, of a running collector or of a data folder.
//!
//! In: SQL and where to ask. Out: rows on standard output, everything else on standard error.

mod table;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use fathomline_queries::{
    engine::{Answer, EngineLimits, committed},
    published::{Lanes, MIN_DEVICES, MIN_DEVICES_MAX, Publication},
};
use serde_json::json;

use super::{asking::Asking, runtime};

#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// What to ask, such as "SELECT metric, sum(count) FROM rollups GROUP BY metric".
    query: String,
    #[command(flatten)]
    asking: Asking,
    /// Read a data folder instead: committed rows only.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// With --data: rows of single devices and outputs of small groups, too, as they are stored.
    #[arg(long, requires = "data")]
    raw: bool,
    /// With --data: devices that a group needs for its outputs to be shown by themselves.
    #[arg(long, value_name = "NUMBER", default_value_t = MIN_DEVICES, requires = "data",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MIN_DEVICES_MAX)))]
    min_devices: u32,
    /// How to print rows.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Aligned columns, for people.
    Table,
    /// The answer as the API gives it, for programs.
    Json,
}

impl Sql {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let answer = runtime::ask(self.answer())?;
        let mut out = io::stdout().lock();
        let printed = match self.format {
            Format::Table => table::write(&mut out, &answer),
            Format::Json => serde_json::to_writer(&mut out, &answer)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out)),
        };
        // Whoever stopped reading (`head`) has what was wanted.
        match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error)?,
            _ => {}
        }
        if answer.truncated {
            remark(&format!(
                "cut off after {} rows; ask for fewer, or aggregate",
                answer.rows.len()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn answer(&self) -> anyhow::Result<Answer> {
        match &self.data {
            None => self.asked().await,
            Some(folder) => {
                remark("committed rows only; what waits in the collector's log is not seen");
                let publication = self.publication();
                let engine = committed::open(folder, EngineLimits::default(), publication).await?;
                Ok(engine.query_outside(&self.query).await?)
            }
        }
    }

    /// Whoever can read the folder may see all of it; the fold keeps them from doing so unawares.
    /// No lane is open: what is asked are files.
    fn publication(&self) -> Publication {
        if self.raw {
            return Publication::everything();
        }
        Publication::of_groups(self.min_devices, Lanes::every())
    }

    async fn asked(&self) -> anyhow::Result<Answer> {
        let url = self.asking.at("/api/v1/sql");
        let client = self.asking.client()?;
        let request = client.post(&url).json(&json!({ "query": self.query }));
        self.asking.answer(request, &url).await
    }
}

#[expect(clippy::print_stderr, reason = "this is what standard error is for")]
fn remark(sentence: &str) {
    eprintln!("fathomline: {sentence}");
}
