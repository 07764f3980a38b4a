//! State machines, one folder each.

pub mod eviction;
pub mod link;
pub mod membership;
pub mod random;
pub mod register;
pub mod restart;
pub mod scan;
pub mod search;
pub mod watch;
