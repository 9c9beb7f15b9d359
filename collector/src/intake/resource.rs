//! Resource attributes: who sends. In: what a sender says of itself. Out: the six allow-listed
//! attributes and a hash over all of them; and one over the scope that recorded.

use fathomline_wire::{limits::ATTRIBUTE_VALUE_BYTES_MAX, names};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
};
use prost::Message;
use sha2::{Digest, Sha256};

use super::legacy;

/// What is kept of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) service: String,
    pub(super) environment: Option<String>,
    /// Installation id, or for foreign senders their instance id.
    pub(super) device: String,
    pub(super) device_class: String,
    pub(super) site: Option<String>,
    pub(super) boot: String,
    /// Over every attribute, so that dropped ones still tell streams apart.
    pub(super) digest: [u8; 32],
    /// A kept attribute is over the limit, or holds control characters.
    pub(super) too_long: bool,
}

pub(super) fn read(resource: Option<&Resource>) -> Sender {
    let attributes = resource.map_or(&[][..], |resource| resource.attributes.as_slice());
    let text = |name| value(attributes, name).unwrap_or_default();
    let boot = text(names::SERVICE_INSTANCE_ID);
    let mut sender = Sender {
        service: text(names::SERVICE_NAME),
        environment: legacy::value(attributes, names::ENVIRONMENT),
        device: value(attributes, names::DEVICE_ID).unwrap_or_else(|| boot.clone()),
        device_class: text(names::DEVICE_CLASS),
        site: value(attributes, names::SITE),
        boot,
        digest: digest(attributes),
        too_long: false,
    };
    let kept = [
        &sender.service,
        &sender.device,
        &sender.device_class,
        &sender.boot,
    ];
    let optional = sender.environment.iter().chain(&sender.site);
    sender.too_long = kept
        .into_iter()
        .chain(optional)
        .any(|value| !is_kept(value));
    sender
}

/// Whether a value may be stored: short enough, and nothing in it that only a terminal obeys.
pub(super) fn is_kept(value: &str) -> bool {
    value.len() <= ATTRIBUTE_VALUE_BYTES_MAX && !value.chars().any(char::is_control)
}

/// The text of an attribute; numbers and booleans in their usual notation.
pub(super) fn value(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()? {
        AnyValue {
            value: Some(Value::StringValue(text)),
        } => Some(text.clone()),
        AnyValue {
            value: Some(Value::IntValue(number)),
        } => Some(number.to_string()),
        AnyValue {
            value: Some(Value::BoolValue(flag)),
        } => Some(flag.to_string()),
        _ => None,
    }
}

/// Over all that tells two scopes apart; nothing of it is kept.
pub(super) fn meter(scope: Option<&InstrumentationScope>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    if let Some(scope) = scope {
        for text in [&scope.name, &scope.version] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        hasher.update(digest(&scope.attributes));
    }
    hasher.finalize().into()
}

/// Order of attributes carries no meaning, so it does not show in the digest.
pub(super) fn digest(attributes: &[KeyValue]) -> [u8; 32] {
    let mut encoded: Vec<_> = attributes.iter().map(Message::encode_to_vec).collect();
    encoded.sort_unstable();
    let mut hasher = Sha256::new();
    for attribute in encoded {
        hasher.update((attribute.len() as u64).to_le_bytes());
        hasher.update(attribute);
    }
    hasher.finalize().into()
}
