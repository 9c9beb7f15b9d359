//! `fathomline alert` and `fathomline silence`: incidents, what they were worth, and what nobody
//! shall hear of. In: a data folder, whether its collector runs or not. Out: rows on standard
//! output; everything else on standard error.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use fathomline_collector::{
    clock::rfc3339,
    deliveries::alerts::{Duty, IncidentShown, SilenceShown, Wish},
};

use super::keeping::{Folder, Listed, Shape, list, remark, wait};

/// Who did it, in the audit.
const COMMAND_LINE: &str = "command line";

#[derive(Debug, Subcommand)]
pub(crate) enum Alert {
    /// Show incidents, open ones first.
    List {
        #[command(flatten)]
        listing: Listing,
    },
    /// Say what an incident was worth.
    Ack {
        /// The id that `alert list` shows.
        incident: String,
        /// What it was.
        answer: Answer,
        /// Why.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Answer {
    /// Worth being paged for.
    Useful,
    /// Not worth it.
    Noise,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Silence {
    /// Show silences, newest first.
    List {
        #[command(flatten)]
        listing: Listing,
    },
    /// Silence alerts that agree with everything that is named.
    Add(Box<Adding>),
    /// End a silence before its time.
    End {
        /// The number that `silence list` shows.
        silence: i64,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Listing {
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    folder: Folder,
    /// How to print rows.
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    format: Shape,
}

#[derive(Debug, Args)]
pub(crate) struct Adding {
    /// Model name.
    #[arg(long)]
    model: Option<String>,
    /// Version of the model.
    #[arg(long)]
    version: Option<String>,
    /// Class of the devices.
    #[arg(long)]
    class: Option<String>,
    /// Site of the devices.
    #[arg(long)]
    site: Option<String>,
    /// The signal, by its metric name.
    #[arg(long)]
    metric: Option<String>,
    /// From when on, such as 2026-11-23T08:00:00Z; now unless it is given.
    #[arg(long)]
    from: Option<String>,
    /// Until when.
    #[arg(long, conflicts_with = "lasts", required_unless_present = "lasts")]
    until: Option<String>,
    /// For how long, such as 30min, 2h or 3d.
    #[arg(long = "for", value_name = "LENGTH")]
    lasts: Option<String>,
    /// What whoever finds it is to know.
    #[arg(long)]
    why: String,
    #[command(flatten)]
    folder: Folder,
}

impl Alert {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List { listing } => {
                let incidents = wait(open(&listing.folder)?.list(listing.limit))?;
                list(&incidents, listing.format)?;
            }
            Self::Ack {
                incident,
                answer,
                note,
                folder,
            } => {
                let word = match answer {
                    Answer::Useful => "useful",
                    Answer::Noise => "noise",
                };
                let duty = open(&folder)?;
                wait(duty.acknowledge(&incident, (word, note), COMMAND_LINE))?;
                remark(&format!("{incident} was {word}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Silence {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List { listing } => {
                let silences = wait(open(&listing.folder)?.silences(listing.limit))?;
                list(&silences, listing.format)?;
            }
            Self::Add(adding) => {
                let duty = open(&adding.folder)?;
                let kept = wait(duty.silence(adding.wish(), COMMAND_LINE))?;
                let until = rfc3339(kept.until_us);
                remark(&format!(
                    "silence {} of {} until {until}",
                    kept.id, kept.matches
                ));
            }
            Self::End { silence, folder } => {
                wait(open(&folder)?.end_silence(silence, COMMAND_LINE))?;
                remark(&format!("ended silence {silence}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Adding {
    fn wish(self) -> Wish {
        Wish {
            model: self.model,
            version: self.version,
            class: self.class,
            site: self.site,
            metric: self.metric,
            from: self.from,
            until: self.until,
            lasts: self.lasts,
            why: self.why,
        }
    }
}

fn open(folder: &Folder) -> anyhow::Result<Duty> {
    Ok(Duty::open(folder.path())?)
}

impl Listed for IncidentShown {
    const COLUMNS: &'static [&'static str] = &[
        "incident",
        "state",
        "opened",
        "resolved",
        "service",
        "model",
        "rule",
        "alerts",
        "pages",
        "acknowledged",
    ];

    fn cells(&self) -> Vec<String> {
        let said = self.acknowledged.as_ref();
        vec![
            self.id.clone(),
            self.state.clone(),
            rfc3339(self.opened_us),
            self.resolved_us.map(rfc3339).unwrap_or_default(),
            self.service.clone(),
            self.model.clone(),
            self.rule.clone(),
            self.members.len().to_string(),
            self.pages.to_string(),
            said.map(|said| said.answer.clone()).unwrap_or_default(),
        ]
    }
}

impl Listed for SilenceShown {
    const COLUMNS: &'static [&'static str] =
        &["silence", "state", "of", "from", "until", "by", "why"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.state.clone(),
            self.matches.clone(),
            rfc3339(self.from_us),
            rfc3339(self.until_us),
            self.by.clone(),
            self.why.clone(),
        ]
    }
}
