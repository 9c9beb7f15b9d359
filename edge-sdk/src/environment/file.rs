//! The configuration file: one flat JSON object whose keys are our variables without their prefix,
//! in lower case. In: a path. Out: options with their values as text, in the order they apply, or
//! an error that names the key. Reads no more than a few pages of any file.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde_json::Value;

use super::{
    FILE,
    options::{Named, OPTIONS},
    unusable,
};
use crate::error::Error;

/// A file of all options is a few hundred bytes.
const BYTES_MAX: u64 = 64 * 1024;

/// What a file says, option by option.
pub(super) fn read(path: &Path) -> Result<Vec<(&'static Named, String)>, Error> {
    let shown = path.display().to_string();
    let text = bounded(path).map_err(|error| {
        let rule = format!("{error}; name a JSON file that can be read");
        unusable(FILE, &shown, &rule)
    })?;
    // The error of the parser names a place and repeats nothing of the file.
    let object: Value = serde_json::from_str(&text).map_err(|error| {
        let rule = format!("{error}; write one JSON object");
        unusable(FILE, &shown, &rule)
    })?;
    let Value::Object(mut entries) = object else {
        return Err(unusable(FILE, &shown, "write one JSON object"));
    };
    let mut said = Vec::new();
    for option in OPTIONS {
        let key = option.key();
        let value = entries.remove(&key).unwrap_or(Value::Null);
        let origin = || format!("key {key:?} of {shown}");
        match plain(&value) {
            Ok(Some(text)) => said.push((option, text)),
            Ok(None) => {}
            Err(rule) => {
                let value = value.to_string();
                return Err(unusable(&origin(), option.shown(&value), rule));
            }
        }
    }
    match entries.keys().next() {
        None => Ok(said),
        Some(key) => {
            let rule = "no option has this name; the README of fathomline-edge lists them";
            Err(unusable(FILE, &format!("{shown}: {key}"), rule))
        }
    }
}

fn bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if read as u64 > BYTES_MAX {
        return Err(io::Error::other("more than 65536 bytes"));
    }
    Ok(text)
}

/// The text a variable would hold; none for null and for an empty text, which say nothing.
fn plain(value: &Value) -> Result<Option<String>, &'static str> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            let part = |item: &Value| match item {
                Value::String(text) if !text.contains(',') => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            let parts: Option<Vec<String>> = items.iter().map(part).collect();
            let rule = "a list holds numbers, or texts without commas";
            parts.ok_or(rule)?.join(",")
        }
        Value::Object(_) => return Err("give a text, a number, true, false or a list"),
    };
    Ok((!text.is_empty()).then_some(text))
}
