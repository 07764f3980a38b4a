//! The command line as people use it: what makes no sense is refused with a reason, and a run can be
//! understood from what it leaves behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn engram_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_engram-sim"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// A folder that is removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("engram-sim-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("there is room");
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let folder = Folder::new("nonsense");
    let (other, broken) = (folder.path("other.toml"), folder.path("broken.toml"));
    std::fs::write(&other, "version = 9999\nseed = 1\n").expect("there is room");
    std::fs::write(&broken, "hello").expect("there is room");
    let missing = folder.path("missing.toml");
    for (arguments, reason) in [
        (&["run", "--seeds", "5..5"][..], "holds no seed"),
        (&["run", "--seeds", "7..3"], "holds no seed"),
        (&["run", "--seeds", "all"], "is not a range"),
        (&["run"], "--seed"),
        (&["run", "--seed", "1", "--nodes", "2"], "1 or 3 to 9 nodes"),
        (
            &["run", "--seed", "1", "--mutant", "no-such-bug"],
            "there is no such planted bug",
        ),
        (&["meta", "--seeds", "3..3"], "holds no seed"),
        (&["scenario", "no-such-plot"], "there is no scenario"),
        (&["model", "--world", "no-such-world"], "there is no world"),
        (&["replay", &other], "version 9999"),
        (&["replay", &broken], "not a seed file"),
        (&["replay", &missing], "missing.toml"),
        (&["shrink", "--file", &other], "version 9999"),
    ] {
        let output = engram_sim(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(reason), "{arguments:?}: {told}");
    }
}

#[test]
fn a_caught_bug_leaves_a_file_that_leads_to_it_again() {
    let folder = Folder::new("caught");
    let out = folder.0.to_string_lossy().into_owned();
    let run = [
        "run",
        "--seeds",
        "0..20",
        "--mutant",
        "read-from-one",
        "--failures",
        "1",
        "--out",
    ];
    let output = engram_sim(&[&run[..], &[&out]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("again: engram-sim run"), "{told}");
    let mut files = std::fs::read_dir(&folder.0).expect("it is there");
    let file = files
        .next()
        .expect("a seed file was written")
        .expect("it is there")
        .path();
    let (trace, timeline) = (folder.path("trace.jsonl"), folder.path("timeline.svg"));
    let file = file.to_string_lossy();
    let replayed = engram_sim(&["replay", &file, "--trace", &trace, "--timeline", &timeline]);
    assert_eq!(replayed.status.code(), Some(1));
    let lines = std::fs::read_to_string(Path::new(&trace)).expect("it was written");
    let last = lines.lines().last().expect("a trace has lines");
    let last: serde_json::Value = serde_json::from_str(last).expect("each line is JSON");
    assert!(lines.contains("\"violation\""), "{last}");
    let picture = std::fs::read_to_string(Path::new(&timeline)).expect("it was written");
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
}

#[test]
fn scenarios_recover_in_time_and_runs_are_told_as_json() {
    for (name, count) in [
        ("killed-node", "crashes"),
        ("torn-write", "crashes"),
        ("roll-back", "refused_disks"),
        ("refused-for-good", "refused_disks"),
    ] {
        let output = engram_sim(&["scenario", name, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{name}");
        let told = String::from_utf8_lossy(&output.stdout);
        let told: serde_json::Value = serde_json::from_str(told.trim()).expect("it is JSON");
        assert!(told["counters"][count].as_u64() > Some(0), "{name}: {told}");
    }
}
