//! Demo binary.
fn main() {}
