//! A line without a folder loses nothing that a few hundred kibibytes can hold.

use std::{fs, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    line::Fathomline,
    spool::tests_of_merge::{busy_window, inferences},
    words::Operation,
};

/// A queue whose folder cannot be made, because a file is in its way.
fn homeless(folder: &TempDir) -> Queue {
    let spool = folder.path().join("spool");
    fs::write(&spool, b"in the way").unwrap();
    Queue {
        spool: None,
        memory: Memory::default(),
        folder: spool,
        cap_bytes: 1 << 20,
        installation: "device-1".into(),
        boot: "boot-1".into(),
    }
}

fn append(queue: &mut Queue, sequence: u64) {
    let body = busy_window(sequence);
    let reports_dropped = queue.unreported();
    let entry = Entry {
        sequence,
        reports_dropped,
        body: &body,
    };
    queue.append(entry).unwrap();
}

/// Sequences and inferences of what waits, in the order it would be sent.
fn drain(queue: &mut Queue) -> (Vec<u64>, u64) {
    let (mut sequences, mut count) = (vec![], 0);
    while let Some(pending) = queue.first() {
        sequences.push(pending.identity.sequence);
        count += inferences(&pending.body);
        queue.remove(&pending);
    }
    (sequences, count)
}

#[test]
fn windows_are_sent_from_memory_and_go_to_the_disk_once_there_is_one() {
    let folder = TempDir::new().unwrap();
    let mut queue = homeless(&folder);
    (1..=4).for_each(|sequence| append(&mut queue, sequence));
    assert_eq!((queue.windows(), queue.windows_in_memory()), (4, 4));
    let under_way = queue.first().unwrap();
    queue.remove(&under_way);
    let next = queue.first().unwrap();
    assert_eq!(
        (under_way.identity.sequence, next.identity.sequence),
        (1, 2)
    );

    fs::remove_file(&queue.folder).unwrap();
    append(&mut queue, 5);
    assert_eq!((queue.windows(), queue.windows_in_memory()), (4, 0));
    // What was under way meanwhile is told of a window that is elsewhere by now: it stays.
    queue.remove(&next);
    assert_eq!(queue.first().unwrap().body, next.body);
    assert_eq!(drain(&mut queue), (vec![2, 3, 4, 5], 4 * 12));
    assert_eq!(queue.dropped(), 0);
}

#[test]
fn a_disk_that_takes_nothing_for_a_while_costs_nothing() {
    let folder = TempDir::new().unwrap();
    let mut queue = homeless(&folder);
    fs::remove_file(&queue.folder).unwrap();
    append(&mut queue, 1);
    assert_eq!(queue.windows_in_memory(), 0);
    // The spool's folder is gone with everything: no new file can be made there.
    let spool = queue.spool.as_mut().unwrap();
    spool.give_up_writing();
    let blocked = queue.folder.join(format!("{:016}.spool", 2));
    fs::create_dir(&blocked).unwrap();
    (2..=3).for_each(|sequence| append(&mut queue, sequence));
    assert_eq!((queue.windows(), queue.windows_in_memory()), (3, 2));
    fs::remove_dir(&blocked).unwrap();
    append(&mut queue, 4);
    assert_eq!((queue.windows(), queue.windows_in_memory()), (4, 0));
    assert_eq!(drain(&mut queue), (vec![1, 2, 3, 4], 4 * 12));
}

#[test]
fn memory_is_bounded_and_coarsens_before_it_drops() {
    const WINDOWS: u64 = 2_000;
    let folder = TempDir::new().unwrap();
    let mut queue = homeless(&folder);
    append(&mut queue, 1);
    let under_way = queue.first().unwrap();
    for sequence in 2..=WINDOWS {
        append(&mut queue, sequence);
        assert!(queue.bytes() <= 256 * 1024);
    }
    assert_eq!(
        (queue.dropped(), queue.windows() + queue.merged()),
        (0, WINDOWS)
    );
    assert_eq!(
        queue.first().unwrap(),
        under_way,
        "an upload may have begun"
    );
    let (sequences, count) = drain(&mut queue);
    assert_eq!(count, 12 * WINDOWS);
    assert_eq!((sequences[0], sequences.last()), (1, Some(&WINDOWS)));
    assert!(sequences.is_sorted_by(|a, b| a < b));
}

#[test]
fn what_memory_drops_is_counted_and_reported() {
    let folder = TempDir::new().unwrap();
    let mut queue = homeless(&folder);
    // Bodies that nobody can merge.
    let body = vec![7; 100 * 1024];
    for sequence in 1..=5 {
        let reports_dropped = queue.unreported();
        let entry = Entry {
            sequence,
            reports_dropped,
            body: &body,
        };
        queue.append(entry).unwrap();
    }
    assert_eq!((queue.windows(), queue.dropped()), (2, 3));
    // The fourth window reports one, the fifth another; what went with the third is still to say.
    let on_their_way: u64 = queue.memory.reports();
    assert_eq!(on_their_way + queue.unreported(), 3);
    let entry = Entry {
        sequence: 6,
        reports_dropped: 0,
        body: &vec![7; 300 * 1024],
    };
    queue.append(entry).unwrap_err();
    assert_eq!(queue.dropped(), 4);
}

#[test]
fn a_window_in_parts_goes_to_the_disk_as_those_parts() {
    let folder = TempDir::new().unwrap();
    let mut queue = homeless(&folder);
    append(&mut queue, 1);
    let pending = queue.first().unwrap();
    let whole = queue.parts(&pending).next(&pending.body).unwrap();
    let parts = queue.parts(&pending).split(&whole).unwrap();
    queue.split(&pending, parts).unwrap();
    let half = parts.next(&pending.body).unwrap();
    let parts = parts.stored(&half);
    queue.part_stored(&pending, parts);
    fs::remove_file(&queue.folder).unwrap();
    append(&mut queue, 2);
    let pending = queue.first().unwrap();
    assert_eq!(queue.windows_in_memory(), 0);
    assert_eq!(queue.parts(&pending), parts);
}

#[test]
fn a_line_without_a_folder_works_and_says_where_its_windows_are() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let builder = Fathomline::builder("m", "1").endpoint("http://127.0.0.1:1");
    let line = builder.spool(file.join("spool")).start().unwrap();
    drop(line.operation(Operation::Chat));
    let health = line.shutdown(Duration::from_millis(200));
    assert_eq!((health.windows_waiting, health.windows_in_memory), (1, 1));
    assert_eq!(health.windows_dropped, 0);
}
