//! A fresh search finds every write that was acknowledged before it, by words and by meaning, while
//! nodes are killed (SIGKILL) and come back. A search that is not sure says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use engram_client::{Client, ClientError, Namespace, Search};
use engram_tests::cluster::{Builder, SERVING_DEADLINE};
use engram_tests::waiting;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
/// So many complete searches are wanted with all nodes up, and after each kill.
const SEARCHES: u64 = 40;
const WRITERS: u64 = 3;

/// What the writers have seen.
#[derive(Debug, Default)]
struct Tally {
    /// Fresh searches that covered everything, and found what they had to.
    complete: AtomicU64,
    /// Fresh searches that said they had not covered everything, or failed.
    unsure: AtomicU64,
    over: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_search_finds_what_was_acknowledged_before() -> Result<()> {
    let mut cluster = Builder::new(NODE).flag("--shards", 8).start().await?;
    let client = cluster.client().await?;
    let tally = Arc::new(Tally::default());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_and_search(client.clone(), writer, tally.clone())))
        .collect();
    more_complete_searches(&tally).await?;
    for node in 0..2 {
        if let Some(node) = cluster.nodes.get_mut(node) {
            node.kill().await?;
            more_complete_searches(&tally).await?;
            node.start().await?;
        }
        more_complete_searches(&tally).await?;
    }
    tally.over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await??;
    }
    println!("{tally:?}");
    client.close().await;
    cluster.pass().await
}

async fn more_complete_searches(tally: &Tally) -> Result<()> {
    let wanted = tally.complete.load(Ordering::SeqCst) + SEARCHES;
    waiting::until("complete fresh searches", SERVING_DEADLINE, || async {
        let complete = tally.complete.load(Ordering::SeqCst);
        (complete >= wanted)
            .then_some(())
            .ok_or_else(|| format!("{complete} of {wanted}: {tally:?}"))
    })
    .await
}

/// Puts an entry that nobody else touches, and looks for it at once, over and over.
async fn write_and_search(client: Client, writer: u64, tally: Arc<Tally>) -> Result<()> {
    let notes = client.namespace("notes");
    let mut number = 0_u64;
    while !tally.over.load(Ordering::SeqCst) {
        number += 1;
        let (key, word) = (
            format!("w{writer}:{number}"),
            format!("word{writer}x{number}"),
        );
        let text = format!("a note about {word}");
        match notes.put(key.as_str(), text.as_str()).await {
            Ok(_) => {}
            // Nothing was acknowledged: nothing must be found.
            Err(ClientError::Conflict { .. } | ClientError::Invalid(_)) => {
                ensure!(false, "a plain write was refused");
            }
            Err(_) => continue,
        }
        look(&tally, &key, notes.search(word.as_str()).words()).await?;
        // The nearest of all by meaning is the text itself.
        look(&tally, &key, by_meaning(&notes, &text, &key)).await?;
    }
    Ok(())
}

fn by_meaning(notes: &Namespace, text: &str, key: &str) -> Search {
    notes.search(text).prefix(key)
}

async fn look(tally: &Tally, key: &str, search: Search) -> Result<()> {
    match search.fresh().await {
        Ok(found) if found.is_complete() => {
            let is_found = found.hits.iter().any(|hit| hit.key.to_text() == key);
            ensure!(is_found, "{key} was acknowledged and is not in {found:?}");
            tally.complete.fetch_add(1, Ordering::SeqCst);
        }
        Ok(_) | Err(_) => {
            tally.unsure.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}
