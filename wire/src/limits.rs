//! Sizes that both ends must share. Owns the numbers and their reasons; enforces nothing itself.

/// Largest request body as it arrives, before inflation (16 MiB). A device window is a few KiB;
/// a relay batches thousands of them. Larger gets 413 / RESOURCE_EXHAUSTED, split and resend.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// Largest request body after inflation: the 64 MiB that the OTLP specification recommends.
/// A smaller limit would refuse stock exporters; a larger one lets a small bomb fill memory.
pub const BODY_BYTES_INFLATED_MAX: usize = 64 << 20;

/// Longest attribute value that is kept (128 bytes). Longer values are cut by nobody: the point
/// is rejected, because a cut name is another name.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 128;

/// Most buckets a histogram keeps on each side of zero; finer ones are downscaled on arrival.
/// 160 is the OpenTelemetry default and spans a factor of 32 at scale 5.
pub const HISTOGRAM_BUCKETS_MAX: usize = 160;

/// Most buckets a point may carry before it is rejected rather than downscaled: a hostile point
/// must not make the collector allocate.
pub const HISTOGRAM_BUCKETS_ACCEPTED_MAX: usize = 4096;

/// Scales OpenTelemetry SDKs can produce. Outside of it a bucket is narrower than a float can
/// tell apart, or wider than all floats together.
pub const HISTOGRAM_SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// Most labels an application may declare at start; the rest would be unbounded cardinality.
pub const LABELS_MAX: usize = 64;

/// Longest label, in bytes of `[a-z0-9_.-]`.
pub const LABEL_BYTES_MAX: usize = 32;

/// Most model variants in one process; later ones are counted as `other`.
pub const VARIANTS_MAX: usize = 16;

/// Longest installation or boot identifier, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 64;

/// Most values one histogram point may count (2^40). No device infers that often, and no sum over
/// a fleet of honest points comes near what 63 bits hold: one hostile point must not make every
/// later sum over its cohort overflow.
pub const POINT_COUNT_MAX: u64 = 1 << 40;

/// Largest increase one point of a counter may carry (2^53): what floats still count exactly.
pub const COUNTER_MAX: u64 = 1 << 53;

/// Most resources, scopes, metrics and data points in one request, taken together. A relay that
/// batches more sends them in two.
pub const PARTS_MAX: usize = 200_000;

/// Largest integer that may be stored. Parquet statistics are signed: one value above it would
/// make every later scan of the file fail.
pub const INTEGER_MAX: u64 = i64::MAX as u64;
