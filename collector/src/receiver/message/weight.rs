//! What a message will take in memory once it is decoded. In: the bytes of a message and its
//! table. Out: an upper bound, without allocating anything. An empty message is two bytes on the
//! wire and a hundred in memory: a limit on bodies alone would let 64 MiB become gigabytes.
//! Measured with an allocator that counts: windows of devices take 10 times their body, empty parts
//! up to 128 times, and this bound is 1.4 to 3 times what was taken at the peak.

use super::{DEPTH_MAX, Field, Kind, Message, wire};

/// What the allocator adds to each piece of memory.
const ALLOCATION_BYTES: usize = 16;

/// A vector has room for four from its first element on; later it holds up to twice what is in it,
/// and while it moves also what was.
const GROWTH: usize = 4;

/// Where the bytes stop being a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::receiver) struct NotProtobuf;

/// Upper bound of the memory that decoding `bytes` allocates.
pub(in crate::receiver) fn decoded(
    message: &'static Message,
    bytes: &[u8],
) -> Result<usize, NotProtobuf> {
    Ok(message.size + fields(message, bytes, 0)?)
}

fn fields(message: &'static Message, mut rest: &[u8], depth: usize) -> Result<usize, NotProtobuf> {
    if depth > DEPTH_MAX {
        return Err(NotProtobuf);
    }
    let mut total = 0;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let number = u32::try_from(key >> 3).map_err(|_| NotProtobuf)?;
        let field = message.fields.iter().find(|field| field.number == number);
        let one = match key as u8 & 7 {
            wire::VARINT => varint(&mut rest).map(|_| 0)?,
            wire::EIGHT_BYTES => take(&mut rest, 8).map(|_| 0)?,
            wire::FOUR_BYTES => take(&mut rest, 4).map(|_| 0)?,
            wire::LENGTH => {
                let length = usize::try_from(varint(&mut rest)?).map_err(|_| NotProtobuf)?;
                let inner = take(&mut rest, length)?;
                total += field.map_or(Ok(0), |field| content(field, inner, depth))?;
                continue;
            }
            _ => return Err(NotProtobuf),
        };
        // A number in a list that was not packed; one in its own field is part of the struct.
        let listed = field.is_some_and(|field| field.repeated);
        total += one + if listed { GROWTH * 8 } else { 0 };
    }
    Ok(total)
}

fn content(field: &'static Field, inner: &[u8], depth: usize) -> Result<usize, NotProtobuf> {
    let element = |size: usize| if field.repeated { GROWTH * size } else { 0 };
    Ok(match field.kind {
        // What is not in a list lies inside of the struct around it.
        Kind::Message(message) => {
            element(message.size) + ALLOCATION_BYTES + fields(message, inner, depth + 1)?
        }
        Kind::Text | Kind::Hex | Kind::Base64 => {
            element(size_of::<String>()) + ALLOCATION_BYTES + inner.len()
        }
        // Packed numbers: eight bytes in memory each, from one byte on the wire for a varint.
        Kind::Fixed64 | Kind::Signed64 | Kind::Double => GROWTH * inner.len(),
        Kind::Fixed32 => 2 * GROWTH * inner.len(),
        _ => 8 * GROWTH * inner.len(),
    })
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Result<&'b [u8], NotProtobuf> {
    let (taken, after) = rest.split_at_checked(length).ok_or(NotProtobuf)?;
    *rest = after;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, NotProtobuf> {
    let mut value = 0;
    for (n, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            *rest = rest.get(n + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(NotProtobuf)
}
