//! `fathomline reference create`: from a span, from trailing weeks, or from what is kept of a
//! version. In: the committed rows of a data folder, and the configuration by which its collector
//! judges. Out: the references that were made on standard output, what others lack on standard
//! error.

use std::{path::PathBuf, process::ExitCode};

use chrono::DateTime;
use clap::Args;
use fathomline_collector::{
    Config,
    references::{CreateAnswer, CreateRequest, Listed as Kept, create_in},
};
use fathomline_queries::{drift::Level, stats::Season};

use super::{
    super::{
        keeping::{Folder, Shape, list, remark},
        runtime::ask,
    },
    COMMAND_LINE,
};

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Of this model.
    #[arg(long)]
    model: String,
    /// Only of this version; alone, everything that is kept of it is used.
    #[arg(long, required_unless_present_any = ["from", "weeks"])]
    version: Option<String>,
    /// Only of this variant.
    #[arg(long)]
    variant: Option<String>,
    /// Only of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only of this class of devices.
    #[arg(long)]
    class: Option<String>,
    /// Only of this signal.
    #[arg(long)]
    metric: Option<String>,
    /// Begin of the span, such as 2026-11-26T09:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "to",
          conflicts_with = "weeks")]
    from: Option<i64>,
    /// End of the span.
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "from")]
    to: Option<i64>,
    /// So many weeks that end now, 1 to 4.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=4))]
    weeks: Option<u32>,
    /// What is taken together: variant, version (all its variants) or model (all its versions).
    #[arg(long, default_value = "variant", value_parser = level)]
    level: Level,
    /// Which hours are told apart: none, hour-of-day or hour-of-week [default: by the weeks].
    #[arg(long, value_parser = season)]
    season: Option<Season>,
    /// Use lanes in which the series drifted, too.
    #[arg(long)]
    include_incidents: bool,
    /// Keep the references without holding their series against them.
    #[arg(long)]
    no_pin: bool,
    /// Configuration file of the collector: lanes, signals and budgets are taken from it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    folder: Folder,
    /// How to print rows.
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    format: Shape,
}

impl Create {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = Config::load(self.config.as_deref())?;
        remark("committed rows only; what waits in the collector's log is not seen");
        let request = self.request();
        let folder = self.folder.path();
        let created = create_in(folder, &config, &request, COMMAND_LINE);
        let CreateAnswer {
            references,
            shortfalls,
        } = ask(created)?;
        for missing in shortfalls {
            remark(&format!(
                "no reference of {}: {}",
                missing.name, missing.shortfall
            ));
        }
        let none = references.is_empty();
        let rows: Vec<Kept> = references
            .into_iter()
            .map(|row| Kept {
                row,
                cited_by: vec![],
            })
            .collect();
        list(&rows, self.format)?;
        // Too little is not no.
        Ok(if none {
            ExitCode::from(3)
        } else {
            ExitCode::SUCCESS
        })
    }

    fn request(&self) -> CreateRequest {
        CreateRequest {
            service: self.service.clone(),
            version: self.version.clone(),
            variant: self.variant.clone(),
            device_class: self.class.clone(),
            metric: self.metric.clone(),
            from_us: self.from,
            to_us: self.to,
            weeks: self.weeks,
            level: self.level,
            season: self.season,
            include_incidents: self.include_incidents,
            pin: !self.no_pin,
            ..CreateRequest::of(self.model.clone())
        }
    }
}

fn moment(text: &str) -> Result<i64, String> {
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros());
    time.map_err(|_| "write a time such as 2026-11-26T09:00:00Z".to_owned())
}

fn level(text: &str) -> Result<Level, String> {
    Level::from_name(text).ok_or_else(|| "write variant, version or model".to_owned())
}

fn season(text: &str) -> Result<Season, String> {
    Season::from_name(text).ok_or_else(|| "write none, hour-of-day or hour-of-week".to_owned())
}
