//! The coordinator actor: carries out what concerns more than one shard, by asking replicas as a
//! client would: scans, namespaces, status.

mod hits;
mod namespaces;
mod search;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engram_core::index::{Embedding, PartitionError, PartitionHits};
use engram_core::limits::COORDINATOR_OPERATIONS_MAX;
use engram_core::planted::Planted;
use engram_core::protocol::scan::{ScanMerge, Wanted};
use engram_core::protocol::search::{Event as SearchEvent, Held, Side};
use engram_core::types::{LogicalClock, MemberId, Millis, RequestId, ShardId};
use engram_core::wire::{
    ClientReply, ClientRequest, ClientResponse, RequestEnvelope, RequestError, ReturnAddress, Scan,
    ScanShard,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use self::namespaces::NamespaceWork;
use self::search::SearchWork;
use crate::directory::Directory;
use crate::env::Env;
use crate::ingress::{COORDINATOR_SESSION, Router, respond};

/// What a coordinator is told.
pub enum CoordinatorMessage {
    /// From ingress: a client's request. Answered to the return address.
    Ask {
        /// Where the answer goes.
        to: ReturnAddress,
        /// Until when it is of use.
        deadline: Millis,
        /// What is asked.
        request: ClientRequest,
    },
    /// A replica has answered. If lost, the operation's deadline passes.
    Answered(RequestId, ClientResponse),
    /// From the embedder: the meaning of an operation's query. It always answers.
    Embedded(u64, Result<Arc<Embedding>, RequestError>),
    /// From an index partition of this node or another. If lost, the search asks elsewhere.
    PartitionAnswered {
        /// Whose.
        from: MemberId,
        /// What it was asked.
        request: RequestId,
        /// The shards that this is about.
        shards: Vec<ShardId>,
        /// What it found.
        result: Result<PartitionHits, PartitionError>,
    },
    /// From the replicas of this node or another: what they hold of some hits. If lost, they are read
    /// by gets.
    HitsHeld {
        /// Whose.
        from: MemberId,
        /// What they were asked.
        request: RequestId,
        /// What they hold, in the order asked.
        held: Vec<Option<Held>>,
    },
    /// From gossip: a member is not reachable. If lost, searches wait for their timers.
    MemberDown(MemberId),
    /// From the timer.
    Tick,
    /// From tests and diagnosis: hears how many operations and questions are open.
    Inspect(Box<dyn FnOnce(usize) + Send>),
}

impl ractor::Message for CoordinatorMessage {}

/// What a coordinator is made of.
pub struct CoordinatorArguments {
    /// The node.
    pub directory: Arc<Directory>,
    /// The world.
    pub env: Env,
    /// A bug planted by the simulator; none in production.
    pub planted: Planted,
}

/// The coordinator actor. See the module.
pub struct Coordinator;

/// A coordinator's state.
pub struct CoordinatorState {
    directory: Arc<Directory>,
    env: Env,
    router: Router,
    clock: LogicalClock,
    writer: u64,
    next_write: u64,
    next_request: u64,
    next_operation: u64,
    operations: BTreeMap<u64, Operation>,
    /// Which operation a replica's answer belongs to, and for which shard.
    asked: BTreeMap<RequestId, (u64, ShardId)>,
    /// Which search a partition's answer belongs to, and who was asked.
    asked_partitions: BTreeMap<RequestId, (u64, Side, MemberId)>,
    /// Which search the answer of a member's replicas belongs to, and who was asked.
    asked_hits: BTreeMap<RequestId, (u64, MemberId)>,
    /// Which hit of which search a get reads, by its place.
    verifying: BTreeMap<RequestId, (u64, usize)>,
    planted: Planted,
    myself: ActorRef<CoordinatorMessage>,
    ticks: u64,
}

struct Operation {
    to: ReturnAddress,
    deadline: Millis,
    work: Work,
}

enum Work {
    Scan(ScanMerge),
    Namespace(Box<NamespaceWork>),
    /// Reading the configuration, for nobody.
    Refresh,
    Search(Box<SearchWork>),
}

/// How often overdue operations are looked for, in milliseconds.
const TICK_MS: u64 = 50;
/// How often index partitions report themselves, in ticks.
const REPORT_TICKS: u64 = 10;
/// How often the configuration is read, in ticks: who wrote it may have died before it told anybody.
const REFRESH_TICKS: u64 = 200;

impl Actor for Coordinator {
    type Msg = CoordinatorMessage;
    type State = CoordinatorState;
    type Arguments = CoordinatorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<CoordinatorMessage>,
        arguments: CoordinatorArguments,
    ) -> Result<CoordinatorState, ActorProcessingErr> {
        let CoordinatorArguments {
            directory,
            env,
            planted,
        } = arguments;
        myself.send_interval(Duration::from_millis(TICK_MS), || CoordinatorMessage::Tick);
        Ok(CoordinatorState {
            router: Router::new(directory.clone(), env.clone()),
            directory,
            clock: LogicalClock::default(),
            writer: env.entropy.next_u64(),
            next_write: 0,
            // Answers to a predecessor's questions must not be taken for answers to these.
            next_request: env.entropy.next_u64() >> 1,
            next_operation: 0,
            env,
            operations: BTreeMap::new(),
            asked: BTreeMap::new(),
            asked_partitions: BTreeMap::new(),
            asked_hits: BTreeMap::new(),
            verifying: BTreeMap::new(),
            planted,
            myself,
            ticks: 0,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<CoordinatorMessage>,
        message: CoordinatorMessage,
        state: &mut CoordinatorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CoordinatorMessage::Ask {
                to,
                deadline,
                request,
            } => state.begin(to, deadline, request),
            CoordinatorMessage::Answered(request, response) => state.answered(request, response),
            CoordinatorMessage::Embedded(id, result) => {
                state.search_event(id, SearchEvent::Embedded(result));
            }
            CoordinatorMessage::PartitionAnswered {
                from,
                request,
                shards,
                result,
            } => {
                state.partition_answered(from, request, shards, result);
            }
            CoordinatorMessage::HitsHeld {
                from,
                request,
                held,
            } => state.hits_held(from, request, held),
            CoordinatorMessage::MemberDown(member) => {
                state.member_down(member);
                state.hits_without(member);
            }
            CoordinatorMessage::Tick => state.tick(),
            CoordinatorMessage::Inspect(look) => look(state.open()),
        }
        Ok(())
    }
}

impl CoordinatorState {
    /// How many operations and questions are open.
    fn open(&self) -> usize {
        let hits = self.asked_hits.len() + self.verifying.len();
        let questions = self.asked.len() + self.asked_partitions.len() + hits;
        self.operations.len() + questions
    }

    fn begin(&mut self, to: ReturnAddress, deadline: Millis, request: ClientRequest) {
        if self.operations.len() >= COORDINATOR_OPERATIONS_MAX {
            let error = RequestError::Overloaded { retry_after_ms: 50 };
            return respond(&self.directory, &self.env, to, Err(error));
        }
        match request {
            ClientRequest::Scan(scan) => self.begin_scan(to, deadline, scan),
            ClientRequest::Search(search) => self.begin_search(to, deadline, search),
            ClientRequest::OpenNamespace(open) => self.open_namespace(to, deadline, open),
            ClientRequest::GetConfig(_) => {
                let result = match self.directory.config() {
                    Some(config) => Ok(ClientReply::Config(config.as_ref().clone())),
                    None => Err(self.not_serving()),
                };
                respond(&self.directory, &self.env, to, result);
            }
            ClientRequest::GetStatus(_) => {
                let status = status::node_status(&self.directory, &self.env);
                respond(
                    &self.directory,
                    &self.env,
                    to,
                    Ok(ClientReply::Status(Box::new(status))),
                );
            }
            ClientRequest::ListEmbedFailures(list) => self.list_failures(to, list),
            ClientRequest::Get(_)
            | ClientRequest::Put(_)
            | ClientRequest::ScanShard(_)
            | ClientRequest::Watch(_) => {
                let error = RequestError::Invalid("a replica carries this out".into());
                respond(&self.directory, &self.env, to, Err(error));
            }
        }
    }

    fn begin_scan(&mut self, to: ReturnAddress, deadline: Millis, scan: Scan) {
        let Some(config) = self.directory.config() else {
            let error = self.not_serving();
            return respond(&self.directory, &self.env, to, Err(error));
        };
        let (merge, wanted) = ScanMerge::new(scan, config.shard_count());
        let id = self.operation(to, deadline, Work::Scan(merge));
        self.ask_pages(id, wanted);
    }

    fn ask_pages(&mut self, id: u64, wanted: Vec<Wanted>) {
        for Wanted { shard, scan } in wanted {
            self.ask(
                id,
                shard,
                ClientRequest::ScanShard(ScanShard { shard, scan }),
            );
        }
    }

    fn operation(&mut self, to: ReturnAddress, deadline: Millis, work: Work) -> u64 {
        let id = self.next_operation;
        self.next_operation += 1;
        self.operations.insert(id, Operation { to, deadline, work });
        id
    }

    /// Asks a replica on behalf of an operation.
    fn ask(&mut self, operation: u64, shard: ShardId, body: ClientRequest) {
        let Some(deadline) = self.operations.get(&operation).map(|found| found.deadline) else {
            return;
        };
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.asked.insert(request, (operation, shard));
        let now = self.env.clock.now();
        let timeout_ms = u32::try_from(deadline.since(now)).unwrap_or(u32::MAX);
        let envelope = RequestEnvelope {
            request,
            time: self.clock.peek(now),
            timeout_ms,
            body,
        };
        let via = self.directory.me.id;
        let to = ReturnAddress {
            via,
            session: COORDINATOR_SESSION,
            request,
        };
        self.router.request(to, envelope, true);
    }

    fn answered(&mut self, request: RequestId, response: ClientResponse) {
        self.clock.merge(response.time);
        let Some((id, shard)) = self.asked.remove(&request) else {
            return;
        };
        if self.verifying.contains_key(&request) {
            return self.hit_read(request, id, response.result);
        }
        let Some(operation) = self.operations.get_mut(&id) else {
            return;
        };
        match (&mut operation.work, response.result) {
            (Work::Scan(merge), Ok(ClientReply::Page(page))) => match merge.page(shard, page) {
                Ok(page) => self.finish(id, Ok(ClientReply::Page(page))),
                Err(wanted) => self.ask_pages(id, wanted),
            },
            (Work::Namespace(_), result) => self.namespace_answered(id, result),
            (Work::Refresh, result) => self.refreshed(id, result),
            // Reads of hits were taken above.
            (Work::Search(_), _) => {}
            (Work::Scan(_), Ok(_)) => {
                let error = RequestError::NotApplied("a replica answered something else".into());
                self.finish(id, Err(error));
            }
            (Work::Scan(_), Err(error)) => self.finish(id, Err(error)),
        }
    }

    fn finish(&mut self, id: u64, result: Result<ClientReply, RequestError>) {
        if let Some(operation) = self.operations.remove(&id) {
            self.asked.retain(|_, (operation, ..)| *operation != id);
            self.asked_partitions
                .retain(|_, (operation, ..)| *operation != id);
            self.asked_hits
                .retain(|_, (operation, ..)| *operation != id);
            self.verifying.retain(|_, (operation, ..)| *operation != id);
            if !matches!(operation.work, Work::Refresh) {
                respond(&self.directory, &self.env, operation.to, result);
            }
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.search_timers();
        self.hit_timers();
        self.drop_overdue();
        if self.ticks.is_multiple_of(REPORT_TICKS)
            && let Some(index) = self.directory.index()
        {
            index.report();
        }
        // Not all nodes at the same time.
        let turn = self.ticks.wrapping_add(self.directory.me.id.0);
        if turn.is_multiple_of(REFRESH_TICKS) {
            self.refresh();
        }
    }

    fn drop_overdue(&mut self) {
        let now = self.env.clock.now();
        let overdue: Vec<u64> = self
            .operations
            .iter()
            .filter(|(_, operation)| operation.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            let shard = self
                .asked
                .values()
                .find(|(asked, _)| *asked == id)
                .map(|(_, shard)| shard.0);
            let error = RequestError::Unavailable {
                shard: shard.unwrap_or_default(),
                reason: "it did not answer in time".into(),
            };
            self.finish(id, Err(error));
        }
    }

    fn not_serving(&self) -> RequestError {
        let reason = self.directory.waiting_for();
        RequestError::NotApplied(reason.unwrap_or_else(|| "this node is starting".into()))
    }
}
