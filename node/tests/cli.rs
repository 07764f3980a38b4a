//! The command line as its users meet it, where no cluster is needed.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use engram_actors::env::Entropy;
use engram_node::data_dir::{DataDir, Expected};
use engram_node::store::FjallOptions;

struct Fixed;

impl Entropy for Fixed {
    fn next_u64(&self) -> u64 {
        7
    }
}

/// `engram` with these arguments, without the settings of whoever runs the tests.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_engram"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("ENGRAM_") || name_text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_wrong_on_the_command_line_is_named_and_exits_with_2() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["nonsense"], "nonsense"),
        (&["get", "k", "--nonsense"], "--nonsense"),
        (&["get", "k"], "--cluster"),
        (&["get", "--cluster", "demo"], "<KEY>"),
        (&["put", "k", "--cluster", "demo"], "<VALUE>"),
        (
            &["put", "k", "v", "--file", "f", "--cluster", "demo"],
            "--file",
        ),
        (
            &["put", "k", "v", "--ttl", "soon", "--cluster", "demo"],
            "soon",
        ),
        (
            &["put", "k", "v", "--ttl", "5", "--cluster", "demo"],
            "unit",
        ),
        (
            &["put", "k", "v", "--ttl", "0s", "--cluster", "demo"],
            "zero",
        ),
        (
            &["put", "k", "v", "--if-version", "7", "--cluster", "demo"],
            "version",
        ),
        (
            &[
                "put",
                "k",
                "v",
                "--if-version",
                "1.a.1.0",
                "--if-absent",
                "--cluster",
                "demo",
            ],
            "--if-absent",
        ),
        (
            &["get", "k", "--raw", "--meta", "--cluster", "demo"],
            "--meta",
        ),
        (
            &["get", "k", "--timeout", "0s", "--cluster", "demo"],
            "zero",
        ),
        (
            &[
                "del",
                "k",
                "--prefix",
                "--if-version",
                "1.a.1.0",
                "--cluster",
                "demo",
            ],
            "--prefix",
        ),
        (&["touch", "k", "--cluster", "demo"], "--ttl"),
        (&["del", "--cluster", "demo"], "<KEY"),
        (&["del", "k", "--tag", "t", "--cluster", "demo"], "--tag"),
        (
            &["watch", "--similar", "x", "--cluster", "demo"],
            "--threshold",
        ),
        (
            &["watch", "--cursor", "nonsense", "--cluster", "demo"],
            "cursor",
        ),
        (
            &[
                "namespace",
                "create",
                "n",
                "--source",
                "nonsense",
                "--cluster",
                "demo",
            ],
            "field:NAME",
        ),
        (
            &[
                "touch",
                "k",
                "--ttl",
                "1s",
                "--persist",
                "--cluster",
                "demo",
            ],
            "--persist",
        ),
        (
            &["scan", "--cursor", "nonsense", "--cluster", "demo"],
            "cursor",
        ),
        (&["scan", "--limit", "0", "--cluster", "demo"], "--limit"),
        (&["clear", "users", "--cluster", "demo"], "--yes"),
        (
            &["bench", "--mix", "nonsense", "--cluster", "demo"],
            "--mix",
        ),
        (
            &["bench", "--clients", "1,0", "--cluster", "demo"],
            "--clients",
        ),
        (
            &["bench", "--pids", "1", "--local-nodes", "--cluster", "demo"],
            "--local-nodes",
        ),
        (
            &["bench", "--pids", "4294967295", "--cluster", "demo"],
            "4294967295",
        ),
        (
            &[
                "bench",
                "--local-nodes",
                "--cluster",
                "there-is-no-such-cluster",
            ],
            "--pids",
        ),
        (&["completions", "nonsense"], "nonsense"),
        (&["get", "k", "--cluster", "a b"], "a b"),
        (
            &["get", "k", "--cluster", "demo", "--seed", "db.example:7101"],
            "ENGRAM_COOKIE",
        ),
        (
            &[
                "get",
                "k",
                "--cluster",
                "demo",
                "--cookie-file",
                "/no/such/file",
            ],
            "/no/such/file",
        ),
        (
            &["put", "k", "--file", "/no/such/file", "--cluster", "demo"],
            "/no/such/file",
        ),
        (
            &[
                "import",
                "users",
                "--in",
                "/no/such/file",
                "--cluster",
                "demo",
            ],
            "/no/such/file",
        ),
        (&["check", "/no/such/directory"], "/no/such/directory"),
        (&["start", "--cluster", "demo"], "--node-id"),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

#[test]
fn an_unreachable_cluster_is_named_and_exits_with_5() {
    // Port 1 is not listened on: it needs privileges, and nothing has used it for decades.
    let arguments = ["get", "k", "--cluster", "demo", "--seed", "127.0.0.1:1"];
    let output = command(&arguments)
        .args(["--timeout", "300ms"])
        .output()
        .expect("the binary runs");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.starts_with("engram: "), "{said}");
    assert!(said.contains("127.0.0.1:1"), "{said}");
}

#[test]
fn help_lists_the_commands_and_the_exit_codes() {
    let output = run(&["--help"]);
    let help = stdout(&output);
    assert!(output.status.success());
    for part in [
        "demo",
        "status",
        "import",
        "Exit codes:",
        "the outcome is unknown",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success(), "{shell}: {}", stderr(&output));
        assert!(stdout(&output).contains("namespace"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = command(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}

fn make_data_directory(path: &Path) {
    let expected = Expected {
        cluster: "demo".to_owned(),
        node: "n1".to_owned(),
        shards: 4,
    };
    DataDir::open(path, &expected, &FjallOptions::default(), &Fixed).expect("it opens");
}

#[test]
fn check_tells_a_sound_directory_from_a_damaged_one() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("data");
    let text = path.to_str().expect("a temporary path is text");
    make_data_directory(&path);

    let output = run(&["check", text]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(
        said.contains("node n1 of cluster demo") && said.contains("sound"),
        "{said}"
    );

    let output = run(&["check", text, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(report["sound"], true);
    assert_eq!(report["problems_total"], 0);
    assert_eq!(report["shards"], 4);

    std::fs::write(path.join("IDENTITY"), b"nonsense").expect("written");
    let output = run(&["check", text]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(
        said.starts_with("engram: ") && said.contains("IDENTITY"),
        "{said}"
    );
}
