//! The promises of a spool, held against real files that are cut, damaged and reopened.

use std::{fs::OpenOptions, io::Write};

use tempfile::TempDir;

use super::*;

const BODY: &[u8] = b"a window as it will be sent";

fn open(folder: &TempDir, boot: &str) -> Spool {
    open_with_cap(folder, boot, 1 << 20)
}

pub(super) fn open_with_cap(folder: &TempDir, boot: &str, cap_bytes: u64) -> Spool {
    Spool::open(folder.path(), cap_bytes, Some("device-1"), boot).unwrap()
}

fn append(spool: &mut Spool, sequence: u64) {
    append_body(spool, sequence, BODY);
}

pub(super) fn append_body(spool: &mut Spool, sequence: u64, body: &[u8]) {
    let entry = Entry {
        sequence,
        reports_dropped: spool.unreported(),
        body,
    };
    let appended = spool.append(entry);
    assert!(matches!(appended, Appended::Kept), "{appended:?}");
    spool.said(entry.reports_dropped);
}

/// Takes everything that waits: boots and sequences, in the order they would be sent.
fn drain(spool: &mut Spool) -> Vec<(String, u64)> {
    let mut sent = vec![];
    while let Some(pending) = spool.first() {
        sent.push((pending.identity.boot.clone(), pending.identity.sequence));
        spool.remove(&pending);
    }
    sent
}

fn of(boot: &str, sequences: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    sequences
        .into_iter()
        .map(|sequence| (boot.to_owned(), sequence))
        .collect()
}

/// The files that hold windows, oldest first.
pub(super) fn files(folder: &TempDir) -> Vec<PathBuf> {
    let listed = files::list(folder.path()).unwrap();
    listed.into_iter().map(|(_, path)| path).collect()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Where window `index` of a file whose bodies are all [`BODY`] begins.
fn start_of(path: &Path, windows: u64, index: u64) -> usize {
    let length = fs::metadata(path).unwrap().len();
    let head = length - windows * segment::bytes_on_disk(BODY);
    usize::try_from(head + index * segment::bytes_on_disk(BODY)).unwrap()
}

#[test]
fn windows_come_out_in_the_order_they_went_in_across_boots() {
    let folder = TempDir::new().unwrap();
    let mut first = open(&folder, "boot-1");
    (1..=3).for_each(|sequence| append(&mut first, sequence));
    drop(first);
    let mut second = open(&folder, "boot-2");
    (1..=2).for_each(|sequence| append(&mut second, sequence));
    assert_eq!((second.windows(), second.dropped()), (5, 0));
    let waiting = second.first().unwrap();
    assert_eq!(
        (
            waiting.body.as_slice(),
            waiting.identity.installation.as_str()
        ),
        (BODY, "device-1")
    );
    let expected = [of("boot-1", 1..=3), of("boot-2", 1..=2)].concat();
    assert_eq!(drain(&mut second), expected);
    assert_eq!((second.windows(), second.bytes()), (0, 0));
}

#[test]
fn what_was_sent_does_not_come_back_and_what_was_not_does() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    (1..=4).for_each(|sequence| append(&mut spool, sequence));
    for _ in 0..2 {
        let pending = spool.first().unwrap();
        spool.remove(&pending);
    }
    drop(spool);
    let mut spool = open(&folder, "boot-2");
    assert_eq!(spool.windows(), 2);
    assert_eq!(drain(&mut spool), of("boot-1", 3..=4));
    drop(spool);
    assert_eq!(open(&folder, "boot-3").windows(), 0);
    assert_eq!(
        files(&folder),
        Vec::<PathBuf>::new(),
        "files that were sent are removed"
    );
}

#[test]
fn a_lost_cursor_only_sends_again() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    (1..=3).for_each(|sequence| append(&mut spool, sequence));
    let pending = spool.first().unwrap();
    spool.remove(&pending);
    drop(spool);
    for cursor in ["", "nonsense", "1", "1 999999999999", "7 40"] {
        fs::write(folder.path().join("cursor"), cursor).unwrap();
        assert_eq!(open(&folder, "boot-2").windows(), 3, "{cursor:?}");
    }
}

#[test]
fn a_cursor_of_a_file_that_is_gone_hides_no_window_of_a_later_one() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    (1..=5).for_each(|sequence| append(&mut spool, sequence));
    drain(&mut spool);
    drop(spool);
    // Two starts without a window: the folder holds a cursor and no file.
    drop(open(&folder, "boot-2"));
    drop(open(&folder, "boot-3"));
    let mut spool = open(&folder, "boot-4");
    append(&mut spool, 1);
    drop(spool);
    assert_eq!(drain(&mut open(&folder, "boot-5")), of("boot-4", [1]));
}

#[test]
fn a_torn_tail_is_never_sent_and_what_came_before_it_is() {
    let whole = {
        let folder = TempDir::new().unwrap();
        let mut spool = open(&folder, "boot-1");
        (1..=3).for_each(|sequence| append(&mut spool, sequence));
        fs::read(&files(&folder)[0]).unwrap()
    };
    let frame = usize::try_from(segment::bytes_on_disk(BODY)).unwrap();
    for cut in 1..=frame {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(format!("{:016}.spool", 1));
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let mut spool = open(&folder, "boot-2");
        append(&mut spool, 1);
        let expected = [of("boot-1", 1..=2), of("boot-2", [1])].concat();
        assert_eq!(drain(&mut spool), expected, "{cut} bytes cut off");
        assert_eq!(
            spool.dropped(),
            0,
            "a window that was never kept is not lost"
        );
    }
}

#[test]
fn zeros_that_a_power_cut_leaves_are_no_windows() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    append(&mut spool, 1);
    drop(spool);
    let mut file = OpenOptions::new()
        .append(true)
        .open(&files(&folder)[0])
        .unwrap();
    file.write_all(&[0; 4096]).unwrap();
    let mut spool = open(&folder, "boot-2");
    assert_eq!(drain(&mut spool), of("boot-1", [1]));
    assert_eq!(spool.dropped(), 0);
}

#[test]
fn a_flipped_bit_found_at_a_start_is_counted_and_reported() {
    for bit in [0, 7] {
        let folder = TempDir::new().unwrap();
        let mut spool = open(&folder, "boot-1");
        (1..=4).for_each(|sequence| append(&mut spool, sequence));
        drop(spool);
        let path = files(&folder).remove(0);
        let second = start_of(&path, 4, 1);
        change(&path, |bytes| {
            bytes[second + frame::HEAD_BYTES + 20] ^= 1 << bit
        });
        let mut spool = open(&folder, "boot-2");
        assert_eq!(spool.windows(), 1, "what came before is kept");
        assert_eq!(
            (spool.dropped(), spool.unreported()),
            (3, 3),
            "the rest is counted"
        );
        // The next window says so, and then nothing is left to say.
        append(&mut spool, 1);
        assert_eq!(spool.unreported(), 0);
        assert_eq!(
            drain(&mut spool),
            [of("boot-1", [1]), of("boot-2", [1])].concat()
        );
    }
}

#[test]
fn a_damaged_length_hides_no_loss() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    (1..=4).for_each(|sequence| append(&mut spool, sequence));
    let pending = spool.first().unwrap();
    spool.remove(&pending);
    drop(spool);
    let path = files(&folder).remove(0);
    // The last window of all: there is no whole one behind it to be found.
    for (window, lost) in [(3, 1), (1, 3)] {
        let start = start_of(&path, 4, window);
        change(&path, |bytes| bytes[start] ^= 1);
        let spool = open(&folder, "boot-2");
        assert_eq!(
            (spool.windows(), spool.dropped()),
            (3 - lost, lost),
            "window {window}"
        );
    }
}

#[test]
fn damage_in_what_was_sent_loses_only_what_was_not() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    (1..=4).for_each(|sequence| append(&mut spool, sequence));
    for _ in 0..2 {
        let pending = spool.first().unwrap();
        spool.remove(&pending);
    }
    drop(spool);
    let path = files(&folder).remove(0);
    let first = start_of(&path, 4, 0);
    change(&path, |bytes| bytes[first + frame::HEAD_BYTES] ^= 1);
    let spool = open(&folder, "boot-2");
    assert_eq!((spool.windows(), spool.dropped()), (0, 2));
}

#[test]
fn a_damaged_head_loses_its_windows_and_counts_them() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    (1..=3).for_each(|sequence| append(&mut spool, sequence));
    drop(spool);
    let path = files(&folder).remove(0);
    change(&path, |bytes| bytes[frame::HEAD_BYTES + 10] ^= 1);
    let mut spool = open(&folder, "boot-2");
    assert_eq!((spool.windows(), spool.dropped()), (0, 3));
    append(&mut spool, 1);
    assert_eq!(drain(&mut spool), of("boot-2", [1]));
}

#[test]
fn a_flipped_bit_found_while_sending_is_counted_and_later_files_go_on() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    (1..=3).for_each(|sequence| append(&mut spool, sequence));
    drop(spool);
    let mut spool = open(&folder, "boot-2");
    append(&mut spool, 1);
    let path = files(&folder).remove(0);
    let first = start_of(&path, 3, 0);
    change(&path, |bytes| bytes[first + frame::HEAD_BYTES] ^= 1);
    assert_eq!(drain(&mut spool), of("boot-2", [1]));
    assert_eq!((spool.dropped(), spool.unreported()), (3, 3));
    assert!(!path.exists(), "what cannot be sent does not stay");
}

#[test]
fn at_the_cap_the_oldest_windows_go_and_are_counted() {
    let folder = TempDir::new().unwrap();
    let mut spool = open_with_cap(&folder, "boot-1", 0);
    let body = [7; 1_000];
    let appended = 200;
    for sequence in 1..=appended {
        append_body(&mut spool, sequence, &body);
        let on_disk: u64 = files(&folder)
            .iter()
            .map(|p| fs::metadata(p).unwrap().len())
            .sum();
        // One file's head beside the windows.
        assert!(on_disk <= CAP_BYTES_MIN + 100, "{on_disk} bytes");
    }
    let (waiting, dropped) = (spool.windows(), spool.dropped());
    assert_eq!(
        waiting + dropped,
        appended,
        "every window waits or is counted"
    );
    assert!(
        waiting * 1_024 > CAP_BYTES_MIN * 3 / 4,
        "only {waiting} windows fit"
    );
    let sent = drain(&mut spool);
    assert_eq!(
        sent,
        of("boot-1", dropped + 1..=appended),
        "the newest are kept, in order"
    );
}

#[test]
fn a_report_of_losses_that_is_lost_itself_is_made_again() {
    let folder = TempDir::new().unwrap();
    let mut spool = open_with_cap(&folder, "boot-1", 0);
    for sequence in 1..=500 {
        append_body(&mut spool, sequence, &[7; 1_000]);
    }
    let mut reported = spool.unreported();
    while let Some(pending) = spool.first() {
        reported += pending.reports_dropped;
        spool.remove(&pending);
    }
    assert_eq!(
        reported,
        spool.dropped(),
        "what is here reports all that is not"
    );
}

#[test]
fn a_window_larger_than_the_spool_is_lost_alone() {
    let folder = TempDir::new().unwrap();
    let mut spool = open_with_cap(&folder, "boot-1", 0);
    append(&mut spool, 1);
    let body = vec![7; usize::try_from(CAP_BYTES_MIN).unwrap()];
    let entry = Entry {
        sequence: 2,
        reports_dropped: 0,
        body: &body,
    };
    assert!(matches!(spool.append(entry), Appended::Lost(_)));
    append(&mut spool, 3);
    assert_eq!(spool.dropped(), 1);
    assert_eq!(drain(&mut spool), of("boot-1", [1, 3]));
}

#[test]
fn a_window_dropped_while_it_is_sent_takes_no_other_with_it() {
    let folder = TempDir::new().unwrap();
    let mut spool = open_with_cap(&folder, "boot-1", 0);
    append_body(&mut spool, 1, &[7; 1_000]);
    let under_way = spool.first().unwrap();
    for sequence in 2..=100 {
        append_body(&mut spool, sequence, &[7; 1_000]);
    }
    let waiting = spool.windows();
    assert!(spool.dropped() > 0);
    spool.remove(&under_way);
    assert_eq!(spool.windows(), waiting);
}

#[test]
fn refused_windows_are_kept_aside_up_to_a_limit() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    for sequence in 1..=20 {
        append(&mut spool, sequence);
        let pending = spool.first().unwrap();
        spool.set_aside(&pending);
    }
    assert_eq!(spool.windows(), 0);
    let aside = folder.path().join("aside");
    assert_eq!(fs::read_dir(&aside).unwrap().count(), ASIDE_FILES_MAX);
    assert_eq!(fs::read(aside.join("boot-1-1.otlp")).unwrap(), BODY);
}

#[test]
fn a_file_of_another_version_is_left_alone_and_its_number_is_not_used() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(format!("{:016}.spool", 9));
    let foreign = frame::encode(&[b"fathspl9", b"whatever"]).unwrap();
    fs::write(&path, &foreign).unwrap();
    let mut spool = open(&folder, "boot-1");
    append(&mut spool, 1);
    assert_eq!(drain(&mut spool), of("boot-1", [1]));
    assert_eq!(fs::read(&path).unwrap(), foreign);
}

#[test]
fn a_folder_serves_one_line_at_a_time() {
    let folder = TempDir::new().unwrap();
    let held = open(&folder, "boot-1");
    let error = Spool::open(folder.path(), 1 << 20, None, "boot-2").unwrap_err();
    assert!(
        error.to_string().contains("another line holds it"),
        "{error}"
    );
    drop(held);
    open(&folder, "boot-3");
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error_that_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = Spool::open(&path, 1 << 20, None, "boot-1")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cannot create spool"), "{error}");
        assert!(error.contains(&file.display().to_string()), "{error}");
        assert!(error.contains("name another"), "{error}");
    }
}

#[test]
fn a_disk_that_takes_no_new_file_asks_for_the_same_window_again() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder, "boot-1");
    // The name of the next file is taken by a folder: nothing can be created there.
    let blocked = folder.path().join(format!("{:016}.spool", 1));
    fs::create_dir(&blocked).unwrap();
    let entry = Entry {
        sequence: 1,
        reports_dropped: 0,
        body: BODY,
    };
    assert!(matches!(spool.append(entry), Appended::RolledBack(_)));
    assert_eq!((spool.windows(), spool.dropped()), (0, 0));
    fs::remove_dir(&blocked).unwrap();
    append(&mut spool, 1);
    assert_eq!(drain(&mut spool), of("boot-1", [1]));
}
