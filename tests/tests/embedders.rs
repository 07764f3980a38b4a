//! A namespace with an embedder of its own: an endpoint that fails and comes back, and a node that
//! does not have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use engram_client::{Client, ClientError, EmbedOutlook, ModelId, Namespace, NamespaceOptions};
use engram_core::limits::QUERY_BYTES_MAX;
use engram_core::wire::{HybridWeights, Search, SearchMode};
use engram_tests::cluster::{Builder, Cluster, SERVING_DEADLINE};
use engram_tests::endpoint::{Endpoint, Reply};
use engram_tests::waiting;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const DIM: usize = 8;
const ENTRIES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedder_that_fails_costs_no_write_and_no_vector() -> Result<()> {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = is_well.clone();
    let endpoint = Endpoint::start(move |_, _| match well.load(Ordering::SeqCst) {
        true => Reply::Vectors(DIM),
        false => Reply::status(503, "the model is being loaded"),
    });
    let mut cluster = cluster(&endpoint)?;
    cluster.start_all().await?;
    let client = cluster.client().await?;
    let notes = created(&client).await?;
    for number in 0..ENTRIES {
        let text = format!("note {number} about {}", "x".repeat(number));
        notes.put(format!("note:{number:02}"), text).await?;
    }
    all_are_listed_as_failed(&notes).await?;
    let found = notes.search("about").words().top_k(50).await?;
    ensure!(found.hits.len() <= ENTRIES, "{}", found.hits.len());
    let refused = notes.search("note").await;
    match refused {
        Err(ClientError::Embedder { embedder, reason }) => {
            ensure!(embedder == "endpoint" && reason.contains("503"), "{reason}");
        }
        other => bail!("the query cannot be embedded: {other:?}"),
    }

    is_well.store(true, Ordering::SeqCst);
    waiting::until("all to be embedded", SERVING_DEADLINE, || async {
        let left = notes.embed_failures().await.map_err(|e| e.to_string())?;
        let found = notes.search("note").top_k(50).await;
        let found = found.map_err(|error| error.to_string())?;
        match left
            .iter()
            .any(|one| one.outlook != EmbedOutlook::NextStart)
        {
            false if found.hits.len() == ENTRIES && found.is_complete() => Ok(()),
            _ => Err(format!("{} found, failed: {left:?}", found.hits.len())),
        }
    })
    .await?;
    bad_queries(&notes).await?;
    the_third_node_names_what_it_lacks(&client, &notes).await?;
    cluster.pass().await?;
    Ok(())
}

/// Three nodes, of which the third does not have the embedder.
fn cluster(endpoint: &Endpoint) -> Result<Cluster> {
    let mut cluster = Builder::new(NODE).prepare()?;
    let path = cluster.directory().join("node.toml");
    let settings = format!(
        "[embedders.endpoint]\nkind = \"openai\"\nurl = \"{}\"\nmodel = \"test\"\n\
         dimensions = {DIM}\nattempts = 1\n",
        endpoint.url()
    );
    std::fs::write(&path, settings)?;
    let path = path.display().to_string();
    for node in cluster.nodes.iter_mut().take(2) {
        node.settings
            .arguments
            .extend(["--config".into(), path.clone()]);
    }
    Ok(cluster)
}

async fn created(client: &Client) -> Result<Namespace> {
    let options = |embedder: &str| NamespaceOptions {
        embedder: embedder.into(),
        ..NamespaceOptions::default()
    };
    let notes = client
        .create_namespace("notes", options("endpoint"))
        .await?;
    let config = client.config();
    let made = config.namespace("notes");
    let model = made.and_then(|one| one.options.model.clone());
    ensure!(model == ModelId::new("openai/test/8").ok(), "{model:?}");

    client
        .create_namespace("notes", options("endpoint"))
        .await?;
    let other = client.create_namespace("notes", options("builtin")).await;
    ensure!(matches!(other, Err(ClientError::Invalid(_))), "{other:?}");
    let another_model = NamespaceOptions {
        model: ModelId::new("openai/test/9").ok(),
        ..options("endpoint")
    };
    for name in ["notes", "new"] {
        let other = client.create_namespace(name, another_model.clone()).await;
        ensure!(other.is_err(), "{name}: {other:?}");
    }
    let unknown = client.create_namespace("new", options("nowhere")).await;
    match unknown {
        Err(ClientError::Embedder { embedder, reason }) => {
            ensure!(embedder == "nowhere", "{embedder}");
            ensure!(reason.contains("builtin, "), "{reason}");
        }
        other => bail!("nobody has it: {other:?}"),
    }
    Ok(notes)
}

async fn all_are_listed_as_failed(notes: &Namespace) -> Result<()> {
    waiting::until("all to be listed as failed", SERVING_DEADLINE, || async {
        let failures = notes.embed_failures().await.map_err(|e| e.to_string())?;
        let reasons = failures.iter().all(|one| {
            one.reason.contains("503") || one.reason.contains("does not have the model")
        });
        // Two replicas wait for a while for what the third may send.
        let everywhere = failures.iter().all(|one| one.nodes.len() == 3);
        match failures.len() == ENTRIES && reasons && everywhere {
            true => Ok(()),
            false => Err(format!("{failures:?}")),
        }
    })
    .await
}

async fn bad_queries(notes: &Namespace) -> Result<()> {
    for query in ["", " \n"] {
        let refused = notes.search(query).await;
        ensure!(
            matches!(refused, Err(ClientError::Invalid(_))),
            "{query:?}: {refused:?}"
        );
    }
    let long = notes.search("x".repeat(100_000)).await;
    match long {
        Err(ClientError::TooLarge { limit, actual, .. }) => {
            ensure!(limit == QUERY_BYTES_MAX as u64 && actual == 100_000);
        }
        other => bail!("it is too long: {other:?}"),
    }
    Ok(())
}

/// It says so in its status and to searches; it serves keys, and others search for it.
async fn the_third_node_names_what_it_lacks(client: &Client, notes: &Namespace) -> Result<()> {
    let stats = client.cluster_stats().await?;
    let third = stats.nodes.iter().find(|node| node.name == "n3");
    let third = third.context("n3 is a member")?;
    let status = third.status.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?;
    let missing = &status.missing_embedders;
    let named = missing.iter().any(|one| {
        one.namespace == "notes" && one.embedder == "endpoint" && one.reason.contains("builtin")
    });
    ensure!(named, "{missing:?}");
    let problems = client.health().await?.problems;
    ensure!(
        problems.iter().any(|one| one.contains("notes")),
        "{problems:?}"
    );
    let search = Search {
        namespace: notes.id().await?,
        query: "note".into(),
        mode: SearchMode::Semantic,
        top_k: 1,
        threshold: None,
        weights: HybridWeights::default(),
        prefix: Vec::new(),
        tags: Vec::new(),
        with_values: false,
        snippets: false,
        fresh: false,
    };
    let refused = client.ask_node(third.member, search).await;
    ensure!(
        matches!(&refused, Err(ClientError::Embedder { embedder, .. }) if embedder == "endpoint"),
        "{refused:?}"
    );
    waiting::until(
        "two nodes to count all vectors",
        SERVING_DEADLINE,
        || async {
            let stats = client.cluster_stats().await.map_err(|e| e.to_string())?;
            let status = stats
                .nodes
                .iter()
                .filter_map(|node| node.status.as_ref().ok());
            let parts = status.flat_map(|status| &status.partitions);
            let namespaces = parts.flat_map(|part| &part.namespaces);
            let vectors: u64 = namespaces.map(|namespace| namespace.vectors).sum();
            match vectors >= 2 * ENTRIES as u64 {
                true => Ok(()),
                false => Err(format!("{vectors} vectors")),
            }
        },
    )
    .await
}
