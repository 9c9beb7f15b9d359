//! Failed attempts by address. In: an address whose token was wrong, and when. Out: whether it has
//! had too many, and for how long. A token that is good is never asked about this: a gateway's
//! other devices share its address, and what a guess would have to hit has 256 bits. Takes `now`.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// Wrong tokens an address may send within [`SPAN_US`]; a device that retries sends fewer.
const FAILURES_MAX: u32 = 120;
const SPAN_US: i64 = 60_000_000;
/// Addresses remembered at once. Past it all are forgotten: somebody who has so many is not stopped
/// by counting them, and memory must end somewhere.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Clone, Copy)]
struct Failures {
    since_us: i64,
    count: u32,
}

/// Who failed, and how often.
#[derive(Default)]
pub(super) struct Attempts(HashMap<IpAddr, Failures>);

impl Attempts {
    /// Counts a failure; how long the address has to wait if it was one too many.
    pub(super) fn failed(&mut self, address: IpAddr, now_us: i64) -> Option<Duration> {
        let fresh = |failures: &Failures| now_us.saturating_sub(failures.since_us) < SPAN_US;
        if self.0.len() >= ADDRESSES_MAX {
            self.0.retain(|_, failures| fresh(failures));
        }
        if self.0.len() >= ADDRESSES_MAX {
            self.0.clear();
        }
        let first = Failures {
            since_us: now_us,
            count: 0,
        };
        let failures = self.0.entry(network(address)).or_insert(first);
        if !fresh(failures) {
            *failures = first;
        }
        failures.count = failures.count.saturating_add(1);
        let left_us = failures.since_us.saturating_add(SPAN_US) - now_us;
        let left = u64::try_from(left_us).ok().map(Duration::from_micros);
        left.filter(|_| failures.count > FAILURES_MAX)
    }
}

/// One customer of IPv6 has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_failures_cost_a_wait_and_only_their_own_address() {
        let mut attempts = Attempts::default();
        let (bad, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..FAILURES_MAX {
            assert_eq!(attempts.failed(bad, 5), None);
        }
        assert_eq!(attempts.failed(bad, 5), Some(Duration::from_secs(60)));
        assert_eq!(
            attempts.failed(bad, 20_000_005),
            Some(Duration::from_secs(40))
        );
        assert_eq!(attempts.failed(other, 20_000_005), None);
        assert_eq!(attempts.failed(bad, SPAN_US + 5), None, "the span is over");
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_together_and_memory_is_bounded() {
        let mut attempts = Attempts::default();
        let of = |network: u128, host: u128| {
            IpAddr::V6(Ipv6Addr::from((0x2001_0db8 << 96) | (network << 64) | host))
        };
        for host in 0..u128::from(FAILURES_MAX) {
            assert_eq!(attempts.failed(of(1, host), 0), None);
        }
        assert!(attempts.failed(of(1, 999), 0).is_some());
        for network in 0..3 * ADDRESSES_MAX as u128 {
            attempts.failed(of(network, 0), 0);
            assert!(attempts.0.len() <= ADDRESSES_MAX);
        }
    }
}
