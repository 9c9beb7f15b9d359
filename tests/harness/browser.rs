//! Looks at pages as people do: headless Chromium, in dark or light.
//! In: a URL. Out: a picture, kept where `FATHOMLINE_SCREENSHOTS` says, for people to look at.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// What the system is set to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    Light,
    Dark,
}

impl Theme {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The engine's own numbers for the preference.
    const fn setting(self) -> &'static str {
        match self {
            Self::Light => "preferredColorScheme=1",
            Self::Dark => "preferredColorScheme=0",
        }
    }
}

/// A picture of `url` as PNG.
pub(crate) fn picture(chromium: &Path, url: &str, name: &str, theme: Theme) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let file = screenshots(folder.path()).join(format!("{name}-{}.png", theme.name()));
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-sync",
        ])
        .args([
            "--disable-component-update",
            "--hide-scrollbars",
            "--window-size=1280,1600",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ))
        .arg(format!("--blink-settings={}", theme.setting()))
        .arg(format!("--screenshot={}", file.display()))
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .expect("Chromium runs");
    let said = String::from_utf8_lossy(&output.stderr);
    fs::read(&file).unwrap_or_else(|error| panic!("no picture of {url}: {error}\n{said}"))
}

fn screenshots(otherwise: &Path) -> PathBuf {
    let Some(folder) = env::var_os("FATHOMLINE_SCREENSHOTS") else {
        return otherwise.to_owned();
    };
    fs::create_dir_all(&folder).unwrap();
    folder.into()
}
