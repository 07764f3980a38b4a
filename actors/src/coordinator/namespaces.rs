//! Namespaces: a compare-and-set loop on the configuration register.

use engram_core::storage::format::{StoredConfig, open, seal};
use engram_core::types::{
    Blob, Change, ClusterConfig, Condition, Key, Millis, NamespaceId, NamespaceOptions, RecordKey,
    RequestId, ShardId, Write, WriteId,
};
use engram_core::wire::{
    ClientReply, ClientRequest, Get, OpenNamespace, Put, RequestError, ReturnAddress,
};

use super::{CoordinatorState, Work};
use crate::embedder::EmbedderError;
use crate::gossip::GossipActorMessage;
use crate::ingress::{COORDINATOR_SESSION, respond};

/// Most attempts to win the compare-and-set.
const ATTEMPTS_MAX: u32 = 16;

/// How long a look at the configuration may take, in milliseconds.
const REFRESH_MS_MAX: u64 = 2_500;

/// A namespace being opened.
pub(super) struct NamespaceWork {
    name: String,
    /// What it must have, if anything.
    asked: Option<NamespaceOptions>,
    /// What it gets if it is new.
    created: NamespaceOptions,
    attempts: u32,
    /// The version being written; none while the register is being read.
    writing: Option<ClusterConfig>,
}

/// Where the configuration is kept: a register of the system shard.
fn config_key() -> RecordKey {
    RecordKey {
        namespace: NamespaceId::SYSTEM,
        key: Key::new("config").expect("short and not empty"),
    }
}

impl CoordinatorState {
    pub(super) fn open_namespace(
        &mut self,
        to: ReturnAddress,
        deadline: Millis,
        open: OpenNamespace,
    ) {
        let Some(config) = self.directory.config() else {
            let error = self.not_serving();
            return respond(&self.directory, &self.env, to, Err(error));
        };
        // What this node knows already needs no round: a namespace never goes away or changes.
        match config.has_namespace(&open.name, open.options.as_ref()) {
            Ok(true) => {
                let reply = ClientReply::Config(config.as_ref().clone());
                respond(&self.directory, &self.env, to, Ok(reply));
            }
            Err(error) => {
                let error = RequestError::Invalid(error.to_string());
                respond(&self.directory, &self.env, to, Err(error));
            }
            Ok(false) => {
                let OpenNamespace { name, options } = open;
                let created = match self.with_model(options.clone().unwrap_or_default()) {
                    Ok(created) => created,
                    Err(error) => return respond(&self.directory, &self.env, to, Err(error)),
                };
                let work = NamespaceWork {
                    name,
                    asked: options,
                    created,
                    attempts: 0,
                    writing: None,
                };
                let id = self.operation(to, deadline, Work::Namespace(Box::new(work)));
                self.read_config(id);
            }
        }
    }

    /// Fills in the model that the embedder's name means on this node: from then on the namespace
    /// keeps it.
    fn with_model(&self, options: NamespaceOptions) -> Result<NamespaceOptions, RequestError> {
        let Some(index) = self.directory.index().filter(|_| options.semantic) else {
            return Ok(options);
        };
        let failed = |error: EmbedderError| RequestError::Embedder {
            embedder: options.embedder.clone(),
            reason: error.to_string(),
        };
        let found = index.catalog().model(&options.embedder).map_err(failed)?;
        match &options.model {
            Some(wanted) if *wanted != found => {
                let wanted = wanted.clone();
                Err(failed(EmbedderError::OtherModel { wanted, found }))
            }
            _ => Ok(NamespaceOptions {
                model: Some(found),
                ..options
            }),
        }
    }

    /// Looks whether there is a newer configuration than this node knows.
    pub(super) fn refresh(&mut self) {
        if self.directory.config().is_none() {
            return;
        }
        let to = ReturnAddress {
            via: self.directory.me.id,
            session: COORDINATOR_SESSION,
            request: RequestId(0),
        };
        let deadline = self.env.clock.now().plus(REFRESH_MS_MAX);
        let id = self.operation(to, deadline, Work::Refresh);
        self.read_config(id);
    }

    pub(super) fn refreshed(&mut self, id: u64, result: Result<ClientReply, RequestError>) {
        let known = self.directory.config().map_or(0, |config| config.version);
        if let Ok(ClientReply::Entry(Some(entry))) = &result
            && let Ok(stored) = open::<StoredConfig>(entry.value.as_ref())
            && stored.config.version > known
            && let Some(gossip) = self.directory.gossip()
        {
            let _ = gossip.cast(GossipActorMessage::Decided(stored.config));
        }
        self.finish(id, result);
    }

    fn read_config(&mut self, id: u64) {
        let request = Get {
            key: config_key(),
            with_value: true,
        };
        self.ask(id, ShardId::SYSTEM, ClientRequest::Get(request));
    }

    pub(super) fn namespace_answered(
        &mut self,
        id: u64,
        result: Result<ClientReply, RequestError>,
    ) {
        let Some(Work::Namespace(work)) = self.operations.get_mut(&id).map(|o| &mut o.work) else {
            return;
        };
        match (work.writing.take(), result) {
            (None, Ok(ClientReply::Entry(entry))) => {
                let condition = match &entry {
                    None => Condition::Absent,
                    Some(entry) => Condition::Version(entry.version),
                };
                let current = entry.map(|entry| open::<StoredConfig>(entry.value.as_ref()));
                match current {
                    Some(Err(error)) => {
                        let error = RequestError::NotApplied(format!("{error}"));
                        self.finish(id, Err(error));
                    }
                    Some(Ok(stored)) => self.write_config(id, stored.config, condition),
                    None => match self.directory.config() {
                        Some(config) => self.write_config(id, config.as_ref().clone(), condition),
                        None => {
                            let error = self.not_serving();
                            self.finish(id, Err(error));
                        }
                    },
                }
            }
            (Some(config), Ok(ClientReply::Written(_))) => self.decided(id, config),
            (Some(_), Err(RequestError::Conflict { .. })) if work.attempts < ATTEMPTS_MAX => {
                self.read_config(id);
            }
            (_, Err(error)) => self.finish(id, Err(error)),
            (_, Ok(_)) => {
                let error = RequestError::NotApplied("a replica answered something else".into());
                self.finish(id, Err(error));
            }
        }
    }

    /// Writes the next version, unless another node has added the namespace meanwhile.
    fn write_config(&mut self, id: u64, current: ClusterConfig, condition: Condition) {
        let Some(Work::Namespace(work)) = self.operations.get_mut(&id).map(|o| &mut o.work) else {
            return;
        };
        let next = match current.has_namespace(&work.name, work.asked.as_ref()) {
            Ok(true) => return self.decided(id, current),
            Ok(false) => current.with_namespace(&work.name, work.created.clone()),
            Err(error) => Err(error),
        };
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                return self.finish(id, Err(RequestError::Invalid(error.to_string())));
            }
        };
        work.attempts += 1;
        work.writing = Some(next.clone());
        let sequence = self.next_write;
        self.next_write += 1;
        let value = Blob::from(seal(&StoredConfig {
            config: next,
            formed: true,
        }));
        let write = Write {
            change: Change::Put {
                value,
                tags: Vec::new(),
                expires_at: None,
            },
            condition,
            id: WriteId {
                client: self.writer,
                sequence,
            },
            since: self.clock.tick(self.env.clock.now()),
        };
        self.ask(
            id,
            ShardId::SYSTEM,
            ClientRequest::Put(Put {
                key: config_key(),
                write,
            }),
        );
    }

    fn decided(&mut self, id: u64, config: ClusterConfig) {
        if let Some(gossip) = self.directory.gossip() {
            let _ = gossip.cast(GossipActorMessage::Decided(config.clone()));
        }
        self.finish(id, Ok(ClientReply::Config(config)));
    }
}
