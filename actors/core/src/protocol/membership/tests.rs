use super::*;
use crate::types::{MemberId, NamespaceOptions};

fn identity(n: u64) -> Identity {
    Identity {
        cluster: "demo".into(),
        member: Member {
            id: MemberId(n),
            name: format!("n{n}"),
            address: format!("127.0.0.1:{n}"),
            zone: None,
        },
        boot: 1,
        life: 100 + n,
        shards: 4,
        cluster_id: 0,
        config_version: 0,
    }
}

fn node(n: u64, expected: usize) -> Membership {
    Membership::new(identity(n), Some(expected), Lsn(0), None)
}

/// Runs nodes that hear each other at once and whose disks are immediate, until all is quiet.
fn settle(nodes: &mut BTreeMap<u64, Membership>, from: u64, effects: Vec<Effect>) -> Vec<Effect> {
    let mut seen = Vec::new();
    let mut queue: std::collections::VecDeque<(u64, Effect)> =
        effects.into_iter().map(|effect| (from, effect)).collect();
    while let Some((at, effect)) = queue.pop_front() {
        let mut out = Vec::new();
        match &effect {
            Effect::Send(to, message) => {
                if let Some(node) = nodes.get_mut(&to.0) {
                    node.step(Millis(1), Event::Gossip(message.clone()), &mut out);
                    queue.extend(out.drain(..).map(|effect| (to.0, effect)));
                }
            }
            Effect::Adopt { .. } => {
                let node = nodes.get_mut(&at).expect("exists");
                node.step(Millis(1), Event::Adopted, &mut out);
                node.step(Millis(1), Event::Tick { shards: vec![] }, &mut out);
                queue.extend(out.drain(..).map(|effect| (at, effect)));
            }
            _ => {}
        }
        seen.push(effect);
    }
    seen
}

fn connect(nodes: &mut BTreeMap<u64, Membership>, a: u64, b: u64) -> Vec<Effect> {
    let mut seen = Vec::new();
    // Both ends of a connection come up before anything is said on it.
    let mut first = Vec::new();
    for (at, other) in [(a, b), (b, a)] {
        let peer = nodes[&other].identity();
        let mut out = Vec::new();
        let node = nodes.get_mut(&at).expect("exists");
        node.step(Millis(0), Event::Up { peer, seen: Lsn(0) }, &mut out);
        first.push((at, out));
    }
    for (at, out) in first {
        seen.extend(settle(nodes, at, out));
    }
    seen
}

#[test]
fn three_nodes_form_one_cluster_and_serve_only_when_all_hold_it() {
    let mut nodes: BTreeMap<u64, Membership> = (1..=3).map(|n| (n, node(n, 3))).collect();
    connect(&mut nodes, 1, 2);
    assert!(nodes.values().all(|node| node.config().is_none()));
    connect(&mut nodes, 1, 3);
    let seen = connect(&mut nodes, 2, 3);
    let ids: Vec<_> = nodes
        .values()
        .map(|n| n.config().map(|c| c.cluster_id))
        .collect();
    assert!(
        ids[0].is_some() && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    assert!(nodes.values().all(|node| node.waiting_for().is_none()));
    assert!(seen.iter().any(|effect| matches!(effect, Effect::Serve(_))));
}

#[test]
fn nobody_serves_before_the_whole_ensemble_holds_the_configuration() {
    let mut one = node(1, 2);
    let mut out = Vec::new();
    one.step(
        Millis(0),
        Event::Up {
            peer: identity(2),
            seen: Lsn(0),
        },
        &mut out,
    );
    one.step(Millis(0), Event::Adopted, &mut out);
    assert!(one.config().is_some());
    assert!(
        !out.iter().any(|effect| matches!(effect, Effect::Serve(_))),
        "{out:?}"
    );
    assert!(one.waiting_for().is_some_and(|why| why.contains("n2")));
}

#[test]
fn more_candidates_than_expected_are_fatal() {
    let mut one = node(1, 1);
    let mut out = Vec::new();
    one.config = None;
    one.step(
        Millis(0),
        Event::Up {
            peer: identity(2),
            seen: Lsn(0),
        },
        &mut out,
    );
    assert!(matches!(out.last(), Some(Effect::Fatal(_))), "{out:?}");
}

#[test]
fn a_rolled_back_disk_is_told_by_its_peers() {
    let config = first_config("demo", 4, vec![identity(1).member, identity(2).member]);
    let cluster_id = config.cluster_id;
    let stored = Some((config, true));
    // A disk that was set back to an image of an earlier boot counts its boots from there.
    for (boot_lsn, boot, lost) in [(11, 2, false), (10, 2, true), (10, 1, true)] {
        let mut out = Vec::new();
        // The witness hears member 1 up to 11 in one process, then meets it in another.
        let mut witness = Membership::new(identity(2), None, Lsn(0), stored.clone());
        let peer = Identity {
            cluster_id,
            ..identity(1)
        };
        witness.step(
            Millis(0),
            Event::Up {
                peer: peer.clone(),
                seen: Lsn(0),
            },
            &mut out,
        );
        witness.step(Millis(0), Event::Down(MemberId(1)), &mut out);
        out.clear();
        let life = peer.life + 1;
        let peer = Identity { boot, life, ..peer };
        witness.step(
            Millis(0),
            Event::Up {
                peer,
                seen: Lsn(11),
            },
            &mut out,
        );
        let message = out.iter().find_map(|effect| match effect {
            Effect::Send(_, message) => Some(message.clone()),
            _ => None,
        });
        let mut rebooted = Membership::new(identity(1), None, Lsn(boot_lsn), stored.clone());
        let peer = Identity {
            cluster_id,
            ..identity(2)
        };
        rebooted.step(Millis(0), Event::Up { peer, seen: Lsn(0) }, &mut out);
        out.clear();
        let message = message.expect("a peer greets");
        rebooted.step(Millis(0), Event::Gossip(message), &mut out);
        let fatal = out
            .iter()
            .any(|e| matches!(e, Effect::Condemned(why) if why.contains("lost")));
        let witnessed = out.contains(&Effect::Witnessed(MemberId(2)));
        assert_eq!((fatal, witnessed), (lost, !lost), "{out:?}");
    }
}

#[test]
fn a_process_that_connects_again_is_not_told_of_itself() {
    let mut witness = Membership::new(identity(2), None, Lsn(0), None);
    let mut out = Vec::new();
    for seen in [0, 11, 12] {
        let (peer, seen) = (identity(1), Lsn(seen));
        witness.step(Millis(0), Event::Up { peer, seen }, &mut out);
        witness.step(Millis(0), Event::Down(MemberId(1)), &mut out);
    }
    let told = out.iter().filter_map(|effect| match effect {
        Effect::Send(_, message) => Some(message.seen_of_you),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [Lsn(0); 3]);
}

#[test]
fn a_process_that_comes_back_after_one_on_a_copy_of_its_disk_is_told_the_same() {
    let mut witness = Membership::new(identity(2), None, Lsn(0), None);
    let mut told = Vec::new();
    for (life, seen) in [(1, 100), (2, 500), (1, 500), (3, 600), (2, 600)] {
        let mut out = Vec::new();
        let peer = Identity {
            life,
            ..identity(1)
        };
        let seen = Lsn(seen);
        witness.step(Millis(0), Event::Up { peer, seen }, &mut out);
        witness.step(Millis(0), Event::Down(MemberId(1)), &mut out);
        told.extend(out.into_iter().filter_map(|effect| match effect {
            Effect::Send(_, message) => Some(message.seen_of_you.0),
            _ => None,
        }));
    }
    assert_eq!(told, [100, 500, 100, 600, 500]);
}

#[test]
fn strangers_are_refused_and_told_why() {
    let config = first_config("demo", 4, vec![identity(1).member, identity(2).member]);
    let us = Identity {
        cluster_id: config.cluster_id,
        ..identity(1)
    };
    let mut other_cluster = identity(2);
    other_cluster.cluster = "prod".into();
    let mut other_shards = identity(2);
    other_shards.shards = 8;
    let mut other_genesis = identity(2);
    other_genesis.cluster_id = 77;
    let mut new_disk = identity(9);
    new_disk.member.name = "n2".into();
    let mut same_name = identity(9);
    same_name.member.name = "n1".into();
    for (theirs, refused) in [
        (identity(2), None),
        (other_cluster, Some("cluster")),
        (other_shards, Some("shards")),
        (other_genesis, Some("independently")),
        (new_disk, Some("new disk")),
        (same_name, Some("two nodes")),
        (identity(1), Some("copied")),
        (identity(9), Some("without it")),
    ] {
        let answer = admit(&us, Some(&config), &theirs);
        match refused {
            None => assert_eq!(answer, Ok(())),
            Some(word) => {
                let why = answer.expect_err("refused").to_string();
                assert!(why.contains(word), "{why}");
            }
        }
    }
}

#[test]
fn a_newer_configuration_is_adopted_and_a_foreign_one_ignored() {
    let config = first_config("demo", 4, vec![identity(1).member, identity(2).member]);
    let mut node = Membership::new(identity(1), None, Lsn(0), Some((config.clone(), true)));
    let mut out = Vec::new();
    let next = config
        .with_namespace("users", NamespaceOptions::default())
        .expect("allowed");
    node.step(Millis(0), Event::Decided(next.clone()), &mut out);
    assert_eq!(node.config(), Some(&next));
    let foreign = ClusterConfig {
        cluster_id: 1,
        version: 99,
        ..config
    };
    node.step(Millis(0), Event::Decided(foreign), &mut out);
    assert_eq!(node.config(), Some(&next));
}
