//! Writes: their options, and what is checked before they are sent.

use std::future::IntoFuture;
use std::time::Duration;

use engram_core::limits::{TAG_BYTES_MAX, TAGS_MAX, TTL_MS_MAX, VALUE_BYTES_MAX};
use engram_core::types::{Blob, Change, Condition, Key, Millis};
use engram_core::wire::Written;
use futures::future::BoxFuture;

use crate::{ClientError, Namespace, Version};

/// A write of one key, which happens when it is awaited.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn run(users: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
/// let written = users
///     .put("user:1", "Ada")
///     .ttl(Duration::from_secs(60))
///     .tag("eu")
///     .if_absent()
///     .await?;
/// println!("version {}", written.version);
/// # Ok(())
/// # }
/// ```
///
/// Of several conditions the last one counts. A condition that does not hold is
/// [`ClientError::Conflict`].
#[must_use = "nothing is written before it is awaited"]
#[derive(Debug)]
pub struct Put {
    namespace: Namespace,
    key: Result<Key, ClientError>,
    draft: Draft,
}

/// What is to be written, unchecked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Draft {
    value: Blob,
    tags: Vec<String>,
    expiry: Expiry,
    condition: Condition,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Expiry {
    #[default]
    Never,
    After(Duration),
    At(Millis),
}

impl Put {
    pub(crate) fn new(namespace: Namespace, key: Result<Key, ClientError>, value: Blob) -> Put {
        let draft = Draft {
            value,
            ..Draft::default()
        };
        Put {
            namespace,
            key,
            draft,
        }
    }

    /// Lets the value end after this time, counted from when the write is first sent. Without it
    /// the value stays, and an earlier time to live is cleared.
    pub fn ttl(mut self, ttl: Duration) -> Put {
        self.draft.expiry = Expiry::After(ttl);
        self
    }

    /// Lets the value end at this time by the cluster's clock, or never: to write back what was
    /// read.
    pub fn expires_at(mut self, expires_at: Option<Millis>) -> Put {
        self.draft.expiry = expires_at.map_or(Expiry::Never, Expiry::At);
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Put {
        self.draft.tags.push(tag.into());
        self
    }

    /// Adds several tags.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Put {
        self.draft.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Only if the key holds no value.
    pub fn if_absent(mut self) -> Put {
        self.draft.condition = Condition::Absent;
        self
    }

    /// Only if the key holds a value.
    pub fn if_present(mut self) -> Put {
        self.draft.condition = Condition::Present;
        self
    }

    /// Only if the key holds the value of this version: compare-and-set.
    pub fn if_version(mut self, version: Version) -> Put {
        self.draft.condition = Condition::Version(version);
        self
    }
}

impl IntoFuture for Put {
    type Output = Result<Written, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let condition = self.draft.condition;
            let change = self.draft.check(self.namespace.client().cluster_time())?;
            write(&self.namespace, self.key?, change, condition).await
        })
    }
}

impl Draft {
    fn check(self, now: Millis) -> Result<Change, ClientError> {
        if self.value.len() > VALUE_BYTES_MAX {
            return Err(too_large(
                "a value, in bytes,",
                VALUE_BYTES_MAX,
                self.value.len(),
            ));
        }
        check_tags(&self.tags)?;
        let expires_at = match self.expiry {
            Expiry::Never => None,
            Expiry::After(ttl) => Some(expiry_after(ttl, now)?),
            Expiry::At(at) => Some(at),
        };
        Ok(Change::Put {
            value: self.value,
            tags: self.tags,
            expires_at,
        })
    }
}

fn check_tags(tags: &[String]) -> Result<(), ClientError> {
    if tags.len() > TAGS_MAX {
        return Err(too_large("the number of tags", TAGS_MAX, tags.len()));
    }
    for tag in tags {
        if tag.is_empty() {
            return Err(ClientError::Invalid("a tag must not be empty".into()));
        }
        if tag.len() > TAG_BYTES_MAX {
            return Err(too_large("a tag, in bytes,", TAG_BYTES_MAX, tag.len()));
        }
    }
    Ok(())
}

fn too_large(what: &str, limit: usize, actual: usize) -> ClientError {
    ClientError::TooLarge {
        what: what.into(),
        limit: limit as u64,
        actual: actual as u64,
    }
}

/// When something ends that may live for `ttl` from `now` on.
pub(crate) fn expiry_after(ttl: Duration, now: Millis) -> Result<Millis, ClientError> {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    if !(1..=TTL_MS_MAX).contains(&ttl_ms) {
        return Err(ClientError::Invalid(format!(
            "a time to live is 1 to {TTL_MS_MAX} ms, not {ttl:?}"
        )));
    }
    Ok(now.plus(ttl_ms))
}

/// Sends a write, at most once in effect.
pub(crate) async fn write(
    namespace: &Namespace,
    key: Key,
    change: Change,
    condition: Condition,
) -> Result<Written, ClientError> {
    let key = namespace.record_key(key).await?;
    namespace.client().write(key, change, condition).await
}

/// A deletion of one key, which happens when it is awaited. Returns whether the key held a value.
///
/// ```no_run
/// # async fn run(users: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
/// let was_there = users.delete("user:1").await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is deleted before it is awaited"]
#[derive(Debug)]
pub struct Delete {
    namespace: Namespace,
    key: Result<Key, ClientError>,
    condition: Condition,
}

impl Delete {
    pub(crate) fn new(namespace: Namespace, key: Result<Key, ClientError>) -> Delete {
        Delete {
            namespace,
            key,
            condition: Condition::Any,
        }
    }

    /// Only if the key holds the value of this version.
    pub fn if_version(mut self, version: Version) -> Delete {
        self.condition = Condition::Version(version);
        self
    }

    /// Only if the key holds a value; else it is [`ClientError::Conflict`].
    pub fn if_present(mut self) -> Delete {
        self.condition = Condition::Present;
        self
    }
}

impl IntoFuture for Delete {
    type Output = Result<bool, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let condition = self.condition;
            let written = write(&self.namespace, self.key?, Change::Delete, condition).await?;
            Ok(written.found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1000);

    #[test]
    fn a_write_is_checked_before_it_is_sent() {
        let draft = |tags: &[&str], value: usize, expiry| Draft {
            value: Blob::from(vec![0; value]),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            expiry,
            condition: Condition::Any,
        };
        let long_tag = "t".repeat(TAG_BYTES_MAX + 1);
        let after = |ms| Expiry::After(Duration::from_millis(ms));
        let cases = [
            (draft(&["eu"], VALUE_BYTES_MAX, Expiry::Never), "fine"),
            (draft(&[], 0, after(1)), "fine"),
            (draft(&[], 0, after(TTL_MS_MAX)), "fine"),
            (draft(&[], VALUE_BYTES_MAX + 1, Expiry::Never), "too large"),
            (draft(&["t"; TAGS_MAX + 1], 0, Expiry::Never), "too large"),
            (draft(&[&long_tag], 0, Expiry::Never), "too large"),
            (draft(&["eu", ""], 0, Expiry::Never), "invalid"),
            (draft(&[], 0, after(0)), "invalid"),
            (draft(&[], 0, after(TTL_MS_MAX + 1)), "invalid"),
            (draft(&[], 0, Expiry::After(Duration::MAX)), "invalid"),
        ];
        for (number, (draft, expected)) in cases.into_iter().enumerate() {
            let verdict = match draft.check(NOW) {
                Ok(_) => "fine",
                Err(ClientError::TooLarge { .. }) => "too large",
                Err(ClientError::Invalid(_)) => "invalid",
                Err(other) => panic!("{other}"),
            };
            assert_eq!(verdict, expected, "case {number}");
        }
    }

    #[test]
    fn a_time_to_live_counts_from_the_cluster_s_clock() {
        let draft = Draft {
            expiry: Expiry::After(Duration::from_millis(500)),
            ..Draft::default()
        };
        let change = draft.check(NOW).expect("allowed");
        assert!(matches!(
            change,
            Change::Put {
                expires_at: Some(Millis(1500)),
                ..
            }
        ));
    }
}
