//! Inner products with SIMD, compiled once per instruction set and chosen when the process runs, so
//! that old processors work too. A crate of its own, so that tests get them optimised.
//!
//! Every result depends on the numbers alone, not on the processor.

mod codes;
mod dot;

pub use codes::{dot_codes, dot_codes_each, dot_codes_rows};
pub use dot::{dot, dot_rows};
