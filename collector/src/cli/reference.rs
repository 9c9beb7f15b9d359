//! `fathomline reference`: what series are held against. In: a data folder, whether its collector
//! runs or not, and a wish. Out: rows or a file on standard output, everything else on standard
//! error. A running collector hears of a change within a lane.

mod create;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Subcommand;
use fathomline_collector::{
    clock::rfc3339,
    references::{Act, Citing, Comparison, Listed as Kept, ReferenceRow, References, Shown},
};

use super::keeping::{Folder, Listed, Shape, json, list, print, remark, table, wait};

/// Who did it, in the audit.
const COMMAND_LINE: &str = "command line";
/// Digits of a hash that people read; all of them are in JSON.
const DIGITS: usize = 12;

#[derive(Debug, Subcommand)]
pub(crate) enum Reference {
    /// Make references from committed rows and hold their series against them.
    Create(create::Create),
    /// Show every reference, newest first.
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
    /// Show one reference: what it is made of, who cites it, what was done with it.
    Show {
        /// First digits of its hash.
        hash: String,
        #[command(flatten)]
        folder: Folder,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Shape::Table)]
        format: Shape,
    },
    /// Hold the series of a reference against it, from the next lane on.
    Pin {
        /// First digits of its hash.
        hash: String,
        #[command(flatten)]
        folder: Folder,
    },
    /// Take a reference out of force; its series is undecided until another one is pinned.
    Retire {
        /// First digits of its hash.
        hash: String,
        #[command(flatten)]
        folder: Folder,
    },
    /// Hold one reference against another.
    Compare {
        /// First digits of the hash of the one whose bins are used.
        from: String,
        /// First digits of the hash of the other.
        to: String,
        #[command(flatten)]
        folder: Folder,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Shape::Table)]
        format: Shape,
    },
    /// Print a reference as a file (TOML).
    Export {
        /// First digits of its hash.
        hash: String,
        #[command(flatten)]
        folder: Folder,
        /// Write it here instead.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Keep the reference of a file that was exported.
    Import {
        /// The file.
        file: PathBuf,
        /// Hold its series against it as well.
        #[arg(long)]
        pin: bool,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Reference {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(create) => return create.run(),
            Self::List {
                limit,
                folder,
                format,
            } => list(&wait(open(&folder)?.list(limit))?, format)?,
            Self::Show {
                hash,
                folder,
                format,
            } => show(&wait(open(&folder)?.show(&hash))?, format)?,
            Self::Pin { hash, folder } => {
                let row = wait(open(&folder)?.pin(&hash, COMMAND_LINE))?;
                remark(&format!(
                    "{} is held against {}",
                    row.name,
                    short(&row.hash)
                ));
            }
            Self::Retire { hash, folder } => {
                let row = wait(open(&folder)?.retire(&hash, COMMAND_LINE))?;
                remark(&format!("retired {} of {}", short(&row.hash), row.name));
            }
            Self::Compare {
                from,
                to,
                folder,
                format,
            } => compare(&wait(open(&folder)?.compare(&from, &to))?, format)?,
            Self::Export {
                hash,
                folder,
                output,
            } => export(&wait(open(&folder)?.export(&hash))?, output)?,
            Self::Import { file, pin, folder } => import(&open(&folder)?, &file, pin)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn open(folder: &Folder) -> anyhow::Result<References> {
    Ok(References::open(folder.path())?)
}

fn export(file: &str, output: Option<PathBuf>) -> anyhow::Result<()> {
    match output {
        None => print(|out| out.write_all(file.as_bytes()))?,
        Some(path) => {
            let failed = || format!("cannot write {}", path.display());
            std::fs::write(&path, file).with_context(failed)?;
        }
    }
    Ok(())
}

fn import(references: &References, file: &std::path::Path, pin: bool) -> anyhow::Result<()> {
    let failed = || format!("cannot read {}", file.display());
    let text = std::fs::read_to_string(file).with_context(failed)?;
    let imported = wait(references.import(&text, pin, COMMAND_LINE))?;
    let (hash, name) = (short(&imported.row.hash), &imported.row.name);
    remark(&match (imported.new, pin) {
        (_, true) => format!("{name} is held against {hash}"),
        (true, false) => {
            format!("keeping {hash} of {name}; `fathomline reference pin {hash}` puts it in force")
        }
        (false, false) => format!("{hash} of {name} was here already"),
    });
    Ok(())
}

fn short(hash: &str) -> &str {
    hash.get(..DIGITS).unwrap_or(hash)
}

fn in_force(row: &ReferenceRow) -> String {
    match (row.in_force_since_us, row.retired_us) {
        (Some(since_us), _) => format!("since {}", rfc3339(since_us)),
        (None, Some(retired_us)) => format!("retired {}", rfc3339(retired_us)),
        (None, None) => "no".to_owned(),
    }
}

impl Listed for Kept {
    const COLUMNS: &'static [&'static str] = &[
        "reference",
        "of",
        "level",
        "season",
        "from",
        "span",
        "records",
        "made",
        "by",
        "in force",
        "cited by",
    ];

    fn cells(&self) -> Vec<String> {
        let row = &self.row;
        vec![
            short(&row.hash).to_owned(),
            row.name.clone(),
            row.level.clone(),
            row.season.clone(),
            row.made_from.clone(),
            format!("{} to {}", rfc3339(row.from_us), rfc3339(row.to_us)),
            row.records.to_string(),
            rfc3339(row.created_us),
            row.created_by.clone(),
            in_force(row),
            self.cited_by.len().to_string(),
        ]
    }
}

impl Listed for Act {
    const COLUMNS: &'static [&'static str] = &["when", "who", "what", "detail"];

    fn cells(&self) -> Vec<String> {
        vec![
            rfc3339(self.time_us),
            self.actor.clone(),
            self.action.clone(),
            self.detail.clone(),
        ]
    }
}

impl Listed for Citing {
    const COLUMNS: &'static [&'static str] = &["series", "name"];

    fn cells(&self) -> Vec<String> {
        vec![self.series.clone(), self.name.clone()]
    }
}

fn show(shown: &Shown, shape: Shape) -> io::Result<()> {
    print(|out| match shape {
        Shape::Json => json(out, shown),
        Shape::Table => show_in_words(out, shown),
    })
}

fn show_in_words(out: &mut dyn Write, shown: &Shown) -> io::Result<()> {
    let row = &shown.row;
    let facts = [
        ("reference", row.hash.clone()),
        ("of", row.name.clone()),
        ("level", row.level.clone()),
        ("season", row.season.clone()),
        ("made from", row.made_from.clone()),
        (
            "span",
            format!("{} to {}", rfc3339(row.from_us), rfc3339(row.to_us)),
        ),
        ("records", row.records.to_string()),
        ("lanes left out", row.excluded_lanes.to_string()),
        ("contract", row.contract.to_string()),
        (
            "made",
            format!("{} by {}", rfc3339(row.created_us), row.created_by),
        ),
        ("in force", in_force(row)),
    ];
    for (name, value) in facts {
        writeln!(out, "{name:15} {value}")?;
    }
    match &shown.content {
        None => writeln!(out, "\nwhat it holds cannot be read; make a new one")?,
        Some(content) => {
            writeln!(out, "\nwatched          share    tolerance")?;
            for (stream, expected) in content.streams() {
                let (share, tolerance) = (expected.share, expected.tolerance);
                writeln!(out, "{share:22.4} {tolerance:12.4}  {stream}")?;
            }
        }
    }
    if !shown.cited_by.is_empty() {
        writeln!(out, "\ncited by")?;
        table(out, &shown.cited_by)?;
    }
    writeln!(out, "\nwhat was done")?;
    table(out, &shown.acts)
}

fn compare(comparison: &Comparison, shape: Shape) -> io::Result<()> {
    print(|out| match shape {
        Shape::Json => json(out, comparison),
        Shape::Table => compare_in_words(out, comparison),
    })
}

fn compare_in_words(out: &mut dyn Write, comparison: &Comparison) -> io::Result<()> {
    let distances = &comparison.distances;
    let facts = [
        ("PSI, debiased", Some(distances.psi_debiased)),
        ("PSI", Some(distances.psi)),
        ("Jensen-Shannon", Some(distances.jensen_shannon)),
        ("Hellinger", Some(distances.hellinger)),
        ("Kolmogorov-Smirnov", Some(distances.ks)),
        (
            "Wasserstein-1, in standard deviations",
            distances.wasserstein_normalized,
        ),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            writeln!(out, "{name:38} {value:.4}")?;
        }
    }
    writeln!(
        out,
        "\n{:>9} {:>9} {:>9}",
        short(&comparison.from),
        short(&comparison.to),
        "tolerance"
    )?;
    for pair in &comparison.streams {
        let (from, to, tolerance) = (pair.from_share, pair.to_share, pair.tolerance);
        writeln!(
            out,
            "{from:12.4} {to:12.4} {tolerance:9.4}  {}",
            pair.stream
        )?;
    }
    Ok(())
}
