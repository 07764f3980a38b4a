//! The hits of searches are read before they are shown: the shell of [`HitReads`].

use std::collections::BTreeSet;

use engram_core::placement::{in_turn, shard_of};
use engram_core::protocol::search::{Event, Held, Hit, HitReads, HitReadsEffect, HitReadsEvent};
use engram_core::types::{ClusterConfig, MemberId, Millis, RecordKey, RequestId, ShardId};
use engram_core::wire::register::HitRead;
use engram_core::wire::{ClientReply, ClientRequest, Frame, Get, RequestError};

use super::{CoordinatorMessage, CoordinatorState, Work};
use crate::shard::read_hits;

impl CoordinatorState {
    /// Reads the hits of a search linearizably.
    pub(super) fn verify(&mut self, id: u64, keys: Vec<RecordKey>) {
        let Some(config) = self.directory.config() else {
            let error = self.not_serving();
            return self.finish(id, Err(error));
        };
        let (me, now) = (self.directory.me.id, self.env.clock.now());
        let live = self.directory.live();
        let hit = |key| self.hit(now, &config, &live, key);
        let hits = keys.into_iter().map(hit).collect();
        let planted = self.planted;
        let Some(work) = self.search(id) else { return };
        let mut effects = Vec::new();
        let with_values = work.with_values();
        let reads = HitReads::new(me, hits, with_values, planted, &mut effects);
        let until = now.plus(reads.patience_ms());
        work.reads = Some((reads, until));
        self.run_hit_reads(id, effects);
    }

    fn hit(
        &self,
        now: Millis,
        config: &ClusterConfig,
        live: &BTreeSet<MemberId>,
        key: RecordKey,
    ) -> Hit {
        let shard = shard_of(&key, config.shard_count());
        let epoch = config.shard(shard).map(|shard| shard.epoch);
        Hit {
            others: self.others(now, config, live, &key, shard),
            shard,
            epoch: epoch.unwrap_or_default(),
            key,
        }
    }

    /// Who makes up a majority of a shard's replicas with this node's; none if a get is to find out.
    fn others(
        &self,
        now: Millis,
        config: &ClusterConfig,
        live: &BTreeSet<MemberId>,
        key: &RecordKey,
        shard: ShardId,
    ) -> Option<Vec<MemberId>> {
        let namespace = config.namespace_by_id(key.namespace)?;
        // Only the proposer's evictor knows which of its entries are used.
        if namespace.options.max_entries.is_some() || !self.directory.has_shard(shard) {
            return None;
        }
        let me = self.directory.me.id;
        let members = &config.shard(shard)?.members;
        let needed = members.len() / 2;
        let mut others: Vec<MemberId> = members
            .iter()
            .copied()
            .filter(|member| *member != me && live.contains(member))
            .collect();
        if !members.contains(&me) || others.len() < needed {
            return None;
        }
        others = in_turn(others, now);
        others.truncate(needed);
        Some(others)
    }

    fn hit_event(&mut self, id: u64, event: HitReadsEvent) {
        let now = self.env.clock.now();
        let reads = self.search(id).and_then(|work| work.reads.as_mut());
        let Some((reads, _)) = reads else { return };
        let mut effects = Vec::new();
        reads.step(now, event, &mut effects);
        self.run_hit_reads(id, effects);
    }

    fn run_hit_reads(&mut self, id: u64, effects: Vec<HitReadsEffect>) {
        for effect in effects {
            match effect {
                HitReadsEffect::Ask(member, reads) => self.ask_hits(id, member, reads),
                HitReadsEffect::Get(place, shard, key) => {
                    let with_value = self.search(id).is_some_and(|work| work.with_values());
                    let request = RequestId(self.next_request);
                    self.verifying.insert(request, (id, place));
                    self.ask(id, shard, ClientRequest::Get(Get { key, with_value }));
                }
                HitReadsEffect::Done(read) => {
                    if let Some(work) = self.search(id) {
                        work.reads = None;
                    }
                    self.asked_hits.retain(|_, (search, _)| *search != id);
                    self.search_event(id, Event::Verified(read));
                }
            }
        }
    }

    fn ask_hits(&mut self, id: u64, member: MemberId, reads: Vec<HitRead>) {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.asked_hits.insert(request, (id, member));
        if member != self.directory.me.id {
            let frame = Frame::HitReads(request, reads);
            return self.env.transport.send(member, &frame);
        }
        let myself = self.myself.clone();
        let done = move |held| {
            // Without a coordinator nobody waits for it.
            let _ = myself.cast(CoordinatorMessage::HitsHeld {
                from: member,
                request,
                held,
            });
        };
        if let Some(held) = read_hits(&self.directory, reads, true, Box::new(done)) {
            self.hits_held(member, request, held);
        }
    }

    /// A member has told what it holds of some hits.
    pub(super) fn hits_held(
        &mut self,
        from: MemberId,
        request: RequestId,
        held: Vec<Option<Held>>,
    ) {
        match self.asked_hits.get(&request) {
            Some((id, asked)) if *asked == from => {
                let id = *id;
                self.asked_hits.remove(&request);
                self.hit_event(id, HitReadsEvent::Held(from, held));
            }
            _ => {}
        }
    }

    /// A get has read one of the hits.
    pub(super) fn hit_read(
        &mut self,
        request: RequestId,
        id: u64,
        result: Result<ClientReply, RequestError>,
    ) {
        let Some((_, place)) = self.verifying.remove(&request) else {
            return;
        };
        match result {
            Ok(ClientReply::Entry(entry)) => self.hit_event(id, HitReadsEvent::Got(place, entry)),
            Ok(_) => self.hit_event(id, HitReadsEvent::Got(place, None)),
            // What cannot be verified is not shown; a search with unreadable hits fails as a whole.
            Err(error) => self.finish(id, Err(error)),
        }
    }

    /// Has the hits read by gets of which somebody was silent for too long.
    pub(super) fn hit_timers(&mut self) {
        let now = self.env.clock.now();
        for id in self.reading_until(|until| until <= now) {
            self.hit_event(id, HitReadsEvent::Overdue);
        }
    }

    /// A member is gone: its answers are not waited for.
    pub(super) fn hits_without(&mut self, member: MemberId) {
        for id in self.reading_until(|_| true) {
            self.hit_event(id, HitReadsEvent::MemberDown(member));
        }
    }

    /// The searches whose hits are being read until such a time.
    fn reading_until(&self, wanted: impl Fn(Millis) -> bool) -> Vec<u64> {
        let operations = self.operations.iter();
        let reading = operations.filter(|(_, operation)| match &operation.work {
            Work::Search(work) => work.reads.as_ref().is_some_and(|(_, until)| wanted(*until)),
            _ => false,
        });
        reading.map(|(id, _)| *id).collect()
    }
}
