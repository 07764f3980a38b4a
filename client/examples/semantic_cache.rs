//! A semantic cache in front of something slow. Start a cluster first, for example with
//! `engram demo --keep`, then:
//! `cargo run -p engram-client --example semantic_cache -- demo 127.0.0.1:7101`; the cookie comes
//! from the environment variable `ENGRAM_COOKIE`.

use std::error::Error;
use std::time::{Duration, Instant};

use engram_client::{Client, ClientConfig};

/// Stands for a language model: right, but slow.
async fn ask_the_model(prompt: &str) -> Result<String, std::io::Error> {
    tokio::time::sleep(Duration::from_millis(800)).await;
    Ok(format!("a well-considered answer to {prompt:?}"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let cluster = arguments.next().unwrap_or_else(|| "demo".into());
    let seed = arguments.next().unwrap_or_else(|| "127.0.0.1:7101".into());
    let cookie = std::env::var("ENGRAM_COOKIE").unwrap_or_default();

    let client = Client::connect(ClientConfig::new(cluster).seed(seed).cookie(cookie)).await?;
    let cache = client.semantic_cache("llm").max_entries(100_000);
    let prompts = [
        "How do I enable the query cache?",
        "How do I enable the query cache?",
        "How can I enable the query cache?",
        "How do I disable the query cache?",
    ];
    for prompt in prompts {
        let begin = Instant::now();
        let answer = cache
            .get_or_insert_with(prompt, move || ask_the_model(prompt))
            .ttl(Duration::from_secs(3600))
            .tag("manual")
            .await?;
        let from = if answer.origin.is_cached() {
            "the cache"
        } else {
            "the model"
        };
        println!(
            "{:>6} ms, from {from}: {}",
            begin.elapsed().as_millis(),
            answer.text
        );
        // Entries are found by meaning from about a second after they were stored.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    println!("{:?}", cache.counters());
    println!("{} answers removed", cache.invalidate_tag("manual").await?);
    client.close().await;
    Ok(())
}
