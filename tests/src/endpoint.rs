//! A small HTTP server that embeds, or fails to, as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With vectors of so many dimensions, the last text's first.
    Vectors(usize),
    /// With this.
    Status(u16, String),
    /// The connection is closed.
    HangUp,
    /// The connection is closed in the middle of the answer.
    Partial,
    /// Never. The connection stays open.
    Silence,
    /// With an answer that does not end.
    Endless,
}

impl Reply {
    /// A status and a body.
    pub fn status(status: u16, body: &str) -> Reply {
        Reply::Status(status, body.into())
    }
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Where.
    pub path: String,
    /// With which key.
    pub authorization: Option<String>,
    /// The JSON.
    pub body: Value,
}

/// The server. It ends with this value.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the server makes of a text: numbers that depend on its length.
pub fn numbers(text: &str, dim: usize) -> Vec<f32> {
    let length = f32::from(u16::try_from(text.len()).expect("short"));
    (0_u16..)
        .take(dim)
        .map(|place| 1.0 + f32::from(place) * length)
        .collect()
}

impl Endpoint {
    /// Starts it. `script` decides, from the number and body of a request, how it is answered.
    pub fn start(script: impl Fn(usize, &Value) -> Reply + Send + Sync + 'static) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let is_over = Arc::<AtomicBool>::default();
        let (noted, over) = (asked.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                silent.extend(serve(stream, &script, &noted));
            }
        });
        Endpoint {
            address,
            asked,
            is_over,
            thread: Some(thread),
        }
    }

    /// What clients are configured with.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// All that was asked until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread up.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one request; returns the connection if it is to stay open.
fn serve(
    mut stream: TcpStream,
    script: &impl Fn(usize, &Value) -> Reply,
    noted: &Mutex<Vec<Asked>>,
) -> Option<TcpStream> {
    let asked = read(&stream)?;
    let body = asked.body.clone();
    let number = {
        let mut noted = noted.lock().expect("not poisoned");
        noted.push(asked);
        noted.len() - 1
    };
    match script(number, &body) {
        Reply::Vectors(dim) => {
            let texts = body["input"].as_array().cloned().unwrap_or_default();
            let items: Vec<Value> = texts
                .iter()
                .enumerate()
                .rev()
                .map(|(index, text)| {
                    let numbers = numbers(text.as_str().unwrap_or_default(), dim);
                    json!({ "index": index, "embedding": numbers })
                })
                .collect();
            answer(&mut stream, 200, &json!({ "data": items }).to_string());
        }
        Reply::Status(status, text) => answer(&mut stream, status, &text),
        Reply::HangUp => {}
        Reply::Partial => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"data\":[");
        }
        Reply::Silence => return Some(stream),
        Reply::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while stream.write_all(&[b' '; 64 * 1024]).is_ok() {}
        }
    }
    None
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked {
        path,
        authorization,
        body: serde_json::from_slice(&body).ok()?,
    })
}

fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    // The client may be gone.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body.as_bytes());
}
