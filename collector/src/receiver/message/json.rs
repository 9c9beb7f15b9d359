//! OTLP/JSON to protobuf. In: a JSON body and the table of the message it claims to be. Out: the
//! bytes of that message, or where and why it is not one. Strict where the mapping is (names in
//! lowerCamelCase, numbers or strings for integers, numbers for enums, hexadecimal identifiers),
//! lenient where it asks for it: unknown fields are ignored, null is a field that is not there.
//!
//! The messages are written as they are read, so a body takes no more memory than its two forms.

use std::{borrow::Cow, fmt};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost::encoding::encode_varint;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::{DEPTH_MAX, Field, Kind, Message, wire};

/// Bytes that are kept free for the length of a message nobody has read yet.
const LENGTH_BYTES: usize = 5;

/// Writes the message that `json` spells; no more than `bytes_max` bytes of it.
pub(in crate::receiver) fn to_protobuf(
    message: &'static Message,
    json: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut written = Vec::with_capacity(json.len() / 2);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let whole = Spelt {
        message,
        bytes_max,
        depth: 0,
    };
    Object(whole, &mut written).deserialize(&mut reader)?;
    reader.end()?;
    Ok(written)
}

/// A message as it is read: which one, how deep, and how much may be written in all.
#[derive(Clone, Copy)]
struct Spelt {
    message: &'static Message,
    bytes_max: usize,
    depth: usize,
}

/// Reads an object into the fields of a message.
struct Object<'w>(Spelt, &'w mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self(spelt, written) = self;
        while let Some(found) = map.next_key_seed(Name(spelt.message))? {
            match found {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(field) => map.next_value_seed(Value {
                    spelt,
                    field,
                    written: &mut *written,
                    element: false,
                })?,
            }
            if written.len() > spelt.bytes_max {
                return Err(de::Error::custom("the message has too many bytes"));
            }
        }
        Ok(())
    }
}

/// Finds the field that a key names, if there is one.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().find(|field| field.name == name))
    }
}

/// Writes one field: its value, or each of its values.
struct Value<'w> {
    spelt: Spelt,
    field: &'static Field,
    written: &'w mut Vec<u8>,
    /// One of the values of a repeated field.
    element: bool,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        let single = self.element || !self.field.repeated;
        match self.field.kind {
            Kind::Double if single => self.read_double(<&RawValue>::deserialize(reader)?.get()),
            _ => reader.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = self.field.name;
        match (self.field.repeated && !self.element, self.field.kind) {
            (true, _) => write!(f, "an array for {name}"),
            (_, Kind::Message(_)) => write!(f, "an object for {name}"),
            (_, Kind::Text) => write!(f, "a string for {name}"),
            (_, Kind::Hex) => write!(f, "hexadecimal digits in a string for {name}"),
            (_, Kind::Base64) => write!(f, "base64 in a string for {name}"),
            (_, Kind::Bool) => write!(f, "true or false for {name}"),
            (_, Kind::Double) => write!(f, "a number for {name}"),
            (_, Kind::Enum) => write!(f, "an integer for {name}, not a name"),
            _ => write!(f, "an integer for {name}, in range"),
        }
    }

    /// Null is a field that is not there; in an array it is nothing that could be left out.
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        match self.element {
            true => Err(E::invalid_type(de::Unexpected::Unit, &self)),
            false => Ok(()),
        }
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut values: S) -> Result<(), S::Error> {
        if !self.field.repeated || self.element {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        loop {
            let value = Value {
                spelt: self.spelt,
                field: self.field,
                written: &mut *self.written,
                element: true,
            };
            if values.next_element_seed(value)?.is_none() {
                return Ok(());
            }
            if self.written.len() > self.spelt.bytes_max {
                return Err(de::Error::custom("the message has too many bytes"));
            }
        }
    }

    fn visit_map<M: MapAccess<'de>>(mut self, map: M) -> Result<(), M::Error> {
        self.check_single()?;
        let Kind::Message(message) = self.field.kind else {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
        };
        if self.spelt.depth >= DEPTH_MAX {
            return Err(de::Error::custom("the message is nested too deeply"));
        }
        let inner = Spelt {
            message,
            depth: self.spelt.depth + 1,
            ..self.spelt
        };
        self.tag(wire::LENGTH);
        let at = self.written.len();
        self.written.extend([0; LENGTH_BYTES]);
        Object(inner, &mut *self.written).visit_map(map)?;
        let length = self.written.len() - at - LENGTH_BYTES;
        // Five bytes whatever the length: the high bit says that another one follows.
        for (n, byte) in self
            .written
            .iter_mut()
            .skip(at)
            .take(LENGTH_BYTES)
            .enumerate()
        {
            let more = if n + 1 < LENGTH_BYTES { 0x80 } else { 0 };
            *byte = ((length >> (7 * n)) as u8 & 0x7f) | more;
        }
        Ok(())
    }

    fn visit_bool<E: de::Error>(mut self, value: bool) -> Result<(), E> {
        self.check_single()?;
        match self.field.kind {
            Kind::Bool => self.varint(u64::from(value)),
            _ => return Err(E::invalid_type(de::Unexpected::Bool(value), &self)),
        }
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.check_single()?;
        // `1e3` and `5.0` are integers that a writer spelt as floats.
        match value.fract() == 0.0 && value.abs() < 9e15 {
            true => self.integer(value as i128),
            false => Err(E::invalid_type(de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: de::Error>(mut self, value: &str) -> Result<(), E> {
        self.check_single()?;
        let read = match self.field.kind {
            Kind::Text => Some(Cow::Borrowed(value.as_bytes())),
            Kind::Hex => from_hex(value).map(Cow::Owned),
            Kind::Base64 => from_base64(value).map(Cow::Owned),
            Kind::Double => match from_double(value) {
                Some(number) => {
                    self.double(number);
                    return Ok(());
                }
                None => None,
            },
            Kind::Enum | Kind::Bool | Kind::Message(_) => None,
            _ => match value.parse() {
                Ok(number) => return self.integer(number),
                Err(_) => None,
            },
        };
        let Some(bytes) = read else {
            // The value itself is never repeated: a reply ends up in somebody's log.
            return Err(E::invalid_type(
                de::Unexpected::Other("another string"),
                &self,
            ));
        };
        self.tag(wire::LENGTH);
        encode_varint(bytes.len() as u64, self.written);
        self.written.extend_from_slice(&bytes);
        Ok(())
    }
}

impl Value<'_> {
    /// A repeated field has its values in an array, even if it is one.
    fn check_single<E: de::Error>(&self) -> Result<(), E> {
        if self.field.repeated && !self.element {
            return Err(E::invalid_type(
                de::Unexpected::Other("a single value"),
                self,
            ));
        }
        Ok(())
    }

    fn integer<E: de::Error>(mut self, value: i128) -> Result<(), E> {
        self.check_single()?;
        let out_of_range =
            |this: &Self| E::invalid_value(de::Unexpected::Other("another number"), this);
        let unsigned = u64::try_from(value).map_err(|_| out_of_range(&self));
        let short = |this: &Self| u32::try_from(value).map_err(|_| out_of_range(this));
        let signed = i64::try_from(value).map_err(|_| out_of_range(&self));
        match self.field.kind {
            Kind::Fixed64 => self.eight_bytes(unsigned?.to_le_bytes()),
            Kind::Signed64 => self.eight_bytes(signed?.to_le_bytes()),
            Kind::Fixed32 => {
                let bytes = short(&self)?.to_le_bytes();
                self.tag(wire::FOUR_BYTES);
                self.written.extend(bytes);
            }
            Kind::Uint32 => {
                let value = short(&self)?;
                self.varint(u64::from(value));
            }
            Kind::Uint64 => self.varint(unsigned?),
            Kind::Int64 => self.varint(signed?.cast_unsigned()),
            Kind::Enum | Kind::Zigzag32 => {
                let value = i32::try_from(value).map_err(|_| out_of_range(&self))?;
                let zigzag = ((value << 1) ^ (value >> 31)).cast_unsigned();
                match self.field.kind {
                    Kind::Enum => self.varint(i64::from(value).cast_unsigned()),
                    _ => self.varint(u64::from(zigzag)),
                }
            }
            _ => {
                return Err(E::invalid_type(de::Unexpected::Other("a number"), &self));
            }
        }
        Ok(())
    }

    /// Reads a float from its digits: the JSON library's own reading is off by a last bit now and
    /// then, and a bound of a histogram must be the bound that was sent.
    fn read_double<E: de::Error>(mut self, spelt: &str) -> Result<(), E> {
        match spelt.as_bytes() {
            b"null" => self.visit_unit(),
            [b'"', ..] => {
                let text: String = serde_json::from_str(spelt).map_err(E::custom)?;
                self.visit_str(&text)
            }
            [b'-' | b'0'..=b'9', ..] => {
                let number = spelt.parse().ok().filter(|number: &f64| number.is_finite());
                let other = de::Unexpected::Other("a number beyond all floats");
                let number = number.ok_or_else(|| E::invalid_value(other, &self))?;
                self.double(number);
                Ok(())
            }
            _ => Err(E::invalid_type(
                de::Unexpected::Other("another value"),
                &self,
            )),
        }
    }

    fn double(&mut self, value: f64) {
        self.eight_bytes(value.to_le_bytes());
    }

    fn eight_bytes(&mut self, bytes: [u8; 8]) {
        self.tag(wire::EIGHT_BYTES);
        self.written.extend(bytes);
    }

    fn varint(&mut self, value: u64) {
        self.tag(wire::VARINT);
        encode_varint(value, self.written);
    }

    fn tag(&mut self, wire_type: u8) {
        encode_varint(
            u64::from((self.field.number << 3) | u32::from(wire_type)),
            self.written,
        );
    }
}

fn from_double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust would also read "inf" and "nan", which the mapping does not know.
        _ if text.contains(['n', 'N', 'i', 'I']) => None,
        _ => text.parse().ok(),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16));
    let digits = digits.collect::<Option<Vec<_>>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from((high << 4) | low).ok(),
        _ => None,
    });
    pairs.collect()
}

/// With either alphabet and with or without padding, as protobuf's JSON mapping asks.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    const EITHER: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = match text.contains(['-', '_']) {
        true => alphabet::URL_SAFE,
        false => alphabet::STANDARD,
    };
    GeneralPurpose::new(&alphabet, EITHER).decode(text).ok()
}
