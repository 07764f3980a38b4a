//! State machines, one folder each.

pub mod random;
pub mod register;
