//! The `engram` binary.
fn main() {}
