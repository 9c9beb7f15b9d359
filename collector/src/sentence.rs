//! An error as one sentence, for binaries. In: an error with its causes. Out: its own words, and
//! those of its causes that they do not name already.

use std::error::Error;

/// The error with its causes, each said once.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        match text.contains(&cause) {
            true => text,
            false => format!("{text}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let cause = std::io::Error::other("disk full");
        let told = anyhow::Error::from(cause).context("cannot write x: disk full; free space");
        assert_eq!(
            sentence(told.as_ref()),
            "cannot write x: disk full; free space"
        );
        let untold = anyhow::anyhow!("disk full").context("cannot write x");
        assert_eq!(sentence(untold.as_ref()), "cannot write x: disk full");
    }
}
