//! What waits is bounded, and who is refused is told so.

use super::world::*;
use crate::limits::{KEY_QUEUE_MAX, PROPOSER_CACHE_BYTES, REPLICATOR_OPERATIONS_MAX};
use crate::types::Condition;
use crate::wire::RequestError;

use super::super::Operation;

#[test]
fn too_many_puts_of_one_key_are_refused() {
    let mut world = World::new();
    for sequence in 0..KEY_QUEUE_MAX as u64 {
        assert_eq!(answers(&world.ask(put(sequence, "v"))), []);
    }
    let effects = world.ask(put(1_000, "v"));
    let [(_, Err(RequestError::Overloaded { retry_after_ms }))] = &answers(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert!(*retry_after_ms > 0);
    assert_eq!(world.proposer.in_flight(), KEY_QUEUE_MAX);
    let other = Operation::Put {
        key: named("other"),
        write: write(1_001, "v", Condition::Any),
    };
    assert_eq!(answers(&world.ask(other)), [], "other keys go on");
}

#[test]
fn too_many_operations_are_refused() {
    let mut world = World::new();
    for _ in 0..REPLICATOR_OPERATIONS_MAX {
        assert_eq!(answers(&world.ask(get())), []);
    }
    let effects = world.ask(get());
    let [(_, Err(RequestError::Overloaded { .. }))] = &answers(&effects)[..] else {
        panic!("{effects:?}");
    };
    let ended = answers(&world.wait(PATIENCE_MS)).len();
    assert_eq!(ended, REPLICATOR_OPERATIONS_MAX, "none is forgotten");
    assert_eq!(answers(&world.ask(get())), [], "there is room again");
}

#[test]
fn registers_kept_for_the_next_write_stay_in_their_bound() {
    let mut world = World::new();
    let large = "x".repeat(PROPOSER_CACHE_BYTES / 4);
    for n in 0..6 {
        let operation = Operation::Put {
            key: named(&format!("k{n}")),
            write: write(n, &large, Condition::Any),
        };
        let (request, ballot) = prepared(&world.ask(operation));
        let effects = world.answer_all(&[ME, PEER], request, &promise(ballot, None));
        let accept = accepting(&effects);
        world.answer_all(&[ME, PEER], accept.request, &accepted(ballot));
        assert!(
            world.proposer.reserved.weight() <= PROPOSER_CACHE_BYTES,
            "{n}"
        );
    }
    let again = |n: u64| Operation::Put {
        key: named(&format!("k{n}")),
        write: write(100 + n, "v", Condition::Any),
    };
    accepting(&world.ask(again(5)));
    prepared(&world.ask(again(0)));
}
