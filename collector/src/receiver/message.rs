//! What OTLP messages look like, as tables: for each message its fields, their numbers and how
//! they are spelt in JSON. Owns the part of OTLP 1.11 that metrics, traces and logs need.
//!
//! One table serves two readers: `json.rs` turns OTLP/JSON into the bytes of the same message, so
//! that both encodings take one way from there on; `weight.rs` says what a message will take in
//! memory before anything is allocated for it.

pub(super) mod json;
mod otlp;
pub(super) mod weight;

pub(super) use otlp::{LOGS, METRICS, TRACES};

/// One message type.
#[derive(Debug)]
pub(super) struct Message {
    /// Bytes that the decoded struct takes by itself.
    size: usize,
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    /// In lowerCamelCase, which OTLP/JSON asks for; the original names are not valid there.
    name: &'static str,
    number: u32,
    kind: Kind,
    repeated: bool,
}

/// How a field is written: in protobuf, and in JSON.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A string in both.
    Text,
    /// Bytes; trace and span identifiers are hexadecimal in OTLP/JSON.
    Hex,
    /// Bytes; base64.
    Base64,
    Bool,
    Double,
    /// Eight bytes, unsigned.
    Fixed64,
    /// Eight bytes, signed.
    Signed64,
    /// Four bytes, unsigned.
    Fixed32,
    /// A varint of 32 bits, unsigned.
    Uint32,
    /// A varint of 64 bits, unsigned.
    Uint64,
    /// A varint of 64 bits, signed.
    Int64,
    /// A varint; a number in OTLP/JSON, never a name.
    Enum,
    /// A zigzag varint of 32 bits.
    Zigzag32,
    Message(&'static Message),
}

/// Wire types of protobuf.
mod wire {
    pub(super) const VARINT: u8 = 0;
    pub(super) const EIGHT_BYTES: u8 = 1;
    pub(super) const LENGTH: u8 = 2;
    pub(super) const FOUR_BYTES: u8 = 5;
}

/// Deepest nesting that is read: that of the protobuf library.
const DEPTH_MAX: usize = 100;

#[cfg(test)]
pub(super) mod spelling;
#[cfg(test)]
mod tests;
