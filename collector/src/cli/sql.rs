//! `fathomline sql`: one query, of a running collector or of a data folder.
//!
//! In: SQL and where to ask. Out: rows on standard output, everything else on standard error.

mod table;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use fathomline_queries::{
    committed,
    engine::{Answer, EngineLimits},
    published::{Lanes, MIN_DEVICES, MIN_DEVICES_MAX, Publication},
};
use serde_json::{Value, json};

use super::runtime;

/// Longer than the collector's own deadline, so that its answer comes first.
const TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// What to ask, such as "SELECT metric, sum(count) FROM rollups GROUP BY metric".
    query: String,
    /// Ask a running collector: committed rows and those acknowledged a moment ago.
    #[arg(long, default_value = "http://127.0.0.1:8330", conflicts_with = "data")]
    url: String,
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
    /// Environment variable that holds a token, where reading needs one.
    #[arg(long, value_name = "NAME", default_value = "FATHOMLINE_TOKEN")]
    token_env: String,
    /// Trust these certificates (PEM) instead of the public ones.
    #[arg(long, value_name = "FILE")]
    root_certificate: Option<PathBuf>,
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
        let url = format!("{}/api/v1/sql", self.url.trim_end_matches('/'));
        let client = self.client()?;
        let mut request = client.post(&url).json(&json!({ "query": self.query }));
        if let Ok(token) = std::env::var(&self.token_env) {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| {
            format!("cannot ask {url}; start `fathomline serve`, or read a folder with --data")
        })?;
        let status = response.status();
        if status.is_success() {
            let answer = response.json().await;
            return answer.with_context(|| format!("cannot read the answer of {url}"));
        }
        let refusal: Value = response.json().await.unwrap_or_default();
        match refusal["error"]["message"].as_str() {
            Some(message) => bail!("{message}"),
            None => bail!("{url} answered {status}; is it a Fathomline collector?"),
        }
    }

    fn client(&self) -> anyhow::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        if let Some(path) = &self.root_certificate {
            let named = || format!("cannot use --root-certificate {}", path.display());
            let pem = std::fs::read(path).with_context(named)?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).with_context(named)?;
            if roots.is_empty() {
                bail!("{}: it holds no certificate; give PEM", named());
            }
            builder = builder.tls_built_in_root_certs(false);
            builder = roots
                .into_iter()
                .fold(builder, |b, root| b.add_root_certificate(root));
        }
        Ok(builder.build()?)
    }
}

#[expect(clippy::print_stderr, reason = "this is what standard error is for")]
fn remark(sentence: &str) {
    eprintln!("fathomline: {sentence}");
}
