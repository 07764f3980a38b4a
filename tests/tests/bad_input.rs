//! Nonsense from users, operators and strangers: each gets an error that names the thing and its
//! limit, within a deadline; no process panics, and the cluster serves on.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use engram_client::{Client, ClientConfig, ClientError, Cursor, Namespace, ValueError};
use engram_core::limits::{KEY_BYTES_MAX, SCAN_LIMIT_MAX, VALUE_BYTES_MAX};
use engram_core::types::{
    Blob, Change, Condition, Key, LogicalTime, NamespaceId, RecordKey, Write, WriteId,
};
use engram_core::wire::{Put, Scan};
use engram_node::config::loopback_cookie;
use engram_tests::cluster::{Builder, Cluster};
use engram_tests::command;
use engram_tests::node::{Node, Settings, address};
use engram_tests::ports;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const DEADLINE: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

fn settings(directory: &Path) -> Result<Settings> {
    Ok(Settings {
        cluster: "demo".into(),
        name: "n1".into(),
        port: ports::free(1)?.first().copied().context("no port")?,
        join: Vec::new(),
        data: directory.join("n1"),
        expect: Some(1),
        arguments: Vec::new(),
        environment: Vec::new(),
    })
}

async fn refused(settings: &Settings, words: &[&str]) -> Result<()> {
    let ended = command::run(NODE, &settings.command_line(), DEADLINE).await?;
    ended.refused_with(words)
}

#[tokio::test]
async fn a_wrong_command_line_is_refused_by_name() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let good = settings(directory.path())?;
    let file = directory.path().join("node.toml");
    std::fs::write(&file, "cluster = \"demo\"\nshard = 3\n")?;
    let file = file.display().to_string();
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--colour", "red"], &["--colour"]),
        (&["--shards", "0"], &["shards", "1 to 4096"]),
        (&["--shards", "many"], &["--shards", "many"]),
        (&["--config", &file], &["node.toml", "line 2", "shard"]),
        (&["--config", "/nowhere/node.toml"], &["/nowhere/node.toml"]),
        (&["--zone", "a b"], &["zone", "a b"]),
        (&["--advertise", "here"], &["advertised", "here"]),
        (
            &["--index-partitions", "65"],
            &["index-partitions", "1 to 64"],
        ),
        (&["--cookie-file", "/nowhere/cookie"], &["/nowhere/cookie"]),
    ];
    for (arguments, words) in cases {
        let mut bad = good.clone();
        bad.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        refused(&bad, words)
            .await
            .with_context(|| format!("{arguments:?}"))?;
    }
    ensure!(!good.data.exists(), "a refused node left something behind");

    let taken = TcpListener::bind(address(good.port))?;
    refused(&good, &["in use", &address(good.port)]).await?;
    drop(taken);
    Ok(())
}

#[tokio::test]
async fn a_data_directory_that_is_not_this_node_s_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let good = settings(directory.path())?;
    let mut node = Node::new(NODE, good.clone(), directory.path().join("n1.log"));
    node.start().await?;
    let data = good.data.display().to_string();
    let port = ports::free(1)?.first().copied().context("no port")?;
    let other = |change: fn(&mut Settings)| {
        let mut other = good.clone();
        other.port = port;
        change(&mut other);
        other
    };
    refused(&other(|_| {}), &[&data, "in use by another process"]).await?;
    node.terminate().await?;

    let cluster = other(|settings| settings.cluster = "other".into());
    refused(&cluster, &[&data, "\"demo\"", "\"other\""]).await?;
    let name = other(|settings| settings.name = "n2".into());
    refused(&name, &[&data, "\"n1\"", "\"n2\""]).await?;
    let shards = other(|settings| settings.arguments = vec!["--shards".into(), "16".into()]);
    refused(&shards, &[&data, "64 shards", "16"]).await?;
    let mut file = good.clone();
    file.data = directory.path().join("file");
    std::fs::write(&file.data, "not a directory")?;
    refused(&file, &["file", "not a directory"]).await?;

    // After all that it is still good for its own node.
    node.start().await?;
    ensure!(node.terminate().await?.success(), "{}", node.log_tail());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused_and_the_cluster_serves_on() -> Result<()> {
    let cluster = Builder::new(NODE).start().await?;
    // Before this process has a good connection, which others of the same cluster would share.
    strange_clients(&cluster).await?;
    let client = cluster.client().await?;
    let data = client.namespace("data");
    data.put("key", "value").await?;

    strange_nodes(&cluster).await?;
    bad_keys_and_values(&data).await?;
    bad_requests(&client).await?;
    garbage_on_the_port(&cluster).await?;

    let entry = data.get("key").await?.context("the value is lost")?;
    ensure!(entry.text()? == "value", "{entry:?}");
    cluster.settled(&client).await?;
    client.close().await;
    cluster.pass().await
}

/// Nodes that do not belong to the cluster say so, and are not let in.
async fn strange_nodes(cluster: &Cluster) -> Result<()> {
    let directory = cluster.directory();
    let wrong_cookie = directory.join("wrong-cookie");
    std::fs::write(&wrong_cookie, "wrong")?;
    let right_cookie = directory.join("right-cookie");
    std::fs::write(&right_cookie, loopback_cookie("demo"))?;
    let cookie = |path: &Path| vec!["--cookie-file".to_owned(), path.display().to_string()];
    let shards = vec!["--shards".to_owned(), "16".to_owned()];
    let cases = [
        ("demo", "s1", cookie(&wrong_cookie), vec!["cookie"]),
        (
            "other",
            "s2",
            cookie(&right_cookie),
            vec!["cluster", "demo", "other"],
        ),
        ("demo", "s3", shards, vec!["16", "64", "shards"]),
    ];
    for (name, node, arguments, words) in cases {
        let member = &cluster.nodes.first().context("no node")?.settings;
        let settings = Settings {
            cluster: name.into(),
            name: node.into(),
            port: ports::free(1)?.first().copied().context("no port")?,
            data: directory.join(node),
            expect: None,
            arguments,
            ..member.clone()
        };
        let mut stranger = Node::new(NODE, settings, directory.join(format!("{node}.log")));
        stranger.start().await?;
        stranger.until_logged(&words).await?;
        stranger.terminate().await?;
    }
    copied_data(cluster).await
}

/// A copy of a member's data directory speaks with the member's disk from a second process.
async fn copied_data(cluster: &Cluster) -> Result<()> {
    let original = &cluster.nodes.first().context("no node")?.settings;
    let mut copy = original.clone();
    copy.port = ports::free(1)?.first().copied().context("no port")?;
    copy.data = cluster.directory().join("copy");
    let script = format!("cp -r {} {}", original.data.display(), copy.data.display());
    let copied = command::run("sh", &["-c".into(), script], DEADLINE).await?;
    ensure!(copied.code == Some(0), "{copied:?}");
    let mut copy = Node::new(NODE, copy, cluster.directory().join("copy.log"));
    copy.start().await?;
    copy.until_logged(&["copied"]).await?;
    copy.kill().await
}

async fn strange_clients(cluster: &Cluster) -> Result<()> {
    let port = cluster.nodes.first().context("no node")?.settings.port;
    let nobody = address(ports::free(1)?.first().copied().context("no port")?);
    let cookie = loopback_cookie("demo");
    let config = |name: &str, cookie: &str, seed: &str| {
        ClientConfig::new(name)
            .cookie(cookie)
            .seed(seed)
            .connect_timeout(CONNECT_TIMEOUT)
    };
    let cases = [
        (
            config("demo", &cookie, &nobody),
            vec![nobody.as_str(), "cannot connect"],
        ),
        (config("demo", "wrong", &address(port)), vec!["cookie"]),
        (
            config("other", &cookie, &address(port)),
            vec!["`demo`", "`other`"],
        ),
        (config("demo", &cookie, "nowhere"), vec!["nowhere"]),
    ];
    for (config, words) in cases {
        let shown = format!("{config:?}");
        let connecting = tokio::time::timeout(DEADLINE, Client::connect(config));
        let result = connecting.await.with_context(|| format!("{shown} hangs"))?;
        let error = result
            .err()
            .with_context(|| format!("{shown} is connected"))?;
        let said = error.to_string();
        for word in words {
            ensure!(
                said.contains(word),
                "{word:?} is not in {said:?} for {shown}"
            );
        }
    }
    Ok(())
}

async fn bad_keys_and_values(data: &Namespace) -> Result<()> {
    let invalid = |result: Result<(), ClientError>, words: &[&str]| match result {
        Err(ClientError::Invalid(said)) if words.iter().all(|word| said.contains(word)) => Ok(()),
        other => bail!("{other:?}, not invalid with {words:?}"),
    };
    let longest = "k".repeat(KEY_BYTES_MAX);
    let too_long = "k".repeat(KEY_BYTES_MAX + 1);
    data.put(longest.as_str(), "value").await?;
    ensure!(
        data.exists(longest.as_str()).await?,
        "the longest key is lost"
    );
    invalid(
        data.put(too_long.as_str(), "").await.map(drop),
        &["1024", "1025"],
    )?;
    invalid(
        data.get(too_long.as_str()).await.map(drop),
        &["1024", "1025"],
    )?;
    invalid(data.get("").await.map(drop), &["empty"])?;
    invalid(data.delete("").await.map(drop), &["empty"])?;
    let zero = data.put("key", "value").ttl(Duration::ZERO).await;
    invalid(zero.map(drop), &["time to live", "1 to"])?;
    invalid(data.touch("key", Duration::ZERO).await.map(drop), &["1 to"])?;
    invalid(data.scan("").limit(0).await.map(drop), &["1 to 10000", "0"])?;
    let over = u32::try_from(SCAN_LIMIT_MAX)? + 1;
    invalid(
        data.scan("").limit(over).await.map(drop),
        &["1 to 10000", "10001"],
    )?;
    ensure!(
        "nonsense".parse::<Cursor>().is_err(),
        "nonsense is a cursor"
    );

    let largest = vec![7; VALUE_BYTES_MAX];
    data.put("largest", largest.clone()).await?;
    let entry = data
        .get("largest")
        .await?
        .context("the largest value is lost")?;
    ensure!(entry.bytes() == largest, "the largest value is damaged");
    match data.put("larger", vec![7; VALUE_BYTES_MAX + 1]).await {
        Err(ClientError::TooLarge { limit, actual, .. }) => {
            ensure!(actual == limit + 1, "{actual} of {limit}");
        }
        other => bail!("a value over the limit: {other:?}"),
    }
    data.put("bytes", vec![0xff, 0xfe]).await?;
    match data.get_string("bytes").await {
        Err(ClientError::Value(ValueError::NotText(_))) => Ok(()),
        other => bail!("bytes that are no text: {other:?}"),
    }
}

/// Requests that the typed client would not send: the nodes check as well.
async fn bad_requests(client: &Client) -> Result<()> {
    let config = client.config();
    let namespace = config.namespace("data").context("no namespace")?.id;
    let since = LogicalTime::from_millis(client.cluster_time());
    let put = |sequence: u64, namespace: NamespaceId, since: LogicalTime, value: Vec<u8>| {
        let change = Change::Put {
            value: Blob::from(value),
            tags: Vec::new(),
            expires_at: None,
        };
        let key = Key::new("raw").map(|key| RecordKey { namespace, key });
        let write = Write {
            change,
            condition: Condition::Any,
            id: WriteId {
                client: 1,
                sequence,
            },
            since,
        };
        key.map(|key| Put { key, write })
    };
    let scan = |limit| Scan {
        namespace,
        prefix: Vec::new(),
        after: None,
        limit,
        with_values: true,
    };
    for limit in [0, u32::MAX] {
        let page = client.ask(scan(limit)).await;
        ensure!(
            matches!(page, Err(ClientError::Invalid(_))),
            "limit {limit}: {page:?}"
        );
    }
    let large = client
        .ask(put(1, namespace, since, vec![0; VALUE_BYTES_MAX + 1])?)
        .await;
    ensure!(
        matches!(large, Err(ClientError::TooLarge { .. })),
        "{large:?}"
    );
    let system = client
        .ask(put(2, NamespaceId::SYSTEM, since, Vec::new())?)
        .await;
    ensure!(
        matches!(system, Err(ClientError::Unauthorized(_))),
        "{system:?}"
    );
    let nowhere = client
        .ask(put(3, NamespaceId(99_999), since, Vec::new())?)
        .await;
    ensure!(
        matches!(nowhere, Err(ClientError::Invalid(_))),
        "{nowhere:?}"
    );
    // A time from the far future would drag the cluster's logical clocks along.
    let future = client
        .ask(put(4, namespace, LogicalTime(u64::MAX), Vec::new())?)
        .await;
    ensure!(matches!(future, Err(ClientError::Invalid(_))), "{future:?}");
    client.ask(put(5, namespace, since, Vec::new())?).await?;
    Ok(())
}

/// Strangers that speak something else, or nothing, on the port of a node.
async fn garbage_on_the_port(cluster: &Cluster) -> Result<()> {
    let port = cluster.nodes.first().context("no node")?.settings.port;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address(port)).await?);
    }
    let zeros = vec![0; 100_000];
    let ones = vec![0xff; 100_000];
    let counting: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let http = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    for garbage in [zeros, ones, counting, http] {
        let mut stream = TcpStream::connect(address(port)).await?;
        // The node may hang up in the middle, which is its right.
        let _ = stream.write_all(&garbage).await;
        let _ = stream.shutdown().await;
    }
    Ok(())
}
