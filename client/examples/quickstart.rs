//! The client in ten lines. Start a cluster first, for example with `engram demo --keep`, then:
//! `cargo run -p engram-client --example quickstart -- demo 127.0.0.1:7101`; the cookie comes from
//! the environment variable `ENGRAM_COOKIE`.

use std::time::Duration;

use engram_client::{Client, ClientConfig, ClientError};

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    let mut arguments = std::env::args().skip(1);
    let cluster = arguments.next().unwrap_or_else(|| "demo".into());
    let seed = arguments.next().unwrap_or_else(|| "127.0.0.1:7101".into());
    let cookie = std::env::var("ENGRAM_COOKIE").unwrap_or_default();

    let client = Client::connect(ClientConfig::new(cluster).seed(seed).cookie(cookie)).await?;
    let users = client.namespace("users");
    let written = users
        .put("user:1", r#"{"name":"Ada"}"#)
        .ttl(Duration::from_secs(3600))
        .tag("eu")
        .await?;
    println!("wrote version {}", written.version);
    if let Some(entry) = users.get("user:1").await? {
        println!("read {} with {:?} left", entry.text()?, entry.ttl);
        users
            .put("user:1", "changed")
            .if_version(entry.version)
            .await?;
    }
    let page = users.scan("user:").limit(100).await?;
    println!("{} keys begin with user:", page.entries.len());
    client.close().await;
    Ok(())
}
