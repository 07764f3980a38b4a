//! Standing queries.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use super::{Background, Call};
use crate::watch::{Watch, WatchCursor, WatchEvent, WatchStream};
use crate::{ClientError, IntoKey};

impl Call<Watch> {
    /// Begins to watch: every change that is acknowledged from here on is told by the iterator.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn events(self) -> Result<Events, ClientError> {
        let background = self.background.clone();
        let stream = self.send()?;
        Ok(Events {
            stream: Some(stream),
            background,
        })
    }
}

/// An iterator over what becomes of keys; see [`watch`](crate::watch) for what is promised. It
/// waits for each event, and never ends by itself: [`Client::close`](super::Client::close) on
/// another thread makes it give an error. An error is no end either: the next event is asked for
/// where the last one was.
///
/// ```no_run
/// use std::time::Duration;
/// use engram_client::watch::WatchEvent;
///
/// # fn run(users: engram_client::blocking::Namespace) -> Result<(), engram_client::ClientError> {
/// let mut changes = users.watch("user:").events()?; // every change acknowledged from here on
/// while let Some(event) = changes.next_within(Duration::from_secs(60)) {
///     match event? {
///         WatchEvent::Put { key, entry, .. } => println!("{} = {}", key.to_text(), entry.text()?),
///         WatchEvent::Deleted { key, .. } => println!("{} was deleted", key.to_text()),
///         other => println!("{other:?}"),
///     }
/// }
/// let cursor = changes.cursor()?; // where a later watch goes on, also in another process
/// let later = users.watch("user:").with(|watch| watch.since(cursor).keys_only()).events()?;
/// drop(later);
/// for event in users.watch_similar("recipes for baking bread", 0.4).events()? {
///     if let WatchEvent::Put { key, score, .. } = event? {
///         println!("{} ({score:?})", key.to_text());
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Events {
    /// Gone if the client's thread failed with it.
    stream: Option<WatchStream>,
    background: Arc<Background>,
}

impl Events {
    /// The next event, if one comes within this time.
    pub fn next_within(&mut self, patience: Duration) -> Option<Result<WatchEvent, ClientError>> {
        self.take(Some(patience))
    }

    /// As [`WatchStream::cursor`].
    ///
    /// # Errors
    /// `Closed` if the client's thread has failed.
    pub fn cursor(&self) -> Result<WatchCursor, ClientError> {
        self.stream().map(WatchStream::cursor)
    }

    /// As [`WatchStream::shard_of`].
    ///
    /// # Errors
    /// As there; `Closed` if the client's thread has failed.
    pub fn shard_of(&self, key: impl IntoKey) -> Result<u16, ClientError> {
        self.stream()?.shard_of(key)
    }

    fn stream(&self) -> Result<&WatchStream, ClientError> {
        self.stream.as_ref().ok_or(ClientError::Closed)
    }

    fn take(&mut self, patience: Option<Duration>) -> Option<Result<WatchEvent, ClientError>> {
        let mut stream = self.stream.take()?;
        let taking = async move {
            let event = match patience {
                None => stream.next().await,
                Some(patience) => {
                    let event = tokio::time::timeout(patience, stream.next()).await;
                    event.unwrap_or(None)
                }
            };
            (event, stream)
        };
        match self.background.run(taking) {
            Ok((event, stream)) => {
                self.stream = Some(stream);
                event
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for Events {
    type Item = Result<WatchEvent, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take(None)
    }
}
