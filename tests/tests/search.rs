//! Searches across three nodes: by meaning, by words, and never what is gone, also after a restart.

use std::time::Duration;

use anyhow::{Result, ensure};
use engram_client::{Found, Namespace};
use engram_tests::cluster::{Builder, SERVING_DEADLINE};
use engram_tests::waiting;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
/// Texts of which a query in other words means one.
const TEXTS: [(&str, &str); 4] = [
    (
        "text:bread",
        "Knead the dough, let it rise overnight and bake it until the crust is brown.",
    ),
    (
        "text:python",
        "Python programming begins with a small script.",
    ),
    ("text:snake", "A python swallowed a goat in the zoo."),
    (
        "text:engine",
        "The train driver pulled the brake before the station.",
    ),
];
const TTL: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_find_what_is_there_and_nothing_else() -> Result<()> {
    let mut cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    let texts = client.namespace("texts");
    for (key, text) in TEXTS {
        texts.put(key, text).tag("sample").await?;
    }
    finds_by_meaning(&texts).await?;
    finds_by_words(&texts).await?;

    // From the moment a deletion is acknowledged.
    ensure!(texts.delete("text:python").await?, "it was there");
    let found = texts.search("python programming").words().await?;
    ensure!(keys(&found).is_empty(), "{:?} came back", keys(&found));
    let found = texts.search("a language for scripts").await?;
    ensure!(
        !keys(&found).contains(&"text:python".into()),
        "it came back by meaning"
    );

    texts
        .put("text:brief", "An ephemeral remark about volcanoes.")
        .ttl(TTL)
        .await?;
    waiting::until("an expired value to go", SERVING_DEADLINE, || async {
        match texts.exists("text:brief").await {
            Ok(false) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let found = texts.search("volcanoes").words().await?;
    ensure!(keys(&found).is_empty(), "{:?} is expired", keys(&found));

    cluster.kill_all().await?;
    cluster.start_all().await?;
    finds_by_meaning(&texts).await?;
    until_found(&["text:snake"], || texts.search("python").words()).await?;
    client.close().await;
    cluster.pass().await
}

async fn finds_by_meaning(texts: &Namespace) -> Result<()> {
    let query = "how to make a loaf in the oven";
    until_found(&["text:bread"], || texts.search(query).top_k(1)).await?;
    until_found(&["text:engine"], || texts.search(query).prefix("text:e")).await?;
    let found = texts.search(query).tag("missing").await?;
    ensure!(
        keys(&found).is_empty(),
        "{:?} have no such tag",
        keys(&found)
    );
    Ok(())
}

async fn finds_by_words(texts: &Namespace) -> Result<()> {
    let both = || texts.search("python programming").words();
    until_found(&["text:python"], both).await?;
    let any = || texts.search("python programming").any_word();
    until_found(&["text:python", "text:snake"], any).await?;
    let found = texts.search("zeppelin").words().await?;
    ensure!(keys(&found).is_empty(), "{:?}", keys(&found));
    Ok(())
}

/// Waits until a search covers everything and finds these keys: each node indexes by itself, a
/// moment after the write.
async fn until_found(expected: &[&str], search: impl Fn() -> engram_client::Search) -> Result<()> {
    waiting::until("a search to find it", SERVING_DEADLINE, || async {
        let found = search().await.map_err(|error| error.to_string())?;
        let mut keys = keys(&found);
        keys.sort();
        if keys == expected && found.is_complete() {
            Ok(())
        } else {
            Err(format!("{keys:?}"))
        }
    })
    .await
}

fn keys(found: &Found) -> Vec<String> {
    found
        .hits
        .iter()
        .map(|hit| hit.key.to_text().into_owned())
        .collect()
}
