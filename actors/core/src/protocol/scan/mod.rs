//! Scans over all shards: pages of each shard's keys, merged in key order.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::PAGE_BYTES_MAX;
use crate::types::{Key, ShardId};
use crate::wire::{Entry, Scan, ScanPage};

/// A shard's page that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Which shard.
    pub shard: ShardId,
    /// What to ask it.
    pub scan: Scan,
}

#[derive(Debug)]
struct Source {
    buffer: VecDeque<(Key, Entry)>,
    /// Where the shard goes on: `None` before the first page too, told apart by `asked`.
    next: Option<Key>,
    asked: bool,
    exhausted: bool,
}

/// A k-way merge of shards' pages.
#[derive(Debug)]
pub struct ScanMerge {
    scan: Scan,
    per_shard: u32,
    sources: BTreeMap<ShardId, Source>,
    merged: Vec<(Key, Entry)>,
    merged_bytes: usize,
}

impl ScanMerge {
    /// Begins a scan; returns what to ask first.
    pub fn new(scan: Scan, shards: u16) -> (ScanMerge, Vec<Wanted>) {
        let per_shard = (scan.limit / u32::from(shards.max(1)))
            .saturating_mul(2)
            .saturating_add(8)
            .min(scan.limit);
        let sources = (0..shards)
            .map(|shard| {
                let source = Source {
                    buffer: VecDeque::new(),
                    next: scan.after.clone(),
                    asked: true,
                    exhausted: false,
                };
                (ShardId(shard), source)
            })
            .collect();
        let merge = ScanMerge {
            scan,
            per_shard,
            sources,
            merged: Vec::new(),
            merged_bytes: 0,
        };
        let wanted = merge
            .sources
            .keys()
            .map(|shard| merge.wanted(*shard))
            .collect();
        (merge, wanted)
    }

    /// Takes one shard's page. Returns the merged page when it is complete, or what to ask next.
    pub fn page(&mut self, shard: ShardId, page: ScanPage) -> Result<ScanPage, Vec<Wanted>> {
        if let Some(source) = self.sources.get_mut(&shard) {
            source.asked = false;
            source.exhausted = page.next.is_none();
            source.next = page.next;
            source.buffer.extend(page.entries);
        }
        self.merge()
    }

    fn merge(&mut self) -> Result<ScanPage, Vec<Wanted>> {
        let limit = usize::try_from(self.scan.limit).unwrap_or(usize::MAX);
        loop {
            let full = self.merged.len() >= limit || self.merged_bytes >= PAGE_BYTES_MAX;
            let exhausted = self
                .sources
                .values()
                .all(|s| s.exhausted && s.buffer.is_empty());
            if full || exhausted {
                let entries = std::mem::take(&mut self.merged);
                let next = if exhausted {
                    None
                } else {
                    entries.last().map(|(key, _)| key.clone())
                };
                return Ok(ScanPage { entries, next });
            }
            let short: Vec<ShardId> = self
                .sources
                .iter()
                .filter(|(_, source)| source.buffer.is_empty() && !source.exhausted)
                .map(|(shard, _)| *shard)
                .collect();
            if !short.is_empty() {
                return Err(self.ask(&short));
            }
            let least = self
                .sources
                .values_mut()
                .filter(|source| !source.buffer.is_empty())
                .min_by(|a, b| a.buffer[0].0.cmp(&b.buffer[0].0))
                .and_then(|source| source.buffer.pop_front());
            if let Some((key, entry)) = least {
                self.merged_bytes += key.as_bytes().len() + entry.value.len() + 64;
                self.merged.push((key, entry));
            }
        }
    }

    fn ask(&mut self, shards: &[ShardId]) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for shard in shards {
            if let Some(source) = self.sources.get_mut(shard)
                && !source.asked
            {
                source.asked = true;
                wanted.push(self.wanted(*shard));
            }
        }
        wanted
    }

    fn wanted(&self, shard: ShardId) -> Wanted {
        let after = self
            .sources
            .get(&shard)
            .and_then(|source| source.next.clone());
        Wanted {
            shard,
            scan: Scan {
                after,
                limit: self.per_shard,
                ..self.scan.clone()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Ballot, NamespaceId};

    fn entry() -> Entry {
        Entry {
            value: "v".into(),
            version: Ballot::ZERO,
            tags: vec![],
            expires_at: None,
        }
    }

    /// Answers like a shard that holds `keys`.
    fn answer(keys: &[Key], scan: &Scan) -> ScanPage {
        let after: Vec<&Key> = keys
            .iter()
            .filter(|key| scan.after.as_ref().is_none_or(|a| *key > a))
            .collect();
        let limit = scan.limit as usize;
        let entries: Vec<_> = after
            .iter()
            .take(limit)
            .map(|k| ((*k).clone(), entry()))
            .collect();
        let next = (after.len() > limit).then(|| entries[entries.len() - 1].0.clone());
        ScanPage { entries, next }
    }

    fn collect(keys: &[Vec<Key>], limit: u32) -> Vec<Key> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let scan = Scan {
                namespace: NamespaceId(1),
                prefix: vec![],
                after: after.clone(),
                limit,
                with_values: true,
            };
            let (mut merge, wanted) = ScanMerge::new(scan, keys.len() as u16);
            let mut queue = VecDeque::from(wanted);
            let page = loop {
                let wanted = queue
                    .pop_front()
                    .expect("something is asked while unfinished");
                let page = answer(&keys[wanted.shard.0 as usize], &wanted.scan);
                match merge.page(wanted.shard, page) {
                    Ok(page) => break page,
                    Err(more) => queue.extend(more),
                }
            };
            assert!(page.entries.len() <= limit as usize);
            found.extend(page.entries.into_iter().map(|(key, _)| key));
            match page.next {
                None => return found,
                next => after = next,
            }
        }
    }

    #[test]
    fn all_keys_come_once_and_in_order_whatever_the_page_size() {
        for (shards, count) in [(1, 0), (1, 10), (4, 100), (7, 57)] {
            let mut by_shard = vec![Vec::new(); shards];
            for n in 0..count {
                let key = Key::new(format!("{n:04}")).expect("short");
                by_shard[(n * 7919) % shards].push(key);
            }
            let mut all: Vec<Key> = by_shard.concat();
            all.sort();
            for limit in [1, 3, 10, 1000] {
                assert_eq!(
                    collect(&by_shard, limit),
                    all,
                    "{shards} shards, limit {limit}"
                );
            }
        }
    }
}
