//! The write-ahead log: what makes "acknowledged" mean "durable".
//!
//! In: payloads, in groups. Out: `Ok` only after the bytes and the directory entry are synced;
//! whole frames again at replay. One file is one segment, `<number>.wal`; a frame is
//! `[length u32][crc32c u32][payload]`, both little endian, the checksum over length and payload.
//! Behind the last frame a segment holds zeros, written ahead: a sync that need not make the file
//! longer takes about half as long. Zeros are no frame, because a checksum of nothing is not zero.
//! Never: a second attempt on a file whose sync failed, because the kernel may have dropped the
//! dirty pages and would report success for nothing. What it failed to take is cut off instead, and
//! the log goes on in the next file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const FRAME_HEADER_BYTES: usize = 8;

/// Zeros written behind a group that the file has no room for. Small groups fill them many times
/// before the file grows again; a group of this size would only be written twice.
const AHEAD_BYTES: usize = 256 * 1024;

/// Zeros that a payload may well end with. A frame that lacks more than those was cut short.
const OWN_ZEROS_MAX: usize = 16;

/// How far apart checksums of beginnings are kept while looking for a whole frame.
const CHECKED_BYTES: usize = 1024;

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Wal {
    folder: PathBuf,
    file: File,
    segment: i64,
    bytes: u64,
    /// Length of the file: frames, then zeros.
    length: u64,
    poisoned: bool,
}

/// Frames of one segment as found on disk.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) segment: i64,
    pub(crate) frames: Vec<Vec<u8>>,
    /// The file ends inside of a frame: the process died before that frame was acknowledged.
    pub(crate) torn: bool,
    /// Whole frames whose bytes are not what was written: acknowledged, and lost to the disk.
    pub(crate) damaged: usize,
    whole_bytes: u64,
}

impl Wal {
    /// Creates segment `segment` in `folder`, which must not hold it yet, with zeros ahead: where
    /// there is no space for those, there is no segment.
    pub(crate) fn create(folder: &Path, segment: i64) -> io::Result<Self> {
        let path = path(folder, segment);
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(&path)?;
        let ahead = file
            .write_all_at(&[0; AHEAD_BYTES], 0)
            .and_then(|()| file.sync_data())
            .and_then(|()| sync_folder(folder));
        if let Err(error) = ahead {
            fs::remove_file(&path)?;
            return Err(error);
        }
        Ok(Self {
            folder: folder.to_owned(),
            file,
            segment,
            bytes: 0,
            length: AHEAD_BYTES as u64,
            poisoned: false,
        })
    }

    pub(crate) fn segment(&self) -> i64 {
        self.segment
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends all payloads with one write and one sync. After an error nothing can be appended
    /// to this segment any more: [`leave`](Self::leave) it.
    pub(crate) fn append(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        if self.poisoned {
            return Err(io::Error::other(
                "the log failed to sync earlier and must go on in another segment",
            ));
        }
        let mut group = framed(payloads);
        let end = self.bytes + group.len() as u64;
        if end > self.length && group.len() < AHEAD_BYTES {
            group.resize(group.len() + AHEAD_BYTES, 0);
        }
        let written = self
            .file
            .write_all_at(&group, self.bytes)
            .and_then(|()| self.file.sync_data());
        self.poisoned = written.is_err();
        written?;
        self.length = self.length.max(self.bytes + group.len() as u64);
        self.bytes = end;
        Ok(())
    }

    /// Ends the segment: zeros ahead, and what it did not acknowledge if it failed, are cut off,
    /// durably, before anyone can send that again. Cutting off needs no space.
    pub(crate) fn leave(&self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.sync_all()
    }

    /// Starts the next segment; the one before is sealed. After an error the segment is as it was.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        *self = Self::create(&self.folder, self.segment + 1)?;
        Ok(())
    }
}

/// The segments of a folder, oldest first, each read when it is asked for: a log can be larger than
/// memory. A torn end is repaired in the newest segment only: anywhere else acknowledged data would
/// be missing, which is an error. Damage inside of the newest segment costs the damaged frames
/// alone: those behind it are read, and the file is kept aside as it was.
#[derive(Debug)]
pub(crate) struct Replay {
    folder: PathBuf,
    left: std::vec::IntoIter<i64>,
}

pub(crate) fn replay(folder: &Path) -> io::Result<Replay> {
    Ok(Replay {
        folder: folder.to_owned(),
        left: segments(folder)?.into_iter(),
    })
}

impl Replay {
    /// The oldest segment that is left to be read.
    pub(crate) fn first(&self) -> Option<i64> {
        self.left.as_slice().first().copied()
    }

    fn read(&self, segment: i64) -> io::Result<Replayed> {
        let folder = self.folder.as_path();
        let found = read_segment(folder, segment)?;
        let is_newest = self.left.as_slice().is_empty();
        if (found.torn || found.damaged > 0) && !is_newest {
            return Err(io::Error::other(format!(
                "log segment {} is damaged before its end; restore it from a backup or move it away, which loses what it held",
                path(folder, segment).display()
            )));
        }
        if found.damaged > 0 {
            keep_aside(folder, &found)?;
        } else if found.torn {
            // What was torn was never acknowledged; cut it off, so that this segment is whole
            // when it is no longer the newest.
            let file = OpenOptions::new().write(true).open(path(folder, segment))?;
            file.set_len(found.whole_bytes)?;
            file.sync_all()?;
        }
        Ok(found)
    }
}

impl Iterator for Replay {
    type Item = io::Result<Replayed>;

    fn next(&mut self) -> Option<Self::Item> {
        let segment = self.left.next()?;
        Some(self.read(segment))
    }
}

/// Keeps the damaged file beside a new one that holds its whole frames.
fn keep_aside(folder: &Path, found: &Replayed) -> io::Result<()> {
    let path = path(folder, found.segment);
    let (aside, new) = (path.with_extension("damaged"), path.with_extension("new"));
    fs::write(&new, framed(&found.frames))?;
    File::open(&new)?.sync_all()?;
    // A second name first and one rename after: at no moment is the segment missing.
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::hard_link(&path, &aside)?,
    }
    fs::rename(&new, &path)?;
    sync_folder(folder)?;
    tracing::error!(
        segment = found.segment,
        frames_lost = found.damaged,
        frames_kept = found.frames.len(),
        aside = %aside.display(),
        "the disk damaged acknowledged windows in the log; check the disk, devices do not send them again"
    );
    Ok(())
}

/// Frames as they lie in a segment.
pub(super) fn framed(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut group = Vec::new();
    for payload in payloads {
        let length = (payload.len() as u32).to_le_bytes();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), payload);
        group.extend_from_slice(&length);
        group.extend_from_slice(&checksum.to_le_bytes());
        group.extend_from_slice(payload);
    }
    group
}

/// Removes every segment up to `last`: the checkpoint and the tables hold what they held.
pub(crate) fn drop_segments(folder: &Path, last: i64) -> io::Result<()> {
    let segments = segments(folder)?;
    for segment in segments.into_iter().filter(|segment| *segment <= last) {
        fs::remove_file(path(folder, segment))?;
    }
    sync_folder(folder)
}

/// There is no space left; there may be some later.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Makes entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn path(folder: &Path, segment: i64) -> PathBuf {
    folder.join(format!("{segment:020}.wal"))
}

fn segments(folder: &Path) -> io::Result<Vec<i64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            found.push(number.ok_or_else(|| {
                io::Error::other(format!(
                    "{} is not a log segment; move it away",
                    path.display()
                ))
            })?);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn read_segment(folder: &Path, segment: i64) -> io::Result<Replayed> {
    let mut bytes = Vec::new();
    File::open(path(folder, segment))?.read_to_end(&mut bytes)?;
    Ok(Replayed {
        segment,
        ..frames(&bytes)
    })
}

/// Every whole frame of a segment's bytes.
pub(super) fn frames(bytes: &[u8]) -> Replayed {
    // A zero at the end may be a frame's own: those behind it decide nothing.
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let written = bytes.len() - zeros;
    let mut frames = Vec::new();
    let mut rest = bytes;
    let mut damaged = 0;
    loop {
        while let Some((payload, after)) = next_frame(rest) {
            frames.push(payload.to_vec());
            rest = after;
        }
        let unread = written.saturating_sub(bytes.len() - rest.len());
        if unread == 0 {
            break;
        }
        let Some(after) = behind_damage(rest, unread) else {
            break;
        };
        damaged += 1;
        rest = after;
    }
    let whole_bytes = bytes.len() - rest.len();
    Replayed {
        segment: 0,
        frames,
        torn: whole_bytes < written,
        damaged,
        whole_bytes: whole_bytes as u64,
    }
}

/// Where reading goes on behind a frame that cannot be read: where it ends if its length is right,
/// else at the next whole frame. `None` if the file is torn here. Only the first `unread` bytes are
/// more than zeros.
fn behind_damage(bytes: &[u8], unread: usize) -> Option<&[u8]> {
    let (length, _) = bytes.split_first_chunk::<4>()?;
    let end = FRAME_HEADER_BYTES + u32::from_le_bytes(*length) as usize;
    let behind = bytes.get(end..);
    let whole = |rest: &&[u8]| next_frame(rest).is_some_and(|(payload, _)| !payload.is_empty());
    if behind.is_some_and(|rest| whole(&rest)) {
        return behind;
    }
    if let Some(at) = next_whole(bytes, unread) {
        return bytes.get(at..);
    }
    let full = end >= unread && end - unread <= OWN_ZEROS_MAX;
    full.then_some(behind).flatten()
}

/// Where the first whole frame begins behind the first byte. Any four bytes may be a length, so the
/// checksum of every stretch is derived from those of all beginnings: reading each stretch took
/// minutes for 16 MiB.
fn next_whole(bytes: &[u8], unread: usize) -> Option<usize> {
    let mut begun = Vec::with_capacity(bytes.len() / CHECKED_BYTES + 1);
    let mut sum = 0;
    for block in bytes.chunks(CHECKED_BYTES) {
        begun.push(sum);
        sum = crc32c::crc32c_append(sum, block);
    }
    let of_beginning = |end: usize| {
        let block = end / CHECKED_BYTES;
        let known = begun.get(block).copied().unwrap_or(sum);
        let rest = bytes.get(block * CHECKED_BYTES..end).unwrap_or_default();
        crc32c::crc32c_append(known, rest)
    };
    (1..unread).find(|at| {
        let Some((header, rest)) = bytes[*at..].split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return false;
        };
        let [a, b, c, d, checksum @ ..] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length == 0 || length > rest.len() {
            return false;
        }
        let (first, last) = (at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + length);
        // Checksums are linear: what lies before the payload cancels out.
        let before = crc32c::crc32c(&[a, b, c, d]) ^ of_beginning(first);
        let found = crc32c::crc32c_combine(before, of_beginning(last), length);
        found == u32::from_le_bytes(checksum)
    })
}

fn next_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let (checksum, rest) = rest.split_at_checked(FRAME_HEADER_BYTES - 4)?;
    let length: [u8; 4] = length.try_into().ok()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(length) as usize)?;
    let found = crc32c::crc32c_append(crc32c::crc32c(&length), payload);
    (found.to_le_bytes() == checksum).then_some((payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every segment.
    fn replayed(folder: &Path) -> io::Result<Vec<Replayed>> {
        replay(folder)?.collect()
    }

    #[test]
    fn what_was_appended_is_replayed_in_order_over_segments() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = Wal::create(folder.path(), 1).unwrap();
        wal.append(&[b"a".to_vec(), b"".to_vec()]).unwrap();
        wal.roll().unwrap();
        wal.append(&[b"c".to_vec()]).unwrap();
        let found = replayed(folder.path()).unwrap();
        assert_eq!(found[0].frames, [b"a".to_vec(), b"".to_vec()]);
        assert_eq!((found[1].segment, found[1].torn), (2, false));
        drop_segments(folder.path(), 1).unwrap();
        assert_eq!(replayed(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_log_cut_at_any_byte_gives_every_whole_frame_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = Wal::create(folder.path(), 1).unwrap();
        wal.append(&[b"first".to_vec(), b"second".to_vec()])
            .unwrap();
        let whole = fs::read(path(folder.path(), 1)).unwrap();
        let (first, second) = (13, 13 + 14);
        for cut in 0..second + 10 {
            // What was not written is missing, or zeros that were written ahead.
            for behind in [0, 100] {
                let bytes = [&whole[..cut], &vec![0; behind]].concat();
                fs::write(path(folder.path(), 1), bytes).unwrap();
                let found = &replayed(folder.path()).unwrap()[0];
                let frames = usize::from(cut >= first) + usize::from(cut >= second);
                assert_eq!(found.frames.len(), frames, "cut at {cut}");
                let torn = ![0, first].contains(&cut) && cut < second;
                // The last bytes of a frame may be lost to the disk as well: said, not hidden.
                assert_eq!(found.torn || found.damaged > 0, torn, "cut at {cut}");
                let again = &replayed(folder.path()).unwrap()[0];
                assert_eq!((again.frames.len(), again.torn), (frames, false));
            }
        }
    }

    #[test]
    fn small_groups_fill_zeros_that_were_written_ahead() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = Wal::create(folder.path(), 1).unwrap();
        let length = || fs::metadata(path(folder.path(), 1)).unwrap().len();
        let mut lengths = vec![];
        for number in 0..600_u32 {
            wal.append(&[vec![number.to_le_bytes()[0]; 1000]]).unwrap();
            lengths.push(length());
        }
        lengths.dedup();
        assert_eq!(lengths.len(), 3, "the file grew at {lengths:?}");
        let large = vec![vec![1; AHEAD_BYTES]];
        wal.append(&large).unwrap();
        assert_eq!(length(), wal.bytes(), "what is large is written once");
        let found = &replayed(folder.path()).unwrap()[0];
        assert_eq!(
            (found.frames.len(), found.torn, found.damaged),
            (601, false, 0)
        );
    }

    #[test]
    fn what_failed_is_cut_off_and_the_log_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = Wal::create(folder.path(), 1).unwrap();
        wal.append(&[b"first".to_vec()]).unwrap();
        // As a group lies there whose sync failed: written, never acknowledged.
        let failed = framed(&[b"second".to_vec()]);
        wal.file.write_all_at(&failed, wal.bytes()).unwrap();
        wal.poisoned = true;
        assert!(wal.append(&[b"third".to_vec()]).is_err());
        wal.leave().unwrap();
        wal.roll().unwrap();
        wal.append(&[b"second".to_vec()]).unwrap();
        let frames: Vec<_> = replayed(folder.path()).unwrap();
        let frames: Vec<_> = frames.into_iter().flat_map(|found| found.frames).collect();
        assert_eq!(frames, [b"first".to_vec(), b"second".to_vec()]);
    }

    #[test]
    fn damage_inside_costs_one_frame_and_keeps_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let frames = [b"first".to_vec(), b"second".to_vec(), b"third".to_vec()];
        let mut wal = Wal::create(folder.path(), 1).unwrap();
        wal.append(&frames).unwrap();
        let whole = fs::read(path(folder.path(), 1)).unwrap();
        // One bit in each payload, and in the second's length.
        for (at, lost) in [(9, 0), (22, 1), (13, 1), (framed(&frames).len() - 1, 2)] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(path(folder.path(), 1), &bytes).unwrap();
            let found = &replayed(folder.path()).unwrap()[0];
            let kept = (0..3).filter(|n| *n != lost).map(|n| frames[n].clone());
            assert_eq!(found.frames, kept.collect::<Vec<_>>(), "bit at {at}");
            assert_eq!((found.damaged, found.torn), (1, false), "bit at {at}");
            let aside = path(folder.path(), 1).with_extension("damaged");
            assert_eq!(fs::read(aside).unwrap(), bytes);
            let again = &replayed(folder.path()).unwrap()[0];
            assert_eq!((again.frames.len(), again.damaged), (2, 0), "repaired once");
        }
    }

    #[test]
    fn damage_before_the_newest_segment_is_an_error_not_a_loss() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = Wal::create(folder.path(), 1).unwrap();
        wal.append(&[b"first".to_vec()]).unwrap();
        wal.roll().unwrap();
        let mut bytes = fs::read(path(folder.path(), 1)).unwrap();
        bytes[9] ^= 1;
        fs::write(path(folder.path(), 1), &bytes).unwrap();
        assert!(
            replayed(folder.path())
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
    }

    #[test]
    fn a_segment_is_in_memory_once_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = Wal::create(folder.path(), 1).unwrap();
        wal.append(&[b"first".to_vec()]).unwrap();
        wal.roll().unwrap();
        let mut segments = replay(folder.path()).unwrap();
        assert_eq!(segments.first(), Some(1));
        assert_eq!(segments.next().unwrap().unwrap().frames.len(), 1);
        wal.append(&[b"second".to_vec()]).unwrap();
        assert_eq!(
            segments.next().unwrap().unwrap().frames,
            [b"second".to_vec()]
        );
        assert!(segments.next().is_none());
    }

    /// Bytes without a pattern, the same each time.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    #[test]
    fn megabytes_of_damage_are_passed_in_seconds() {
        let large = 16 << 20;
        let whole = framed(&[b"first".to_vec(), noise(large), b"third".to_vec()]);
        // In the payload, and in the length.
        for at in [13 + 8 + 1000, 13] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let began = std::time::Instant::now();
            let found = frames(&bytes);
            let took = began.elapsed();
            eprintln!("damage at {at}: {took:?}");
            assert_eq!(found.frames, [b"first".to_vec(), b"third".to_vec()]);
            assert_eq!((found.damaged, found.torn), (1, false));
            assert!(took < std::time::Duration::from_secs(20), "{took:?}");
        }
    }
}
