//! The rules of a proposer one by one: given this state and this event, expect these effects.

mod bounds;
mod housekeeping;
mod reads;
mod rounds;
mod scans;
mod world;
mod writes;
