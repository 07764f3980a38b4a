//! Searches that make no sense: each is refused with a typed error or finds nothing, nothing
//! panics, and the node searches on.

use anyhow::{Context, Result, bail, ensure};
use engram_client::{Client, ClientError, Namespace, Search as Searching};
use engram_core::limits::QUERY_BYTES_MAX;
use engram_core::types::NamespaceId;
use engram_core::wire::{HybridWeights, Search, SearchMode};
use engram_tests::cluster::{Builder, SERVING_DEADLINE};
use engram_tests::waiting;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");

type Way = fn(Searching) -> Searching;

/// All ways to search, by name.
const WAYS: [(&str, Way); 6] = [
    ("by meaning", |search| search),
    ("by all words", Searching::words),
    ("by any word", Searching::any_word),
    ("by expression", Searching::expression),
    ("by similar words", Searching::similar),
    ("both ways", Searching::hybrid),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_search_does_harm() -> Result<()> {
    let cluster = Builder::new(NODE).nodes(1).start().await?;
    let client = cluster.client().await?;
    let notes = client.namespace("notes");
    notes.put("note", "a guide to tea (and more)").await?;
    finds(&notes).await?;
    sizes(&notes).await?;
    syntax(&notes).await?;
    past_the_client(&client).await?;
    finds(&notes).await?;
    client.close().await;
    cluster.pass().await
}

async fn finds(notes: &Namespace) -> Result<()> {
    for (name, way) in WAYS {
        waiting::until(name, SERVING_DEADLINE, || async {
            let found = way(notes.search("guide tea")).fresh().snippets().await;
            let found = found.map_err(|error| error.to_string())?;
            let first = found.hits.first().ok_or("nothing was found")?;
            let snippet = first.snippet.as_ref().ok_or("no snippet")?;
            let marked = snippet.pieces().filter(|(_, is_found)| *is_found).count();
            (marked == 2).then_some(()).ok_or(format!("{snippet:?}"))
        })
        .await?;
    }
    Ok(())
}

/// Nothing, blanks, very long queries, and one a little longer than that.
async fn sizes(notes: &Namespace) -> Result<()> {
    for (name, way) in WAYS {
        for empty in ["", " \n\t"] {
            match way(notes.search(empty)).await {
                Err(ClientError::Invalid(_)) => {}
                other => bail!("an empty query {name}: {other:?}"),
            }
        }
        let longest = "guide ".repeat(QUERY_BYTES_MAX / 6);
        let found = way(notes.search(longest)).await;
        match (name, found) {
            ("by expression", Err(ClientError::Expression(error))) => {
                ensure!(error.position == 385, "{error}");
            }
            (_, Ok(found)) => ensure!(found.is_complete(), "{name}"),
            (_, Err(error)) => bail!("the longest query {name}: {error}"),
        }
        match way(notes.search("x".repeat(100_000))).await {
            Err(ClientError::TooLarge { limit, actual, .. }) => {
                ensure!((limit, actual) == (QUERY_BYTES_MAX as u64, 100_000));
            }
            other => bail!("100,000 characters {name}: {other:?}"),
        }
    }
    Ok(())
}

/// What looks like syntax of this or of other query languages.
async fn syntax(notes: &Namespace) -> Result<()> {
    for query in [
        "guide.*",
        "^guide$",
        "[a-z]+",
        "(guide",
        "guide)",
        "\"guide",
        "gu?de",
        "{",
        "\\",
        "guide~2",
        "a OR",
        "NOT guide",
        "key:",
        "body:guide",
        "((((((((((((((((((guide",
        "\u{0}",
        "\u{202e}guide",
        "👍",
    ] {
        for (name, way) in WAYS {
            match way(notes.search(query)).await {
                Ok(_) => {}
                Err(ClientError::Expression(error)) if name == "by expression" => {
                    let places = query.chars().count() + 1;
                    ensure!((1..=places).contains(&error.position), "{query}: {error}");
                }
                Err(error) => bail!("{query:?} {name}: {error}"),
            }
        }
    }
    Ok(())
}

/// The nodes check as well what the typed client would not send.
async fn past_the_client(client: &Client) -> Result<()> {
    let config = client.config();
    let good = Search {
        namespace: config.namespace("notes").context("no namespace")?.id,
        query: "guide".into(),
        mode: SearchMode::Hybrid,
        top_k: 10,
        threshold: None,
        weights: HybridWeights::default(),
        prefix: Vec::new(),
        tags: Vec::new(),
        with_values: true,
        snippets: true,
        fresh: false,
    };
    let weights = |meaning, words| HybridWeights { meaning, words };
    client.ask(good.clone()).await?;
    for bad in [
        Search {
            top_k: 0,
            ..good.clone()
        },
        Search {
            top_k: u32::MAX,
            ..good.clone()
        },
        Search {
            query: String::new(),
            ..good.clone()
        },
        Search {
            threshold: Some(f32::NAN),
            ..good.clone()
        },
        Search {
            weights: weights(f32::NAN, 1.0),
            ..good.clone()
        },
        Search {
            weights: weights(-1.0, 1.0),
            ..good.clone()
        },
        Search {
            weights: weights(0.0, 0.0),
            ..good.clone()
        },
        Search {
            weights: weights(f32::INFINITY, 1.0),
            ..good.clone()
        },
        Search {
            mode: SearchMode::Expression,
            query: "(".into(),
            ..good.clone()
        },
    ] {
        match client.ask(bad.clone()).await {
            Err(ClientError::Invalid(_)) => {}
            other => bail!("{bad:?}: {other:?}"),
        }
    }
    let many = Search {
        tags: vec!["t".into(); 10_000],
        ..good.clone()
    };
    let many = client.ask(many).await;
    ensure!(
        matches!(many, Err(ClientError::TooLarge { .. })),
        "{many:?}"
    );
    let nowhere = Search {
        namespace: NamespaceId(0),
        ..good
    };
    let nowhere = client.ask(nowhere).await;
    ensure!(
        matches!(
            nowhere,
            Err(ClientError::Invalid(_) | ClientError::NotApplied { .. })
        ),
        "{nowhere:?}"
    );
    Ok(())
}
