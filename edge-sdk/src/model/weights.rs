//! What a weights file says about itself. In: files of safetensors or GGUF, which nobody vouches
//! for. Out: a digest of all their bytes, remembered by size and time so that gigabytes are read
//! once, and how most of their numbers are stored. Never loads a tensor.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use sha2::{Digest, Sha256};

use super::hex;

/// Weights are read in pieces of this size, so that a large model costs no memory.
const READ_BYTES: usize = 64 * 1024;

/// Files that are remembered; a device runs a few.
const REMEMBERED_MAX: usize = 64;

/// Longest header that is looked at, strings in it, and entries of it.
const HEADER_BYTES_MAX: u64 = 64 << 20;
const STRING_BYTES_MAX: u64 = 1 << 20;
const ENTRIES_MAX: u64 = 100_000;

/// Digest of all bytes of all files, in the order they are given.
pub(super) fn digest(paths: &[PathBuf]) -> io::Result<String> {
    let mut hash = Sha256::new();
    for path in paths {
        hash.update(digest_of_file(path)?);
    }
    match paths {
        // One file has the digest that `sha256sum` prints.
        [path] => digest_of_file(path),
        _ => Ok(hex(&hash.finalize())),
    }
}

/// The same, remembering in `folder` what was read. A file whose size or time changed is read
/// again; a memory that cannot be kept or makes no sense costs a read and nothing else.
pub(super) fn remembered_digest(paths: &[PathBuf], folder: &Path) -> io::Result<String> {
    let memory = folder.join("digests");
    let key: Option<String> = paths.iter().map(|path| identity(path)).collect();
    let known = fs::read_to_string(&memory).unwrap_or_default();
    let lines = known.lines().filter_map(|line| line.split_once(' '));
    let mut known: BTreeMap<&str, &str> = lines.collect();
    if let Some(digest) = key.as_deref().and_then(|key| known.get(key))
        && digest.len() == 64
        && digest.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Ok((*digest).to_owned());
    }
    let digest = digest(paths)?;
    // What changed while it was read is not remembered.
    let unchanged = key == paths.iter().map(|path| identity(path)).collect();
    if let Some(key) = key.as_deref().filter(|_| unchanged) {
        known.insert(key, &digest);
        while known.len() > REMEMBERED_MAX {
            known.pop_first();
        }
        let text: String = known
            .iter()
            .map(|(key, digest)| format!("{key} {digest}\n"))
            .collect();
        // Another application may be keeping its own at this moment.
        let chance = getrandom::u64().unwrap_or_default();
        let new = folder.join(format!("digests.{chance:016x}.new"));
        let kept = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &memory));
        if let Err(error) = kept {
            tracing::debug!(%error, "digest not remembered; the weights are read again next time");
        }
    }
    Ok(digest)
}

/// Names a file's content without reading it: path, size, time of change, and the file itself.
fn identity(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let found = fs::metadata(&path).ok()?;
    let changed = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_encoded_bytes());
    hash.update(found.len().to_le_bytes());
    hash.update(changed.as_nanos().to_le_bytes());
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        hash.update(found.ino().to_le_bytes());
        // Of all times only this one cannot be set back by copying tools.
        hash.update(found.ctime_nsec().to_le_bytes());
        hash.update(found.ctime().to_le_bytes());
    }
    Some(hex(&hash.finalize()))
}

fn digest_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; READ_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(read) => hash.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How most numbers of the file are stored, such as `q4_0` or `bf16`; `None` when the file is of
/// neither format or its header makes no sense.
pub(super) fn quantization(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let mut header = Header {
        file: io::BufReader::new(file).take(HEADER_BYTES_MAX),
    };
    let first = header.bytes::<8>()?;
    let numbers = if &first[..4] == b"GGUF" {
        gguf(
            u32::from_le_bytes([first[4], first[5], first[6], first[7]]),
            &mut header,
        )?
    } else {
        safetensors(u64::from_le_bytes(first), &mut header)?
    };
    let most = numbers.into_iter().max_by_key(|(_, count)| *count)?;
    Some(most.0)
}

/// Numbers by how they are stored.
type Stored = BTreeMap<String, u64>;

fn safetensors(length: u64, header: &mut Header) -> Option<Stored> {
    if length > HEADER_BYTES_MAX {
        return None;
    }
    let mut text = Vec::new();
    header
        .file
        .by_ref()
        .take(length)
        .read_to_end(&mut text)
        .ok()?;
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
        let kind = tensor.get("dtype")?.as_str()?.to_ascii_lowercase();
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
        let sides = header.u32()?;
        let mut count = 1u64;
        for _ in 0..sides.min(8) {
            count = count.saturating_mul(header.u64()?);
        }
        let kind = ggml_type(header.u32()?)?;
        header.u64()?;
        let total = stored.entry(kind.to_owned()).or_default();
        *total = total.saturating_add(count);
    }
    Some(stored)
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
        30 => "bf16",
        16..=29 | 31..=40 => "other",
        _ => return None,
    })
}

/// A header that may lie about its lengths.
struct Header {
    file: io::Take<io::BufReader<File>>,
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

    fn skip(&mut self, bytes: u64) -> Option<()> {
        let skipped = io::copy(&mut self.file.by_ref().take(bytes), &mut io::sink());
        (skipped.ok()? == bytes).then_some(())
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
    use super::*;

    fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn text(value: &str) -> Vec<u8> {
        [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
    }

    /// Two matrices in q4_0, one norm in f32, and metadata of several kinds.
    fn tiny_gguf() -> Vec<u8> {
        let mut bytes = [b"GGUF".as_slice(), &3u32.to_le_bytes()].concat();
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(3u64.to_le_bytes());
        bytes.extend(
            [
                text("general.name"),
                8u32.to_le_bytes().into(),
                text("tiny"),
            ]
            .concat(),
        );
        bytes.extend([text("llama.block_count"), 4u32.to_le_bytes().into()].concat());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend([text("tokens"), 9u32.to_le_bytes().into()].concat());
        bytes.extend([8u32.to_le_bytes().as_slice(), &2u64.to_le_bytes()].concat());
        bytes.extend([text("a"), text("b")].concat());
        for (name, sides, kind) in [
            ("blk.0.attn_q", vec![64u64, 64], 2u32),
            ("norm", vec![64], 0),
        ] {
            bytes.extend(text(name));
            bytes.extend((sides.len() as u32).to_le_bytes());
            sides
                .iter()
                .for_each(|side| bytes.extend(side.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(0u64.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn files_say_how_most_of_their_numbers_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let gguf = file(&folder, "a.gguf", &tiny_gguf());
        assert_eq!(quantization(&gguf).as_deref(), Some("q4_0"));
        let json = br#"{"__metadata__":{"format":"pt"},
            "w":{"dtype":"BF16","shape":[8,8],"data_offsets":[0,128]},
            "n":{"dtype":"F32","shape":[8],"data_offsets":[128,160]}}"#;
        let bytes = [&(json.len() as u64).to_le_bytes()[..], json].concat();
        let safetensors = file(&folder, "a.safetensors", &bytes);
        assert_eq!(quantization(&safetensors).as_deref(), Some("bf16"));
    }

    #[test]
    fn a_header_that_lies_is_no_header() {
        let folder = tempfile::tempdir().unwrap();
        let whole = tiny_gguf();
        for cut in 0..whole.len() {
            let path = file(&folder, "cut", &whole[..cut]);
            assert_eq!(quantization(&path), None, "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] = 0xff;
            // Whatever it answers, it answers.
            let _ = quantization(&file(&folder, "flipped", &bytes));
        }
        for bytes in [
            &[][..],
            &[0xff; 64],
            b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(quantization(&file(&folder, "nonsense", bytes)), None);
        }
    }

    #[test]
    fn a_digest_is_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("state");
        let path = file(&folder, "w", b"weights");
        let first = remembered_digest(std::slice::from_ref(&path), &memory).unwrap();
        // A memory that says otherwise is believed: the file was not read again.
        let kept = fs::read_to_string(memory.join("digests")).unwrap();
        let other = "0".repeat(64);
        fs::write(memory.join("digests"), kept.replace(&first, &other)).unwrap();
        let paths = std::slice::from_ref(&path);
        assert_eq!(remembered_digest(paths, &memory).unwrap(), other);
        // One byte flipped in place: same size, and maybe the same second.
        fs::write(&path, b"Weights").unwrap();
        let second = remembered_digest(paths, &memory).unwrap();
        assert!(second != first && second != other);
        // A damaged memory costs a read.
        fs::write(memory.join("digests"), "nonsense\n").unwrap();
        assert_eq!(remembered_digest(paths, &memory).unwrap(), second);
    }

    #[test]
    fn every_shard_counts_and_so_does_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (file(&folder, "a", b"one"), file(&folder, "b", b"two"));
        let both = digest(&[a.clone(), b.clone()]).unwrap();
        assert_ne!(both, digest(&[b.clone(), a.clone()]).unwrap());
        fs::write(&b, b"twp").unwrap();
        assert_ne!(both, digest(&[a, b]).unwrap());
    }
}
