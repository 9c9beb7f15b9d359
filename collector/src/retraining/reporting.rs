//! A trainer's report: signed by its secret, or sent with an operator's token.
//!
//! In: headers and body as they came. Out: a request that moved, or why nothing changed. The same
//! message again changes nothing and is answered as before, so a trainer may retry.

use axum::http::HeaderMap;
use fathomline_wire::event::{Callback, CallbackStatus};
use rusqlite::Transaction;
use sha2::{Digest as _, Sha256};

use super::{
    Retraining, RetrainingError, TRAINER,
    moving::{Why, move_on},
    progress::{self, Reported, State},
};
use crate::{
    alert::signature::Secrets,
    clock::SECOND_US,
    database::{
        DatabaseError,
        retraining::{self as rows, Request},
    },
};

/// How far a message's time may be off, as Standard Webhooks has it.
const TOLERANCE_S: i64 = 300;
/// Of versions and reasons.
const WORD_MAX: usize = 64;
/// Of a message's id.
const MESSAGE_MAX: usize = 128;

/// Why a report was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    #[error(
        "a report needs the headers webhook-id, webhook-timestamp and webhook-signature, or an operator's token"
    )]
    Unsigned,
    #[error(
        "no secret of trainers is known: set retraining.callback_secret_file, or report with an operator's token"
    )]
    NoSecret,
    #[error("the signature is not one of this body by the trainers' secret")]
    Signature,
    #[error(
        "webhook-timestamp is more than {TOLERANCE_S} s from now: sign each attempt anew, and check the sender's clock"
    )]
    Time,
    #[error(
        "cannot read the report: {0}; send {{\"status\": \"accepted\"}}, running, succeeded with a version, or failed"
    )]
    Malformed(String),
    #[error("message {0} was taken before with another body; give each report its own webhook-id")]
    Reused(String),
}

/// A report whose sender is known.
#[derive(Debug)]
pub(crate) struct Report {
    callback: Callback,
    /// Its `webhook-id`; none where a person reports.
    message: Option<String>,
    digest: [u8; 32],
    by: String,
}

impl Report {
    /// Reads a body that a person's token vouches for.
    pub(crate) fn of_person(body: &str, by: &str) -> Result<Self, ReportError> {
        Ok(Self {
            callback: callback(body)?,
            message: None,
            digest: Sha256::digest(body.as_bytes()).into(),
            by: by.to_owned(),
        })
    }

    /// Checks a signed body, then reads it.
    fn signed(
        secrets: &Secrets,
        headers: &HeaderMap,
        body: &str,
        now_us: i64,
    ) -> Result<Self, ReportError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(message), Some(timestamp), Some(signatures)) = (
            text("webhook-id"),
            text("webhook-timestamp"),
            text("webhook-signature"),
        ) else {
            return Err(ReportError::Unsigned);
        };
        let timestamp_s: i64 = timestamp.parse().map_err(|_| ReportError::Time)?;
        let sound = !message.is_empty() && message.len() <= MESSAGE_MAX && !message.contains('.');
        if !sound || !secrets.signed((message, timestamp_s), body, signatures) {
            return Err(ReportError::Signature);
        }
        // After the signature: who cannot sign learns nothing of our clock.
        let off_s = (now_us / SECOND_US).saturating_sub(timestamp_s);
        if !(-TOLERANCE_S..=TOLERANCE_S).contains(&off_s) {
            return Err(ReportError::Time);
        }
        Ok(Self {
            message: Some(message.to_owned()),
            ..Self::of_person(body, TRAINER)?
        })
    }
}

impl Retraining {
    /// Whether whoever sent these headers signed this body.
    pub(crate) fn signed(&self, headers: &HeaderMap, body: &str) -> Result<Report, ReportError> {
        let Some(secrets) = &self.secrets else {
            return Err(match headers.contains_key("webhook-signature") {
                true => ReportError::NoSecret,
                false => ReportError::Unsigned,
            });
        };
        Report::signed(secrets, headers, body, self.clock.now_us())
    }

    /// Takes a report of request `id`.
    pub(crate) async fn report(
        &self,
        id: &str,
        report: Report,
    ) -> Result<Request, RetrainingError> {
        let (asked, telling) = (id.to_owned(), self.telling.clone());
        let now_us = self.clock.now_us();
        let work = move |t: &Transaction<'_>| {
            let Some(request) = rows::find(t, &asked)? else {
                return Ok(Err(RetrainingError::Unknown(asked)));
            };
            if let Some(message) = &report.message {
                match rows::report(t, message)? {
                    Some(before) if before == (asked, report.digest) => return Ok(Ok(request)),
                    Some(_) => return Ok(Err(ReportError::Reused(message.clone()).into())),
                    None => {}
                }
            }
            let to = match reported(&request, &report.callback) {
                Ok(Reported::Moves(to)) => to,
                // Heard again: it does not expire while it is worked on.
                Ok(Reported::Again) => request.state,
                Err(error) => return Ok(Err(error)),
            };
            if let Some(message) = &report.message {
                rows::remember_report(t, message, &request.id, report.digest)?;
            }
            if to == request.state {
                if request.state.waits_for_reports() {
                    rows::heard(t, &request.id, now_us)?;
                }
                return Ok(Ok(request));
            }
            let Callback {
                version, reason, ..
            } = report.callback;
            let why = Why {
                detail: version.clone().or(reason),
                new_version: version,
                ..Why::of(&report.by, now_us)
            };
            Ok::<_, DatabaseError>(Ok(move_on(t, request, to, why, &telling)?))
        };
        let moved = self.database.transact(work).await??;
        self.wake.notify_waiters();
        Ok(moved)
    }
}

/// What a report does to a request; another version than was reported is out of order, too.
fn reported(request: &Request, callback: &Callback) -> Result<Reported, RetrainingError> {
    if callback.version.as_ref() == Some(&request.version) {
        let same = "a new version has another name than the one that drifted".to_owned();
        return Err(ReportError::Malformed(same).into());
    }
    let reported = progress::report(request.state, callback.status)?;
    let other = callback.version.is_some() && callback.version != request.new_version;
    if reported == Reported::Again && callback.status == CallbackStatus::Succeeded && other {
        let (at, said) = (State::Succeeded, CallbackStatus::Succeeded);
        return Err(progress::Stays::OutOfOrder { at, said }.into());
    }
    Ok(reported)
}

fn callback(body: &str) -> Result<Callback, ReportError> {
    let malformed = |why: &str| ReportError::Malformed(why.to_owned());
    let callback: Callback =
        serde_json::from_str(body).map_err(|error| malformed(&error.to_string()))?;
    let succeeded = callback.status == CallbackStatus::Succeeded;
    if succeeded != callback.version.is_some() {
        return Err(malformed(
            "a version goes with succeeded, and with nothing else",
        ));
    }
    if callback.reason.is_some() && callback.status != CallbackStatus::Failed {
        return Err(malformed(
            "a reason goes with failed, and with nothing else",
        ));
    }
    let version_fits = |text: &str| {
        (1..=WORD_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let reason_fits = |text: &str| {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        (1..=WORD_MAX).contains(&text.len()) && text.bytes().all(fits)
    };
    if !callback.version.as_deref().is_none_or(version_fits) {
        return Err(malformed("a version has 1 to 64 visible ASCII characters"));
    }
    if !callback.reason.as_deref().is_none_or(reason_fits) {
        return Err(malformed(
            "a reason is [a-z0-9_.-]{1,64}: a word of yours, not a message",
        ));
    }
    Ok(callback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_goes_with_its_status_and_nothing_else() {
        for good in [
            r#"{"status":"accepted"}"#,
            r#"{"status":"running"}"#,
            r#"{"status":"succeeded","version":"2.0+frost"}"#,
            r#"{"status":"failed"}"#,
            r#"{"status":"failed","reason":"no_data"}"#,
        ] {
            assert!(callback(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "[]",
            r#"{"status":"done"}"#,
            r#"{"status":"succeeded"}"#,
            r#"{"status":"succeeded","version":""}"#,
            r#"{"status":"succeeded","version":"a b"}"#,
            r#"{"status":"running","version":"2"}"#,
            r#"{"status":"running","reason":"x"}"#,
            r#"{"status":"failed","reason":"The user said: help"}"#,
            r#"{"status":"accepted","log":"x"}"#,
        ] {
            let refused = callback(wrong).unwrap_err().to_string();
            assert!(refused.contains("cannot read the report"), "{refused}");
        }
    }
}
