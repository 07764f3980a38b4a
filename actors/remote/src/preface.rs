//! The preface of a connection: who is there, before anything is proven.
//!
//! ```text
//! dialler:   "ENGRAM" version u8, length u8, process name
//! acceptor:  "ENGRAM" version u8, verdict u8, length u8, process name
//! ```
//!
//! Nothing here is authenticated and nothing relies on it: a lie costs the liar its connection,
//! because the name must be that of the authenticated session.

use std::io;

use engram_core::protocol::link::limits::PROCESS_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::packet::WIRE_VERSION;

const MAGIC: [u8; 6] = *b"ENGRAM";

const _: () = assert!(PROCESS_BYTES_MAX <= u8::MAX as usize);

/// What the acceptor says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Go on.
    Proceed,
    /// There is a better connection between the two already.
    Connected,
    /// You dialled yourself.
    Myself,
    /// Too many connections.
    Busy,
    /// Wrong wire version.
    Version,
}

impl Verdict {
    fn byte(self) -> u8 {
        match self {
            Verdict::Proceed => 0,
            Verdict::Connected => 1,
            Verdict::Myself => 2,
            Verdict::Busy => 3,
            Verdict::Version => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Verdict> {
        [
            Verdict::Proceed,
            Verdict::Connected,
            Verdict::Myself,
            Verdict::Busy,
            Verdict::Version,
        ]
        .into_iter()
        .find(|verdict| verdict.byte() == byte)
    }
}

/// No preface came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrefaceError {
    /// The other side speaks something else.
    #[error("the other side is not an Engram process")]
    Stranger,
    /// The other side has another wire version.
    #[error("the other side has wire version {0}, this is version {WIRE_VERSION}")]
    Version(u8),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Dialler: says who this is.
pub(crate) async fn send_name(
    stream: &mut (impl AsyncWrite + Unpin),
    process: &str,
) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(WIRE_VERSION);
    push_name(&mut bytes, process);
    stream.write_all(&bytes).await
}

/// Acceptor: hears who is there.
pub(crate) async fn receive_name(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<String, PrefaceError> {
    let version = receive_version(stream).await?;
    if version != WIRE_VERSION {
        return Err(PrefaceError::Version(version));
    }
    receive_text(stream).await
}

/// Acceptor: answers.
pub(crate) async fn send_verdict(
    stream: &mut (impl AsyncWrite + Unpin),
    verdict: Verdict,
    process: &str,
) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[WIRE_VERSION, verdict.byte()]);
    push_name(&mut bytes, process);
    stream.write_all(&bytes).await
}

/// Dialler: hears the answer.
pub(crate) async fn receive_verdict(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<(Verdict, String), PrefaceError> {
    let version = receive_version(stream).await?;
    if version != WIRE_VERSION {
        return Err(PrefaceError::Version(version));
    }
    let verdict = Verdict::from_byte(stream.read_u8().await?).ok_or(PrefaceError::Stranger)?;
    Ok((verdict, receive_text(stream).await?))
}

fn push_name(bytes: &mut Vec<u8>, process: &str) {
    let name = process.as_bytes();
    // Process names are made within the bound; a longer one would only be cut.
    let length = name.len().min(PROCESS_BYTES_MAX);
    bytes.push(u8::try_from(length).unwrap_or(u8::MAX));
    bytes.extend_from_slice(name.get(..length).unwrap_or_default());
}

async fn receive_version(stream: &mut (impl AsyncRead + Unpin)) -> Result<u8, PrefaceError> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).await?;
    if magic != MAGIC {
        return Err(PrefaceError::Stranger);
    }
    Ok(stream.read_u8().await?)
}

async fn receive_text(stream: &mut (impl AsyncRead + Unpin)) -> Result<String, PrefaceError> {
    let length = usize::from(stream.read_u8().await?);
    if length == 0 || length > PROCESS_BYTES_MAX {
        return Err(PrefaceError::Stranger);
    }
    let mut name = vec![0; length];
    stream.read_exact(&mut name).await?;
    String::from_utf8(name).map_err(|_| PrefaceError::Stranger)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn names_and_verdicts_are_understood() {
        let mut wire = Vec::new();
        send_name(&mut wire, "a.1.ff")
            .await
            .expect("memory takes it");
        assert_eq!(
            receive_name(&mut wire.as_slice())
                .await
                .expect("well formed"),
            "a.1.ff"
        );
        for byte in 0..5 {
            let verdict = Verdict::from_byte(byte).expect("five verdicts");
            let mut wire = Vec::new();
            send_verdict(&mut wire, verdict, "b")
                .await
                .expect("memory takes it");
            let answer = receive_verdict(&mut wire.as_slice())
                .await
                .expect("well formed");
            assert_eq!(answer, (verdict, "b".to_owned()));
        }
    }

    #[tokio::test]
    async fn another_version_is_named_before_anything_else_is_read() {
        let mut wire: &[u8] = b"ENGRAM\xc8";
        assert!(matches!(
            receive_name(&mut wire).await,
            Err(PrefaceError::Version(200))
        ));
        let mut wire: &[u8] = b"ENGRAM\xc8";
        assert!(matches!(
            receive_verdict(&mut wire).await,
            Err(PrefaceError::Version(200))
        ));
    }

    #[tokio::test]
    async fn strangers_are_told_apart_from_broken_connections() {
        let mut wire: &[u8] = b"GET / HTTP/1.1\r\n";
        assert!(matches!(
            receive_name(&mut wire).await,
            Err(PrefaceError::Stranger)
        ));
        let mut wire: &[u8] = b"ENG";
        assert!(matches!(
            receive_name(&mut wire).await,
            Err(PrefaceError::Io(_))
        ));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), real in any::<bool>()) {
            let mut wire = if real { MAGIC.to_vec() } else { Vec::new() };
            if real { wire.push(WIRE_VERSION); }
            wire.extend(bytes);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _ = runtime.block_on(receive_name(&mut wire.as_slice()));
            let _ = runtime.block_on(receive_verdict(&mut wire.as_slice()));
        }
    }
}
