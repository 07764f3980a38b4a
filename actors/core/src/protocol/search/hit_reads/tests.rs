use super::*;
use crate::types::{Blob, NamespaceId};

const ME: MemberId = MemberId(1);
const PEER: MemberId = MemberId(2);
const NOW: Millis = Millis(1_000);

fn key(name: &str) -> RecordKey {
    RecordKey {
        namespace: NamespaceId(1),
        key: Key::new(name).expect("short"),
    }
}

fn hit(name: &str, others: Option<Vec<MemberId>>) -> Hit {
    Hit {
        key: key(name),
        shard: ShardId(3),
        epoch: Epoch(1),
        others,
    }
}

fn ballot(n: u64) -> Ballot {
    Ballot { n, ..Ballot::ZERO }
}

/// What this node holds at ballot `n`.
fn own(n: u64, expires_at: Option<Millis>) -> Option<Held> {
    let register = Register {
        vtag: ballot(n),
        value: Some(Blob::from(b"value".as_slice())),
        expires_at,
        ..Register::default()
    };
    Some(Held {
        accepted: ballot(n),
        register: Some(Arc::new(register)),
    })
}

fn theirs(n: u64) -> Option<Held> {
    Some(Held {
        accepted: ballot(n),
        register: None,
    })
}

/// Two hits that are asked of this node and a peer, and one that a get reads.
fn three() -> HitReads {
    let mut out = Vec::new();
    let both = || Some(vec![PEER]);
    let hits = vec![hit("a", both()), hit("b", both()), hit("c", None)];
    let reads = HitReads::new(ME, hits, true, Planted::default(), &mut out);
    let wanted = |name: &str| HitRead {
        shard: ShardId(3),
        epoch: Epoch(1),
        key: key(name),
    };
    let asked = || vec![wanted("a"), wanted("b")];
    let expected = [
        HitReadsEffect::Ask(ME, asked()),
        HitReadsEffect::Ask(PEER, asked()),
        HitReadsEffect::Get(2, ShardId(3), key("c")),
    ];
    assert_eq!(out, expected);
    reads
}

fn step(reads: &mut HitReads, event: HitReadsEvent) -> Vec<HitReadsEffect> {
    let mut out = Vec::new();
    reads.step(NOW, event, &mut out);
    out
}

fn gets(effects: &[HitReadsEffect]) -> Vec<usize> {
    let gets = effects.iter().filter_map(|effect| match effect {
        HitReadsEffect::Get(place, ..) => Some(*place),
        _ => None,
    });
    gets.collect()
}

/// The versions found, once all hits are read.
fn done(effects: &[HitReadsEffect]) -> Option<Vec<Option<Ballot>>> {
    effects.iter().find_map(|effect| match effect {
        HitReadsEffect::Done(read) => {
            let read = read.iter();
            Some(
                read.map(|(_, entry)| Some(entry.as_ref()?.version))
                    .collect(),
            )
        }
        _ => None,
    })
}

#[test]
fn what_both_hold_at_one_ballot_is_read_in_either_order() {
    for peer_first in [false, true] {
        let mut reads = three();
        let mut answers = [
            HitReadsEvent::Held(
                ME,
                vec![
                    own(5, None),
                    Some(Held {
                        accepted: Ballot::ZERO,
                        register: None,
                    }),
                ],
            ),
            HitReadsEvent::Held(PEER, vec![theirs(5), theirs(0)]),
        ];
        if peer_first {
            answers.reverse();
        }
        for answer in answers {
            assert_eq!(step(&mut reads, answer), []);
        }
        let effects = step(&mut reads, HitReadsEvent::Got(2, None));
        assert_eq!(done(&effects), Some(vec![Some(ballot(5)), None, None]));
    }
}

#[test]
fn what_replicas_differ_on_or_cannot_tell_is_read_by_a_get() {
    let mut reads = three();
    assert_eq!(
        step(&mut reads, HitReadsEvent::Held(PEER, vec![theirs(6)])).len(),
        1
    );
    let effects = step(
        &mut reads,
        HitReadsEvent::Held(ME, vec![own(5, None), own(5, None)]),
    );
    assert_eq!(gets(&effects), [0]);
    assert_eq!(step(&mut reads, HitReadsEvent::Got(0, None)), []);
    assert_eq!(step(&mut reads, HitReadsEvent::Got(1, None)), []);
    let effects = step(&mut reads, HitReadsEvent::Got(2, None));
    assert_eq!(done(&effects), Some(vec![None; 3]));
}

#[test]
fn silent_and_lost_members_are_not_waited_for() {
    for event in [HitReadsEvent::Overdue, HitReadsEvent::MemberDown(PEER)] {
        let mut reads = three();
        step(
            &mut reads,
            HitReadsEvent::Held(ME, vec![own(5, None), own(5, None)]),
        );
        assert_eq!(gets(&step(&mut reads, event.clone())), [0, 1], "{event:?}");
        // What comes late changes nothing, nor does it come twice.
        let late = HitReadsEvent::Held(PEER, vec![theirs(5), theirs(5)]);
        assert_eq!(step(&mut reads, late), []);
        assert_eq!(step(&mut reads, HitReadsEvent::Overdue), []);
    }
}

#[test]
fn one_answer_is_not_enough_and_nobody_answers_twice() {
    let mut reads = three();
    let mine = || HitReadsEvent::Held(ME, vec![own(5, None), own(5, None)]);
    step(&mut reads, HitReadsEvent::Got(2, None));
    assert_eq!(step(&mut reads, mine()), []);
    assert_eq!(step(&mut reads, mine()), []);
    let stranger = HitReadsEvent::Held(MemberId(9), vec![theirs(5), theirs(5)]);
    assert_eq!(step(&mut reads, stranger), []);
}

#[test]
fn an_ended_value_is_left_to_a_get() {
    let mut reads = three();
    step(
        &mut reads,
        HitReadsEvent::Held(ME, vec![own(5, Some(NOW)), own(5, Some(NOW.plus(1)))]),
    );
    let effects = step(
        &mut reads,
        HitReadsEvent::Held(PEER, vec![theirs(5), theirs(5)]),
    );
    assert_eq!(gets(&effects), [0]);
}

#[test]
fn a_single_replica_is_a_majority() {
    let mut out = Vec::new();
    let mut reads = HitReads::new(
        ME,
        vec![hit("a", Some(vec![]))],
        false,
        Planted::default(),
        &mut out,
    );
    let effects = step(&mut reads, HitReadsEvent::Held(ME, vec![own(5, None)]));
    assert_eq!(done(&effects), Some(vec![Some(ballot(5))]));
}
