//! The TCP stream of a connection, as ractor_cluster takes it, and the handle that cuts it.

use std::io;
use std::net::{Shutdown, SocketAddr};

use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use tokio::io::BufReader;
use tokio::net::TcpStream;

use crate::connection::ConnectionId;

/// The session's reader reads eight bytes and then at most 8 KiB at a time: without a buffer each
/// is a system call.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// A stream that is handed to ractor_cluster.
#[derive(Debug)]
pub(crate) struct LinkStream {
    stream: TcpStream,
    connection: ConnectionId,
    local: Option<SocketAddr>,
}

/// Ends a connection from outside, even while its writer is stuck on a peer that does not read:
/// stopping the session alone would leave the writer, its buffers and the socket behind.
#[derive(Debug)]
pub(crate) struct Cut(std::net::TcpStream);

impl LinkStream {
    /// Takes a connected stream.
    ///
    /// # Errors
    /// If the socket cannot be duplicated.
    pub(crate) fn new(stream: TcpStream, connection: ConnectionId) -> io::Result<(Self, Cut)> {
        let stream = stream.into_std()?;
        let cut = Cut(stream.try_clone()?);
        let stream = TcpStream::from_std(stream)?;
        let local = stream.local_addr().ok();
        Ok((
            LinkStream {
                stream,
                connection,
                local,
            },
            cut,
        ))
    }
}

impl Cut {
    /// Ends the connection in both directions; readers and writers return at once.
    pub(crate) fn cut(&self) {
        // The only error is that the socket is not connected any more.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl ClusterBidiStream for LinkStream {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (read, write) = self.stream.into_split();
        (
            Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, read)),
            Box::new(write),
        )
    }

    /// Comes back as the peer address in session events: how a session finds its connection.
    fn peer_label(&self) -> Option<String> {
        Some(self.connection.label())
    }

    fn local_label(&self) -> Option<String> {
        self.local.map(|address| address.to_string())
    }
}
