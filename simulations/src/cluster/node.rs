//! One simulated node: a disk that outlives its processes, a clock, and the real actors of the
//! process that runs now.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use engram_actors::directory::Directory;
use engram_actors::env::{AppendDone, Job, ReadDone, ReadQuery};
use engram_actors::index_partition::{MemoryTextIndex, TextIndex};
use engram_actors::ingress::Router;
use engram_actors::supervisor::{NodeMessage, Stopped};
use engram_core::protocol::membership::Identity;
use engram_core::types::{Lsn, MemberId, RecordKey};
use ractor::{ActorCell, ActorRef};

use crate::disk::Disk;

/// What is wrong with a node's disk for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Damage {
    /// It lost writes that it had reported durable: the member must never vote again.
    LostWrites,
    /// It is empty: another disk under the same name, which the others refuse.
    Wiped,
    /// A record or two cannot be read.
    Rotten,
}

impl Damage {
    /// Whether the node is out of the cluster for good.
    pub(super) fn excludes(self) -> bool {
        self != Damage::Rotten
    }
}

/// A disk as it was at some time.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) disk: Disk,
    pub(super) lsn: Lsn,
    pub(super) boot: u32,
}

/// A node; see the module.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) member: MemberId,
    pub(super) up: bool,
    /// Grows with every start and end of a process; fences what belongs to an earlier one.
    pub(super) life: u64,
    pub(super) boot: u32,
    pub(super) disk: Disk,
    pub(super) lsn: Lsn,
    /// Called when the batch at the same place of the disk's queue is durable.
    pub(super) appends: VecDeque<AppendDone>,
    pub(super) reads: BTreeMap<u64, (ReadQuery, ReadDone)>,
    pub(super) next_read: u64,
    /// Background jobs that are under way.
    pub(super) jobs: BTreeMap<u64, Job>,
    pub(super) next_job: u64,
    /// The full-text indexes: files of their own, which are synced apart from the store.
    pub(super) texts: Vec<Arc<dyn TextIndex>>,
    /// How far its clock is ahead of the slowest one allowed.
    pub(super) ahead_ms: u64,
    /// Since when and until when it stands still, in virtual microseconds.
    pub(super) paused: Option<(u64, u64)>,
    pub(super) slow_until_us: u64,
    pub(super) slow_sync_us: u64,
    pub(super) full_until_us: u64,
    pub(super) damage: Option<Damage>,
    /// It was told that its disk lost writes, while that disk could take a mark of it.
    pub(super) is_found_out: bool,
    /// Keys whose records cannot be read.
    pub(super) rotten: BTreeSet<RecordKey>,
    /// Power fails in the middle of the next write, for so long.
    pub(super) tears_us: Option<u64>,
    pub(super) image: Option<Image>,
    /// When it was started last, until it serves.
    pub(super) starting_us: Option<u64>,
    pub(super) process: Option<Process>,
    pub(super) stopped: Option<Stopped>,
    /// Until when its faults explain that the process ends by itself.
    pub(super) excused_until_us: u64,
}

/// What runs on a node.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) directory: Arc<Directory>,
    pub(super) router: Router,
    pub(super) supervisor: ActorRef<NodeMessage>,
    pub(super) identity: Identity,
    /// The node's own actors, in the order of their start: index partitions, coordinator, gossip.
    pub(super) own: Vec<ActorCell>,
}

impl Node {
    pub(super) fn new(number: usize, partitions: usize, ahead_ms: u64) -> Node {
        Node {
            name: format!("n{number}"),
            // Members are sorted by id; their order must not be that of their names.
            member: MemberId((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            up: false,
            life: 0,
            boot: 0,
            disk: Disk::default(),
            lsn: Lsn(0),
            appends: VecDeque::new(),
            reads: BTreeMap::new(),
            next_read: 0,
            jobs: BTreeMap::new(),
            next_job: 0,
            texts: empty_texts(partitions),
            ahead_ms,
            paused: None,
            slow_until_us: 0,
            slow_sync_us: 0,
            full_until_us: 0,
            damage: None,
            is_found_out: false,
            rotten: BTreeSet::new(),
            tears_us: None,
            image: None,
            starting_us: None,
            process: None,
            stopped: None,
            excused_until_us: 0,
        }
    }
}

/// New full-text indexes.
pub(super) fn empty_texts(partitions: usize) -> Vec<Arc<dyn TextIndex>> {
    (0..partitions)
        .map(|_| Arc::new(MemoryTextIndex::new()) as Arc<dyn TextIndex>)
        .collect()
}

/// All actors below and including one, children before their supervisors, younger before older:
/// an order that is the same in every run.
pub(super) fn family(cell: &ActorCell) -> Vec<ActorCell> {
    let mut children = cell.get_children();
    children.sort_by_key(|child| std::cmp::Reverse(child.get_id().pid()));
    let mut all: Vec<ActorCell> = children.iter().flat_map(family).collect();
    all.push(cell.clone());
    all
}
