//! Tokens and devices as rows. In: changes within a transaction. Out: rows, and those that changed
//! since a number. Owns the numbering of changes. Never: a secret, of which only the digest gets
//! here, or a decision.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::{Result, erasures, erasures::ErasedDigest, mark, set_mark};

/// Numbers the last change.
const MARK: &str = "access";

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenRow {
    /// Public part: names the token in lists.
    pub key: String,
    #[serde(skip)]
    pub(crate) digest: [u8; 32],
    /// `ingest`, `read` or `admin`.
    pub scope: String,
    /// May send for devices of this fleet.
    pub fleet: Option<String>,
    /// May send as this device alone.
    pub device: Option<String>,
    /// Who reads or administers.
    pub name: Option<String>,
    /// Microseconds since the Unix epoch, as all times here.
    pub created_us: i64,
    /// Who made it.
    pub created_by: String,
    /// When it ended.
    pub revoked_us: Option<i64>,
}

/// A device that was enrolled or revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceRow {
    /// Its `device.id`.
    pub device: String,
    /// Tokens of other fleets may not send for it.
    pub fleet: Option<String>,
    /// When it was given a token of its own.
    pub enrolled_us: Option<i64>,
    /// When it ended.
    pub revoked_us: Option<i64>,
}

/// What changed after a number, and the number of the last change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) last: i64,
    pub(crate) tokens: Vec<TokenRow>,
    pub(crate) devices: Vec<DeviceRow>,
    pub(crate) erased: Vec<ErasedDigest>,
}

const TOKEN: &str = "SELECT key, digest, scope, fleet, device, name, created_us, created_by, revoked_us FROM tokens";
const DEVICE: &str = "SELECT device, fleet, enrolled_us, revoked_us FROM devices";

/// Everything that changed after `seen`.
pub(crate) fn since(transaction: &Transaction<'_>, seen: i64) -> Result<Changes> {
    let last = mark(transaction, MARK)?.unwrap_or(0);
    if last == seen {
        return Ok(Changes {
            last,
            ..Changes::default()
        });
    }
    let mut tokens = transaction.prepare_cached(&format!("{TOKEN} WHERE change > ?1"))?;
    let tokens = tokens.query_map([seen], token_row)?;
    let mut devices = transaction.prepare_cached(&format!("{DEVICE} WHERE change > ?1"))?;
    let devices = devices.query_map([seen], device_row)?;
    Ok(Changes {
        last,
        tokens: tokens.collect::<rusqlite::Result<_>>()?,
        devices: devices.collect::<rusqlite::Result<_>>()?,
        erased: erasures::since(transaction, seen)?,
    })
}

/// Adds a token.
pub(crate) fn insert_token(transaction: &Transaction<'_>, token: &TokenRow) -> Result<()> {
    let sql = "INSERT INTO tokens (key, digest, scope, fleet, device, name, created_us,
                                   created_by, revoked_us, change)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let change = next_change(transaction)?;
    transaction.prepare_cached(sql)?.execute(params![
        token.key,
        token.digest,
        token.scope,
        token.fleet,
        token.device,
        token.name,
        token.created_us,
        token.created_by,
        token.revoked_us,
        change,
    ])?;
    Ok(())
}

/// Ends a token. False when there is none under this key, or it had ended before.
pub(crate) fn revoke_token(transaction: &Transaction<'_>, key: &str, now_us: i64) -> Result<bool> {
    let sql =
        "UPDATE tokens SET revoked_us = ?2, change = ?3 WHERE key = ?1 AND revoked_us IS NULL";
    let change = next_change(transaction)?;
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement.execute(params![key, now_us, change])? > 0)
}

/// Ends every token that a device has of its own; how many there were.
pub(crate) fn revoke_tokens_of(
    transaction: &Transaction<'_>,
    device: &str,
    now_us: i64,
) -> Result<usize> {
    let sql = "UPDATE tokens SET revoked_us = ?2, change = ?3
               WHERE device = ?1 AND revoked_us IS NULL";
    let change = next_change(transaction)?;
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement.execute(params![device, now_us, change])?)
}

/// The device under this name, if it was enrolled or revoked.
pub(crate) fn find_device(
    transaction: &Transaction<'_>,
    device: &str,
) -> Result<Option<DeviceRow>> {
    let mut statement = transaction.prepare_cached(&format!("{DEVICE} WHERE device = ?1"))?;
    Ok(statement.query_row([device], device_row).optional()?)
}

/// Adds a device, or changes what is known of it.
pub(crate) fn put_device(transaction: &Transaction<'_>, device: &DeviceRow) -> Result<()> {
    let sql = "INSERT INTO devices (device, fleet, enrolled_us, revoked_us, change)
               VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (device) DO UPDATE SET
                   fleet = excluded.fleet, enrolled_us = excluded.enrolled_us,
                   revoked_us = excluded.revoked_us, change = excluded.change";
    let change = next_change(transaction)?;
    transaction.prepare_cached(sql)?.execute(params![
        device.device,
        device.fleet,
        device.enrolled_us,
        device.revoked_us,
        change,
    ])?;
    Ok(())
}

/// Every token, newest first.
pub(crate) fn tokens(transaction: &Transaction<'_>) -> Result<Vec<TokenRow>> {
    let sql = format!("{TOKEN} ORDER BY created_us DESC, key");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([], token_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Every device that was enrolled or revoked, by name.
pub(crate) fn devices(transaction: &Transaction<'_>) -> Result<Vec<DeviceRow>> {
    let mut statement = transaction.prepare_cached(&format!("{DEVICE} ORDER BY device"))?;
    let rows = statement.query_map([], device_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn next_change(transaction: &Transaction<'_>) -> Result<i64> {
    let change = mark(transaction, MARK)?.unwrap_or(0) + 1;
    set_mark(transaction, MARK, change)?;
    Ok(change)
}

fn token_row(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        key: row.get(0)?,
        digest: row.get(1)?,
        scope: row.get(2)?,
        fleet: row.get(3)?,
        device: row.get(4)?,
        name: row.get(5)?,
        created_us: row.get(6)?,
        created_by: row.get(7)?,
        revoked_us: row.get(8)?,
    })
}

fn device_row(row: &Row<'_>) -> rusqlite::Result<DeviceRow> {
    Ok(DeviceRow {
        device: row.get(0)?,
        fleet: row.get(1)?,
        enrolled_us: row.get(2)?,
        revoked_us: row.get(3)?,
    })
}
