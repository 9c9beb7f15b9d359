//! Older names of the GenAI conventions. In: what a sender called something. Out: what it is
//! called now, so that one question finds both. Owns the mapping; the names are in
//! `fathomline_wire::names`.

use fathomline_wire::names;
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::resource;

/// Unit of token counts; older senders wrote `token` or nothing.
const TOKENS: &str = "{token}";

/// Current name and unit of a point's metric.
pub(super) fn metric<'a>(
    name: &'a str,
    unit: &'a str,
    attributes: &[KeyValue],
) -> (&'a str, &'a str) {
    if name != names::LEGACY_TOKEN_USAGE {
        return (name, unit);
    }
    // One histogram held both, told apart by an attribute.
    match resource::value(attributes, names::LEGACY_TOKEN_TYPE).as_deref() {
        Some("input" | "prompt") => (names::INPUT_TOKENS, TOKENS),
        Some("output" | "completion") => (names::OUTPUT_TOKENS, TOKENS),
        _ => (name, unit),
    }
}

/// Current name of a metric as a whole, where its points decide between several that are alike.
pub(super) fn kind_of(name: &str) -> &str {
    match name {
        names::LEGACY_TOKEN_USAGE => names::INPUT_TOKENS,
        name => name,
    }
}

/// A value under its current name, or under the older one.
pub(super) fn value(attributes: &[KeyValue], name: &'static str) -> Option<String> {
    let older = match name {
        names::PROVIDER_NAME => Some(names::LEGACY_PROVIDER),
        names::ENVIRONMENT => Some(names::LEGACY_ENVIRONMENT),
        _ => None,
    };
    let current = resource::value(attributes, name);
    current.or_else(|| resource::value(attributes, older?))
}
