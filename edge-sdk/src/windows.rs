//! Which span of time a window covers. In: the time a window is asked to close. Out: windows that
//! are contiguous, never overlap and never run backwards, whatever times are given. Pure.

/// One closed window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// From 1 upwards within a boot, without gaps.
    pub(crate) sequence: u64,
    pub(crate) start_unix_nano: u64,
    pub(crate) end_unix_nano: u64,
}

/// Where the last window of this boot ended.
#[derive(Debug)]
pub(crate) struct Windows {
    sequence: u64,
    end_unix_nano: u64,
}

impl Windows {
    /// The first window begins at `now`.
    pub(crate) fn begin(now_unix_nano: u64) -> Self {
        Self {
            sequence: 0,
            end_unix_nano: now_unix_nano,
        }
    }

    /// The window that would close at `now`; nothing changes until it is committed.
    pub(crate) fn next(&self, now_unix_nano: u64) -> Window {
        let shortest = self.end_unix_nano.saturating_add(1);
        Window {
            sequence: self.sequence + 1,
            start_unix_nano: self.end_unix_nano,
            end_unix_nano: now_unix_nano.max(shortest),
        }
    }

    /// `window` is on disk: the following one begins where it ended.
    pub(crate) fn commit(&mut self, window: &Window) {
        self.sequence = window.sequence;
        self.end_unix_nano = window.end_unix_nano;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_are_contiguous_however_the_clock_jumps(
            start in any::<u32>(),
            times in prop::collection::vec((any::<u32>(), any::<bool>()), 1..50),
        ) {
            let mut windows = Windows::begin(u64::from(start));
            let (mut end, mut sequence) = (u64::from(start), 0);
            for (now, kept) in times {
                let window = windows.next(u64::from(now));
                prop_assert_eq!(window.start_unix_nano, end);
                prop_assert!(window.end_unix_nano > window.start_unix_nano);
                prop_assert_eq!(window.sequence, sequence + 1);
                // A window that could not be kept is asked for again, and is then longer.
                if kept {
                    windows.commit(&window);
                    (end, sequence) = (window.end_unix_nano, window.sequence);
                }
            }
        }
    }
}
