//! A node, and what people do with it from the command line.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Most ports tried: between its choice and its use somebody else may take one.
const STARTS_MAX: usize = 5;

/// A cluster of one node. Dropping it ends the node.
struct Session {
    node: Child,
    seed: String,
    directory: tempfile::TempDir,
}

impl Session {
    fn start() -> Session {
        for _ in 0..STARTS_MAX {
            let session = Session::start_once();
            // The first command waits until the node serves.
            let first = session.run(&["put", "first", "entry", "--timeout", "60s"]);
            if first.status.success() {
                return session;
            }
            let log = std::fs::read_to_string(session.directory.path().join("log"));
            let log = log.expect("the node has a log");
            assert!(log.contains("in use"), "{}\n{log}", stderr(&first));
        }
        panic!("no free port was found");
    }

    fn start_once() -> Session {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let seed = listener.local_addr().expect("it is bound").to_string();
        drop(listener);
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let data = directory.path().join("data");
        let node = engram()
            .args(["start", "--cluster", "dev", "--node-id", "a"])
            .args(["--bootstrap-expect", "1", "--listen", &seed, "--data"])
            .arg(data)
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        Session {
            node,
            seed,
            directory,
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let connection = ["--cluster", "dev", "--seed", &self.seed];
        let mut command = engram();
        command.args(arguments).args(connection);
        command.output().expect("the binary runs")
    }

    /// The lines that a command prints as JSON.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let output = self.run(&arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        let parsed = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        parsed.map(|line| line.expect("JSON")).collect()
    }

    /// The keys that a search finds, best first.
    fn search(&self, arguments: &[&str]) -> Vec<String> {
        let found = self.json(&[&["search"], arguments].concat());
        let keys = found.iter().filter_map(|hit| hit["entry"]["key"].as_str());
        keys.map(str::to_owned).collect()
    }

    fn done(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: &Path = self.directory.path();
        let path = path.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

fn engram() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_engram"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("ENGRAM_") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_the_flags_of_a_search_promise_holds() {
    let session = Session::start();
    for (key, text) in [
        (
            "bread",
            "Knead the dough, let it rise, and bake it in a hot oven.",
        ),
        (
            "engine",
            "The car's engine must be repaired before the race.",
        ),
        (
            "snake",
            "The python is a large snake that lives in the jungle.",
        ),
    ] {
        session.done(&["put", key, text, "--tag", "sample"]);
    }
    // Fresh searches see what was just written.
    let query = "how to make a loaf";
    assert_eq!(
        session.search(&[query, "--fresh", "--top-k", "1"]),
        ["bread"]
    );
    let words = session.search(&["snakes jungle", "--mode", "words", "--fresh"]);
    assert_eq!(words, ["snake"]);
    let tagged = ["repair", "--mode", "any", "--fresh", "--tag", "sample"];
    assert_eq!(session.search(&tagged), ["engine"]);

    let shown = session.json(&["search", "dough oven", "--mode", "words", "--snippets"]);
    let snippet = shown[0]["snippet"].to_string();
    assert!(snippet.contains("dough"), "{shown:?}");
    let hybrid = ["search", "python snake", "--mode", "hybrid", "--explain"];
    let explained = session.json(&[&hybrid[..], &["--weights", "0,1"]].concat());
    assert_eq!(explained[0]["entry"]["key"], "snake", "{explained:?}");
    let score = explained[0]["score"].as_f64().expect("a number");
    // The list by words alone, in which it comes first: 1 / (60 + 1).
    assert!((score - 1.0 / 61.0).abs() < 1e-6, "{explained:?}");
    for bad in [["--weights", "much"], ["--threshold", "close"]] {
        let refused = session.run(&["search", "x", bad[0], bad[1]]);
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        assert!(stderr(&refused).contains(bad[1]));
    }

    let german = ["--language", "german", "--no-semantic"];
    session.done(&[&["namespace", "create", "artikel"], &german[..]].concat());
    session.done(&["put", "haus", "Die Häuser der Stadt", "-n", "artikel"]);
    let stems = ["haus", "--mode", "words", "--fresh", "-n", "artikel"];
    assert_eq!(session.search(&stems), ["haus"]);
}

#[test]
fn vectors_are_imported_searched_and_measured() {
    let session = Session::start();
    let create = ["--embedder", "vectors-2", "--no-text"];
    session.done(&[&["namespace", "create", "points"], &create[..]].concat());
    let lines = r#"{"key": "east", "value": "{\"vector\": [1, 0]}"}
{"key": "north", "value": "{\"vector\": [0, 2]}"}
{"key": "west", "value": "{\"vector\": [-3, 0]}"}
"#;
    let file = session.file("points.jsonl", lines);
    session.done(&["import", "points", "--in", &file]);
    let near = ["[1, 0.5]", "--fresh", "-n", "points"];
    assert_eq!(session.search(&near), ["east", "north", "west"]);
    let refused = session.run(&["search", "[1, 2, 3]", "-n", "points"]);
    assert!(
        stderr(&refused).contains("3 dimensions"),
        "{}",
        stderr(&refused)
    );
    assert!(!refused.status.success());

    let queries = session.file("queries.txt", "[1, 0.5]\n[0, 1]\n");
    let bench = [
        "bench",
        "--mix",
        "search",
        "--queries",
        &queries,
        "-n",
        "points",
    ];
    let brief = ["--clients", "2", "--duration", "200ms", "--warmup", "0ms"];
    let measured = session.json(&[&bench[..], &brief[..]].concat());
    let run = &measured[0]["runs"][0];
    assert!(run["operations"].as_u64() > Some(0), "{run}");
    assert_eq!(run["errors"], serde_json::json!({}), "{run}");
    let nothing = session.file("nothing.txt", "\n");
    let refused = session.run(&[
        "bench",
        "--mix",
        "search",
        "--queries",
        &nothing,
        "-n",
        "points",
    ]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("nothing.txt"));
}
