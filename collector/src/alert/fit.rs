//! Makes an event fit into what receivers take. Pure.
//!
//! In: an event as JSON, and less than how many bytes it may have. Out: the same bytes if they fit,
//! otherwise the event with its longest lists shortened, as little as is needed, and
//! `"shortened": true` beside them. The same event gives the same bytes, so every attempt sends the
//! same. What is stored stays whole.

use serde_json::Value;

/// The event, or what of it fits; none if what is not a list is too long.
pub(crate) fn fit(body: &str, bytes_max: usize) -> Option<String> {
    if body.len() < bytes_max {
        return Some(body.to_owned());
    }
    let mut event: Value = serde_json::from_str(body).ok()?;
    let fields = event.get_mut("data")?.as_object_mut()?;
    fields.insert("shortened".to_owned(), Value::Bool(true));
    loop {
        let text = event.to_string();
        if text.len() < bytes_max {
            return Some(text);
        }
        let list = longest(&mut event)?;
        let kept = list.len() * 3 / 4;
        list.truncate(kept);
    }
}

/// The list that takes most room, if there is one with anything in it.
fn longest(value: &mut Value) -> Option<&mut Vec<Value>> {
    let path = path_of_longest(value)?.1;
    let mut found = value;
    for key in path {
        found = found.get_mut(key)?;
    }
    found.as_array_mut()
}

/// How many bytes it has, and the keys that lead to it.
fn path_of_longest(value: &Value) -> Option<(usize, Vec<String>)> {
    match value {
        Value::Object(fields) => {
            let found = fields.iter().filter_map(|(key, value)| {
                let (bytes, mut path) = path_of_longest(value)?;
                path.insert(0, key.clone());
                Some((bytes, path))
            });
            found.max_by_key(|(bytes, _)| *bytes)
        }
        // Lists in a list stay whole, and go with their outer one.
        Value::Array(list) if !list.is_empty() => Some((value.to_string().len(), vec![])),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BYTES_MAX: usize = 20_000;

    #[test]
    fn what_fits_is_left_alone_and_what_does_not_loses_the_ends_of_lists() {
        let small = r#"{"type":"t","timestamp":"s","data":{"b":1,"a":[1, 2]}}"#;
        assert_eq!(fit(small, BYTES_MAX).unwrap(), small);
        let long: Vec<_> = (0..2_000)
            .map(|at| json!({ "series": at, "pages": 0.5 }))
            .collect();
        let short = ["kept", "whole"];
        let event =
            json!({ "type": "t", "data": { "incident": { "series": long }, "bins": short } });
        let fitted = fit(&event.to_string(), BYTES_MAX).unwrap();
        assert!(fitted.len() < BYTES_MAX && fitted.len() > BYTES_MAX / 2);
        assert_eq!(fitted, fit(&event.to_string(), BYTES_MAX).unwrap());
        let fitted: Value = serde_json::from_str(&fitted).unwrap();
        assert_eq!(fitted["data"]["shortened"], true);
        assert_eq!(fitted["data"]["bins"], json!(short));
        assert_eq!(fitted["data"]["incident"]["series"][0]["series"], 0);
        assert_eq!(fitted["type"], "t");
    }

    #[test]
    fn what_is_long_without_lists_cannot_be_sent() {
        let event = json!({ "data": { "text": "x".repeat(30_000), "list": [] } });
        assert_eq!(fit(&event.to_string(), BYTES_MAX), None);
    }
}
