//! The outbox: what is still to be told to whom, and what became of it. In: events, within the
//! transaction of the state that caused them, so that neither a crash nor a restart loses or
//! doubles one; and results of attempts. Out: what is due. How it is shown is in `deliveries.rs`.

use fathomline_queries::rows::EventRow;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::Serialize;

use super::Result;

/// Attempts that are kept of one letter: the schedule twice over.
const ATTEMPTS_KEPT: u32 = 20;
/// Letters that are kept once they are on their way no longer.
const LETTERS_KEPT: i64 = 10_000;

/// One event to tell one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) event_id: String,
    pub(crate) kind: String,
    /// What the event is about, such as a series.
    pub(crate) subject: String,
    /// The event as JSON, the same bytes at every attempt.
    pub(crate) body: String,
}

/// A letter whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) id: i64,
    /// Attempts made so far.
    pub(crate) attempts: u32,
    /// Those of them by the present run of the schedule.
    pub(crate) tries: u32,
    pub(crate) letter: Letter,
}

/// What becomes of a letter after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    RetryAt(i64),
    /// The retry schedule is used up, or it cannot be sent at all.
    Failed,
    /// The endpoint asked for no more; the letter waits until it is enabled again.
    Stopped,
    /// A newer letter about the same subject says all there is to say.
    Overtaken,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::RetryAt(_) => "pending",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Overtaken => "overtaken",
        }
    }
}

/// One attempt that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// From 1, in all.
    pub number: u32,
    /// When it began, microseconds since the Unix epoch.
    pub started_us: i64,
    /// When it ended.
    pub ended_us: i64,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// `delivered`, or what went wrong.
    pub outcome: String,
}

/// Puts a letter about `event` into this transaction for each of `endpoints`, unless it is there
/// already. Who asked for events of its kind is known to `alert::recipients`.
pub(crate) fn put<'a>(
    transaction: &Transaction<'_>,
    event: &EventRow,
    endpoints: impl IntoIterator<Item = &'a str>,
    now_us: i64,
) -> Result<()> {
    let sql =
        "INSERT INTO outbox (event_id, endpoint, kind, subject, body, created_us, next_attempt_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (event_id, endpoint) DO NOTHING";
    let mut statement = transaction.prepare_cached(sql)?;
    for endpoint in endpoints {
        statement.execute(params![
            event.id,
            endpoint,
            event.kind,
            event.subject,
            event.body,
            now_us
        ])?;
    }
    Ok(())
}

/// Up to `limit` letters for `endpoint` whose next attempt is due, oldest first.
pub(crate) fn due(
    transaction: &Transaction<'_>,
    endpoint: &str,
    now_us: i64,
    limit: u32,
) -> Result<Vec<Due>> {
    let sql = "SELECT id, attempts, tries, event_id, kind, subject, body FROM outbox
               WHERE endpoint = ?1 AND state = 'pending' AND next_attempt_us <= ?2
               ORDER BY id LIMIT ?3";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((endpoint, now_us, limit), |row| {
        Ok(Due {
            id: row.get("id")?,
            attempts: row.get("attempts")?,
            tries: row.get("tries")?,
            letter: Letter {
                event_id: row.get("event_id")?,
                kind: row.get("kind")?,
                subject: row.get("subject")?,
                body: row.get("body")?,
            },
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The event of a newer letter about the same subject to the same endpoint, if there is one.
pub(crate) fn overtaken_by(
    transaction: &Transaction<'_>,
    endpoint: &str,
    due: &Due,
) -> Result<Option<String>> {
    let sql = "SELECT event_id FROM outbox
               WHERE endpoint = ?1 AND subject = ?2 AND id > ?3 ORDER BY id DESC LIMIT 1";
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement
        .query_row((endpoint, &due.letter.subject, due.id), |row| row.get(0))
        .optional()?)
}

/// Takes back letters about an event that nobody should act on any more. How many those are.
pub(crate) fn withdraw(transaction: &Transaction<'_>, event_id: &str) -> Result<usize> {
    let sql = "UPDATE outbox SET state = 'overtaken'
               WHERE event_id = ?1 AND state IN ('pending', 'stopped')";
    Ok(transaction.prepare_cached(sql)?.execute([event_id])?)
}

/// Notes an attempt and what becomes of the letter. Of a letter that has many the newest are kept.
pub(crate) fn record(
    transaction: &Transaction<'_>,
    due: &Due,
    attempt: &Attempt,
    fate: Fate,
) -> Result<()> {
    let sql = "INSERT INTO attempts (outbox, number, started_us, ended_us, status, outcome)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.prepare_cached(sql)?.execute(params![
        due.id,
        attempt.number,
        attempt.started_us,
        attempt.ended_us,
        attempt.status,
        attempt.outcome
    ])?;
    let sql = "DELETE FROM attempts WHERE outbox = ?1 AND number <= ?2";
    let forgotten = i64::from(attempt.number) - i64::from(ATTEMPTS_KEPT);
    transaction
        .prepare_cached(sql)?
        .execute((due.id, forgotten))?;
    let next = match fate {
        Fate::RetryAt(at) => at,
        Fate::Delivered | Fate::Failed | Fate::Stopped | Fate::Overtaken => attempt.ended_us,
    };
    let sql = "UPDATE outbox SET attempts = ?2, tries = ?3, state = ?4, next_attempt_us = ?5
               WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![
        due.id,
        attempt.number,
        due.tries + 1,
        fate.word(),
        next
    ])?;
    Ok(())
}

/// Forgets letters that are on their way no longer, but for the newest, with their attempts.
pub(crate) fn forget(transaction: &Transaction<'_>) -> Result<()> {
    let newest = "SELECT coalesce(max(id), 0) FROM outbox";
    let newest: i64 = transaction
        .prepare_cached(newest)?
        .query_row([], |row| row.get(0))?;
    let old = "id <= ?1 AND state NOT IN ('pending', 'stopped')";
    for sql in [
        format!("DELETE FROM attempts WHERE outbox IN (SELECT id FROM outbox WHERE {old})"),
        format!("DELETE FROM outbox WHERE {old}"),
    ] {
        transaction
            .prepare_cached(&sql)?
            .execute([newest - LETTERS_KEPT])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, deliveries};

    fn event(number: i64) -> EventRow {
        EventRow {
            time: number,
            id: format!("evt_{number}"),
            kind: "fathomline.webhook.test".to_owned(),
            subject: "s".to_owned(),
            body: "{}".to_owned(),
        }
    }

    fn attempt(number: u32) -> Attempt {
        Attempt {
            number,
            started_us: 1,
            ended_us: 2,
            status: Some(500),
            outcome: "the endpoint answered 500".to_owned(),
        }
    }

    #[tokio::test]
    async fn attempts_and_letters_are_bounded_and_what_waits_is_never_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let kept = usize::try_from(LETTERS_KEPT).unwrap();
        let counted = database.transact(move |t| {
            for number in 0..LETTERS_KEPT + 10 {
                put(t, &event(number), ["ops"], 0)?;
            }
            let waits = due(t, "ops", 0, u32::MAX)?;
            let (waiting, done) = waits.split_at(2);
            // What is kept for an endpoint that is stopped waits, too.
            record(t, &waiting[1], &attempt(1), Fate::Stopped)?;
            for due in done {
                record(t, due, &attempt(1), Fate::Delivered)?;
            }
            for number in 1..=ATTEMPTS_KEPT + 5 {
                let due = Due {
                    attempts: number - 1,
                    ..waiting[0].clone()
                };
                record(t, &due, &attempt(number), Fate::RetryAt(0))?;
            }
            forget(t)?;
            let left = deliveries::list(t, u32::MAX)?;
            let oldest = left.last().cloned();
            let kept = left
                .iter()
                .rev()
                .nth(1)
                .map(|letter| letter.event_id.clone());
            assert_eq!(kept.as_deref(), Some("evt_1"));
            Ok((left.len(), oldest))
        });
        let (letters, oldest) = counted.await.unwrap();
        assert_eq!(letters, kept + 2);
        let oldest = oldest.unwrap();
        assert_eq!(oldest.event_id, "evt_0");
        let numbers: Vec<u32> = oldest.attempts.iter().map(|a| a.number).collect();
        assert_eq!(numbers, (6..=ATTEMPTS_KEPT + 5).collect::<Vec<_>>());
    }
}
