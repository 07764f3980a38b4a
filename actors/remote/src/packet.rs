//! Packets: what one process casts to the ingress of another.
//!
//! All numbers are little-endian.
//!
//! ```text
//!  0  magic "ENGR"            4  wire version u8      5  kind u8      6  zero u16
//!  8  checksum u64: xxh3 of everything from byte 16 on, seeded with bytes 0 to 8
//! 16  session u64             the id that the receiver drew for the sender; 0 with a hello
//! 24  durable lsn u64         of the sending member; 0 from clients
//! 32  processed frames u64    40  processed bytes u64: credit, as running totals
//! 48  body
//! ```
//!
//! | kind | body |
//! |---|---|
//! | 0 frames | any number of: length u32, bytes. None returns credit alone |
//! | 1 hello, 2 accept, 3 refuse | bincode |
//! | 4 heartbeat, 5 heartbeat reply | token u64 |
//! | 6 goodbye | nothing |
//!
//! Decoding never panics and never allocates more than a small multiple of what it was given.

use bincode::{Decode, Encode};
use bytes::{Buf, Bytes};
use engram_core::limits::{PACKET_BYTES_MAX, PACKET_COALESCE_FRAMES};
use engram_core::protocol::link::limits::CONTROL_BYTES_MAX;
use engram_core::protocol::link::{Accept, Credit, Hello, HelloError, Refusal};
use engram_core::types::{Lsn, SessionId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Version of everything that one process sends to another. Processes of different versions
/// refuse each other.
pub const WIRE_VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"ENGR";
const HEADER_BYTES: usize = 48;
const LENGTH_BYTES: usize = 4;

const FRAMES: u8 = 0;
const HELLO: u8 = 1;
const ACCEPT: u8 = 2;
const REFUSE: u8 = 3;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_REPLY: u8 = 5;
const GOODBYE: u8 = 6;

/// What is said in every packet, whatever it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// The id that the receiver drew for the sender.
    pub session: SessionId,
    /// The highest log sequence number that is durable at the sender; 0 from clients.
    pub durable_lsn: Lsn,
    /// What the sender has processed of the receiver's frames.
    pub credit: Credit,
}

/// What a packet carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Opaque frames, in order; slices of the packet.
    Frames(Vec<Bytes>),
    /// See [`Hello`].
    Hello(Hello),
    /// See [`Accept`].
    Accept(Accept),
    /// See [`Refusal`].
    Refuse(Refusal),
    /// Asks for a [`Body::HeartbeatReply`] with the same token.
    Heartbeat(u64),
    /// Answers a [`Body::Heartbeat`].
    HeartbeatReply(u64),
    /// The sender leaves.
    Goodbye,
}

/// One packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Said in every packet.
    pub header: Header,
    /// What it carries.
    pub body: Body,
}

/// Bytes are not a packet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// Too short, or a length points past the end.
    #[error("the packet is cut short")]
    Truncated,
    /// Larger than any packet.
    #[error("the packet has {0} bytes")]
    TooLarge(usize),
    /// Not from this system.
    #[error("the packet does not begin as one")]
    Magic,
    /// From another version of this system.
    #[error("the packet has wire version {0}, this is version {WIRE_VERSION}")]
    Version(u8),
    /// Damaged.
    #[error("the checksum of the packet does not match")]
    Checksum,
    /// Unknown kind.
    #[error("unknown kind {0} of packet")]
    Kind(u8),
    /// More frames than one packet may carry.
    #[error("more than {PACKET_COALESCE_FRAMES} frames in one packet")]
    TooManyFrames,
    /// The body is not what its kind says.
    #[error("the body of the packet is malformed")]
    Body,
    /// A greeting with a field that is too long.
    #[error(transparent)]
    Hello(#[from] HelloError),
}

impl Packet {
    /// The bytes of the packet.
    ///
    /// # Errors
    /// [`PacketError::TooLarge`] or [`PacketError::TooManyFrames`] for what no peer would take.
    pub fn encode(&self) -> Result<Vec<u8>, PacketError> {
        let body_bytes = match &self.body {
            Body::Frames(frames) => frames.iter().map(|frame| LENGTH_BYTES + frame.len()).sum(),
            _ => 64,
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + body_bytes);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[WIRE_VERSION, self.body.kind(), 0, 0]);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.header.session.0.to_le_bytes());
        out.extend_from_slice(&self.header.durable_lsn.0.to_le_bytes());
        out.extend_from_slice(&self.header.credit.frames.to_le_bytes());
        out.extend_from_slice(&self.header.credit.bytes.to_le_bytes());
        self.body.encode(&mut out)?;
        if out.len() > PACKET_BYTES_MAX {
            return Err(PacketError::TooLarge(out.len()));
        }
        let checksum = checksum(&out).to_le_bytes();
        if let Some(place) = out.get_mut(8..16) {
            place.copy_from_slice(&checksum);
        }
        Ok(out)
    }

    /// Reads a packet. Frames are slices of `bytes` and keep all of it in memory.
    ///
    /// # Errors
    /// [`PacketError`] for anything that [`Packet::encode`] does not make.
    pub fn decode(bytes: Bytes) -> Result<Packet, PacketError> {
        if bytes.len() > PACKET_BYTES_MAX {
            return Err(PacketError::TooLarge(bytes.len()));
        }
        let mut head = bytes.get(..HEADER_BYTES).ok_or(PacketError::Truncated)?;
        let mut magic = [0; MAGIC.len()];
        head.copy_to_slice(&mut magic);
        if magic != MAGIC {
            return Err(PacketError::Magic);
        }
        let (version, kind) = (head.get_u8(), head.get_u8());
        if version != WIRE_VERSION {
            return Err(PacketError::Version(version));
        }
        head.advance(2);
        if head.get_u64_le() != checksum(&bytes) {
            return Err(PacketError::Checksum);
        }
        let header = Header {
            session: SessionId(head.get_u64_le()),
            durable_lsn: Lsn(head.get_u64_le()),
            credit: Credit {
                frames: head.get_u64_le(),
                bytes: head.get_u64_le(),
            },
        };
        let body = Body::decode(kind, bytes.slice(HEADER_BYTES..))?;
        Ok(Packet { header, body })
    }
}

/// Covers everything but itself.
fn checksum(packet: &[u8]) -> u64 {
    let seed = packet
        .first_chunk::<8>()
        .map_or(0, |first| u64::from_le_bytes(*first));
    xxh3_64_with_seed(packet.get(16..).unwrap_or_default(), seed)
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Body::Frames(_) => FRAMES,
            Body::Hello(_) => HELLO,
            Body::Accept(_) => ACCEPT,
            Body::Refuse(_) => REFUSE,
            Body::Heartbeat(_) => HEARTBEAT,
            Body::HeartbeatReply(_) => HEARTBEAT_REPLY,
            Body::Goodbye => GOODBYE,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), PacketError> {
        match self {
            Body::Frames(frames) => {
                if frames.len() > PACKET_COALESCE_FRAMES {
                    return Err(PacketError::TooManyFrames);
                }
                for frame in frames {
                    let length = u32::try_from(frame.len())
                        .map_err(|_| PacketError::TooLarge(frame.len()))?;
                    out.extend_from_slice(&length.to_le_bytes());
                    out.extend_from_slice(frame);
                }
                Ok(())
            }
            Body::Hello(hello) => encode_control(hello, out),
            Body::Accept(accept) => encode_control(accept, out),
            Body::Refuse(refusal) => encode_control(refusal, out),
            Body::Heartbeat(token) | Body::HeartbeatReply(token) => {
                out.extend_from_slice(&token.to_le_bytes());
                Ok(())
            }
            Body::Goodbye => Ok(()),
        }
    }

    fn decode(kind: u8, bytes: Bytes) -> Result<Body, PacketError> {
        match kind {
            FRAMES => decode_frames(bytes).map(Body::Frames),
            HELLO => {
                let hello: Hello = decode_control(&bytes)?;
                hello.check_bounds()?;
                Ok(Body::Hello(hello))
            }
            ACCEPT => decode_control(&bytes).map(Body::Accept),
            REFUSE => decode_control(&bytes).map(Body::Refuse),
            HEARTBEAT => decode_token(&bytes).map(Body::Heartbeat),
            HEARTBEAT_REPLY => decode_token(&bytes).map(Body::HeartbeatReply),
            GOODBYE if bytes.is_empty() => Ok(Body::Goodbye),
            GOODBYE => Err(PacketError::Body),
            other => Err(PacketError::Kind(other)),
        }
    }
}

fn decode_frames(mut bytes: Bytes) -> Result<Vec<Bytes>, PacketError> {
    let mut frames = Vec::new();
    while bytes.has_remaining() {
        if frames.len() >= PACKET_COALESCE_FRAMES {
            return Err(PacketError::TooManyFrames);
        }
        if bytes.remaining() < LENGTH_BYTES {
            return Err(PacketError::Truncated);
        }
        let length = usize::try_from(bytes.get_u32_le()).map_err(|_| PacketError::Truncated)?;
        if bytes.remaining() < length {
            return Err(PacketError::Truncated);
        }
        frames.push(bytes.split_to(length));
    }
    Ok(frames)
}

fn decode_token(bytes: &[u8]) -> Result<u64, PacketError> {
    let token: [u8; 8] = bytes.try_into().map_err(|_| PacketError::Body)?;
    Ok(u64::from_le_bytes(token))
}

fn control_config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<CONTROL_BYTES_MAX>()
}

fn encode_control(value: &impl Encode, out: &mut Vec<u8>) -> Result<(), PacketError> {
    let start = out.len();
    bincode::encode_into_std_write(value, out, control_config()).map_err(|_| PacketError::Body)?;
    match out.len() - start {
        bytes if bytes > CONTROL_BYTES_MAX => Err(PacketError::TooLarge(bytes)),
        _ => Ok(()),
    }
}

fn decode_control<T: Decode<()>>(bytes: &[u8]) -> Result<T, PacketError> {
    let (value, read) =
        bincode::decode_from_slice(bytes, control_config()).map_err(|_| PacketError::Body)?;
    if read == bytes.len() {
        Ok(value)
    } else {
        Err(PacketError::Body)
    }
}

#[cfg(test)]
mod tests;
