//! State machines that speak with other processes.

pub mod link;
