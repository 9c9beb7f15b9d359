//! What commands share that change a data folder: the folder, waiting, and lists.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use fathomline_collector::credentials::{CredentialError, Credentials};
use serde::Serialize;

#[derive(Debug, Args)]
pub(super) struct Folder {
    /// Data folder of the collector, running or not.
    #[arg(long, value_name = "FOLDER", default_value = "fathomline-data")]
    data: PathBuf,
}

impl Folder {
    pub(super) fn open(&self) -> Result<Credentials, CredentialError> {
        Credentials::open(&self.data)
    }

    pub(super) fn path(&self) -> &Path {
        &self.data
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shape {
    /// Aligned columns, for people.
    Table,
    /// A list, for programs; times in microseconds since 1970.
    Json,
}

/// A row of a list.
pub(super) trait Listed: Serialize {
    const COLUMNS: &'static [&'static str];

    fn cells(&self) -> Vec<String>;
}

/// Waits for one answer of the database.
pub(super) fn wait<T, E>(answer: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(answer)?)
}

/// Prints rows on standard output.
pub(super) fn list<R: Listed>(rows: &[R], shape: Shape) -> io::Result<()> {
    print(|out| match shape {
        Shape::Table => table(out, rows),
        Shape::Json => json(out, &rows),
    })
}

/// Writes one value as JSON.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)
}

/// Prints on standard output.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match write(&mut io::stdout().lock()) {
        // Whoever stopped reading (`head`) has what was wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

pub(super) fn table<R: Listed>(out: &mut dyn Write, rows: &[R]) -> io::Result<()> {
    let head = R::COLUMNS.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<Vec<String>> = [head]
        .into_iter()
        .chain(rows.iter().map(R::cells))
        .collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..R::COLUMNS.len()).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "this is what standard error is for")]
pub(super) fn remark(sentence: &str) {
    eprintln!("fathomline: {sentence}");
}
