//! What can go wrong when a line starts. Owns the one error type of this crate. In: causes. Out:
//! sentences that say what could not be done, with which value, and what to do next. Nothing
//! that happens after the start is an error: the inference path never fails because of us.

use std::{io, path::PathBuf};

/// Why a line could not be built or started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights could not be read to take their digest.
    #[error("cannot read weights {path}: {source}; give the file the model is loaded from", path = path.display())]
    Weights {
        /// File that was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A declared value is outside of what the contract carries.
    #[error("cannot declare {what} {value:?}: {rule}")]
    Declaration {
        /// Which option.
        what: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// An environment variable, or a key of the configuration file, has a value of no use.
    #[error("cannot use {origin} {value:?}: {rule}")]
    Configuration {
        /// Which variable, or which key of which file.
        origin: String,
        /// What it was set to; hidden where it may be a secret.
        value: String,
        /// What it must be.
        rule: String,
    },
    /// The golden answers of probes could not be read.
    #[error("cannot read goldens {path}: {source}; give a file that `Fathomline::goldens` printed", path = path.display())]
    Golden {
        /// File that was named.
        path: PathBuf,
        /// What the system said, or what is wrong with the content.
        source: io::Error,
    },
    /// A file with a certificate or its key could not be used.
    #[error("cannot use {path} for TLS: {problem}", path = path.display())]
    Certificate {
        /// File that was named.
        path: PathBuf,
        /// What the system said, or what is wrong with the content.
        problem: String,
    },
    /// Another line, in this or another process, uses the spool folder.
    #[error("cannot use spool {folder}: another line holds it; give each line a folder of its own", folder = folder.display())]
    SpoolInUse {
        /// Folder that was named.
        folder: PathBuf,
    },
    /// The spool folder or a file in it could not be used.
    #[error("cannot {action} {path}: {source}; make the spool folder writable or name another", path = path.display())]
    Spool {
        /// What was tried.
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no random bytes for an identifier.
    #[error(
        "cannot draw a random identifier: {0}; set the installation id or fix the system's random source"
    )]
    Random(getrandom::Error),
    /// The system would not start a background thread.
    #[error("cannot start the {name} thread: {source}; raise the limit on threads")]
    Thread {
        /// Which thread.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
