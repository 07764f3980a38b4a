//! The vocabulary: ids, keys, ballots, time, configuration. Checked when made, cheap to copy.

mod ballot;
mod blob;
mod ids;
mod key;
mod time;

pub use ballot::{Ballot, ParseBallotError};
pub use blob::Blob;
pub use ids::{
    Epoch, Incarnation, IoId, Lseq, Lsn, MemberId, NamespaceId, RequestId, SessionId, ShardId,
    WriteId,
};
pub use key::{Key, KeyError, RecordKey};
pub use time::{LogicalClock, LogicalTime, Millis};
