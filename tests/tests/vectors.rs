//! Entries that bring their vectors: they are found by vector on every node, and a bad vector costs
//! no write.

use anyhow::{Result, bail, ensure};
use engram_client::{ClientError, EmbedOutlook, Hit, Namespace, NamespaceOptions};
use engram_tests::cluster::{Builder, SERVING_DEADLINE};
use engram_tests::waiting;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const COUNT: usize = 90;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_bring_their_vectors_are_found_by_vector() -> Result<()> {
    let mut cluster = Builder::new(NODE).flag("--shards", 4).start().await?;
    let client = cluster.client().await?;
    let options = |dimensions: u32| NamespaceOptions {
        embedder: format!("vectors-{dimensions}"),
        ..NamespaceOptions::default()
    };
    let impossible = client.create_namespace("none", options(5000)).await;
    ensure!(
        matches!(&impossible, Err(ClientError::Embedder { embedder, reason })
            if embedder == "vectors-5000" && reason.contains("vectors-N")),
        "{impossible:?}"
    );
    let points = client.create_namespace("points", options(2)).await?;
    for degrees in 0..COUNT {
        points
            .put(format!("at:{degrees:02}"), document(degrees))
            .await?;
    }
    nearest(&points, 30, &["at:30", "at:29", "at:31"]).await?;
    // The other fields are found by words; the numbers of the vector are none.
    let named = points.search("degrees17").words().fresh().await?;
    ensure!(keys(&named.hits) == ["at:17"], "{named:?}");
    points.put("at:31", document(89)).await?;
    points.delete("at:29").await?;
    nearest(&points, 30, &["at:30", "at:28", "at:32"]).await?;
    bad_input(&points).await?;

    // Without embedding anything again, also on the node that was away.
    cluster.kill_all().await?;
    cluster.start_all().await?;
    cluster.settled(&client).await?;
    nearest(&points, 60, &["at:60", "at:59", "at:61"]).await?;
    client.close().await;
    cluster.pass().await
}

fn document(degrees: usize) -> String {
    let (y, x) = (degrees as f32).to_radians().sin_cos();
    format!(r#"{{"name": "degrees{degrees}", "vector": [{x}, {y}]}}"#)
}

fn keys(hits: &[Hit]) -> Vec<String> {
    hits.iter()
        .map(|hit| hit.key.to_text().into_owned())
        .collect()
}

async fn nearest(points: &Namespace, degrees: usize, expected: &[&str]) -> Result<()> {
    let (y, x) = (degrees as f32).to_radians().sin_cos();
    waiting::until("complete fresh searches", SERVING_DEADLINE, || async {
        // A little off, so that no two are equally near; and not of length 1.
        let search = points.search_vector(&[7.0 * x, 7.0 * y - 0.01]);
        let found = search.top_k(3).fresh().await;
        match found.map_err(|error| error.to_string())? {
            found if found.is_complete() => Ok(keys(&found.hits)),
            found => Err(format!("{found:?}")),
        }
    })
    .await
    .and_then(|found| {
        ensure!(found == expected, "{found:?}");
        Ok(())
    })
}

async fn bad_input(points: &Namespace) -> Result<()> {
    for query in ["[1, 2, 3]", "[0, 0]", "[1, \"x\"]", "words", "[1e39, 1]"] {
        match points.search(query).await {
            Err(ClientError::Invalid(reason)) => ensure!(reason.contains("vector"), "{reason}"),
            other => bail!("{query}: {other:?}"),
        }
    }
    let hybrid = points.search("[1, 0]").hybrid().await;
    ensure!(matches!(hybrid, Err(ClientError::Invalid(_))), "{hybrid:?}");
    points.put("bad", r#"{"vector": [1, 2, 3]}"#).await?;
    points.put("none", r#"{"name": "without"}"#).await?;
    let failed = waiting::until("the bad one to be listed", SERVING_DEADLINE, || async {
        let failed = points.embed_failures().await.map_err(|e| e.to_string())?;
        match failed.as_slice() {
            [one] if one.nodes.len() == 3 => Ok(one.clone()),
            _ => Err(format!("{failed:?}")),
        }
    })
    .await?;
    ensure!(failed.key.to_text() == "bad", "{failed:?}");
    ensure!(failed.outlook == EmbedOutlook::Never, "{failed:?}");
    ensure!(failed.reason.contains("3 dimensions"), "{failed:?}");
    let found = points.search_vector(&[1.0, 2.0]).fresh().await?;
    ensure!(!found.is_complete() && found.hits.len() == 10, "{found:?}");
    points.delete("bad").await?;
    Ok(())
}
