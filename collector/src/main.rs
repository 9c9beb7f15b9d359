//! Collector binary.
fn main() {}
