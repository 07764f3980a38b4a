//! Scans: keys in order, page by page or as a stream.

use std::future::{Future, IntoFuture};

use engram_core::limits::{
    CLIENT_BULK_IN_FLIGHT_MAX, CLIENT_UPDATE_ROUNDS_MAX, KEY_BYTES_MAX, SCAN_LIMIT_MAX,
};
use engram_core::types::{Blob, Key, NamespaceId};
use engram_core::wire;
use futures::future::{BoxFuture, ready};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use crate::{ClientError, Cursor, Entry, Namespace, Version};

/// Entries per page unless told otherwise.
const LIMIT_DEFAULT: u32 = 1000;

/// Keys and what they hold, in order.
pub type EntryStream = BoxStream<'static, Result<(Key, Entry), ClientError>>;

/// A scan of the keys with a prefix, in the order of their bytes. Awaited, it gives one [`Page`];
/// [`Scan::stream`] goes through all of them.
///
/// Each key is read linearizably, but a scan is no snapshot: keys that change while it runs may be
/// seen before or after the change.
///
/// ```no_run
/// use futures::TryStreamExt;
///
/// # async fn run(users: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
/// let page = users.scan("user:").limit(100).await?;
/// for (key, entry) in &page.entries {
///     println!("{} = {}", key.to_text(), entry.text()?);
/// }
/// if let Some(next) = page.next {
///     let more = users.scan("user:").after(next).await?;
///     println!("{} more", more.entries.len());
/// }
/// let mut keys = users.scan("").keys_only().stream();
/// while let Some((key, _)) = keys.try_next().await? {
///     println!("{}", key.to_text());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is read before it is awaited or streamed"]
#[derive(Debug)]
pub struct Scan {
    namespace: Namespace,
    query: Query,
}

/// What is wanted, unchecked.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Query {
    prefix: Blob,
    after: Option<Cursor>,
    limit: u32,
    with_values: bool,
}

/// Some keys in order, and what they hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// At most as many as asked for. A page may be shorter, even empty, without being the last:
    /// pages are bounded in bytes too.
    pub entries: Vec<(Key, Entry)>,
    /// Where the next page begins; none if this was the last.
    pub next: Option<Cursor>,
}

impl Scan {
    /// At most so many entries in a page: 1 to [`SCAN_LIMIT_MAX`]. 1000 unless set.
    pub fn limit(mut self, limit: u32) -> Scan {
        self.query.limit = limit;
        self
    }

    /// Goes on where an earlier page ended.
    pub fn after(mut self, cursor: Cursor) -> Scan {
        self.query.after = Some(cursor);
        self
    }

    /// Without values: entries then hold versions, tags and expiry only.
    pub fn keys_only(mut self) -> Scan {
        self.query.with_values = false;
        self
    }

    /// All entries, page after page. The first error ends it.
    pub fn stream(self) -> EntryStream {
        let client = self.namespace.client().clone();
        self.pages()
            .map_ok(move |page| {
                let now = client.cluster_time();
                let entries = page.entries.into_iter();
                stream::iter(
                    entries.map(move |(key, entry)| Ok((key, Entry::from_wire(entry, now)))),
                )
            })
            .try_flatten()
            .boxed()
    }

    fn pages(self) -> impl Stream<Item = Result<wire::ScanPage, ClientError>> + Send + 'static {
        let Scan { namespace, query } = self;
        let opening = async move {
            let scan = query.check(namespace.id().await?)?;
            Ok::<_, ClientError>(pages(namespace, scan))
        };
        stream::once(opening).try_flatten()
    }
}

impl IntoFuture for Scan {
    type Output = Result<Page, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let scan = self.query.check(self.namespace.id().await?)?;
            let page = self.namespace.page(scan).await?;
            let now = self.namespace.client().cluster_time();
            let entries = page.entries.into_iter();
            Ok(Page {
                entries: entries
                    .map(|(key, entry)| (key, Entry::from_wire(entry, now)))
                    .collect(),
                next: page.next.map(Cursor::after),
            })
        })
    }
}

impl Query {
    fn check(self, namespace: NamespaceId) -> Result<wire::Scan, ClientError> {
        let limit_max = u32::try_from(SCAN_LIMIT_MAX).unwrap_or(u32::MAX);
        if !(1..=limit_max).contains(&self.limit) {
            return Err(ClientError::Invalid(format!(
                "the limit of a scan is 1 to {limit_max}, not {}",
                self.limit
            )));
        }
        if self.prefix.len() > KEY_BYTES_MAX {
            return Err(ClientError::Invalid(format!(
                "a prefix may have {KEY_BYTES_MAX} bytes at most, this one has {}",
                self.prefix.len()
            )));
        }
        Ok(wire::Scan {
            namespace,
            prefix: self.prefix.as_ref().to_vec(),
            after: self.after.map(Cursor::into_key),
            limit: self.limit,
            with_values: self.with_values,
        })
    }
}

/// Where pages come from.
trait PageSource: Send + Sync + 'static {
    fn page(
        &self,
        scan: wire::Scan,
    ) -> impl Future<Output = Result<wire::ScanPage, ClientError>> + Send;
}

impl PageSource for Namespace {
    async fn page(&self, scan: wire::Scan) -> Result<wire::ScanPage, ClientError> {
        self.client().ask(scan).await
    }
}

/// All pages from `scan` on. Ends with an error if a page does not lead further.
fn pages<S: PageSource>(
    source: S,
    scan: wire::Scan,
) -> impl Stream<Item = Result<wire::ScanPage, ClientError>> + Send + 'static {
    stream::try_unfold(Some((source, scan)), async |state| {
        let Some((source, mut scan)) = state else {
            return Ok(None);
        };
        let page = source.page(scan.clone()).await?;
        let Some(next) = page.next.clone() else {
            return Ok(Some((page, None)));
        };
        if scan.after.as_ref().is_some_and(|after| *after >= next) {
            let reason = "a page of the scan leads nowhere".into();
            return Err(ClientError::NotApplied { reason });
        }
        scan.after = Some(next);
        Ok(Some((page, Some((source, scan)))))
    })
}

impl Namespace {
    /// The keys with this prefix, in order; an empty prefix means all. See [`Scan`].
    pub fn scan(&self, prefix: impl Into<Blob>) -> Scan {
        Scan {
            namespace: self.clone(),
            query: Query {
                prefix: prefix.into(),
                after: None,
                limit: LIMIT_DEFAULT,
                with_values: true,
            },
        }
    }

    fn scan_keys(&self, prefix: impl Into<Blob>) -> Scan {
        let most = u32::try_from(SCAN_LIMIT_MAX).unwrap_or(u32::MAX);
        self.scan(prefix).keys_only().limit(most)
    }

    /// How many keys with this prefix hold a value. Goes through all of them: it is no snapshot,
    /// and takes time in proportion.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn count(&self, prefix: impl Into<Blob>) -> Result<u64, ClientError> {
        let pages = self.scan_keys(prefix).pages();
        pages
            .try_fold(0, async |count, page| Ok(count + page.entries.len() as u64))
            .await
    }

    /// Deletes every key with this prefix that a scan finds, and returns how many it deleted.
    ///
    /// Not atomic: keys are deleted one by one, and a key that somebody else changes meanwhile
    /// stays as they made it, as does one that they add. What was deleted before an error stays
    /// deleted; calling it again goes on.
    ///
    /// # Errors
    /// The first [`ClientError`].
    pub async fn delete_prefix(&self, prefix: impl Into<Blob>) -> Result<u64, ClientError> {
        let entries = self.scan_keys(prefix).stream();
        let deleting = entries.map_ok(|(key, entry)| {
            let deletion = self.delete(key).if_version(entry.version).into_future();
            async move {
                match deletion.await {
                    Ok(found) => Ok(u64::from(found)),
                    Err(ClientError::Conflict { .. }) => Ok(0),
                    Err(error) => Err(error),
                }
            }
        });
        total(deleting).await
    }

    /// Deletes every key with this tag that a scan finds, and returns how many it deleted. Goes
    /// through all keys of the namespace: it takes time in proportion.
    ///
    /// Not atomic: keys are deleted one by one. One that somebody else changes meanwhile is looked
    /// at again, and deleted if it has the tag then; one that they add may stay. What was deleted
    /// before an error stays deleted; calling it again goes on.
    ///
    /// # Errors
    /// `Invalid` for an empty tag; else the first [`ClientError`].
    pub async fn delete_by_tag(&self, tag: &str) -> Result<u64, ClientError> {
        if tag.is_empty() {
            return Err(ClientError::Invalid("a tag must not be empty".into()));
        }
        let entries = self.scan_keys("").stream();
        let tagged = entries.try_filter(|(_, entry)| ready(has_tag(&entry.tags, tag)));
        let deleting = tagged.map_ok(|(key, entry)| self.delete_tagged(key, entry.version, tag));
        total(deleting).await
    }

    /// Deletes a key as long as it has the tag, and says how often: 0 or 1.
    async fn delete_tagged(
        &self,
        key: Key,
        mut version: Version,
        tag: &str,
    ) -> Result<u64, ClientError> {
        for _ in 0..CLIENT_UPDATE_ROUNDS_MAX {
            match self.delete(&key).if_version(version).await {
                Ok(found) => return Ok(u64::from(found)),
                Err(ClientError::Conflict { current: Some(_) }) => {}
                Err(ClientError::Conflict { current: None }) => return Ok(0),
                Err(error) => return Err(error),
            }
            match self.head(&key).await? {
                Some(head) if has_tag(&head.tags, tag) => version = head.version,
                _ => return Ok(0),
            }
        }
        Err(ClientError::Conflict {
            current: Some(version),
        })
    }

    /// Deletes every key of the namespace, as [`Namespace::delete_prefix`] does; not atomic. The
    /// namespace stays.
    ///
    /// # Errors
    /// The first [`ClientError`].
    pub async fn clear(&self) -> Result<u64, ClientError> {
        self.delete_prefix("").await
    }
}

fn has_tag(tags: &[String], tag: &str) -> bool {
    tags.iter().any(|own| own == tag)
}

/// Runs deletions, a bounded number at a time, and adds up what they deleted.
async fn total<F>(deletions: impl Stream<Item = Result<F, ClientError>>) -> Result<u64, ClientError>
where
    F: Future<Output = Result<u64, ClientError>>,
{
    deletions
        .try_buffer_unordered(CLIENT_BULK_IN_FLIGHT_MAX)
        .try_fold(0, async |count, deleted| Ok(count + deleted))
        .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use engram_core::wire::ScanPage;

    use super::*;

    fn query(limit: u32) -> Query {
        Query {
            prefix: Blob::from("k"),
            after: None,
            limit,
            with_values: true,
        }
    }

    fn scan(limit: u32) -> wire::Scan {
        query(limit).check(NamespaceId(1)).expect("within bounds")
    }

    fn key(name: &str) -> Key {
        Key::new(name).expect("short")
    }

    /// Serves pages as they were put in, last first, and notes where each began.
    struct Fake {
        pages: Mutex<Vec<Result<ScanPage, ClientError>>>,
    }

    impl PageSource for Fake {
        async fn page(&self, scan: wire::Scan) -> Result<ScanPage, ClientError> {
            let page = self.pages.lock().expect("no panic").pop();
            let page = page.expect("a page was asked for after the last one")?;
            if let (Some(after), Some((first, _))) = (&scan.after, page.entries.first()) {
                assert!(first > after, "the next page begins after the cursor");
            }
            Ok(page)
        }
    }

    fn page(keys: &[&str], next: Option<&str>) -> Result<ScanPage, ClientError> {
        let entry = wire::Entry {
            value: Blob::default(),
            version: Version::ZERO,
            tags: vec![],
            expires_at: None,
        };
        Ok(ScanPage {
            entries: keys.iter().map(|name| (key(name), entry.clone())).collect(),
            next: next.map(key),
        })
    }

    /// The keys that come, and how it ends.
    async fn collect(mut served: Vec<Result<ScanPage, ClientError>>) -> (Vec<String>, bool) {
        served.reverse();
        let source = Fake {
            pages: Mutex::new(served),
        };
        let mut stream = Box::pin(pages(source, scan(2)));
        let mut keys = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(page)) => {
                    keys.extend(
                        page.entries
                            .iter()
                            .map(|(key, _)| key.to_text().into_owned()),
                    );
                }
                Ok(None) => return (keys, true),
                Err(_) => return (keys, false),
            }
        }
    }

    #[tokio::test]
    async fn a_stream_goes_through_all_pages() {
        let unavailable = || {
            Err(ClientError::Unavailable {
                shard: None,
                reason: "x".into(),
            })
        };
        let cases = [
            (vec![page(&[], None)], "", true),
            (vec![page(&["k1", "k2"], None)], "k1 k2", true),
            (
                vec![
                    page(&["k1"], Some("k1")),
                    page(&["k2"], Some("k2")),
                    page(&[], None),
                ],
                "k1 k2",
                true,
            ),
            // An empty page may lead further: pages are bounded in bytes.
            (vec![page(&[], Some("k1")), page(&["k5"], None)], "k5", true),
            (vec![page(&["k1"], Some("k1")), unavailable()], "k1", false),
            // A page that leads nowhere would be asked for again and again.
            (
                vec![page(&["k1"], Some("k1")), page(&[], Some("k1"))],
                "k1",
                false,
            ),
        ];
        for (number, (served, keys, ends_well)) in cases.into_iter().enumerate() {
            let (seen, well) = collect(served).await;
            assert_eq!(
                (seen.join(" ").as_str(), well),
                (keys, ends_well),
                "{number}"
            );
        }
    }

    #[test]
    fn bounds_of_a_scan_are_checked() {
        let most = u32::try_from(SCAN_LIMIT_MAX).expect("small");
        for (limit, good) in [(0, false), (1, true), (most, true), (most + 1, false)] {
            assert_eq!(query(limit).check(NamespaceId(1)).is_ok(), good, "{limit}");
        }
        let long = Query {
            prefix: Blob::from(vec![0; KEY_BYTES_MAX + 1]),
            ..query(1)
        };
        assert!(long.check(NamespaceId(1)).is_err());
    }
}
