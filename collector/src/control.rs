//! Changes that people ask for. So far: freezing references.
//!
//! In: a request and the actor whose role was checked at the door. Out: what was done, as an
//! answer and as an entry in the audit log, written in the same transaction. Never: roles (that is
//! `access`), HTTP (that is `api`).

use std::sync::Arc;

use fathomline_queries::{
    drift::{Lane, Policy, Reference, SeriesKey},
    published,
};
use serde::{Deserialize, Serialize};

use crate::{
    access::Actor,
    clock::Clock,
    database::{
        Database, DatabaseError,
        audit::{self, AuditEntry},
        references::{self, Frozen},
    },
    watch::{
        Cadence, WatchSettings,
        lanes::{Asked, LaneSource, LanesError, SeriesLanes},
        schedule::Span,
    },
};

/// Four weeks of minute lanes; a reference needs no more, and the answer must fit into memory.
const LANES_MAX: i64 = 40_320;
/// A reference travels with verdicts and pages.
const REFERENCE_BYTES_MAX: usize = 64 << 10;

/// Which series to freeze, over which span.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreezeRequest {
    pub(crate) service: Option<String>,
    pub(crate) model: String,
    pub(crate) version: Option<String>,
    /// Lanes that lie wholly within the span are used.
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

/// What became of each series in the span.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct FreezeAnswer {
    pub(crate) references: Vec<Frozen>,
    pub(crate) shortfalls: Vec<Missing>,
}

/// A series that has too little for a reference, and how much it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Missing {
    pub(crate) series: String,
    /// The series in words.
    pub(crate) name: String,
    pub(crate) shortfall: String,
}

/// Why nothing was frozen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("cannot freeze the span from {from_us} to {to_us}: {why}")]
    Span {
        from_us: i64,
        to_us: i64,
        why: String,
    },
    #[error(
        "no watched series of model {model:?} has a lane between {from_us} and {to_us}; check model, version and span against GET /api/v1/verdicts"
    )]
    Nothing {
        model: String,
        from_us: i64,
        to_us: i64,
    },
    #[error("cannot read the lanes of the span: {0}")]
    Lanes(LanesError),
    #[error("cannot keep the reference of {name}: {why}")]
    Reference { name: String, why: String },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Carries changes out.
pub(crate) struct Control {
    database: Database,
    lanes: Arc<dyn LaneSource>,
    clock: Arc<dyn Clock>,
    cadence: Cadence,
    metrics: Vec<String>,
    policy: Policy,
    min_devices: u32,
}

impl Control {
    pub(crate) fn new(
        database: Database,
        lanes: Arc<dyn LaneSource>,
        clock: Arc<dyn Clock>,
        settings: &WatchSettings,
    ) -> Self {
        Self {
            database,
            lanes,
            clock,
            cadence: settings.cadence,
            metrics: settings.metrics.clone(),
            policy: settings.policy.clone(),
            min_devices: settings.min_devices,
        }
    }

    /// Freezes a reference for every watched series of the request, and puts it in force. A series
    /// with too little is left as it was and named with its shortfall.
    pub(crate) async fn freeze(
        &self,
        request: &FreezeRequest,
        actor: &Actor,
    ) -> Result<FreezeAnswer, ControlError> {
        let now_us = self.clock.now_us();
        let span = whole_lanes(request, self.cadence, now_us)?;
        let asked = Asked {
            span,
            lane_us: self.cadence.lane_us,
            metrics: &self.metrics,
        };
        let mut lanes = self.lanes.lanes(asked).await.map_err(ControlError::Lanes)?;
        lanes.retain(|key, lanes| request.wants(key) && !lanes.is_empty());
        if lanes.is_empty() {
            return Err(ControlError::Nothing {
                model: request.model.clone(),
                from_us: span.from_us,
                to_us: span.to_us,
            });
        }
        for (key, lanes) in &mut lanes {
            keep_what_is_shown(lanes, &key.metric, self.min_devices);
        }
        let policy = self.policy.clone();
        let freeze = move || freeze_all(&lanes, &policy);
        let frozen = tokio::task::spawn_blocking(freeze).await;
        let (bodies, shortfalls) = frozen.map_err(|_| DatabaseError::Stopped)??;
        let made = bodies
            .into_iter()
            .map(|body| body.frozen(span, now_us, actor))
            .collect();
        let references = self.store(made, request, actor, now_us).await?;
        Ok(FreezeAnswer {
            references,
            shortfalls,
        })
    }

    async fn store(
        &self,
        made: Vec<(Frozen, Vec<u8>)>,
        request: &FreezeRequest,
        actor: &Actor,
        now_us: i64,
    ) -> Result<Vec<Frozen>, ControlError> {
        if made.is_empty() {
            return Ok(Vec::new());
        }
        let hashes: Vec<&str> = made
            .iter()
            .map(|(frozen, _)| frozen.hash.as_str())
            .collect();
        let detail = serde_json::json!({
            "from_us": request.from_us,
            "to_us": request.to_us,
            "references": hashes,
        });
        let entry = AuditEntry {
            time_us: now_us,
            actor: actor.name.clone(),
            action: "reference.freeze",
            subject: request.model.clone(),
            detail: detail.to_string(),
        };
        let work = move |t: &rusqlite::Transaction<'_>| {
            for (frozen, body) in &made {
                references::freeze(t, frozen, body)?;
            }
            audit::record(t, &entry)?;
            Ok(made.into_iter().map(|(frozen, _)| frozen).collect())
        };
        Ok(self.database.transact(work).await?)
    }
}

impl FreezeRequest {
    fn wants(&self, key: &SeriesKey) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        key.model == self.model
            && same(&self.service, &key.service)
            && same(&self.version, &key.version)
    }
}

/// References are drawn beside what is published. One that held the lanes of few devices as well
/// would tell of them by what it has more, so it is made of the others, where there are any. Where
/// there are none, its own number of devices keeps it from being drawn.
fn keep_what_is_shown(lanes: &mut Vec<Lane>, metric: &str, min_devices: u32) {
    let shown = |lane: &Lane| published::shows(min_devices, metric, lane.devices);
    if lanes.iter().any(shown) {
        lanes.retain(shown);
    }
}

/// The closed lanes that lie wholly within the request's span.
fn whole_lanes(
    request: &FreezeRequest,
    cadence: Cadence,
    now_us: i64,
) -> Result<Span, ControlError> {
    let closed_us = cadence.closed_until(now_us);
    // Nobody's lanes are that far away, and no arithmetic on them overflows.
    let clamped = |us: i64| us.clamp(i64::MIN / 4, i64::MAX / 4);
    let span = Span {
        from_us: cadence.ceil(clamped(request.from_us)),
        to_us: cadence.floor(clamped(request.to_us)).min(closed_us),
    };
    let lanes = span.to_us.saturating_sub(span.from_us) / cadence.lane_us;
    let why = if request.to_us <= request.from_us {
        "it ends before it begins".to_owned()
    } else if lanes < 1 {
        format!("it holds no whole lane that has closed; lanes have closed up to {closed_us}")
    } else if lanes > LANES_MAX {
        format!("it holds {lanes} lanes and {LANES_MAX} are allowed; choose a shorter one")
    } else {
        return Ok(span);
    };
    Err(ControlError::Span {
        from_us: request.from_us,
        to_us: request.to_us,
        why,
    })
}

/// A frozen reference that is not stored yet.
struct Body {
    hash: String,
    key: SeriesKey,
    records: i64,
    bytes: Vec<u8>,
}

impl Body {
    fn frozen(self, span: Span, now_us: i64, actor: &Actor) -> (Frozen, Vec<u8>) {
        let frozen = Frozen {
            hash: self.hash,
            series: self.key.id(),
            name: self.key.to_string(),
            records: self.records,
            from_us: span.from_us,
            to_us: span.to_us,
            created_us: now_us,
            created_by: actor.name.clone(),
        };
        (frozen, self.bytes)
    }
}

fn freeze_all(
    lanes: &SeriesLanes,
    policy: &Policy,
) -> Result<(Vec<Body>, Vec<Missing>), ControlError> {
    let (mut bodies, mut shortfalls) = (Vec::new(), Vec::new());
    for (key, lanes) in lanes {
        match Reference::freeze(key.clone(), lanes, policy) {
            Ok(reference) => bodies.push(body(key, &reference)?),
            Err(shortfall) => shortfalls.push(Missing {
                series: key.id(),
                name: key.to_string(),
                shortfall: shortfall.to_string(),
            }),
        }
    }
    Ok((bodies, shortfalls))
}

fn body(key: &SeriesKey, reference: &Reference) -> Result<Body, ControlError> {
    let failed = |why: String| ControlError::Reference {
        name: key.to_string(),
        why,
    };
    let bytes = postcard::to_allocvec(reference).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > REFERENCE_BYTES_MAX {
        return Err(failed(format!(
            "it takes {} bytes and {REFERENCE_BYTES_MAX} are allowed; choose a shorter span",
            bytes.len()
        )));
    }
    Ok(Body {
        hash: reference.hash(),
        key: key.clone(),
        records: i64::try_from(reference.count()).unwrap_or(i64::MAX),
        bytes,
    })
}

#[cfg(test)]
mod tests;
