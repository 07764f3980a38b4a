//! The rules of an acceptor one by one: given this state and this event, expect these effects.

mod bounds;
mod catch_up;
mod damage;
mod freshness;
mod learning;
mod peeking;
mod purging;
mod recovery;
mod voting;
mod watching;
mod world;
