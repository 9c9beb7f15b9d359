//! A new version proves itself: on the signal that led to it, beyond what luck gives devices.
//!
//! In: a request whose trainer has succeeded, what each device of both versions did since. Out: the
//! request is proven, or looked at again once twice as many lanes have closed. Every look has its
//! own share of the error, so that looking often makes no version better.

use std::f64::consts::PI;

use fathomline_queries::{
    drift::{Comparison, Direction, MovedShare, Part, Reference, SeriesKey},
    lanes::parts::SeriesParts,
    published,
};
use fathomline_wire::event::{BriefSignal, Event, EventBody};
use rusqlite::Transaction;

use super::{
    COLLECTOR, Retraining, RetrainingError,
    closing::{self, Proven},
    moving::{Why, move_on},
    progress::State,
};
use crate::{
    clock::{DAY_US, HOUR_US},
    control::content_of,
    database::{
        retraining::{self as rows, Request},
        rollouts,
    },
    watch::{
        lanes::{AskedParts, LanesError},
        schedule::Span,
    },
};

/// More looks than there are lanes in centuries.
const LOOKS_MAX: u32 = 40;
/// How often a version that is no better may ever be called so.
const ERROR: f64 = 0.025;

/// What a look is at.
struct Look {
    /// Of how many, from 1.
    number: u32,
    span: Span,
}

/// The look that comes after `looks` of them at a version that began at `began_us`. The first has
/// `first_us` of lanes, every further one twice as many as the one before.
fn next_look(looks: u32, began_us: i64, first_us: i64) -> Option<Look> {
    let number = looks.checked_add(1).filter(|number| *number <= LOOKS_MAX)?;
    let doubled = 1_i64.checked_shl(looks)?;
    let to_us = began_us.checked_add(first_us.checked_mul(doubled)?)?;
    Some(Look {
        number,
        span: Span {
            from_us: began_us,
            to_us,
        },
    })
}

/// Shares of the error that add up to it over all looks.
fn error_of(look: u32) -> f64 {
    ERROR * 6.0 / (PI * PI * f64::from(look) * f64::from(look))
}

/// What is to be compared, as the request says.
struct Subject {
    signal: BriefSignal,
    reference: Reference,
    direction: Direction,
}

impl Retraining {
    /// Looks at every new version that is due for it.
    pub(super) async fn prove(&self) -> Result<(), RetrainingError> {
        let open = self.database.transact(rows::open).await?;
        for request in open.into_iter().filter(|of| of.state == State::Succeeded) {
            if let Err(error) = self.prove_one(&request).await {
                let id = request.id.as_str();
                tracing::error!(%error, request = id, "cannot compare versions; trying again");
            }
        }
        Ok(())
    }

    async fn prove_one(&self, request: &Request) -> Result<(), RetrainingError> {
        let cadence = self.judging.cadence;
        let Some(subject) = self.subject(request).await? else {
            return self.cannot_prove(request).await;
        };
        let Some(arrived_us) = self.arrived(request, &subject).await? else {
            return Ok(());
        };
        let began_us = cadence.ceil(arrived_us);
        let first_us = cadence.lane_us * i64::from(self.settings.proof_lanes);
        let Some(look) = next_look(request.looks, began_us, first_us) else {
            return Ok(());
        };
        if cadence.closed_until(self.clock.now_us()) < look.span.to_us {
            return Ok(());
        }
        let found = self.compare(request, &subject, &look).await?;
        self.looked(request, look.number, found).await
    }

    /// When devices of the signal's class first reported the new version, but not before it was
    /// reported ready; none until they do. Were time counted from the report alone, the old version
    /// would be judged by days on which the new one was nowhere.
    async fn arrived(
        &self,
        request: &Request,
        subject: &Subject,
    ) -> Result<Option<i64>, RetrainingError> {
        let model = request.model.clone();
        let seen = self
            .database
            .transact(move |t| rollouts::versions(t, Some(&model)));
        let new = seen.await?.into_iter().find(|seen| {
            seen.service == request.service
                && seen.device_class == subject.signal.device_class
                && Some(&seen.version) == request.new_version.as_ref()
        });
        Ok(new.map(|new| new.first_us.max(request.changed_us)))
    }

    /// Ends a request whose brief names nothing to compare: it would keep drift from asking again.
    async fn cannot_prove(&self, request: &Request) -> Result<(), RetrainingError> {
        let (id, telling) = (request.id.clone(), self.telling.clone());
        let why = Why {
            detail: Some("the request named no signal by which versions can be compared".into()),
            ..Why::of(COLLECTOR, self.clock.now_us())
        };
        let work = move |t: &Transaction<'_>| {
            let request = rows::find(t, &id)?.filter(|found| found.state == State::Succeeded);
            if let Some(request) = request {
                move_on(t, request, State::Unproven, why, &telling)?;
            }
            Ok(())
        };
        self.database.transact(work).await?;
        self.wake.notify_waiters();
        Ok(())
    }

    /// The signal that led here; none where the request names none that can be held against its
    /// reference.
    async fn subject(&self, request: &Request) -> Result<Option<Subject>, RetrainingError> {
        let Some(signal) = first_signal(&request.body) else {
            return Ok(None);
        };
        let (Some(hash), Some(direction)) = (signal.reference.clone(), signal.direction.clone())
        else {
            return Ok(None);
        };
        let content = self.database.transact(move |t| content_of(t, &hash));
        let reference = content.await?;
        Ok(reference.map(|reference| Subject {
            signal,
            reference,
            direction: match direction.as_str() {
                "up" => Direction::More,
                _ => Direction::Less,
            },
        }))
    }

    async fn compare(
        &self,
        request: &Request,
        subject: &Subject,
        look: &Look,
    ) -> Result<Option<Proof>, RetrainingError> {
        let Some(version) = request.new_version.as_deref() else {
            return Ok(None);
        };
        let now = self.parts(request, subject, look.span).await?;
        let needed = published::devices_needed(self.judging.min_devices, &subject.signal.metric);
        let new = of_version(&now, (request, subject), version);
        let old = of_version(&now, (request, subject), &request.version);
        let (old, beside) = match are_enough(&old, needed) {
            true => (old, true),
            // Everyone has moved on: what the old version did when it was found out.
            false => {
                let before = Span {
                    from_us: self.judging.cadence.floor(subject.since_us(request)),
                    to_us: self.judging.cadence.ceil(request.created_us),
                };
                let then = self.parts(request, subject, before).await?;
                (
                    of_version(&then, (request, subject), &request.version),
                    false,
                )
            }
        };
        if !are_enough(&old, needed) || !are_enough(&new, needed) {
            return Ok(None);
        }
        let moved = MovedShare {
            reference: &subject.reference,
            stream: subject.signal.stream.as_deref().unwrap_or_default(),
            direction: subject.direction,
            error: error_of(look.number),
        };
        let found = Comparison::of(moved, &old, &new);
        Ok(found.map(|comparison| Proof { comparison, beside }))
    }

    async fn parts(
        &self,
        request: &Request,
        subject: &Subject,
        span: Span,
    ) -> Result<SeriesParts, RetrainingError> {
        let asked = AskedParts {
            span,
            metrics: &[&subject.signal.metric],
            models: &[&request.model],
            // Rows of long spans are read hour by hour, as they are for references.
            hourly: span.to_us - span.from_us > DAY_US && self.judging.cadence.lane_us <= HOUR_US,
        };
        let unread = |error: LanesError| RetrainingError::Lanes(error);
        self.judging.lanes.parts(asked).await.map_err(unread)
    }

    /// Writes down what a look found.
    async fn looked(
        &self,
        request: &Request,
        look: u32,
        found: Option<Proof>,
    ) -> Result<(), RetrainingError> {
        let (id, telling, now_us) = (
            request.id.clone(),
            self.telling.clone(),
            self.clock.now_us(),
        );
        let lane_us = self.judging.cadence.lane_us;
        let work = move |t: &Transaction<'_>| {
            let Some(request) = rows::find(t, &id)? else {
                return Ok(false);
            };
            // Somebody cancelled it meanwhile.
            if request.state != State::Succeeded {
                return Ok(false);
            }
            let proven = found.as_ref().is_some_and(|of| of.comparison.is_better());
            let words = found.as_ref().map(Proof::words);
            rows::looked(t, &id, look, words.as_deref())?;
            if proven {
                if let Some(signal) = first_signal(&request.body) {
                    let proven = Proven {
                        request: &request,
                        signal: &signal,
                        words: words.as_deref().unwrap_or_default(),
                        lane_us,
                        now_us,
                    };
                    closing::end_alerts(t, &proven, &telling)?;
                }
                let why = Why {
                    detail: words,
                    ..Why::of(COLLECTOR, now_us)
                };
                move_on(t, request, State::Proven, why, &telling)?;
            }
            Ok(proven)
        };
        if self.database.transact(work).await? {
            self.wake.notify_waiters();
        }
        Ok(())
    }
}

impl Subject {
    /// Since when the signal drifts, as the request says.
    fn since_us(&self, request: &Request) -> i64 {
        let since = self.signal.since.as_deref();
        let parsed = since.and_then(|since| chrono::DateTime::parse_from_rfc3339(since).ok());
        parsed.map_or(request.created_us - HOUR_US, |since| {
            since.timestamp_micros()
        })
    }
}

/// What a look found.
struct Proof {
    comparison: Comparison,
    /// Both versions at the same time; the old one before it was replaced, otherwise.
    beside: bool,
}

impl Proof {
    fn words(&self) -> String {
        let Comparison {
            stream,
            old,
            new,
            gain,
            interval,
            ..
        } = &self.comparison;
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        let when = match self.beside {
            true => "at the same time",
            false => "before it was replaced",
        };
        format!(
            "{stream}: {} % of {} inferences on {} devices, {} % of {} on {} devices of the old version {when}; \
             {} points back, interval {} to {}",
            percent(new.share),
            new.count,
            new.devices,
            percent(old.share),
            old.count,
            old.devices,
            percent(*gain),
            percent(interval.0),
            percent(interval.1),
        )
    }
}

fn are_enough(parts: &[Part], needed: u32) -> bool {
    let mut devices: Vec<&str> = parts.iter().map(|part| part.device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    devices.len() >= needed as usize
}

/// What devices of one version did on the signal, whatever their variant.
fn of_version(
    parts: &SeriesParts,
    (request, subject): (&Request, &Subject),
    version: &str,
) -> Vec<Part> {
    let fits = |key: &SeriesKey| {
        key.service == request.service
            && key.model == request.model
            && key.version == version
            && key.device_class == subject.signal.device_class
            && key.metric == subject.signal.metric
    };
    let of = parts.iter().filter(|(key, _)| fits(key));
    of.flat_map(|(_, parts)| parts.iter().cloned()).collect()
}

fn first_signal(body: &str) -> Option<BriefSignal> {
    let event: Event = serde_json::from_str(body).ok()?;
    let EventBody::RetrainingRequested(asked) = event.body else {
        return None;
    };
    asked.brief.signals.into_iter().next()
}

#[cfg(test)]
mod tests;
