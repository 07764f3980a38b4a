//! Who is asked, when somebody else is, and when that ends.

use super::*;

#[test]
fn a_silent_failed_or_lost_member_is_replaced() {
    let not_ready = hits(1, Err(PartitionError::NotReady));
    for event in [Event::Timer, Event::MemberDown(member(1)), not_ready] {
        let mut out = Vec::new();
        let mut machine = start(search(1), &mut out);
        out.clear();
        machine.step(NOW.plus(HEDGE_MS), event.clone(), &mut out);
        assert_eq!(asked(&out), [member(2)], "{event:?}");
    }
}

fn timers(out: &[Effect]) -> Vec<Millis> {
    let timers = out.iter().filter_map(|effect| match effect {
        Effect::SetTimer(at) => Some(*at),
        _ => None,
    });
    timers.collect()
}

#[test]
fn the_replica_with_least_lag_is_asked_and_a_late_one_only_last() {
    for (lags, expected) in [
        ([Some(900), Some(10), Some(600)], vec![2, 3, 1]),
        ([Some(1_500), None, Some(900)], vec![3, 1, 2]),
        ([None, None, None], vec![1, 2, 3]),
    ] {
        let routes: Vec<Route> = (1..).zip(lags).map(|(n, lag)| route(n, lag)).collect();
        let mut out = Vec::new();
        let mut machine = start_on(search(1), routes_by(|_| routes.clone()), &mut out);
        for n in expected {
            assert_eq!(asked(&out), [member(n)], "{lags:?}");
            out.clear();
            machine.step(NOW, hits(n, Err(PartitionError::NotReady)), &mut out);
        }
        assert_eq!(reply(&out).shards_answered, 0);
    }
}

#[test]
fn shards_go_to_different_members_where_lags_differ() {
    let routes = routes_by(|shard| {
        let others = if shard == 2 { 700 } else { 0 };
        vec![
            route(1, Some(others)),
            route(2, Some(0)),
            route(3, Some(others)),
        ]
    });
    let mut out = Vec::new();
    start_on(search(1), routes, &mut out);
    // The second can take all of them.
    assert_eq!(asked(&out), [member(2)]);
}

#[test]
fn a_silent_member_may_still_answer_after_the_next_was_asked() {
    let mut out = Vec::new();
    let mut machine = start(search(1), &mut out);
    for n in [2, 3] {
        out.clear();
        let now = NOW.plus(HEDGE_MS * (n - 1));
        machine.step(now, Event::Timer, &mut out);
        assert_eq!(asked(&out), [member(n)]);
    }
    out.clear();
    machine.step(NOW.plus(3 * HEDGE_MS), Event::Timer, &mut out);
    assert_eq!(out, [], "nobody is left to ask, but answers may come");
    let late = NOW.plus(3 * HEDGE_MS + 1);
    machine.step(late, hits(1, Ok(found(&[], false))), &mut out);
    assert_eq!(reply(&out).shards_answered, 4);
}

#[test]
fn silence_is_not_waited_out_for_ever() {
    let mut out = Vec::new();
    let mut machine = start(search(1), &mut out);
    let mut now = NOW;
    while !matches!(out.last(), Some(Effect::Done(_))) {
        let next = timers(&out).into_iter().filter(|at| *at > now).min();
        now = next.expect("a timer is set while it waits");
        machine.step(now, Event::Timer, &mut out);
    }
    assert_eq!(now, NOW.plus(2 * HEDGE_MS + GIVE_UP_MS));
    assert_eq!(
        (reply(&out).shards_answered, reply(&out).shards_total),
        (0, 4)
    );
}

#[test]
fn a_fresh_search_gives_partitions_as_long_as_its_caller_has() {
    let mut out = Vec::new();
    let fresh = Search {
        fresh: true,
        ..search(1)
    };
    let mut machine = start(fresh, &mut out);
    let fresh_ms = out.iter().find_map(|effect| match effect {
        Effect::Ask { query, .. } => query.fresh_ms,
        _ => None,
    });
    assert_eq!(fresh_ms, Some(4_000), "the rest is for reading the hits");
    out.clear();
    machine.step(NOW.plus(HEDGE_MS), Event::Timer, &mut out);
    assert_eq!(out, []);
    machine.step(NOW.plus(FRESH_HEDGE_MS), Event::Timer, &mut out);
    assert_eq!(asked(&out), [member(2)]);
    out.clear();
    machine.step(NOW.plus(3_999), hits(1, Ok(found(&[], false))), &mut out);
    assert_eq!(reply(&out).shards_answered, 4);
}

#[test]
fn a_shard_that_is_not_fresh_in_time_counts_as_unanswered() {
    let mut out = Vec::new();
    let fresh = Search {
        fresh: true,
        ..search(1)
    };
    let mut machine = start(fresh, &mut out);
    let three = PartitionHits {
        shards_answered: (0..3).map(ShardId).collect(),
        ..found(&[], false)
    };
    machine.step(NOW, hits(1, Ok(three)), &mut out);
    machine.step(NOW.plus(4_000), Event::Timer, &mut out);
    let reply = reply(&out);
    assert_eq!((reply.shards_answered, reply.shards_total), (3, 4));
}
