//! The semantic cache across three nodes, with the built-in embedding model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engram_client::cache::CacheError;
use engram_client::{ClientConfig, ClientError, NamespaceOptions, blocking};
use engram_tests::cluster::Builder;
use futures::future::{join_all, try_join_all};

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const THRESHOLD: f32 = 0.8;

/// Stored prompts; what means the same; what only looks like it.
const PROMPTS: [(&str, &str, &str); 5] = [
    (
        "How do I enable the query cache?",
        "How can I enable the query cache?",
        "How do I disable the query cache?",
    ),
    (
        "a recipe for bread with sugar",
        "recipe for bread with sugar",
        "a recipe for bread without sugar",
    ),
    (
        "Will the parcel arrive in 5 days?",
        "Does the parcel arrive in 5 days?",
        "Will the parcel arrive in 50 days?",
    ),
    (
        "how to convert pounds to kilograms",
        "how do I convert pounds to kilograms",
        "how to convert kilograms to pounds",
    ),
    (
        "Can I eat raw eggs?",
        "can I eat eggs raw",
        "Can't I eat raw eggs?",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn like_questions_share_an_answer_and_opposite_ones_do_not() -> Result<()> {
    let cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    let cache = client.semantic_cache("llm");
    ensure!(cache.lookup("anything", THRESHOLD).await?.is_none());
    for (prompt, _, _) in PROMPTS {
        cache.store(prompt, format!("answer to {prompt}")).await?;
        // Before anything is indexed: the very same text needs no embedding.
        let hit = cache.lookup(prompt, 1.0).await?.context("just stored")?;
        ensure!(hit.is_exact && hit.answer == format!("answer to {prompt}"));
    }
    // A lookup may ask any node.
    cluster.has_vectors(&client, PROMPTS.len() as u64).await?;
    let fooled = client.semantic_cache("llm").without_word_check();
    let suspicious = client
        .semantic_cache("llm")
        .verifier(|_asked, stored| !stored.contains("parcel"));
    for (prompt, same, other) in PROMPTS {
        let hit = cache.lookup(same, THRESHOLD).await?.context(same)?;
        ensure!(hit.prompt == prompt && !hit.is_exact, "{same:?}: {hit:?}");
        // The embedding alone takes one for the other; the check of the words does not.
        let wrong = fooled.lookup(other, THRESHOLD).await?.context(other)?;
        ensure!(wrong.prompt == prompt, "{other:?}: {wrong:?}");
        let refused = cache.counters().refused;
        let hit = cache.lookup(other, THRESHOLD).await?;
        ensure!(hit.is_none(), "{other:?} got {hit:?}");
        ensure!(cache.counters().refused > refused, "it was not the guard");
        let verified = suspicious.lookup(same, THRESHOLD).await?;
        ensure!(verified.is_some() != prompt.contains("parcel"), "{prompt}");
    }
    let counters = cache.counters();
    ensure!(counters.exact_hits == PROMPTS.len() as u64, "{counters:?}");
    ensure!(counters.misses > PROMPTS.len() as u64, "{counters:?}");
    // An answer attracts no questions, and long prompts are not compared by their beginnings.
    cache
        .store("zzz", "Volcanoes erupt when magma rises.")
        .await?;
    let long = "can I eat eggs raw ".repeat(40);
    for prompt in ["why do volcanoes erupt when magma rises", &long] {
        ensure!(cache.lookup(prompt, THRESHOLD).await?.is_none(), "{prompt}");
    }
    client.close().await;
    cluster.pass().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_computed_once_labelled_and_invalidated() -> Result<()> {
    let cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    let cache = client.semantic_cache("llm").max_entries(1000);
    let runs = Arc::new(AtomicUsize::new(0));
    let ask = |tag: &str| {
        let runs = runs.clone();
        let compute = move || async move {
            runs.fetch_add(1, Ordering::SeqCst);
            // Long enough for the others to come; whoever comes later finds it stored.
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>("42".to_owned())
        };
        let asked = client.semantic_cache("llm");
        asked.get_or_insert_with("the answer?", compute).tag(tag)
    };
    let answers = try_join_all((0..16).map(|_| ask("deep").into_future())).await?;
    ensure!(answers.iter().all(|answer| answer.text == "42"));
    ensure!(runs.load(Ordering::SeqCst) == 1, "it ran more than once");
    ensure!(ask("deep").await?.origin.is_cached());
    let stored = cache.lookup("the answer?", 1.0).await?.context("stored")?;
    ensure!(stored.tags == ["deep"], "{stored:?}");

    let failing = cache.get_or_insert_with("broken?", || async {
        Err::<String, _>(std::io::Error::other("no model"))
    });
    let failed = failing.await.err().context("it failed")?;
    ensure!(failed.to_string().contains("no model"), "{failed}");
    let panicking = cache.get_or_insert_with("panicking?", || async {
        if true {
            panic!("a panic on purpose, to see that it is contained");
        }
        Ok::<_, std::io::Error>(String::new())
    });
    ensure!(matches!(panicking.await, Err(CacheError::Panicked)));
    ensure!(cache.lookup("broken?", 1.0).await?.is_none());

    cache.store("kept?", "yes").tag("other").await?;
    let brief = cache.store("brief?", "yes").tags(["deep", "other"]);
    brief.ttl(Duration::from_secs(3600)).await?;
    let brief = cache.lookup("brief?", 1.0).await?.context("stored")?;
    ensure!(brief.ttl.is_some_and(|ttl| ttl > Duration::from_secs(3000)));
    // Touching changes the version, not the tags: it saves nothing from invalidation.
    let namespace = cache.namespace();
    let touching = namespace.scan("").limit(10).await?;
    let touches = touching
        .entries
        .iter()
        .map(|(key, _)| namespace.persist(key));
    let (removed, touched) = tokio::join!(cache.invalidate_tag("deep"), join_all(touches));
    ensure!(removed? == 2, "the answer and the brief one");
    ensure!(touched.iter().all(Result::is_ok), "{touched:?}");
    ensure!(cache.lookup("brief?", 1.0).await?.is_none());
    ensure!(cache.lookup("kept?", 1.0).await?.is_some());
    ensure!(cache.remove("kept?").await? && !cache.remove("kept?").await?);
    client.close().await;
    cluster.pass().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_without_async_have_the_same_cache() -> Result<()> {
    let cluster = Builder::new(NODE).nodes(1).start().await?;
    let config = cluster.client_config();
    tokio::task::spawn_blocking(|| blocks(config)).await??;
    cluster.pass().await
}

fn blocks(config: ClientConfig) -> Result<()> {
    let client = blocking::Client::connect(config)?;
    let cache = client
        .semantic_cache("llm")
        .with(|cache| cache.max_entries(1000));
    ensure!(cache.lookup("the answer?", THRESHOLD)?.is_none());
    let (asked, runs) = (client.clone(), Arc::new(AtomicUsize::new(0)));
    let compute = || {
        let (asked, runs) = (asked.clone(), runs.clone());
        move || {
            runs.fetch_add(1, Ordering::SeqCst);
            // It may use the client that waits for it.
            asked.namespace("asked").increment("times", 1)?;
            Ok::<_, ClientError>("42".to_owned())
        }
    };
    for is_cached in [false, true] {
        let asking = cache.get_or_insert_with("the answer?", compute());
        let answer = asking.with(|call| call.tag("deep")).send()?;
        ensure!(answer.text == "42" && answer.origin.is_cached() == is_cached);
    }
    ensure!(runs.load(Ordering::SeqCst) == 1, "it ran more than once");
    ensure!(client.namespace("asked").get("times")?.is_some());
    let failing = cache.get_or_insert_with("broken?", || Err("no model"));
    let failed = failing.send().err().context("it failed")?;
    ensure!(failed.to_string().contains("no model"), "{failed}");
    let panicking = cache.get_or_insert_with("panicking?", || -> Result<String, ClientError> {
        panic!("a panic on purpose, to see that it is contained")
    });
    ensure!(matches!(panicking.send(), Err(CacheError::Panicked)));

    let storing = cache.store("kept?", "yes");
    storing
        .with(|it| it.ttl(Duration::from_secs(3600)).tag("other"))
        .send()?;
    ensure!(cache.invalidate_tag("deep")? == 1);
    ensure!(cache.lookup("the answer?", 1.0)?.is_none());
    let kept = cache.lookup("kept?", 1.0)?.context("it is kept")?;
    ensure!(kept.tags == ["other"] && kept.ttl.is_some(), "{kept:?}");
    ensure!(cache.namespace().count("")? == 1);
    ensure!(cache.remove("kept?")? && !cache.remove("kept?")?);
    let counters = cache.counters();
    ensure!(
        counters.computed == 1 && counters.exact_hits == 2,
        "{counters:?}"
    );
    client.close();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused() -> Result<()> {
    let cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    let cache = client.semantic_cache("llm");
    let invalid = |result: Result<_, ClientError>| matches!(result, Err(ClientError::Invalid(_)));
    for threshold in [0.0, -1.0, 1.5, f32::NAN] {
        ensure!(invalid(cache.lookup("fine", threshold).await.map(drop)));
    }
    for prompt in ["", "  \n"] {
        ensure!(invalid(cache.lookup(prompt, 0.9).await.map(drop)));
        ensure!(invalid(cache.store(prompt, "x").await.map(drop)));
        let compute = || async { Ok::<_, std::io::Error>("x".to_owned()) };
        let computed = cache.get_or_insert_with(prompt, compute).await;
        ensure!(matches!(computed, Err(CacheError::Invalid(_))));
    }
    ensure!(invalid(cache.invalidate_tag("").await.map(drop)));
    let huge = "x".repeat(100_000);
    let refused = cache.lookup(&huge, 0.9).await;
    ensure!(matches!(refused, Err(ClientError::TooLarge { .. })));
    let plain = NamespaceOptions::default();
    client.create_namespace("plain", plain).await?;
    let other = client.semantic_cache("plain");
    ensure!(invalid(other.lookup("fine", 0.9).await.map(drop)));
    let none = client.semantic_cache("none").max_entries(0);
    ensure!(invalid(none.lookup("fine", 0.9).await.map(drop)));
    client.close().await;
    cluster.pass().await
}
