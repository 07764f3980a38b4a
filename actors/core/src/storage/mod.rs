//! What the state machines ask of a disk: atomic batches, point reads and range reads.
//!
//! Keys are built by [`keys`], values by [`mod@format`]. The engine below sees bytes only.

pub mod format;
pub mod keys;

use bytes::Bytes;

/// A named part of a node's database. All of them commit together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Keyspace {
    /// Node identity, boot count, configuration, shard metadata, last lsn.
    Meta,
    /// (shard, namespace, key) → record.
    Records,
    /// (shard, lseq) → record key: the change log.
    Changes,
    /// (shard, expiry time, namespace, key) → nothing.
    Expiry,
    /// (shard, lseq) → record key of a register without value.
    Empties,
    /// (shard, namespace, key) → vector, with the version and the model it was made from.
    Vectors,
}

impl Keyspace {
    /// All of them, in a fixed order.
    pub const ALL: [Keyspace; 6] = [
        Keyspace::Meta,
        Keyspace::Records,
        Keyspace::Changes,
        Keyspace::Expiry,
        Keyspace::Empties,
        Keyspace::Vectors,
    ];

    /// The name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Keyspace::Meta => "meta",
            Keyspace::Records => "records",
            Keyspace::Changes => "changes",
            Keyspace::Expiry => "expiry",
            Keyspace::Empties => "empties",
            Keyspace::Vectors => "vectors",
        }
    }
}

/// One change within a [`WriteBatch`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteOp {
    /// Sets a key.
    Put {
        /// Where.
        keyspace: Keyspace,
        /// Not empty.
        key: Bytes,
        /// May be empty.
        value: Bytes,
    },
    /// Removes a key, if there.
    Remove {
        /// Where.
        keyspace: Keyspace,
        /// Not empty.
        key: Bytes,
    },
}

/// Changes that reach the disk all together or not at all. Later ones win over earlier ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteBatch {
    /// In order.
    pub ops: Vec<WriteOp>,
}

impl WriteBatch {
    /// Adds a put.
    pub fn put(&mut self, keyspace: Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.ops.push(WriteOp::Put {
            keyspace,
            key: key.into(),
            value: value.into(),
        });
    }

    /// Adds a removal.
    pub fn remove(&mut self, keyspace: Keyspace, key: impl Into<Bytes>) {
        self.ops.push(WriteOp::Remove {
            keyspace,
            key: key.into(),
        });
    }

    /// Bytes of all keys and values.
    pub fn byte_len(&self) -> usize {
        self.ops
            .iter()
            .map(|op| match op {
                WriteOp::Put { key, value, .. } => key.len() + value.len(),
                WriteOp::Remove { key, .. } => key.len(),
            })
            .sum()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// A range of keys of one keyspace, read in ascending order from committed state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeQuery {
    /// Where.
    pub keyspace: Keyspace,
    /// First key, inclusive.
    pub from: Bytes,
    /// End of the range, exclusive.
    pub to: Bytes,
    /// Most pairs returned.
    pub limit_entries: usize,
    /// Stop after the pair that reaches this many bytes.
    pub limit_bytes: usize,
}

/// Answer to a [`RangeQuery`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RangePage {
    /// Keys and values, ascending.
    pub entries: Vec<(Bytes, Bytes)>,
    /// Whether the range goes on beyond the last entry.
    pub more: bool,
}
