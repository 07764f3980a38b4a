//! Where a watcher goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use engram_core::limits::{MEMBERS_MAX, SHARDS_MAX};
use engram_core::protocol::watch::Position;
use engram_core::types::{Lseq, MemberId, ShardId};
use xxhash_rust::xxh3::xxh3_64;

/// Most members that the position of one shard may name.
const MEMBERS_OF_SHARD_MAX: usize = 16;
/// More characters than any cursor has.
const TEXT_MAX: usize = SHARDS_MAX as usize * (MEMBERS_OF_SHARD_MAX * 34 + 8) + 32;

const _: () = assert!(MEMBERS_OF_SHARD_MAX <= MEMBERS_MAX);

/// Where a watcher goes on: everything before it was shown. It prints as text without spaces, to
/// be stored and parsed again, also by another process; what is in the text may change with the
/// next release.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WatchCursor(pub(super) BTreeMap<ShardId, Position>);

/// The text is not a cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a cursor: expected the text that an earlier watch gave, unchanged")]
pub struct WatchCursorError;

impl fmt::Display for WatchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from("w1");
        for (shard, position) in &self.0 {
            text.push_str(&format!(";{:x}", shard.0));
            for (member, lseq) in &position.0 {
                text.push_str(&format!(",{:x}-{:x}", member.0, lseq.0));
            }
        }
        let sum = xxh3_64(text.as_bytes());
        write!(f, "{text};{sum:016x}")
    }
}

impl FromStr for WatchCursor {
    type Err = WatchCursorError;

    fn from_str(text: &str) -> Result<WatchCursor, WatchCursorError> {
        if text.len() > TEXT_MAX {
            return Err(WatchCursorError);
        }
        let (body, sum) = text.rsplit_once(';').ok_or(WatchCursorError)?;
        if format!("{:016x}", xxh3_64(body.as_bytes())) != sum {
            return Err(WatchCursorError);
        }
        let mut parts = body.split(';');
        if parts.next() != Some("w1") {
            return Err(WatchCursorError);
        }
        let shards: Option<BTreeMap<ShardId, Position>> = parts.map(shard).collect();
        shards.map(WatchCursor).ok_or(WatchCursorError)
    }
}

fn shard(text: &str) -> Option<(ShardId, Position)> {
    let mut parts = text.split(',');
    let number = u16::from_str_radix(parts.next()?, 16).ok()?;
    let pairs: Option<Vec<(MemberId, Lseq)>> = parts
        .map(|pair| {
            let (member, lseq) = pair.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some((MemberId(number(member)?), Lseq(number(lseq)?)))
        })
        .collect();
    let pairs = pairs.filter(|pairs| (1..=MEMBERS_OF_SHARD_MAX).contains(&pairs.len()))?;
    Some((ShardId(number), Position::of(pairs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> WatchCursor {
        let position = |pairs: &[(u64, u64)]| {
            let pairs = pairs.iter().map(|(m, l)| (MemberId(*m), Lseq(*l)));
            Position::of(pairs.collect())
        };
        WatchCursor(BTreeMap::from([
            (ShardId(0), position(&[(1, 2), (u64::MAX, u64::MAX)])),
            (ShardId(63), position(&[(7, 0)])),
        ]))
    }

    #[test]
    fn cursors_survive_printing_and_parsing() {
        for cursor in [cursor(), WatchCursor::default()] {
            let text = cursor.to_string();
            assert!(!text.contains(char::is_whitespace));
            assert_eq!(text.parse(), Ok(cursor));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let good = cursor().to_string();
        let signed = |body: &str| format!("{body};{:016x}", xxh3_64(body.as_bytes()));
        for bad in [
            "",
            ";",
            "nonsense",
            &good[1..],
            &good[..good.len() - 1],
            &good.replacen('7', "8", 1),
            &signed("w2;0,1-2"),
            &signed("w1;"),
            &signed("w1;0"),
            &signed("w1;0,1"),
            &signed("w1;10000,1-2"),
            &signed("w1;0,1-xyz"),
            &"w".repeat(TEXT_MAX + 1),
        ] {
            assert_eq!(
                bad.parse::<WatchCursor>(),
                Err(WatchCursorError),
                "{bad:.60}"
            );
        }
    }
}
