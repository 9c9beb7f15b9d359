//! The administrator's token: `<data>/admin.token`, made at the first start and readable by its
//! owner alone. In: the data folder. Out: the token's digest, or why the file cannot be used.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::secret;

pub(super) const FILE: &str = "admin.token";
const TOKEN_BYTES: usize = 32;
/// A shorter one was not made by us.
const TOKEN_TEXT_MIN: usize = 40;

/// Why access cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("cannot make or read {path}: {source}; the collector needs to write its data folder")]
    Token {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot use {path}: others may read it (mode {mode:o}); remove it to get a new token")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("cannot use {0}: it holds no token; remove it to get a new one")]
    Empty(PathBuf),
}

/// Reads `<data_folder>/admin.token`, or makes it.
pub(super) fn digest_in(data_folder: &Path) -> Result<[u8; 32], AccessError> {
    let path = data_folder.join(FILE);
    let failed = |source| AccessError::Token {
        path: path.clone(),
        source,
    };
    let token = read_or_make(&path).map_err(failed)?;
    let mode = fs::metadata(&path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(AccessError::Exposed { path, mode });
    }
    if token.trim().len() < TOKEN_TEXT_MIN {
        return Err(AccessError::Empty(path));
    }
    Ok(secret::digest(token.trim()))
}

fn read_or_make(path: &Path) -> std::io::Result<String> {
    match make(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::read_to_string(path),
        made => made,
    }
}

/// Written aside and renamed, so that a crash never leaves half a token. One collector owns a data
/// folder, so nobody makes another one in between.
fn make(path: &Path) -> std::io::Result<String> {
    if path.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let token = BASE64_URL_SAFE_NO_PAD.encode(random);
    let aside = path.with_extension("token.new");
    let _ = fs::remove_file(&aside);
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&aside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(token)
}
