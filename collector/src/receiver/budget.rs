//! Memory for requests, counted before it is taken. In: how much a request is about to need. Out:
//! leave to take it, or the refusal: wait, if others hold it; never, if no waiting would help.
//! Never queues: who has to wait waits outside, where it costs its sender's memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use fathomline_wire::rejection::Rejection;

use super::limits::REQUESTS_MAX;
use crate::intake::Refusal;

/// What all requests together may hold.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    bytes: AtomicUsize,
    requests: AtomicUsize,
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared {
            bytes_max,
            bytes: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        }))
    }

    /// Admits one more request, which holds nothing yet.
    pub(super) fn admit(&self) -> Result<Hold, Refusal> {
        if !add(&self.0.requests, 1, REQUESTS_MAX) {
            let detail = format!("{REQUESTS_MAX} requests are being worked on");
            return Err(Refusal::new(Rejection::Busy, detail));
        }
        Ok(Hold {
            budget: self.clone(),
            bytes: 0,
        })
    }

    /// How much of the memory is held, 0 to 1.
    pub(super) fn fill(&self) -> f64 {
        self.0.bytes.load(Ordering::Relaxed) as f64 / self.0.bytes_max as f64
    }
}

impl Hold {
    /// Takes `bytes` more, before they are allocated.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let Shared {
            bytes_max,
            bytes: all,
            ..
        } = &*self.budget.0;
        let wanted = self.bytes.saturating_add(bytes);
        if wanted > *bytes_max {
            let detail = format!(
                "decoded it needs {} MiB of memory, and all requests together have {} MiB",
                wanted >> 20,
                bytes_max >> 20
            );
            return Err(Refusal::new(Rejection::TooLarge, detail));
        }
        if !add(all, bytes, *bytes_max) {
            let detail = "other requests hold the memory that this one needs";
            return Err(Refusal::new(Rejection::Busy, detail));
        }
        self.bytes = wanted;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.0.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds unless that would go over `most`.
fn add(counter: &AtomicUsize, more: usize, most: usize) -> bool {
    let added = |count: usize| count.checked_add(more).filter(|sum| *sum <= most);
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, added)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_hold_is_a_reason_to_wait_and_what_never_fits_is_not() {
        let budget = Budget::new(100);
        let mut first = budget.admit().unwrap();
        first.grow(60).unwrap();
        let mut second = budget.admit().unwrap();
        assert_eq!(second.grow(60).unwrap_err().rejection, Rejection::Busy);
        assert_eq!(second.grow(101).unwrap_err().rejection, Rejection::TooLarge);
        assert_eq!(
            second.grow(usize::MAX).unwrap_err().rejection,
            Rejection::TooLarge
        );
        drop(first);
        second.grow(60).unwrap();
        assert_eq!(budget.fill(), 0.6);
        drop(second);
        assert_eq!(budget.fill(), 0.0);
    }

    #[test]
    fn requests_are_counted() {
        let budget = Budget::new(1);
        let all: Vec<_> = (0..REQUESTS_MAX).map(|_| budget.admit().unwrap()).collect();
        assert_eq!(budget.admit().unwrap_err().rejection, Rejection::Busy);
        drop(all);
        assert!(budget.admit().is_ok());
    }
}
