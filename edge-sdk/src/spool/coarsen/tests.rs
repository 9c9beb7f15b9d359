//! Whatever becomes of the device, every inference is in one window and in one only.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::*;
use crate::spool::{
    Appended, CAP_BYTES_MIN, Pending,
    merge::tests::{busy_window, inferences, window},
    tests::{append_body, files, open_with_cap},
};

/// A window with real content, so that two may become one.
fn real_window(sequence: u64) -> Vec<u8> {
    window(sequence, &[sequence as f64 % 9.0 + 0.5, 3.0])
}

/// Inferences in the windows that wait, and which sequences the windows cover.
fn drain_counts(spool: &mut Spool) -> (u64, Vec<u64>) {
    let (mut count, mut sequences) = (0, vec![]);
    while let Some(pending) = spool.first() {
        count += inferences(&pending.body);
        sequences.push(pending.identity.sequence);
        spool.remove(&pending);
    }
    (count, sequences)
}

#[test]
fn at_the_cap_windows_grow_longer_and_nothing_is_lost() {
    let folder = TempDir::new().unwrap();
    let mut spool = open_with_cap(&folder, "boot-1", CAP_BYTES_MIN);
    append_body(&mut spool, 1, &real_window(1));
    let under_way = spool.first().unwrap();
    for sequence in 2..=600 {
        append_body(&mut spool, sequence, &real_window(sequence));
        assert!(spool.bytes_on_disk() <= CAP_BYTES_MIN);
    }
    assert_eq!(spool.dropped(), 0);
    assert_eq!(spool.windows() + spool.merged(), 600);
    // An upload of the first may have begun: it is still the same bytes.
    assert_eq!(spool.first().unwrap(), under_way);
    drop(spool);
    let mut spool = open_with_cap(&folder, "boot-2", CAP_BYTES_MIN);
    let (count, sequences) = drain_counts(&mut spool);
    assert_eq!(count, 2 * 600);
    assert!(sequences.is_sorted_by(|a, b| a < b));
    assert_eq!((sequences[0], *sequences.last().unwrap()), (1, 600));
}

#[test]
fn a_crash_between_joining_two_files_and_removing_the_second_repeats_nothing() {
    let folder = TempDir::new().unwrap();
    let mut spool = open_with_cap(&folder, "boot-1", CAP_BYTES_MIN);
    let mut sequence = 0;
    while spool.segments.len() < 4 {
        sequence += 1;
        append_body(&mut spool, sequence, &real_window(sequence));
    }
    // The second file again under the number of the third: what a crash would leave.
    let second = files(&folder)[1].clone();
    let copy = folder.path().join("0000000000000099.spool");
    fs::copy(&second, &copy).unwrap();
    drop(spool);
    let mut spool = open_with_cap(&folder, "boot-2", CAP_BYTES_MIN);
    let (count, _) = drain_counts(&mut spool);
    assert_eq!(count, 2 * sequence);
}

#[test]
fn windows_of_two_boots_never_become_one() {
    let folder = TempDir::new().unwrap();
    for boot in ["boot-1", "boot-2", "boot-3"] {
        let mut spool = open_with_cap(&folder, boot, CAP_BYTES_MIN);
        for sequence in 1..=200 {
            append_body(&mut spool, sequence, &real_window(sequence));
        }
        assert_eq!(spool.dropped(), 0, "{boot}");
    }
    let mut spool = open_with_cap(&folder, "boot-4", CAP_BYTES_MIN);
    let sent = std::iter::from_fn(|| {
        let pending = spool.first()?;
        spool.remove(&pending);
        Some((pending.identity.boot, inferences(&pending.body)))
    });
    let mut totals = std::collections::BTreeMap::new();
    for (boot, count) in sent {
        *totals.entry(boot).or_insert(0) += count;
    }
    assert_eq!(totals.into_values().collect::<Vec<_>>(), [400, 400, 400]);
}

/// Two weeks of one-minute windows with no collector: every inference is still there, in eight
/// mebibytes, in windows of some minutes.
#[test]
fn two_weeks_offline_fit_by_growing_coarser() {
    const WINDOWS: u64 = 14 * 24 * 60;
    // Twenty thousand syncs.
    let folder = quick_folder();
    let mut spool = open_with_cap(&folder, "boot-1", 8 << 20);
    for sequence in 1..=WINDOWS {
        append_body(&mut spool, sequence, &busy_window(sequence));
        assert!(spool.bytes_on_disk() <= 8 << 20);
        // The sender tries all the time.
        if sequence % 60 == 1 {
            assert_eq!(spool.first().unwrap().identity.sequence, 1);
        }
    }
    assert_eq!(
        (spool.dropped(), spool.windows() + spool.merged()),
        (0, WINDOWS)
    );
    let waiting = spool.windows();
    let (count, sequences) = drain_counts(&mut spool);
    assert_eq!(count, 12 * WINDOWS);
    let longest = sequences
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap();
    eprintln!("{waiting} windows wait, the longest covers {longest} minutes");
    assert!(longest <= 60, "{longest} minutes");
}

/// A folder where syncing costs nothing, if there is one.
fn quick_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        TempDir::new_in(memory).unwrap()
    } else {
        TempDir::new().unwrap()
    }
}

#[test]
fn what_was_being_sent_is_never_rewritten_even_when_nobody_knows_how_far_it_went() {
    let folder = quick_folder();
    let mut spool = open_with_cap(&folder, "boot-1", CAP_BYTES_MIN);
    let mut sequence = 0;
    while spool.segments.len() < 4 {
        sequence += 1;
        append_body(&mut spool, sequence, &real_window(sequence));
    }
    // The windows of the first file and one of the second may have arrived.
    let held = spool.segments[0].windows + 1;
    let sent: Vec<Pending> = std::iter::from_fn(|| {
        let pending = spool.first()?;
        spool.remove(&pending);
        Some(pending)
    })
    .take(held as usize)
    .collect();
    let second = spool.segments[0].windows + 1;
    drop(spool);
    // A power cut took the cursor, which is not synced.
    fs::remove_file(folder.path().join("cursor")).unwrap();
    let mut spool = open_with_cap(&folder, "boot-2", CAP_BYTES_MIN);
    for sequence in 1..=400 {
        append_body(&mut spool, sequence, &real_window(sequence));
    }
    assert!(spool.merged() > 0 && spool.dropped() == 0);
    for before in held..held + second {
        let pending = spool.first().unwrap();
        assert_eq!(pending.identity.sequence, before);
        assert_eq!(pending.body, real_window(before));
        spool.remove(&pending);
    }
    let resent = sent.last().unwrap();
    assert_eq!(resent.body, real_window(held));
}

#[test]
fn a_note_that_nobody_can_read_keeps_every_file_as_it_is() {
    for note in ["", "3\n", "000000000000000x\n"] {
        let folder = quick_folder();
        let mut spool = open_with_cap(&folder, "boot-1", CAP_BYTES_MIN);
        let mut sequence = 0;
        while spool.segments.len() < 4 {
            sequence += 1;
            append_body(&mut spool, sequence, &real_window(sequence));
        }
        drop(spool);
        fs::write(folder.path().join("attempted"), note).unwrap();
        let mut spool = open_with_cap(&folder, "boot-2", CAP_BYTES_MIN);
        assert!(!spool.coarsen().unwrap(), "{note:?}");
        append_body(&mut spool, 1, &real_window(1));
        assert_eq!(drain_counts(&mut spool).0, 2 * (sequence + 1), "{note:?}");
    }
}

#[test]
fn a_disk_without_room_to_merge_costs_no_window() {
    let folder = quick_folder();
    let mut spool = open_with_cap(&folder, "boot-1", CAP_BYTES_MIN);
    let mut sequence = 0;
    while spool.merged() == 0 {
        sequence += 1;
        append_body(&mut spool, sequence, &real_window(sequence));
    }
    // Folders in the place of every file that merging would write.
    let blocked = files(&folder)
        .into_iter()
        .map(|path| path.with_extension("new"));
    let blocked: Vec<_> = blocked.collect();
    blocked
        .iter()
        .for_each(|path| fs::create_dir(path).unwrap());
    let refused = loop {
        sequence += 1;
        let body = real_window(sequence);
        let entry = Entry {
            sequence,
            reports_dropped: 0,
            body: &body,
        };
        match spool.append(entry) {
            Appended::Kept => {}
            Appended::RolledBack(_) => break sequence,
            Appended::Lost(error) => panic!("{error}"),
        }
    };
    assert_eq!(spool.dropped(), 0);
    blocked
        .iter()
        .for_each(|path| fs::remove_dir(path).unwrap());
    append_body(&mut spool, refused, &real_window(refused));
    assert_eq!(drain_counts(&mut spool).0, 2 * refused);
}

/// Not a test: what the killed process runs. Fills a small spool, sends a window now and then, and
/// says what it kept and what it sent.
#[test]
fn application() {
    let (Ok(folder), Ok(boot)) = (
        std::env::var("COARSEN_FOLDER"),
        std::env::var("COARSEN_BOOT"),
    ) else {
        return;
    };
    let mut spool =
        Spool::open(Path::new(&folder), CAP_BYTES_MIN, Some("device-1"), &boot).unwrap();
    let say = |line: String| writeln!(std::io::stdout().lock(), "{line}").unwrap();
    for sequence in 1u64.. {
        append_body(&mut spool, sequence, &real_window(sequence));
        say(format!("kept {boot} {sequence} {}", spool.dropped()));
        if sequence % 37 == 0 {
            let pending = spool.first().unwrap();
            say(sent(&pending));
            spool.remove(&pending);
        }
    }
}

fn sent(pending: &Pending) -> String {
    let (identity, body) = (&pending.identity, &pending.body);
    let (check, count) = (crc32c::crc32c(body), inferences(body));
    format!(
        "sent {} {} {count} {check}",
        identity.boot, identity.sequence
    )
}

/// What a collector would know.
#[derive(Default)]
struct Collected {
    /// Boot and sequence of a window; its inferences and the check of its body.
    windows: BTreeMap<(String, u64), (u64, u64)>,
    /// The last window of a boot of which it is known that it was kept.
    kept: BTreeMap<String, u64>,
}

impl Collected {
    fn hear(&mut self, line: &str) -> Option<()> {
        let (verb, rest) = line.split_once(' ')?;
        let (boot, rest) = rest.split_once(' ')?;
        let numbers: Vec<u64> = rest
            .split(' ')
            .map_while(|text| text.parse().ok())
            .collect();
        match (verb, &numbers[..]) {
            ("kept", [sequence, dropped]) => {
                assert_eq!(*dropped, 0, "{line}");
                self.kept.insert(boot.to_owned(), *sequence);
            }
            ("sent", [sequence, count, check]) => {
                let key = (boot.to_owned(), *sequence);
                let known = self.windows.entry(key).or_insert((*count, *check));
                assert_eq!(*known, (*count, *check), "one identity, two bodies: {line}");
            }
            _ => return None,
        }
        Some(())
    }
}

/// Fifteen deaths by default; `FATHOMLINE_KILLS=100` for more.
#[test]
fn a_process_killed_while_it_merges_neither_loses_nor_repeats_a_window() {
    let kills: u64 = std::env::var("FATHOMLINE_KILLS").map_or(15, |text| text.parse().unwrap());
    let (folder, mut collected) = (quick_folder(), Collected::default());
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "spool::coarsen::tests::application",
                "--exact",
                "--nocapture",
            ])
            .env("COARSEN_FOLDER", folder.path())
            .env("COARSEN_BOOT", format!("boot-{kill}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = 40 + (kill * 211 % 400) as usize;
        let mut said = said.map_while(Result::ok);
        let heard = said
            .by_ref()
            .filter_map(|line| collected.hear(&line))
            .take(lines)
            .count();
        child.kill().unwrap();
        // It said more before it died than was listened to.
        said.for_each(|line| {
            collected.hear(&line);
        });
        child.wait().unwrap();
        assert_eq!(heard, lines, "the application ended on its own");
    }
    let mut spool = open_with_cap(&folder, "last", CAP_BYTES_MIN);
    while let Some(pending) = spool.first() {
        collected.hear(&sent(&pending)).unwrap();
        spool.remove(&pending);
    }
    assert_eq!(spool.dropped(), 0);
    let Collected { windows, kept } = collected;
    for (boot, kept) in &kept {
        let own = || windows.iter().filter(|((owner, _), _)| owner == boot);
        let last = own().map(|((_, sequence), _)| *sequence).max().unwrap();
        assert!(last >= *kept, "{boot}: {last} of {kept}");
        let total: u64 = own().map(|(_, (count, _))| count).sum();
        assert_eq!(total, 2 * last, "{boot}");
    }
    let all: u64 = kept.values().sum();
    eprintln!(
        "{kills} kills: {all} windows kept, {} left, none lost or repeated",
        windows.len()
    );
    assert!((windows.len() as u64) < all, "nothing merged");
}
