//! Stable codes for "no". Owns which refusals exist and whether the sender should try again; the
//! receiver turns them into statuses, partial successes and counters.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request or a data point was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rejection {
    /// The body is not the OTLP message it claims to be.
    Malformed,
    /// The content type or encoding is not one the receiver speaks.
    Unsupported,
    /// The body is larger than the limit, before or after inflation.
    TooLarge,
    /// The identity was seen before with other bytes.
    Conflict,
    /// The window is older than what the collector remembers of its boot.
    TooOld,
    /// The histogram's scale is outside of what floats can tell apart.
    Scale,
    /// A count is negative or absurd, buckets do not add up to it, or there are too many of them.
    Counts,
    /// A number that must be finite is not.
    NotFinite,
    /// The point's time is missing, or its interval ends before it starts.
    Time,
    /// An interval of this series overlaps one that was already counted.
    Overlap,
    /// A name or attribute value is longer than the limit, or holds control characters.
    TooLong,
    /// The point's kind cannot be stored (a summary, say).
    Kind,
    /// The sender made more names or series than its share, or than the collector remembers.
    Cardinality,
    /// A sum or histogram does not say whether it counts since its start or since its last export.
    Temporality,
    /// The span is of no GenAI operation.
    NotGenAi,
    /// The collector does not store this kind of telemetry at all.
    Signal,
    /// The request took longer to arrive than the collector waits.
    Slow,
    /// The collector has no room at present; the same request may succeed later.
    Busy,
    /// The door needs a token, and none came that is in force.
    Unauthenticated,
    /// The sender may not send for this device.
    Forbidden,
    /// Too many wrong tokens came from the sender's address.
    Attempts,
}

impl Rejection {
    /// Every rejection there is, for documentation, metrics and tests.
    pub const ALL: [Self; 21] = [
        Self::Malformed,
        Self::Unsupported,
        Self::TooLarge,
        Self::Conflict,
        Self::TooOld,
        Self::Scale,
        Self::Counts,
        Self::NotFinite,
        Self::Time,
        Self::Overlap,
        Self::TooLong,
        Self::Kind,
        Self::Cardinality,
        Self::Temporality,
        Self::NotGenAi,
        Self::Signal,
        Self::Slow,
        Self::Busy,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Attempts,
    ];

    /// The code for programs; never changes once published.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too_large",
            Self::Conflict => "conflict",
            Self::TooOld => "too_old",
            Self::Scale => "scale",
            Self::Counts => "counts",
            Self::NotFinite => "not_finite",
            Self::Time => "time",
            Self::Overlap => "overlap",
            Self::TooLong => "too_long",
            Self::Kind => "kind",
            Self::Cardinality => "cardinality",
            Self::Temporality => "temporality",
            Self::NotGenAi => "not_gen_ai",
            Self::Signal => "signal",
            Self::Slow => "slow",
            Self::Busy => "busy",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Attempts => "attempts",
        }
    }

    /// Whether sending the same bytes again can succeed.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Slow | Self::Attempts)
    }

    /// The sentence for the sender: what was wrong and what to do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Malformed => {
                "the request is not what it claims to be; what follows says what is wrong with it"
            }
            Self::Unsupported => {
                "send application/x-protobuf or application/json, uncompressed or with gzip or zstd"
            }
            Self::TooLarge => "the body is over the limit; send smaller batches",
            Self::Conflict => {
                "this installation, boot and sequence arrived before with other bytes; set the record aside and go on"
            }
            Self::TooOld => {
                "the window is older than what the collector remembers of its boot (30 days, 64 gaps, 1,024 boots a device); it cannot be counted once"
            }
            Self::Scale => "the exponential histogram's scale must be between -10 and 20",
            Self::Counts => {
                "counts of one point must be 0 to 2^40 (counters: 2^53), bucket counts add up to them, and bounds ascend"
            }
            Self::NotFinite => "numbers must be finite; drop NaN and infinity before recording",
            Self::Time => "each point needs a time and may not end before it starts",
            Self::Overlap => {
                "the interval overlaps one that was counted; use delta temporality or keep start times constant"
            }
            Self::TooLong => {
                "names and attribute values may have 128 bytes at most, and no control characters; metrics are named by letters, digits and _.-/, units have 32 bytes at most"
            }
            Self::Kind => {
                "send sums, gauges, histograms or exponential histograms, and a metric of the contract as what it is there; summaries are not stored"
            }
            Self::Cardinality => {
                "this device or token made its share of services, cohorts, metrics, categories, devices or series, or there are as many as the collector keeps; drop unbounded attributes before sending, or raise the limits"
            }
            Self::Temporality => "sums and histograms must say that they are delta or cumulative",
            Self::NotGenAi => {
                "only spans of GenAI operations are stored: those with gen_ai.operation.name, gen_ai.provider.name or gen_ai.request.model"
            }
            Self::Signal => {
                "logs are not stored, because they hold text; export metrics and traces"
            }
            Self::Slow => "the request did not arrive in time; send smaller batches",
            Self::Busy => "the collector has no room at present; retry after the time it gives",
            Self::Unauthenticated => {
                "send a token that is in force as `Authorization: Bearer ...`; `fathomline token create` makes one"
            }
            Self::Forbidden => {
                "a sender may send for its own devices only, and for none that was revoked; keep the data and ask the collector's operator"
            }
            Self::Attempts => {
                "too many wrong tokens came from this address; wait, and correct the token"
            }
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_only_what_may_pass_later_is_retryable() {
        let codes: std::collections::BTreeSet<_> =
            Rejection::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Rejection::ALL.len());
        let retryable = Rejection::ALL.into_iter().filter(|r| r.retryable());
        assert_eq!(
            retryable.collect::<Vec<_>>(),
            [Rejection::Slow, Rejection::Busy, Rejection::Attempts]
        );
    }
}
