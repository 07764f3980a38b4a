//! Standing queries, as they cross the wire.

use bincode::{Decode, Encode};

use super::Entry;
use crate::types::{Ballot, Key, Lseq, MemberId, NamespaceId, ShardId};

/// What changed in a shard after a position? Answered at once if something did, else when
/// something does, or with an empty page when about half of the request's time is up. Idempotent.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Watch {
    /// Which shard.
    pub shard: ShardId,
    /// Only keys of this namespace,
    pub namespace: NamespaceId,
    /// and with this prefix.
    pub prefix: Vec<u8>,
    /// What was seen of each replica's change log; empty: from now on.
    pub since: Vec<(MemberId, Lseq)>,
    /// Only new values that are near this meaning.
    pub similar: Option<Similar>,
    /// Whether values are wanted.
    pub with_values: bool,
}

/// A meaning, and how near is near enough.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Similar {
    /// A text that has it.
    pub text: String,
    /// Least cosine similarity: -1 to 1.
    pub threshold: f32,
}

/// Changes of a shard. A key that changed several times is there once, as it is now.
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
pub struct WatchPage {
    /// Who answers.
    pub member: MemberId,
    /// What happened.
    pub changes: Vec<WatchChange>,
    /// Where to go on, at whichever replica.
    pub position: Vec<(MemberId, Lseq)>,
    /// False if more may have happened than this replica can tell: the shard must be read anew.
    pub is_complete: bool,
}

/// One key, as it is now.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct WatchChange {
    /// Which.
    pub key: Key,
    /// The version of its value, or of its end.
    pub version: Ballot,
    /// What it holds.
    pub state: Watched,
    /// Cosine similarity, if the meaning was compared.
    pub score: Option<f32>,
}

/// What became of a key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Watched {
    /// It holds this.
    Present(Entry),
    /// It was deleted.
    Deleted,
    /// Its value has ended.
    Expired,
}
