//! `fathomline token`: who may send, read and administer. In: a data folder and a wish. Out: a
//! token on standard output, this once, everything else on standard error.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use fathomline_collector::{
    clock::rfc3339,
    credentials::{Holder, Issued, TokenRow},
};

use super::keeping::{Folder, Listed, Shape, list, remark, wait};

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it; it is shown this once.
    Create(Create),
    /// Show every token, without its secret.
    List {
        #[command(flatten)]
        folder: Folder,
        /// How to print rows.
        #[arg(long, value_enum, default_value_t = Shape::Table)]
        format: Shape,
    },
    /// End a token; a running collector refuses it within a few seconds.
    Revoke {
        /// The key that `token list` shows.
        key: String,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    holder: Named,
    /// What it opens.
    #[arg(long, value_enum, default_value_t = Scope::Ingest)]
    scope: Scope,
    #[command(flatten)]
    folder: Folder,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Named {
    /// Sends for the devices of this fleet, and may enrol them.
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
    /// Sends as this device alone.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Who reads or administers, with --scope read or admin.
    #[arg(long, value_name = "WHO")]
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// Sends windows.
    Ingest,
    /// Reads pages and answers.
    Read,
    /// Reads, changes and sends.
    Admin,
}

impl Token {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(create) => create.run(),
            Self::List { folder, format } => {
                let tokens = wait(folder.open()?.tokens())?;
                list(&tokens, format)?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Revoke { key, folder } => {
                wait(folder.open()?.revoke_token(&key))?;
                remark(&format!("revoked token {key}"));
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Create {
    fn run(self) -> anyhow::Result<ExitCode> {
        let holder = holder(self.holder, self.scope)?;
        show(&wait(self.folder.open()?.create(holder))?)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn holder(named: Named, scope: Scope) -> anyhow::Result<Holder> {
    let Named {
        fleet,
        device,
        name,
    } = named;
    Ok(match (scope, fleet, device, name) {
        (Scope::Ingest, Some(fleet), _, _) => Holder::Fleet(fleet),
        (Scope::Ingest, _, Some(device), _) => Holder::Device(device),
        (Scope::Read, _, _, Some(name)) => Holder::Reader(name),
        (Scope::Admin, _, _, Some(name)) => Holder::Admin(name),
        (Scope::Ingest, ..) => {
            bail!("cannot make a token that sends for --name: say for which --fleet or --device")
        }
        (Scope::Read | Scope::Admin, ..) => bail!(
            "cannot bind a token that reads or administers to a fleet or a device: it sees the whole store; say whose it is with --name"
        ),
    })
}

/// The token alone on standard output, for scripts.
pub(super) fn show(issued: &Issued) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", issued.token)?;
    out.flush()?;
    let key = &issued.key;
    remark(&format!(
        "this is shown once and kept nowhere; `fathomline token revoke {key}` ends it"
    ));
    Ok(())
}

impl Listed for TokenRow {
    const COLUMNS: &'static [&'static str] = &["key", "scope", "for", "created", "by", "revoked"];

    fn cells(&self) -> Vec<String> {
        let of = |kind: &str, name: &Option<String>| name.as_ref().map(|n| format!("{kind} {n}"));
        let holder = of("fleet", &self.fleet)
            .or(of("device", &self.device))
            .or(self.name.clone());
        vec![
            self.key.clone(),
            self.scope.clone(),
            holder.unwrap_or_default(),
            rfc3339(self.created_us),
            self.created_by.clone(),
            self.revoked_us.map(rfc3339).unwrap_or_default(),
        ]
    }
}
