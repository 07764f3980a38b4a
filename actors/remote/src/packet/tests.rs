//! Round trips, golden bytes, damage and garbage.

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
