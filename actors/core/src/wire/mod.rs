//! Everything that crosses between processes, and nothing else.

mod client;
mod frame;
mod gossip;
pub mod register;
mod search;
mod status;
mod watch;

pub use client::{
    ClientReply, ClientRequest, ClientResponse, Entry, Get, GetConfig, GetStatus,
    ListEmbedFailures, OpenNamespace, Put, Request, RequestError, Scan, ScanPage, ScanShard,
    Written,
};
pub use frame::{Frame, FrameError, RequestEnvelope, ReturnAddress};
pub use gossip::{GossipMessage, IndexLag, ShardSummary};
pub use search::{
    Explanation, HybridWeights, Search, SearchHit, SearchMode, SearchReply, Standing,
};
pub use status::{
    EmbedderStatus, MissingEmbedder, NamespaceStatus, NodeStatus, PartitionStatus, PeerStatus,
    ShardStatus,
};
pub use watch::{Similar, Watch, WatchChange, WatchPage, Watched};
