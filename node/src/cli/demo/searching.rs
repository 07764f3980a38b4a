//! The demo's searches: by meaning, by words, and what was deleted.

use std::time::Instant;

use engram_client::{Found, Namespace, Search};
use tokio::time::sleep;

use super::story::{LOOK_INTERVAL, PATIENCE, Story, shown};
use crate::cli::duration::show;
use crate::cli::exit::Failure;

/// A query that shares no word with its best answer.
const MEANING: (&str, &str, &str) = (
    "texts",
    "alien worlds around distant suns",
    "text:astronomy:",
);
/// Two words that occur together in few texts.
const WORDS: (&str, &str, &str) = ("texts", "python programming", "text:coding:python");
/// Hits that are shown.
const SHOWN_HITS: usize = 3;

impl Story<'_> {
    /// Searches what was loaded: so many entries.
    pub(super) async fn search(&mut self, entries: u64) -> Result<(), Failure> {
        self.narrator.begin("Search by meaning and by words")?;
        let started = Instant::now();
        let is_indexed = self.until_indexed(entries).await?;
        let claim = format!("every node has the words and the meaning of all {entries} entries");
        let took = format!("{} more", show(started.elapsed()));
        self.narrator.check(claim, is_indexed, took)?;

        let (name, query, expected) = MEANING;
        let texts = self.client.namespace(name);
        let ask = |namespace: &Namespace| namespace.search(query).top_k(5);
        let found = self.until_found(&texts, ask, expected).await?;
        let claim = format!("by meaning, {query:?} finds a text in other words");
        let covered = format!("{} of {} shards", found.shards_answered, found.shards_total);
        self.narrator
            .check(claim, begins(&found, expected), covered)?;
        self.show_hits(&found)?;

        let (name, query, expected) = WORDS;
        let texts = self.client.namespace(name);
        let ask = |namespace: &Namespace| namespace.search(query).words().top_k(5);
        let found = self.until_found(&texts, ask, expected).await?;
        let claim = format!("by words, {query:?} finds what has both of them");
        let covered = format!("{} of {} shards", found.shards_answered, found.shards_total);
        self.narrator
            .check(claim, begins(&found, expected), covered)?;
        self.show_hits(&found)?;

        let Some(best) = found.hits.first().map(|hit| hit.key.clone()) else {
            return Ok(());
        };
        texts.delete(&best).await?;
        let found = ask(&texts).await?;
        let is_gone = found.hits.iter().all(|hit| hit.key != best);
        let claim = format!(
            "{} is deleted, and not found any more at once",
            best.to_text()
        );
        self.narrator
            .check(claim, is_gone, format!("{} other hits", found.hits.len()))
    }

    /// Waits until no node's index lags behind its shards, for as long as indexing may take.
    async fn until_indexed(&self, entries: u64) -> Result<bool, Failure> {
        let started = Instant::now();
        loop {
            let stats = self.client.cluster_stats().await?;
            let is_indexed = stats.nodes.iter().all(|node| {
                let Ok(status) = &node.status else {
                    return false;
                };
                let partitions = &status.partitions;
                let vectors: u64 = partitions.iter().map(|partition| partition.vectors).sum();
                let lag = partitions
                    .iter()
                    .any(|partition| partition.lag + partition.embedding > 0);
                vectors >= entries && !lag
            });
            if is_indexed || started.elapsed() > PATIENCE {
                return Ok(is_indexed);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Searches until the expected key comes first, for as long as indexing may take.
    async fn until_found(
        &self,
        namespace: &Namespace,
        ask: impl Fn(&Namespace) -> Search,
        expected: &str,
    ) -> Result<Found, Failure> {
        let started = Instant::now();
        loop {
            let found = ask(namespace).await?;
            if begins(&found, expected) && found.is_complete() || started.elapsed() > PATIENCE {
                return Ok(found);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn show_hits(&mut self, found: &Found) -> Result<(), Failure> {
        for hit in found.hits.iter().take(SHOWN_HITS) {
            let (key, value) = (hit.key.to_text(), shown(hit.entry.bytes()));
            self.narrator
                .note(format_args!("{:.2}  {key}  {value}", hit.score))?;
        }
        Ok(())
    }
}

fn begins(found: &Found, key: &str) -> bool {
    found
        .hits
        .first()
        .is_some_and(|hit| hit.key.as_bytes().starts_with(key.as_bytes()))
}
