//! Changes that depend on what is there: read, change, compare-and-set, until nobody interferes.

use std::future::{Future, IntoFuture};

use engram_core::limits::{CLIENT_RETRY_MS_MAX, CLIENT_RETRY_MS_MIN, CLIENT_UPDATE_ROUNDS_MAX};
use engram_core::types::{Blob, Key};
use engram_core::wire::Written;
use tokio::time::sleep;

use crate::{ClientError, Entry, IntoKey, Namespace, ValueError};

impl Namespace {
    /// Changes a key to what `change` makes of it. Tags and expiry stay as they are. If `change`
    /// says `None`, nothing is written, and the result is `None`.
    ///
    /// `change` is called again whenever somebody else was faster, so it should have no effects.
    ///
    /// ```no_run
    /// # async fn run(users: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
    /// users
    ///     .update("visits", |entry| {
    ///         let old = entry.and_then(|entry| entry.text().ok()).unwrap_or("");
    ///         Some(format!("{old}x"))
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Conflict` if others were faster [`CLIENT_UPDATE_ROUNDS_MAX`] times; else [`ClientError`].
    pub async fn update<V: Into<Blob>>(
        &self,
        key: impl IntoKey,
        mut change: impl FnMut(Option<&Entry>) -> Option<V>,
    ) -> Result<Option<Written>, ClientError> {
        self.try_update(key, |entry| Ok(change(entry).map(Into::into)))
            .await
    }

    /// As [`Namespace::update`], with a change that may fail: nothing is written then.
    ///
    /// # Errors
    /// What `change` says, and as [`Namespace::update`].
    pub async fn try_update(
        &self,
        key: impl IntoKey,
        change: impl FnMut(Option<&Entry>) -> Result<Option<Blob>, ClientError>,
    ) -> Result<Option<Written>, ClientError> {
        let register = Register {
            namespace: self.clone(),
            key: key.into_key()?,
        };
        update(register, change).await
    }

    /// Adds to a number and returns the sum. The value is the number in decimal; a key without
    /// value counts as 0. Tags and expiry stay as they are.
    ///
    /// # Errors
    /// [`ValueError::NotInteger`] or [`ValueError::Overflow`], and as [`Namespace::update`].
    pub async fn increment(&self, key: impl IntoKey, by: i64) -> Result<i64, ClientError> {
        let mut sum = 0;
        self.try_update(key, |entry| {
            sum = add(entry.map(Entry::bytes), by)?;
            Ok(Some(Blob::from(sum.to_string())))
        })
        .await?;
        Ok(sum)
    }
}

fn add(number: Option<&[u8]>, by: i64) -> Result<i64, ValueError> {
    let number = match number {
        None => 0,
        Some(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or(ValueError::NotInteger)?,
    };
    number.checked_add(by).ok_or(ValueError::Overflow)
}

/// What a compare-and-set loop works on.
trait Cell: Send + Sync {
    /// Reads.
    fn read(&self) -> impl Future<Output = Result<Option<Entry>, ClientError>> + Send;

    /// Writes, if it still holds `expected`.
    fn compare_and_set(
        &self,
        expected: Option<Entry>,
        value: Blob,
    ) -> impl Future<Output = Result<Written, ClientError>> + Send;

    /// Lets others finish.
    fn pause(&self, round: u32) -> impl Future<Output = ()> + Send;
}

struct Register {
    namespace: Namespace,
    key: Key,
}

impl Cell for Register {
    async fn read(&self) -> Result<Option<Entry>, ClientError> {
        self.namespace.get(&self.key).await
    }

    async fn compare_and_set(
        &self,
        expected: Option<Entry>,
        value: Blob,
    ) -> Result<Written, ClientError> {
        let put = self.namespace.put(&self.key, value);
        let put = match expected {
            None => put.if_absent(),
            Some(entry) => put
                .if_version(entry.version)
                .tags(entry.tags)
                .expires_at(entry.expires_at),
        };
        put.into_future().await
    }

    async fn pause(&self, round: u32) {
        let delay_ms = (CLIENT_RETRY_MS_MIN << round.min(16)).min(CLIENT_RETRY_MS_MAX);
        sleep(self.namespace.client().jittered(delay_ms)).await;
    }
}

async fn update(
    cell: impl Cell,
    mut change: impl FnMut(Option<&Entry>) -> Result<Option<Blob>, ClientError>,
) -> Result<Option<Written>, ClientError> {
    let mut round = 0;
    loop {
        let entry = cell.read().await?;
        let Some(value) = change(entry.as_ref())? else {
            return Ok(None);
        };
        match cell.compare_and_set(entry, value).await {
            Ok(written) => return Ok(Some(written)),
            Err(ClientError::Conflict { .. }) if round + 1 < CLIENT_UPDATE_ROUNDS_MAX => {}
            Err(error) => return Err(error),
        }
        cell.pause(round).await;
        round += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Version;

    /// A cell that others change before each of the first writes.
    #[derive(Default)]
    struct Fake {
        state: Mutex<State>,
    }

    #[derive(Default)]
    struct State {
        value: Option<Blob>,
        version: u64,
        interferences: u32,
        rounds: u32,
    }

    impl Fake {
        fn new(value: Option<&str>, interferences: u32) -> Fake {
            let fake = Fake::default();
            {
                let mut state = fake.state.lock().expect("no panic");
                state.value = value.map(Blob::from);
                state.interferences = interferences;
            }
            fake
        }
    }

    fn version(n: u64) -> Version {
        Version { n, ..Version::ZERO }
    }

    impl Cell for &Fake {
        async fn read(&self) -> Result<Option<Entry>, ClientError> {
            let state = self.state.lock().expect("no panic");
            Ok(state.value.clone().map(|value| Entry {
                value,
                version: version(state.version),
                tags: vec![],
                expires_at: None,
                ttl: None,
            }))
        }

        async fn compare_and_set(
            &self,
            expected: Option<Entry>,
            value: Blob,
        ) -> Result<Written, ClientError> {
            let mut state = self.state.lock().expect("no panic");
            state.rounds += 1;
            if state.interferences > 0 {
                state.interferences -= 1;
                state.version += 1;
                state.value = Some(Blob::from("100"));
            }
            let current = state.value.is_some().then(|| version(state.version));
            if expected.map(|entry| entry.version) != current {
                return Err(ClientError::Conflict { current });
            }
            state.version += 1;
            state.value = Some(value);
            Ok(Written {
                version: version(state.version),
                found: current.is_some(),
            })
        }

        async fn pause(&self, _round: u32) {}
    }

    #[tokio::test]
    async fn a_change_is_made_to_what_is_there_at_last() {
        for (before, interferences, after) in [
            (None, 0, "1"),
            (Some("41"), 0, "42"),
            (None, 3, "101"),
            (Some("41"), CLIENT_UPDATE_ROUNDS_MAX - 1, "101"),
        ] {
            let cell = Fake::new(before, interferences);
            let increment = |entry: Option<&Entry>| {
                let sum = add(entry.map(Entry::bytes), 1)?;
                Ok(Some(Blob::from(sum.to_string())))
            };
            let written = update(&cell, increment).await.expect("few interfere");
            let state = cell.state.lock().expect("no panic");
            assert_eq!(
                written.map(|made| made.version),
                Some(version(state.version))
            );
            assert_eq!(state.value, Some(Blob::from(after)));
        }
    }

    #[tokio::test]
    async fn it_gives_up_and_changes_nothing_when_told_to() {
        let busy = Fake::new(None, u32::MAX);
        let always = |_: Option<&Entry>| Ok(Some(Blob::from("x")));
        let conflict = update(&busy, always).await;
        assert!(matches!(conflict, Err(ClientError::Conflict { .. })));
        let rounds = busy.state.lock().expect("no panic").rounds;
        assert_eq!(rounds, CLIENT_UPDATE_ROUNDS_MAX);

        let quiet = Fake::new(Some("a"), 0);
        assert!(matches!(update(&quiet, |_| Ok(None)).await, Ok(None)));
        let failing = update(&quiet, |_| Err(ValueError::NotInteger.into())).await;
        assert!(matches!(failing, Err(ClientError::Value(_))));
        assert_eq!(quiet.state.lock().expect("no panic").rounds, 0);
    }

    #[test]
    fn sums_are_checked() {
        assert!(matches!(add(None, -2), Ok(-2)));
        assert!(matches!(add(Some(b"40"), 2), Ok(42)));
        let largest = i64::MAX.to_string();
        let overflow = add(Some(largest.as_bytes()), 1);
        assert!(matches!(overflow, Err(ValueError::Overflow)));
        for bad in [&b""[..], b"x", b"1.5", b" 1", b"\xff"] {
            assert!(matches!(add(Some(bad), 1), Err(ValueError::NotInteger)));
        }
    }
}
