//! Headers that an operator asks for, some of them out of files. Values are marked as secrets, so
//! that no debug print shows them.

use std::path::Path;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::super::{
    endpoint::Headers,
    kept_file::{KeptFile, LineError, line},
};

/// Why headers cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("cannot send a header called {0:?}: that is no name of one")]
    Name(String),
    #[error("cannot send the header {0}: what it says is no printable ASCII")]
    Value(String),
    #[error("cannot send the header {0}: it is ours to write")]
    Ours(String),
    #[error("cannot read the value of the header {name}: {source}")]
    File { name: String, source: LineError },
}

/// Written by whoever sends, or part of the signature.
const OURS: [&str; 7] = [
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Headers of every attempt.
pub(crate) struct Extra {
    fixed: HeaderMap,
    from_files: Vec<FromFile>,
}

struct FromFile {
    name: HeaderName,
    /// Before what the file holds.
    scheme: &'static str,
    file: KeptFile<String>,
}

impl Extra {
    pub(super) fn open(headers: &Headers) -> Result<Self, HeaderError> {
        let mut fixed = HeaderMap::new();
        for (name, value) in &headers.fixed {
            fixed.insert(named(name)?, secret(name, value)?);
        }
        let mut extra = Self {
            fixed,
            from_files: vec![],
        };
        for (name, path) in &headers.from_files {
            extra.read(named(name)?, "", path)?;
        }
        if let Some(path) = &headers.token_file {
            extra.read(AUTHORIZATION, "Bearer ", path)?;
        }
        Ok(extra)
    }

    fn read(
        &mut self,
        name: HeaderName,
        scheme: &'static str,
        path: &Path,
    ) -> Result<(), HeaderError> {
        let file = KeptFile::open(path, line).map_err(|source| HeaderError::File {
            name: name.to_string(),
            source,
        })?;
        self.from_files.push(FromFile { name, scheme, file });
        Ok(())
    }

    /// A token beside fixed headers.
    pub(super) fn with_token(
        fixed: &[(&'static str, &'static str)],
        token_file: &Path,
    ) -> Result<Self, HeaderError> {
        Self::open(&Headers {
            fixed: fixed
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            token_file: Some(token_file.to_owned()),
            ..Headers::default()
        })
    }

    /// Adds them, as their files say now.
    pub(super) fn add(&self, headers: &mut HeaderMap) {
        headers.extend(self.fixed.clone());
        for FromFile { name, scheme, file } in &self.from_files {
            let value = format!("{scheme}{}", file.now(line));
            // A line of printable ASCII is a header's value.
            if let Ok(value) = secret(name.as_str(), &value) {
                headers.insert(name.clone(), value);
            }
        }
    }
}

fn named(text: &str) -> Result<HeaderName, HeaderError> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| HeaderError::Name(text.to_owned()))?;
    match OURS.contains(&name.as_str()) {
        true => Err(HeaderError::Ours(text.to_owned())),
        false => Ok(name),
    }
}

fn secret(name: &str, value: &str) -> Result<HeaderValue, HeaderError> {
    let mut value =
        HeaderValue::from_str(value).map_err(|_| HeaderError::Value(name.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_files_as_they_are_now_and_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let extra = Extra::open(&Headers {
            fixed: [("X-Team".to_owned(), "edge".to_owned())].into(),
            from_files: [("X-Key".to_owned(), path.clone())].into(),
            token_file: Some(path.clone()),
        })
        .unwrap();
        std::fs::write(&path, "two").unwrap();
        let mut headers = HeaderMap::new();
        extra.add(&mut headers);
        let said = ["x-team", "x-key", "authorization"].map(|name| headers[name].to_str().unwrap());
        assert_eq!(said, ["edge", "two", "Bearer two"]);
        assert!(!format!("{headers:?}").contains("two"));
    }

    #[test]
    fn headers_that_cannot_be_sent_are_refused() {
        for (name, value, says) in [
            ("no name", "x", "no name of one"),
            ("Host", "x", "ours to write"),
            ("Webhook-Id", "x", "ours to write"),
            ("x-a", "two\nlines", "printable ASCII"),
        ] {
            let headers = Headers {
                fixed: [(name.to_owned(), value.to_owned())].into(),
                ..Headers::default()
            };
            let error = Extra::open(&headers).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
