//! Whole days of closing and sending, by numbers alone: no clock, no network.

use proptest::prelude::*;

use super::*;

const DAY: u64 = 86_400 * 1_000_000_000;
const KIB: usize = 1024;

/// One simulated device.
struct Simulated {
    budget: Budget,
    now: u64,
    shortest: Duration,
}

impl Simulated {
    fn new(folder: &Path, daily: u64, shortest: Duration, start: u64) -> Self {
        let budget = Budget::open(folder, "kiosk-7", Some(daily), shortest, start);
        Self {
            budget,
            now: start,
            shortest,
        }
    }

    /// The day of the device that it is now.
    fn day(&self) -> u64 {
        ledger::day(self.now, offset("kiosk-7"))
    }

    /// Waits for the next window; its length.
    fn wait(&mut self) -> Duration {
        let length = self.budget.next_window(self.now, 0).unwrap();
        assert!(length > Duration::ZERO);
        self.now += length.as_nanos() as u64;
        length
    }

    /// Closes and sends a body if both may be; its bytes.
    fn close(&mut self, bytes: usize) -> u64 {
        let may = self.budget.may_close(self.now, bytes);
        self.budget.closed(self.now, bytes, may);
        if !may {
            return 0;
        }
        assert_eq!(self.budget.upload_wait(self.now, bytes), None);
        self.budget.sent(self.now, bytes);
        bytes as u64
    }
}

fn profiles() -> [(u64, Duration); 2] {
    [
        (2 << 20, Duration::from_secs(60)),
        (64 << 10, Duration::from_secs(1_800)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_day_sends_more_than_its_bytes(
        sizes in prop::collection::vec(KIB..30 * KIB, 1..40),
        start in 0..DAY,
        restart_every in 3usize..200,
    ) {
        for (daily, shortest) in profiles() {
            let folder = tempfile::tempdir().unwrap();
            let start = 20_000 * DAY + start;
            let mut device = Simulated::new(folder.path(), daily, shortest, start);
            let (mut sent, mut day, mut closed) = (0, device.day(), 0);
            for step in 0..250 {
                let length = device.wait();
                // The day's turn cuts a wait short, and nothing else does.
                prop_assert!(length >= device.shortest || device.day() > day);
                if device.day() > day {
                    (sent, day) = (0, device.day());
                }
                let bytes = device.close(sizes[step % sizes.len()]);
                closed += u64::from(bytes > 0);
                sent += bytes;
                prop_assert!(sent <= daily, "{sent} of {daily}");
                if step % restart_every == 0 {
                    device = Simulated::new(folder.path(), daily, shortest, device.now);
                }
            }
            prop_assert!(closed > 0);
        }
    }
}

/// Median length of a day's windows whose bodies all weigh `bytes`, and the share of the day's
/// bytes that was used.
fn a_day_of(bytes: usize, daily: u64, shortest: Duration) -> (Duration, f64) {
    let folder = tempfile::tempdir().unwrap();
    let begins = 20_000 * DAY + DAY - offset("kiosk-7");
    let mut device = Simulated::new(folder.path(), daily, shortest, begins);
    let (day, mut lengths, mut sent) = (device.day(), Vec::new(), 0);
    loop {
        let length = device.wait();
        if device.day() > day {
            break;
        }
        lengths.push(length);
        sent += device.close(bytes);
    }
    lengths.sort();
    let median = lengths.get(lengths.len() / 2).copied();
    (median.unwrap_or_default(), sent as f64 / daily as f64)
}

#[test]
fn windows_are_as_short_as_the_day_allows() {
    let [(daily, minute), (metered, half_hour)] = profiles();
    let median = |bytes, daily, shortest| a_day_of(bytes, daily, shortest).0.as_secs();
    // 1,440 windows of 1.4 KiB are what 2 MiB hold; below that nothing is lengthened.
    assert_eq!(median(KIB, daily, minute), 60);
    assert_eq!(median(KIB, metered, half_hour), 1_800);
    for (bytes, seconds) in [(2 * KIB, 84), (4 * KIB, 169), (30 * KIB, 1_280)] {
        let found = median(bytes, daily, minute);
        assert!(
            found.abs_diff(seconds) <= seconds / 10,
            "{bytes}: {found} s"
        );
    }
    for (bytes, seconds) in [(4 * KIB, 5_400), (8 * KIB, 10_800)] {
        let found = median(bytes, metered, half_hour);
        assert!(found.abs_diff(seconds) <= seconds / 5, "{bytes}: {found} s");
    }
    // What is not used was too little for one more body.
    assert!(a_day_of(4 * KIB, daily, minute).1 > 0.98);
}

#[test]
fn a_large_body_an_hour_does_not_lengthen_all_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let [(daily, minute), _] = profiles();
    let begins = 20_000 * DAY + DAY - offset("kiosk-7");
    let mut device = Simulated::new(folder.path(), daily, minute, begins);
    let (day, mut windows, mut hour, mut sent) = (device.day(), 0, 0, 0);
    while device.day() == day {
        device.wait();
        // Noised counts of one variant beside a window of levels.
        let turned =
            device.now / (DAY / 24) > std::mem::replace(&mut hour, device.now / (DAY / 24));
        sent += device.close(if turned { 24 * KIB } else { KIB });
        windows += 1;
    }
    assert!(windows > 500, "{windows} windows");
    assert!(sent <= daily + 24 * KIB as u64);
}

#[test]
fn a_spent_day_waits_for_the_next_even_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let shortest = Duration::from_secs(60);
    let mut device = Simulated::new(folder.path(), 20 << 10, shortest, 20_000 * DAY);
    device.wait();
    assert_eq!(device.close(9 * KIB), 9 << 10);
    assert_eq!(device.close(9 * KIB), 9 << 10);
    assert_eq!(device.close(9 * KIB), 0);
    let mut device = Simulated::new(folder.path(), 20 << 10, shortest, device.now);
    assert!(!device.budget.may_close(device.now, 9 * KIB));
    assert!(device.budget.upload_wait(device.now, 9 * KIB).is_some());
    device.budget.closed(device.now, 9 * KIB, false);
    let day = device.day();
    device.wait();
    assert_eq!(device.day(), day + 1, "sleeps until the day turns");
    assert_eq!(device.close(9 * KIB), 9 << 10);
}

#[test]
fn a_backlog_is_left_half_of_the_day() {
    let folder = tempfile::tempdir().unwrap();
    let (daily, shortest) = (2 << 20, Duration::from_secs(60));
    let budget = Budget::open(folder.path(), "a", Some(daily), shortest, 0);
    budget.closed(0, 4 * KIB, true);
    let alone = budget.next_window(0, 0).unwrap().as_secs_f64();
    let behind = budget.next_window(0, 8 << 20).unwrap().as_secs_f64();
    assert!((behind / alone - 2.0).abs() < 0.02, "{alone} {behind}");
}

#[test]
fn a_body_larger_than_a_day_goes_first_or_waits_for_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let budget = Budget::open(
        folder.path(),
        "a",
        Some(16 << 10),
        Duration::from_secs(60),
        0,
    );
    assert!(budget.may_close(0, 20 * KIB));
    budget.closed(0, 20 * KIB, true);
    assert!(!budget.may_close(0, KIB));
    assert_eq!(budget.upload_wait(0, 20 * KIB), None);
    budget.sent(0, 20 * KIB);
    assert!(budget.upload_wait(0, KIB).is_some());
}

#[test]
fn without_a_limit_nothing_is_asked_and_nothing_written() {
    let folder = tempfile::tempdir().unwrap();
    let budget = Budget::open(folder.path(), "a", None, Duration::from_secs(1), 0);
    budget.closed(0, 1 << 30, true);
    budget.sent(0, 1 << 30);
    assert!(budget.may_close(0, 1 << 30));
    assert_eq!(budget.next_window(0, 0), None);
    assert_eq!(budget.upload_wait(0, 1 << 30), None);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn installations_begin_their_days_apart() {
    let hours: std::collections::BTreeSet<u64> = (0..500)
        .map(|n| offset(&format!("device-{n}")) / (DAY / 24))
        .collect();
    assert_eq!(hours.len(), 24);
}

/// A device without a clock of its own believes at each start that it is the same day. Kiosks are
/// switched off every night: the bytes of that one day would be all they ever send.
#[test]
fn a_clock_that_begins_anew_at_each_start_does_not_silence_a_device() {
    let folder = tempfile::tempdir().unwrap();
    for boot in 0..40 {
        let mut device = Simulated::new(folder.path(), 20 << 10, Duration::from_secs(60), DAY / 2);
        let sent: u64 = (0..12)
            .map(|_| {
                device.wait();
                device.close(KIB)
            })
            .sum();
        assert_eq!(sent, 12 << 10, "boot {boot}");
    }
}

#[test]
fn a_clock_set_back_by_years_costs_one_more_budget_and_not_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let open = |now| Simulated::new(folder.path(), 20 << 10, Duration::from_secs(60), now);
    for day in 0..40 {
        assert_eq!(open((20_000 + day) * DAY).close(9 * KIB), 9 << 10);
    }
    // Longer ago than any day that is remembered.
    let mut device = open(DAY);
    let sent: u64 = (0..5).map(|_| device.close(9 * KIB)).sum();
    assert_eq!(sent, 18 << 10);
}

#[test]
fn repeats_in_an_outage_leave_the_rest_of_the_day_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let minute = Duration::from_secs(60);
    let budget = Budget::open(folder.path(), "kiosk", Some(64 << 10), minute, 0);
    let limits = budget.limits.as_ref().unwrap();
    // The device's day begins now, and everything is answered by 503.
    let mut now = DAY - limits.offset;
    let end = now + DAY;
    let (mut tries, mut first_hour) = (0u64, 0u64);
    let began = now;
    while now < end {
        budget.sent(now, 4 * KIB);
        tries += 1;
        first_hour += u64::from(now < began + DAY / 24);
        let wait = budget
            .repeat_wait(now)
            .unwrap_or(Duration::ZERO)
            .max(minute);
        now += wait.as_nanos() as u64;
    }
    assert!(
        (2..=5).contains(&first_hour),
        "{first_hour} tries in an hour"
    );
    assert!((16..=19).contains(&tries), "{tries} tries in a day");
}
