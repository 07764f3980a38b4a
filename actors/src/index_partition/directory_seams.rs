//! The seams as a node's directory provides them: its shards and its configuration.

use std::sync::Arc;

use engram_core::index::{
    FeedEntry, FeedPage, FeedRequest, IndexOptions, IndexOptionsLookup, ModelId, NamespaceIndexing,
};
use engram_core::protocol::register::acceptor;
use engram_core::types::{Lseq, NamespaceId, ShardId};

use super::{FeedPageDone, FreshPositionDone, ShardFeed};
use crate::directory::Directory;
use crate::embedder::EmbedderCatalog;
use crate::shard::ShardMessage;

/// Asks the shard actors that the directory knows. A shard that is being respawned does not
/// answer.
pub struct DirectoryFeed {
    directory: Arc<Directory>,
}

impl DirectoryFeed {
    /// The shards of this node.
    pub fn new(directory: Arc<Directory>) -> DirectoryFeed {
        DirectoryFeed { directory }
    }
}

impl ShardFeed for DirectoryFeed {
    fn request(&self, request: FeedRequest, done: FeedPageDone) {
        let FeedRequest {
            shard,
            after,
            limit,
        } = request;
        let Some(local) = self.directory.shard(shard) else {
            return;
        };
        let done = move |page: acceptor::FeedPage| {
            let entries = page.entries.into_iter().map(entry).collect();
            done(FeedPage {
                shard,
                entries,
                upto: page.upto,
            });
        };
        let message = ShardMessage::Feed {
            after,
            limit,
            done: Box::new(done),
        };
        // A dead shard's successor is asked when the page does not come.
        drop(local.shard.cast(message));
    }

    fn freshen(&self, shard: ShardId, fed: Lseq, done: FreshPositionDone) {
        match self.directory.shard(shard) {
            // From a dead shard there is no answer, and the search goes on without it.
            Some(local) => drop(local.shard.cast(ShardMessage::Freshen { fed, done })),
            None => done(None),
        }
    }
}

fn entry(entry: acceptor::FeedEntry) -> FeedEntry {
    let register = entry.register;
    FeedEntry {
        lseq: entry.lseq,
        key: entry.key,
        vtag: register.vtag,
        value: register.value.clone(),
        tags: register.tags.clone(),
        expires_at: register.expires_at,
    }
}

/// Looks namespaces up in the current configuration.
pub struct DirectoryLookup {
    directory: Arc<Directory>,
    catalog: Arc<EmbedderCatalog>,
}

impl DirectoryLookup {
    /// The configuration of this node, and the embedders that it has.
    pub fn new(directory: Arc<Directory>, catalog: Arc<EmbedderCatalog>) -> DirectoryLookup {
        DirectoryLookup { directory, catalog }
    }
}

impl IndexOptionsLookup for DirectoryLookup {
    fn indexing(&self, namespace: NamespaceId) -> NamespaceIndexing {
        let Some(config) = self.directory.config() else {
            return NamespaceIndexing::NotYetKnown;
        };
        let Some(found) = config.namespace_by_id(namespace) else {
            // Ids are given out in rising order: a lower one was dropped.
            let newest = config.namespaces.iter().map(|known| known.id).max();
            return if newest.is_some_and(|newest| namespace < newest) {
                NamespaceIndexing::Skipped
            } else {
                NamespaceIndexing::NotYetKnown
            };
        };
        // A namespace that is searched by meaning has a model from the beginning; the name serves
        // for those that are not, as a model of which this node knows no more.
        let options = &found.options;
        let model = options.model.clone();
        match model.map_or_else(|| ModelId::new(options.embedder.as_str()), Ok) {
            Ok(model) => NamespaceIndexing::Indexed(IndexOptions::of(options, model)),
            Err(_) => NamespaceIndexing::Skipped,
        }
    }

    fn provides(&self, model: &ModelId) -> bool {
        self.catalog.provides(model)
    }
}

#[cfg(test)]
mod tests {
    use engram_core::types::{
        ClusterConfig, Epoch, IndexSource, Member, MemberId, Millis, Namespace, NamespaceOptions,
        ShardConfig,
    };

    use super::*;
    use crate::embedder::{EmbeddingModel, HashModel, InlineEmbedder};

    fn directory(namespaces: Vec<(u32, &str, Option<ModelId>)>) -> Arc<Directory> {
        let me = Member {
            id: MemberId(1),
            name: "a".into(),
            address: "a:1".into(),
            zone: None,
        };
        let directory = Directory::new(me.clone(), 1, Millis(0));
        let system = ShardConfig {
            epoch: Epoch(1),
            members: vec![me.id],
        };
        let namespaces = namespaces
            .into_iter()
            .map(|(id, embedder, model)| Namespace {
                id: NamespaceId(id),
                name: format!("n{id}"),
                options: NamespaceOptions {
                    source: IndexSource::Key,
                    embedder: embedder.into(),
                    model,
                    ..NamespaceOptions::default()
                },
            })
            .collect();
        directory.set_config(Arc::new(ClusterConfig {
            version: 1,
            cluster: "c".into(),
            cluster_id: 1,
            members: vec![me],
            shards: vec![system.clone()],
            system,
            namespaces,
        }));
        Arc::new(directory)
    }

    #[test]
    fn namespaces_are_known_dropped_or_still_to_come() {
        let model = HashModel.id();
        let mut catalog = EmbedderCatalog::default();
        let hash = InlineEmbedder::new(Box::new(HashModel));
        catalog.add_inline("builtin", Arc::new(hash));
        let directory = directory(vec![
            (1, "builtin", Some(model.clone())),
            (4, "elsewhere", None),
            (5, "", None),
        ]);
        let lookup = DirectoryLookup::new(directory, Arc::new(catalog));
        assert!(lookup.provides(&model));
        let NamespaceIndexing::Indexed(options) = lookup.indexing(NamespaceId(1)) else {
            panic!("it is known");
        };
        assert_eq!((options.model, options.source), (model, IndexSource::Key));
        let NamespaceIndexing::Indexed(options) = lookup.indexing(NamespaceId(4)) else {
            panic!("it is known");
        };
        assert_eq!(options.model.as_str(), "elsewhere");
        assert!(!lookup.provides(&options.model));
        assert_eq!(lookup.indexing(NamespaceId(3)), NamespaceIndexing::Skipped);
        assert_eq!(lookup.indexing(NamespaceId(5)), NamespaceIndexing::Skipped);
        assert_eq!(
            lookup.indexing(NamespaceId(6)),
            NamespaceIndexing::NotYetKnown
        );
    }

    #[test]
    fn without_a_shard_actor_there_is_no_page() {
        let feed = DirectoryFeed::new(directory(vec![]));
        let request = FeedRequest {
            shard: engram_core::types::ShardId(0),
            after: engram_core::types::Lseq(0),
            limit: 1,
        };
        feed.request(request, Box::new(|_| panic!("nobody can answer")));
    }
}
