//! Frames: what links carry between processes.

use bincode::{Decode, Encode};

use super::client::{ClientRequest, ClientResponse};
use super::gossip::GossipMessage;
use super::register::{HitRead, RegisterReply, RegisterRequest};
use crate::index::{PartitionError, PartitionHits, PartitionQuery, VectorShip, VectorWant};
use crate::storage::format::CODEC;
use crate::types::{Ballot, LogicalTime, MemberId, RequestId, SessionId, ShardId};

/// Where the answer to a client's request goes, also when another node carries it out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
pub struct ReturnAddress {
    /// The node to which the client is connected.
    pub via: MemberId,
    /// The client's session there.
    pub session: SessionId,
    /// The client's request.
    pub request: RequestId,
}

/// A client's request on its way.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct RequestEnvelope {
    /// The sender's name for it, which comes back with the answer.
    pub request: RequestId,
    /// The sender's logical time.
    pub time: LogicalTime,
    /// How long the sender waits, in milliseconds.
    pub timeout_ms: u32,
    /// What is asked.
    pub body: ClientRequest,
}

/// Everything that one process says to another.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum Frame {
    /// Client to node.
    Request(RequestEnvelope),
    /// Node to client.
    Response(RequestId, ClientResponse),
    /// Member to member: a client's request for a replica.
    Forward(ReturnAddress, RequestEnvelope),
    /// Member to member: its answer.
    ForwardReply(ReturnAddress, ClientResponse),
    /// Member to member: register protocol.
    Register(RegisterRequest),
    /// Member to member: register protocol.
    RegisterReply(RegisterReply),
    /// Member to member: liveness, versions, configuration.
    Gossip(GossipMessage),
    /// Member to member: a search of some shards' indexes.
    PartitionQuery(RequestId, PartitionQuery),
    /// Member to member: what one partition found in these of the shards asked for.
    PartitionHits(
        RequestId,
        Vec<ShardId>,
        Result<PartitionHits, PartitionError>,
    ),
    /// Member to member: a vector, so that it is computed once for all replicas.
    VectorShip(VectorShip),
    /// Member to member: vectors are missing there.
    VectorWant(VectorWant),
    /// Member to member: what have you accepted of these hits?
    HitReads(RequestId, Vec<HitRead>),
    /// Member to member: at which ballots, in the order asked; none if it cannot tell.
    HitsHeld(RequestId, Vec<Option<Ballot>>),
}

/// Bytes that are not a frame of this release.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("undecodable frame: {0}")]
pub struct FrameError(String);

impl Frame {
    /// The frame as bytes.
    pub fn encode(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, CODEC).expect("no frame type refuses to be encoded")
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`FrameError`] if the bytes are not exactly one frame.
    pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        match bincode::decode_from_slice(bytes, CODEC) {
            Ok((frame, read)) if read == bytes.len() => Ok(frame),
            Ok((_, read)) => Err(FrameError(format!("{} bytes too many", bytes.len() - read))),
            Err(error) => Err(FrameError(error.to_string())),
        }
    }
}
