//! Small files of `/sys` and `/proc`. In: paths. Out: what they say, or nothing when they cannot be
//! read or make no sense: a device has some of them and not others.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file's text without its line end.
pub(crate) fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_owned())
}

/// A file that holds one finite number.
pub(crate) fn number(path: &Path) -> Option<f64> {
    text(path)?
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// What lies in `folder`, sorted by name.
pub(crate) fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
    found.sort();
    found
}
