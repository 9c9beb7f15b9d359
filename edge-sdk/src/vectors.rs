//! Numbers that were computed elsewhere, for tests: `vectors/` of the repository, or the folder
//! that `FATHOMLINE_VECTORS` names. In: the name of a file. Out: its JSON.

use serde_json::Value;

pub(crate) fn read(name: &str) -> Value {
    let folder = std::env::var("FATHOMLINE_VECTORS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors").to_owned());
    let text = std::fs::read_to_string(std::path::Path::new(&folder).join(name))
        .unwrap_or_else(|error| panic!("cannot read {name} in {folder}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// The numbers of a list, which must not be empty.
pub(crate) fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().unwrap();
    assert!(!list.is_empty(), "an empty list in the vectors");
    list.iter().map(|n| n.as_f64().unwrap()).collect()
}
