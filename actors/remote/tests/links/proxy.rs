//! A network in between that can fall silent without closing anything.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Forwards connections to one address.
pub(crate) struct Proxy {
    address: SocketAddr,
    /// One for each connection so far: whether it is frozen.
    frozen: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
}

impl Proxy {
    /// Forwards what connects to it.
    pub(crate) fn to(target: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let frozen: Arc<Mutex<Vec<Arc<AtomicBool>>>> = Arc::default();
        let (target, all) = (target.to_owned(), frozen.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(&target).expect("the target listens");
                let this = Arc::new(AtomicBool::new(false));
                all.lock().expect("no panic").push(this.clone());
                forward(&near, &far, this.clone());
                forward(&far, &near, this);
            }
        });
        Proxy { address, frozen }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, the connections so far carry nothing, not even their end. New ones work.
    pub(crate) fn freeze(&self) {
        for connection in self.frozen.lock().expect("no panic").iter() {
            connection.store(true, Ordering::SeqCst);
        }
    }
}

fn forward(from: &TcpStream, to: &TcpStream, frozen: Arc<AtomicBool>) {
    let mut from = from.try_clone().expect("a descriptor");
    let mut to = to.try_clone().expect("a descriptor");
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            while frozen.load(Ordering::SeqCst) {
                // Holds both sockets open until the test ends.
                std::thread::park();
            }
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                // The other direction ends with this one.
                let _ = to.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    });
}
