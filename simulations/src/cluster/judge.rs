//! What the checkers know of a cluster run while it goes on.

use std::collections::BTreeMap;

use engram_core::storage::format::{Record, open};
use engram_core::storage::{Keyspace, WriteBatch, WriteOp, keys};
use engram_core::types::{Ballot, ClusterConfig, MemberId, RecordKey, ShardId};
use engram_core::wire::register::{
    RegisterReply, RegisterRequest, ReplyBody, ReplyTo, RequestBody,
};

use crate::checkers::bounds::Bounds;
use crate::checkers::monotone::Monotone;
use crate::checkers::one_register::OneRegister;
use crate::checkers::{Property, Violation, acknowledged, durable_replies};
use crate::history::Operation;
use crate::ledger::Ledger;

/// See the module.
pub(super) struct Judge {
    pub(super) ledger: Ledger,
    pub(super) history: Vec<Operation>,
    pub(super) bounds: Bounds,
    pub(super) purges: u64,
    disks: BTreeMap<ShardId, Monotone>,
    one_register: OneRegister,
    /// Requests are numbered by each shard for itself.
    asked_about: BTreeMap<(ShardId, ReplyTo), RecordKey>,
}

impl Judge {
    pub(super) fn new(majority: usize) -> Judge {
        Judge {
            ledger: Ledger::new(majority),
            history: Vec::new(),
            bounds: Bounds::default(),
            purges: 0,
            disks: BTreeMap::new(),
            one_register: OneRegister::default(),
            asked_about: BTreeMap::new(),
        }
    }

    /// A batch is durable on a member's disk.
    pub(super) fn durable(
        &mut self,
        now_us: u64,
        member: MemberId,
        batch: &WriteBatch,
    ) -> Result<(), Violation> {
        let Some(shard) = batch.ops.iter().find_map(shard_of) else {
            return Ok(());
        };
        self.disks
            .entry(shard)
            .or_default()
            .applied(member, batch)?;
        for op in &batch.ops {
            match op {
                WriteOp::Put {
                    keyspace: Keyspace::Records,
                    key,
                    value,
                } => {
                    let Some((_, key)) = keys::parse_record(key) else {
                        continue;
                    };
                    let Ok(record) = open::<Record>(value) else {
                        continue;
                    };
                    self.one_register
                        .observe(&key, record.accepted, &record.register)?;
                    self.ledger
                        .accepted(now_us, member, &key, record.accepted, &record.register);
                }
                WriteOp::Remove {
                    keyspace: Keyspace::Records,
                    ..
                } => self.purges += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// A proposer asks.
    pub(super) fn asks(&mut self, request: &RegisterRequest) -> Result<(), Violation> {
        let key = match &request.body {
            RequestBody::Read { key, .. } | RequestBody::Prepare { key, .. } => key,
            RequestBody::Accept {
                key,
                ballot,
                register,
                ..
            } => {
                self.one_register.observe(key, *ballot, register)?;
                key
            }
            _ => return Ok(()),
        };
        self.asked_about
            .insert((request.shard, request.reply_to), key.clone());
        Ok(())
    }

    /// An acceptor replies; `lost` if its disk has lost what it had voted.
    pub(super) fn replies(
        &mut self,
        member: MemberId,
        lost: bool,
        reply: &RegisterReply,
    ) -> Result<(), Violation> {
        let votes = matches!(
            reply.body,
            ReplyBody::Promise { .. } | ReplyBody::Accepted { .. } | ReplyBody::Read { .. }
        );
        if lost && votes {
            let story = format!("{member} lost what it had voted, and says {:?}", reply.body);
            return Err(Violation::new(Property::LostDiskVotes, story));
        }
        let Some(key) = self.asked_about.get(&(reply.shard, reply.reply_to)) else {
            return Ok(());
        };
        let disks = self.disks.entry(reply.shard).or_default();
        durable_replies::check(disks, member, key, &reply.body)
    }

    /// A client is told that a write was applied.
    pub(super) fn acknowledged(
        &mut self,
        config: &ClusterConfig,
        shard: ShardId,
        key: &RecordKey,
        version: Ballot,
    ) -> Result<(), Violation> {
        let Some(members) = config.shard(shard).map(|shard| &shard.members) else {
            return Ok(());
        };
        let disks = self.disks.entry(shard).or_default();
        acknowledged::check(disks, members, key, version)
    }
}

/// The shard that an operation of a batch belongs to. A batch belongs to one shard, or to none.
fn shard_of(op: &WriteOp) -> Option<ShardId> {
    let (WriteOp::Put { keyspace, key, .. } | WriteOp::Remove { keyspace, key }) = op;
    match keyspace {
        Keyspace::Records => keys::parse_record(key).map(|(shard, _)| shard),
        Keyspace::Meta => {
            let number = key.strip_prefix(b"shard/")?;
            Some(ShardId(u16::from_be_bytes(number.try_into().ok()?)))
        }
        _ => None,
    }
}
