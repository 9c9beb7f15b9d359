//! Erased devices as rows: what is asked for, how far it has come, and who must never come back.
//!
//! In: changes within a transaction. Out: rows. Keeps a device's name until its rows are gone, and
//! a digest for ever.

use fathomline_wire::identity;
use rusqlite::{OptionalExtension as _, Transaction};
use sha2::{Digest as _, Sha256};

use super::{Result, credentials::next_change};

/// SHA-256 of an installation's name.
pub(crate) type ErasedDigest = [u8; 32];

/// What stands in the audit for an erased device.
pub(crate) const ERASED: &str = "an erased device";

/// The digest of the installation that a device of the tables belongs to.
pub(crate) fn digest_of(device: &str) -> ErasedDigest {
    Sha256::digest(identity::installation_of(device)).into()
}

/// Writes down that a device is to be erased, and takes its name out of everything else here. False
/// if it was erased before.
pub(crate) fn ask(transaction: &Transaction<'_>, device: &str, now_us: i64) -> Result<bool> {
    let change = next_change(transaction)?;
    let installation = identity::installation_of(device);
    let added = transaction.execute(
        "INSERT INTO erasures (digest, device, asked_us, change) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (digest) DO NOTHING",
        (digest_of(device), installation, now_us, change),
    )?;
    transaction.execute("DELETE FROM tokens WHERE device = ?1", [installation])?;
    transaction.execute("DELETE FROM devices WHERE device = ?1", [installation])?;
    let subject = "UPDATE audit SET subject = ?2 WHERE subject = ?1";
    transaction.execute(subject, (installation, ERASED))?;
    Ok(added > 0)
}

/// Whether a device was erased, or is about to be.
pub(crate) fn holds(transaction: &Transaction<'_>, device: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM erasures WHERE digest = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row([digest_of(device)], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// Digests of everyone who was erased after change `seen`.
pub(crate) fn since(transaction: &Transaction<'_>, seen: i64) -> Result<Vec<ErasedDigest>> {
    let sql = "SELECT digest FROM erasures WHERE change > ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([seen], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Names of devices whose rows are not gone yet, first asked first.
pub(crate) fn pending(transaction: &Transaction<'_>) -> Result<Vec<String>> {
    let sql = "SELECT device FROM erasures WHERE device IS NOT NULL ORDER BY asked_us, digest";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Its rows are gone: so is its name.
pub(crate) fn rows_gone(transaction: &Transaction<'_>, device: &str, now_us: i64) -> Result<()> {
    let sql = "UPDATE erasures SET device = NULL, rows_gone_us = ?2 WHERE digest = ?1";
    transaction.execute(sql, (digest_of(device), now_us))?;
    Ok(())
}
