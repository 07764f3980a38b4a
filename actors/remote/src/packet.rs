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
mod tests {
    use engram_core::protocol::link::{HelloIdentity, MemberIdentity, Role};
    use engram_core::types::MemberId;
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            session: SessionId(0x0102_0304_0506_0708),
            durable_lsn: Lsn(9),
            credit: Credit {
                frames: 10,
                bytes: 11,
            },
        }
    }

    fn hello() -> Hello {
        Hello {
            identity: HelloIdentity {
                cluster: "demo".into(),
                role: Role::Member(MemberIdentity {
                    member: MemberId(7),
                    node: "a".into(),
                    boot: 2,
                    address: "h:1".into(),
                    shards: 64,
                    cluster_id: Some(5),
                }),
                payload: vec![1, 2],
            },
            process: "a.2.00".into(),
            session: SessionId(3),
        }
    }

    fn bodies() -> Vec<Body> {
        vec![
            Body::Frames(vec![]),
            Body::Frames(vec![Bytes::from("one"), Bytes::new(), Bytes::from("three")]),
            Body::Hello(hello()),
            Body::Accept(Accept {
                session: SessionId(4),
                seen_lsn: Lsn(300),
            }),
            Body::Refuse(Refusal::Cluster {
                ours: "x".into(),
                yours: "y".into(),
            }),
            Body::Heartbeat(77),
            Body::HeartbeatReply(78),
            Body::Goodbye,
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn every_body_survives_the_wire() {
        for body in bodies() {
            let packet = Packet {
                header: header(),
                body,
            };
            let bytes = packet.encode().expect("the packet is small");
            assert_eq!(Packet::decode(bytes.into()), Ok(packet));
        }
    }

    /// The format on the wire. A change here needs a new [`WIRE_VERSION`].
    #[test]
    fn the_bytes_are_golden() {
        let head = |kind: u8, checksum: &str| {
            format!(
                "454e475201{kind:02x}0000{checksum}08070605040302010900000000000000\
                 0a000000000000000b00000000000000"
            )
        };
        let golden = [
            (FRAMES, "8155e365431890a2", ""),
            (
                FRAMES,
                "6a0b39c1968cb2cb",
                "030000006f6e6500000000050000007468726565",
            ),
            (
                HELLO,
                "b9108bdbf9d4f397",
                "0464656d6f000701610203683a31400105020102\
                06612e322e303003",
            ),
            (ACCEPT, "9dde02861aab7b09", "04fb2c01"),
            (REFUSE, "c1b4e54d296ba815", "0001780179"),
            (HEARTBEAT, "3401a15caba870bc", "4d00000000000000"),
            (HEARTBEAT_REPLY, "ea7c5652f61b2719", "4e00000000000000"),
            (GOODBYE, "24f6fef291803225", ""),
        ];
        for (body, (kind, checksum, tail)) in bodies().into_iter().zip(golden) {
            let bytes = Packet {
                header: header(),
                body,
            }
            .encode()
            .expect("the packet is small");
            assert_eq!(hex(&bytes), head(kind, checksum) + tail);
        }
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        for body in bodies() {
            let good = Packet {
                header: header(),
                body,
            }
            .encode()
            .expect("the packet is small");
            for position in 0..good.len() {
                let mut bad = good.clone();
                bad[position] ^= 0x40;
                assert!(Packet::decode(bad.into()).is_err(), "byte {position}");
                assert!(Packet::decode(Bytes::copy_from_slice(&good[..position])).is_err());
            }
        }
    }

    /// Puts a right checksum on a body, so that what lies behind the checksum is tested.
    fn sealed(kind: u8, body: &[u8]) -> Bytes {
        let mut bytes = Packet {
            header: header(),
            body: Body::Goodbye,
        }
        .encode()
        .expect("the packet is small");
        bytes[5] = kind;
        bytes.extend_from_slice(body);
        let checksum = checksum(&bytes).to_le_bytes();
        bytes[8..16].copy_from_slice(&checksum);
        bytes.into()
    }

    #[test]
    fn bounds_are_kept_in_both_directions() {
        let frames = vec![Bytes::new(); PACKET_COALESCE_FRAMES + 1];
        let packet = Packet {
            header: header(),
            body: Body::Frames(frames.clone()),
        };
        assert_eq!(packet.encode(), Err(PacketError::TooManyFrames));
        let bytes = sealed(FRAMES, &vec![0; frames.len() * LENGTH_BYTES]);
        assert_eq!(Packet::decode(bytes), Err(PacketError::TooManyFrames));

        let frames = vec![vec![0; PACKET_BYTES_MAX].into()];
        let packet = Packet {
            header: header(),
            body: Body::Frames(frames),
        };
        assert!(matches!(packet.encode(), Err(PacketError::TooLarge(_))));
        let bytes = Bytes::from(vec![0; PACKET_BYTES_MAX + 1]);
        assert!(matches!(
            Packet::decode(bytes),
            Err(PacketError::TooLarge(_))
        ));

        let mut long = hello();
        long.identity.cluster = "x".repeat(1000);
        let packet = Packet {
            header: header(),
            body: Body::Hello(long),
        };
        let bytes = packet.encode().expect("only the reader checks names");
        assert!(matches!(
            Packet::decode(bytes.into()),
            Err(PacketError::Hello(_))
        ));
    }

    #[test]
    fn other_versions_and_kinds_are_named() {
        let mut bytes = sealed(FRAMES, b"").to_vec();
        bytes[4] = WIRE_VERSION + 1;
        assert_eq!(
            Packet::decode(bytes.into()),
            Err(PacketError::Version(WIRE_VERSION + 1))
        );
        assert_eq!(Packet::decode(sealed(99, b"")), Err(PacketError::Kind(99)));
        assert_eq!(
            Packet::decode(sealed(GOODBYE, b"x")),
            Err(PacketError::Body)
        );
    }

    proptest! {
        #[test]
        fn frames_survive_the_wire(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40)) {
            let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
            let packet = Packet { header: header(), body: Body::Frames(frames) };
            let bytes = packet.encode().expect("the packet is small");
            prop_assert_eq!(Packet::decode(bytes.into()), Ok(packet));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Packet::decode(bytes.into()).is_err());
        }

        #[test]
        fn garbage_behind_a_right_checksum_never_panics(kind in 0_u8..8, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Packet::decode(sealed(kind, &body));
        }
    }
}
