//! Dialling one address: resolve, connect, exchange prefaces.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use engram_core::protocol::link::limits::{CONNECT_TIMEOUT_MS, PREFACE_TIMEOUT_MS};
use engram_core::protocol::link::{DownReason, Refusal};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::packet::WIRE_VERSION;
use crate::preface::{PrefaceError, Verdict, receive_verdict, send_name};

/// Most addresses tried of those that a name resolves to.
const RESOLVED_MAX: usize = 8;

/// Why an address has no link.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DialError {
    /// The name does not resolve, or is no `host:port`.
    #[error("the address does not resolve: {0}")]
    Resolve(#[source] Arc<io::Error>),
    /// Nobody answers.
    #[error("cannot connect: {0}")]
    Connect(#[source] Arc<io::Error>),
    /// Nobody answers in time.
    #[error("no answer within {0} ms")]
    Timeout(u64),
    /// Somebody else answers.
    #[error("what listens there is not an Engram process")]
    Stranger,
    /// Another version of this system answers.
    #[error("the peer has wire version {theirs}, this process has {WIRE_VERSION}")]
    WireVersion {
        /// The peer's.
        theirs: u8,
    },
    /// The connection ended during authentication, which the protocol does not explain further.
    #[error("the peer ended the connection before it was authenticated: is the cookie wrong?")]
    SuspectedWrongCookie,
    /// The peer does not want this process.
    #[error("the peer refuses: {0}")]
    Refused(Refusal),
    /// This process does not want the peer.
    #[error("the peer was refused: {0}")]
    RefusedByUs(Refusal),
    /// There was a link, or nearly.
    #[error("the link ended: {0}")]
    Lost(DownReason),
}

impl DialError {
    /// What to tell of a connection whose link ended so.
    pub(crate) fn from_down(reason: DownReason) -> DialError {
        match reason {
            DownReason::RefusedByPeer(refusal) => DialError::Refused(refusal),
            DownReason::RefusedByUs(refusal) => DialError::RefusedByUs(refusal),
            other => DialError::Lost(other),
        }
    }
}

/// What the acceptor said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    /// The acceptor's process.
    pub(crate) process: String,
    pub(crate) stream: TcpStream,
}

/// Dials once. Cancel safe: dropping it closes the connection.
pub(crate) async fn dial(address: &str, process: &str) -> Result<Answer, DialError> {
    let connecting = timeout(Duration::from_millis(CONNECT_TIMEOUT_MS), connect(address));
    let stream = connecting
        .await
        .map_err(|_| DialError::Timeout(CONNECT_TIMEOUT_MS))??;
    let greeting = timeout(
        Duration::from_millis(PREFACE_TIMEOUT_MS),
        exchange(stream, process),
    );
    let answer = greeting
        .await
        .map_err(|_| DialError::Timeout(PREFACE_TIMEOUT_MS))?;
    answer.map_err(|error| match error {
        PrefaceError::Stranger => DialError::Stranger,
        PrefaceError::Version(theirs) => DialError::WireVersion { theirs },
        PrefaceError::Io(source) => DialError::Connect(Arc::new(source)),
    })
}

async fn connect(address: &str) -> Result<TcpStream, DialError> {
    let resolved = lookup_host(address)
        .await
        .map_err(|source| DialError::Resolve(Arc::new(source)))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in resolved.take(RESOLVED_MAX) {
        match TcpStream::connect(candidate).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect(Arc::new(last)))
}

async fn exchange(mut stream: TcpStream, process: &str) -> Result<Answer, PrefaceError> {
    stream.set_nodelay(true)?;
    send_name(&mut stream, process).await?;
    let (verdict, process) = receive_verdict(&mut stream).await?;
    Ok(Answer {
        verdict,
        process,
        stream,
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::preface::send_verdict;

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        (listener, address)
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let nowhere = dial("no port here", "me").await;
        assert!(matches!(nowhere, Err(DialError::Resolve(_))), "{nowhere:?}");

        let (closed, address) = listener().await;
        drop(closed);
        let refused = dial(&address, "me").await;
        assert!(matches!(refused, Err(DialError::Connect(_))), "{refused:?}");

        let (stranger, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = stranger.accept().await.expect("somebody dials");
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-something\r\n").await
        });
        let strange = dial(&address, "me").await;
        assert!(matches!(strange, Err(DialError::Stranger)), "{strange:?}");
    }

    #[tokio::test]
    async fn the_answer_names_the_other_process() {
        let (peer, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = peer.accept().await.expect("somebody dials");
            send_verdict(&mut stream, Verdict::Connected, "peer").await
        });
        let answer = dial(&address, "me").await.expect("the peer answers");
        assert_eq!(
            (answer.verdict, answer.process.as_str()),
            (Verdict::Connected, "peer")
        );
    }
}
