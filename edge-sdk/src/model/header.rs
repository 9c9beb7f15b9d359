//! How a weights file says its numbers are stored. In: files of safetensors or GGUF, which nobody
//! vouches for. Out: one word from a fixed list, such as `q4_0` or `bf16`. Reads headers only,
//! never more of them than a fixed number of bytes, and never repeats what a file calls things.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Take},
    path::{Path, PathBuf},
};

/// Longest header of GGUF that is looked at: vocabularies and merge lists are a few MiB of it.
const HEADER_BYTES_MAX: u64 = 64 << 20;

/// Longest header of safetensors. It is parsed as a whole, which takes many times its length, and
/// has room for tens of thousands of tensors.
const JSON_BYTES_MAX: u64 = 4 << 20;

const STRING_BYTES_MAX: u64 = 1 << 20;
const ENTRIES_MAX: u64 = 100_000;

/// ggml knows tensors of up to four sides; later versions may know more.
const SIDES_MAX: u32 = 8;

/// What a format holds that is younger than this list.
const OTHER: &str = "other";

/// Numbers by how they are stored.
type Stored = BTreeMap<&'static str, u64>;

/// How most numbers of all these files are stored; `None` when no file is of either format, or its
/// header makes no sense. Other files among them count nothing.
pub(super) fn quantization(paths: &[PathBuf]) -> Option<String> {
    let mut all = Stored::new();
    for (kind, count) in paths.iter().filter_map(|path| stored(path)).flatten() {
        let total = all.entry(kind).or_default();
        *total = total.saturating_add(count);
    }
    let most = all.into_iter().max_by_key(|(_, count)| *count)?;
    Some(most.0.to_owned())
}

fn stored(path: &Path) -> Option<Stored> {
    let file = File::open(path).ok()?;
    let mut header = Header {
        file: BufReader::new(file).take(HEADER_BYTES_MAX),
    };
    let first = header.bytes::<8>()?;
    if let [b'G', b'G', b'U', b'F', version @ ..] = first {
        gguf(u32::from_le_bytes(version), &mut header)
    } else {
        safetensors(u64::from_le_bytes(first), &mut header)
    }
}

fn safetensors(length: u64, header: &mut Header) -> Option<Stored> {
    if length > JSON_BYTES_MAX {
        return None;
    }
    let mut text = Vec::new();
    let mut rest = header.file.by_ref().take(length);
    rest.read_to_end(&mut text).ok()?;
    let tensors: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&text).ok()?;
    let mut stored = Stored::new();
    for (name, tensor) in &tensors {
        if name == "__metadata__" {
            continue;
        }
        let shape = tensor.get("shape")?.as_array()?;
        let count = shape
            .iter()
            .try_fold(1u64, |count, side| count.checked_mul(side.as_u64()?))?;
        let kind = safetensors_type(tensor.get("dtype")?.as_str()?);
        let total = stored.entry(kind).or_default();
        *total = total.saturating_add(count);
    }
    Some(stored)
}

/// GGUF versions 2 and 3: counts, then metadata, then tensors.
fn gguf(version: u32, header: &mut Header) -> Option<Stored> {
    if !(2..=3).contains(&version) {
        return None;
    }
    let (tensors, entries) = (header.u64()?, header.u64()?);
    if tensors > ENTRIES_MAX || entries > ENTRIES_MAX {
        return None;
    }
    for _ in 0..entries {
        header.string()?;
        let kind = header.u32()?;
        header.skip_value(kind)?;
    }
    let mut stored = Stored::new();
    for _ in 0..tensors {
        header.string()?;
        let sides = header.u32().filter(|sides| *sides <= SIDES_MAX)?;
        let mut count = 1u64;
        for _ in 0..sides {
            count = count.checked_mul(header.u64()?)?;
        }
        let kind = ggml_type(header.u32()?)?;
        let _offset = header.u64()?;
        let total = stored.entry(kind).or_default();
        *total = total.saturating_add(count);
    }
    Some(stored)
}

/// Names of safetensors' types as this SDK spells them.
fn safetensors_type(name: &str) -> &'static str {
    match name {
        "F64" => "f64",
        "F32" => "f32",
        "F16" => "f16",
        "BF16" => "bf16",
        "F8_E4M3" => "f8_e4m3",
        "F8_E5M2" => "f8_e5m2",
        "F8_E8M0" => "f8_e8m0",
        "F4" => "f4",
        "I64" => "i64",
        "I32" => "i32",
        "I16" => "i16",
        "I8" => "i8",
        "U64" => "u64",
        "U32" => "u32",
        "U16" => "u16",
        "U8" => "u8",
        "BOOL" => "bool",
        _ => OTHER,
    }
}

/// Names of ggml's tensor types, by their number in files.
fn ggml_type(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "f32",
        1 => "f16",
        2 => "q4_0",
        3 => "q4_1",
        6 => "q5_0",
        7 => "q5_1",
        8 => "q8_0",
        9 => "q8_1",
        10 => "q2_k",
        11 => "q3_k",
        12 => "q4_k",
        13 => "q5_k",
        14 => "q6_k",
        15 => "q8_k",
        16 => "iq2_xxs",
        17 => "iq2_xs",
        18 => "iq3_xxs",
        19 => "iq1_s",
        20 => "iq4_nl",
        21 => "iq3_s",
        22 => "iq2_s",
        23 => "iq4_xs",
        24 => "i8",
        25 => "i16",
        26 => "i32",
        27 => "i64",
        28 => "f64",
        29 => "iq1_m",
        30 => "bf16",
        34 => "tq1_0",
        35 => "tq2_0",
        39 => "mxfp4",
        4 | 5 | 31..=64 => OTHER,
        _ => return None,
    })
}

/// A header that may lie about its lengths.
struct Header {
    file: Take<BufReader<File>>,
}

impl Header {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn string(&mut self) -> Option<()> {
        let length = self.u64().filter(|length| *length <= STRING_BYTES_MAX)?;
        self.skip(length)
    }

    /// Goes on behind `bytes` bytes, if there are as many.
    fn skip(&mut self, mut bytes: u64) -> Option<()> {
        while bytes > 0 {
            let there = self.file.fill_buf().ok()?.len();
            let step = usize::try_from(bytes).unwrap_or(usize::MAX).min(there);
            if step == 0 {
                return None;
            }
            self.file.consume(step);
            bytes -= step as u64;
        }
        Some(())
    }

    /// A value of GGUF's type `kind`; arrays hold no arrays.
    fn skip_value(&mut self, kind: u32) -> Option<()> {
        const STRING: u32 = 8;
        const ARRAY: u32 = 9;
        match kind {
            STRING => self.string(),
            ARRAY => {
                let (kind, length) = (self.u32()?, self.u64()?);
                if length > HEADER_BYTES_MAX {
                    return None;
                }
                if kind == STRING {
                    return (0..length).try_for_each(|_| self.string());
                }
                self.skip(width(kind)?.checked_mul(length)?)
            }
            _ => self.skip(width(kind)?),
        }
    }
}

/// Bytes of GGUF's scalar types.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        fs::write(&path, bytes).unwrap();
        quantization(&[path])
    }

    fn text(value: &str) -> Vec<u8> {
        [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
    }

    fn tensor(name: &str, sides: &[u64], kind: u32) -> Vec<u8> {
        let mut bytes = text(name);
        bytes.extend((sides.len() as u32).to_le_bytes());
        sides.iter().for_each(|s| bytes.extend(s.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes
    }

    /// One matrix stored as `kind`, one norm in f32, and metadata of several kinds.
    fn tiny_gguf(kind: u32) -> Vec<u8> {
        let mut bytes = [b"GGUF".as_slice(), &3u32.to_le_bytes()].concat();
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(3u64.to_le_bytes());
        bytes.extend(text("general.name"));
        bytes.extend(8u32.to_le_bytes());
        bytes.extend(text("tiny"));
        bytes.extend([text("llama.block_count"), 4u32.to_le_bytes().into()].concat());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend([text("tokens"), 9u32.to_le_bytes().into()].concat());
        bytes.extend([8u32.to_le_bytes().as_slice(), &2u64.to_le_bytes()].concat());
        bytes.extend([text("a"), text("b")].concat());
        bytes.extend(tensor("blk.0.attn_q", &[64, 64], kind));
        bytes.extend(tensor("norm", &[64], 0));
        bytes
    }

    fn safetensors(json: &str) -> Vec<u8> {
        text(json)
    }

    #[test]
    fn files_say_how_most_of_their_numbers_are_stored() {
        assert_eq!(read(&tiny_gguf(2)).as_deref(), Some("q4_0"));
        assert_eq!(read(&tiny_gguf(20)).as_deref(), Some("iq4_nl"));
        assert_eq!(read(&tiny_gguf(64)).as_deref(), Some(OTHER));
        let json = r#"{"__metadata__":{"format":"pt"},
            "w":{"dtype":"BF16","shape":[8,8],"data_offsets":[0,128]},
            "n":{"dtype":"F32","shape":[8],"data_offsets":[128,160]}}"#;
        assert_eq!(read(&safetensors(json)).as_deref(), Some("bf16"));
    }

    #[test]
    fn all_shards_have_a_say() {
        let folder = tempfile::tempdir().unwrap();
        let shard = |name: &str, kind: &str, count: u32| {
            let json = format!(r#"{{"w":{{"dtype":"{kind}","shape":[{count}]}}}}"#);
            let path = folder.path().join(name);
            fs::write(&path, safetensors(&json)).unwrap();
            path
        };
        let (small, large) = (shard("1", "F32", 10), shard("2", "F16", 100));
        let note = folder.path().join("readme");
        fs::write(&note, "no weights at all").unwrap();
        let all = [small.clone(), large, note.clone()];
        assert_eq!(quantization(&all).as_deref(), Some("f16"));
        assert_eq!(quantization(&[small]).as_deref(), Some("f32"));
        assert_eq!(quantization(&[note, folder.path().join("none")]), None);
    }

    #[test]
    fn a_file_cannot_choose_the_words_that_leave() {
        let json = r#"{"w":{"dtype":"what the user said","shape":[8]}}"#;
        assert_eq!(read(&safetensors(json)).as_deref(), Some(OTHER));
    }

    #[test]
    fn a_header_that_lies_is_no_header() {
        let whole = tiny_gguf(2);
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), None, "cut at {cut}");
        }
        let shape = r#"{"w":{"dtype":"F32","shape":[18446744073709551615,2]}}"#;
        let negative = r#"{"w":{"dtype":"F32","shape":[-1]}}"#;
        let mut long = safetensors("{}");
        long[..8].copy_from_slice(&(JSON_BYTES_MAX + 1).to_le_bytes());
        let mut many_sides = whole.clone();
        let norm = many_sides.len() - 24;
        many_sides[norm..norm + 4].copy_from_slice(&9u32.to_le_bytes());
        for bytes in [
            vec![],
            vec![0xff; 64],
            b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            b"GGUF\x01\0\0\0".to_vec(),
            safetensors(shape),
            safetensors(negative),
            safetensors("[]"),
            long,
            many_sides,
        ] {
            assert_eq!(read(&bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        /// Whatever a header says, the answer is a word of ours or none, and there is one.
        #[test]
        fn any_damage_is_survived(
            at in 0..tiny_gguf(2).len(),
            damage in prop::collection::vec(any::<u8>(), 1..16),
        ) {
            let mut bytes = tiny_gguf(2);
            let end = (at + damage.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&damage[..end - at]);
            if let Some(word) = read(&bytes) {
                prop_assert!(word == OTHER || (0..64).any(|n| ggml_type(n) == Some(&word)));
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = read(&bytes);
            let _ = read(&[b"GGUF\x03\0\0\0".as_slice(), &bytes].concat());
        }
    }
}
