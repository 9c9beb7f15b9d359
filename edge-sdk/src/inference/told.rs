//! What one inference has told already. In: what it is about to tell. Out: whether it may. Only
//! where counts go with noise, which hides one contribution of an inference to each metric; shared
//! with what the inference leaves behind when it ends.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// What an application may say of an output any number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Label,
    Validity,
    Feedback,
}

/// Nothing is kept where there is no noise.
#[derive(Clone, Debug)]
pub(super) struct Told(Option<Arc<AtomicU8>>);

impl Told {
    pub(super) fn new(noised: bool) -> Self {
        Self(noised.then(Arc::default))
    }

    /// Whether this counts; with noise only the first of its kind does.
    pub(super) fn counts(&self, said: Said) -> bool {
        let bit = 1 << said as u8;
        self.0
            .as_ref()
            .is_none_or(|told| told.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }
}
