//! Scans: pages of two replicas, and quorum reads of what they differ on.

use std::sync::Arc;

use super::super::{Effect, HEDGE_MS, Operation};
use super::world::*;
use crate::types::{Ballot, NamespaceId, Register, RequestId};
use crate::wire::register::{ReplyBody, RequestBody};
use crate::wire::{ClientReply, RequestError, Scan, ScanPage};

fn scan(limit: u32) -> Operation {
    Operation::Scan(Scan {
        namespace: NamespaceId(1),
        prefix: Vec::new(),
        after: None,
        limit,
        with_values: true,
    })
}

/// A replica's page: names, and the ballot numbers at which they were accepted.
fn page(entries: &[(&str, u64)], own: bool, more: bool) -> ReplyBody {
    let entries = entries.iter().map(|(name, n)| {
        let register: Option<Arc<Register>> = own.then(|| register(*n, Some(name)));
        (named(name).key, theirs(*n), register)
    });
    ReplyBody::Scanned {
        entries: entries.collect(),
        more,
    }
}

fn scanning(effects: &[Effect]) -> (RequestId, crate::types::MemberId) {
    let all = asked(effects);
    assert_eq!(all.len(), 2, "{all:?}");
    let peer = all.iter().find(|asked| asked.of != [ME]).expect("a peer");
    (peer.request, peer.of[0])
}

fn pages(effects: &[Effect]) -> Vec<ScanPage> {
    let page = |(_, result)| match result {
        Ok(ClientReply::Page(page)) => page,
        other => panic!("{other:?}"),
    };
    answers(effects).into_iter().map(page).collect()
}

fn names(page: &ScanPage) -> Vec<String> {
    let name = |key: &crate::types::Key| String::from_utf8_lossy(key.as_bytes()).into_owned();
    page.entries.iter().map(|(key, _)| name(key)).collect()
}

#[test]
fn what_two_replicas_agree_on_is_the_page() {
    let mut world = World::new();
    let (request, peer) = scanning(&world.ask(scan(10)));
    let both = [("a", 1), ("b", 2)];
    assert_eq!(world.answer(ME, request, page(&both, true, false)), []);
    let effects = world.answer(peer, request, page(&both, false, false));
    assert_eq!(asked(&effects), []);
    let pages = pages(&effects);
    assert_eq!(names(&pages[0]), ["a", "b"]);
    assert_eq!(pages[0].next, None);
}

#[test]
fn what_they_differ_on_is_read_by_a_quorum() {
    let mut world = World::new();
    let (request, peer) = scanning(&world.ask(scan(10)));
    world.answer(ME, request, page(&[("a", 1), ("b", 2)], true, false));
    let theirs_now = page(&[("a", 1), ("b", 3), ("c", 4)], false, false);
    let effects = world.answer(peer, request, theirs_now);
    assert_eq!(answers(&effects), []);
    let mut last = Vec::new();
    for read in asked(&effects) {
        let RequestBody::Read { key, .. } = &read.body else {
            panic!("{read:?}");
        };
        let (accepted, register) = if *key == named("b") {
            (theirs(3), Some(register(3, Some("b"))))
        } else {
            (Ballot::ZERO, None)
        };
        for from in read.of {
            let register = register.clone().filter(|_| from == ME);
            let body = ReplyBody::Read { accepted, register };
            last = world.answer(from, read.request, body);
        }
    }
    assert_eq!(names(&pages(&last)[0]), ["a", "b"], "c is gone meanwhile");
}

#[test]
fn a_page_ends_where_the_shorter_one_does() {
    let mut world = World::new();
    let (request, peer) = scanning(&world.ask(scan(10)));
    world.answer(ME, request, page(&[("a", 1), ("b", 2)], true, true));
    let longer = page(&[("a", 1), ("b", 2), ("c", 3)], false, false);
    let effects = world.answer(peer, request, longer);
    let pages = pages(&effects);
    assert_eq!(names(&pages[0]), ["a", "b"]);
    assert_eq!(pages[0].next, Some(named("b").key));
}

#[test]
fn a_silent_peer_does_not_hold_up_a_scan() {
    let mut world = World::new();
    let (request, _) = scanning(&world.ask(scan(10)));
    world.answer(ME, request, page(&[], true, false));
    let again = one(&world.wait(HEDGE_MS));
    assert_eq!(again.request, request);
    let effects = world.answer(OTHER, request, page(&[], false, false));
    assert_eq!(pages(&effects), [ScanPage::default()]);
}

#[test]
fn a_scan_that_nobody_answers_fails_at_its_deadline() {
    let mut world = World::new();
    world.ask(scan(10));
    let effects = world.wait(PATIENCE_MS);
    let [(1, Err(RequestError::Unavailable { .. }))] = &answers(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(world.proposer.in_flight(), 0);
}
