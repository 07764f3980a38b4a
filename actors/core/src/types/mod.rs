//! The vocabulary: ids, keys, ballots, time, registers, configuration.

mod ballot;
mod blob;
mod config;
mod ids;
mod key;
mod register;
mod text_language;
mod time;
mod write;

pub use ballot::{Ballot, ParseBallotError};
pub use blob::Blob;
pub use config::{
    ClusterConfig, IndexSource, Member, NameError, Namespace, NamespaceError, NamespaceOptions,
    ShardConfig, check_name,
};
pub use ids::{
    Epoch, Incarnation, IoId, Lseq, Lsn, MemberId, NamespaceId, RequestId, SessionId, ShardId,
    WriteId,
};
pub use key::{Key, KeyError, RecordKey};
pub use register::{RecentWrite, Register};
pub use text_language::TextLanguage;
pub use time::{LogicalClock, LogicalTime, Millis};
pub use write::{Change, Condition, Write};
