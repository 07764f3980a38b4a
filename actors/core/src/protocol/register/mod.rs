//! Linearizable registers, one per key: CASPaxos (Rystsov 2018, arXiv 1802.07000) with one round
//! trip writes, at-most-once writes and safe deletion.
//!
//! An [`acceptor`] owns the records of one replica of a shard; a [`proposer`] runs rounds against
//! the acceptors of all replicas. There is no leader: any replica may propose at any time.
//!
//! Deviations from the paper: a proposer may reserve its next ballot with each accept, so that its
//! next write needs no prepare; an identity round answers reads only when two replicas differ; a
//! deleted register is purged only after all replicas hold the tombstone, and a floor then refuses
//! everything older, so that no old message revives it.
//!
//! Invariants:
//! 1. One register per (key, ballot).
//! 2. `promise`, `accepted`, `floor` and `epoch` never go back for a member.
//! 3. When a promise or an acceptance leaves, its state is on disk.
//! 4. When a client is answered, a quorum durably holds `accepted >= ballot`, or a floor above it.
//! 5. No purge without a tombstone accepted by every replica.
//! 6. A member never votes after losing state.
//! 7. A recovering replica neither votes nor serves.
//! 8. A write id is applied at most once.

pub mod acceptor;
pub mod apply;
pub mod cache;
pub mod proposer;
