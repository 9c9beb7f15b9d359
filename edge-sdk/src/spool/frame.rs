//! One frame of a spool file: length, crc32c, payload. Owns that layout. In: bytes. Out: frames,
//! or nothing where the bytes are not a whole one. Pure; never trusts a length before its check.
//!
//! ```text
//! u32 length of the payload | u32 crc32c of length and payload | payload      (little endian)
//! ```
//! The check covers the length too, so that a run of zeros, which is what a file system leaves
//! after a power cut, is no frame.

/// Bytes in front of the payload.
pub(super) const HEAD_BYTES: usize = 8;

/// Longest payload; a larger length is damage.
const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// The frame around `payload`; `None` when it is too long for one.
pub(super) fn encode(payload: &[&[u8]]) -> Option<Vec<u8>> {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    if length > PAYLOAD_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(length).ok()?.to_le_bytes();
    let check = payload.iter().fold(crc32c::crc32c(&length), |check, part| {
        crc32c::crc32c_append(check, part)
    });
    let mut frame = Vec::with_capacity(HEAD_BYTES + payload.iter().map(|p| p.len()).sum::<usize>());
    frame.extend(length);
    frame.extend(check.to_le_bytes());
    payload
        .iter()
        .for_each(|part| frame.extend_from_slice(part));
    Some(frame)
}

/// The first frame of `bytes`: its payload and its length on disk. `None` for a torn or damaged
/// one.
pub(super) fn decode(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let length = bytes.first_chunk::<4>()?;
    let check = bytes.get(4..HEAD_BYTES)?.first_chunk::<4>()?;
    let payload_bytes = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = bytes.get(HEAD_BYTES..HEAD_BYTES + payload_bytes)?;
    let found = crc32c::crc32c_append(crc32c::crc32c(length), payload);
    (found == u32::from_le_bytes(*check)).then_some((payload, HEAD_BYTES + payload_bytes))
}

/// Length on disk that the head claims, whether or not it is true.
pub(super) fn claimed_bytes(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk::<4>()?);
    HEAD_BYTES.checked_add(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_says_where_the_next_begins() {
        let mut bytes = encode(&[b"he", b"llo"]).unwrap();
        bytes.extend(encode(&[b""]).unwrap());
        let (payload, length) = decode(&bytes).unwrap();
        assert_eq!(payload, b"hello");
        assert_eq!(decode(&bytes[length..]), Some((&b""[..], HEAD_BYTES)));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_passes() {
        let frame = encode(&[b"payload"]).unwrap();
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None, "bit {bit}");
        }
        for cut in 0..frame.len() {
            assert_eq!(decode(&frame[..cut]), None, "cut at {cut}");
        }
        assert_eq!(decode(&[0; 64]), None);
    }
}
