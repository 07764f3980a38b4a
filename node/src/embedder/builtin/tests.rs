//! That the model is the one whose vectors were stored, and that it is good enough.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use engram_core::index::vectors::{AnnSegment, EntryNumber, FlatSegment, RowNumber};
use sha2::{Digest, Sha256};

use super::*;

/// A text, a paraphrase of it, and a text about something else in each line.
const PARAPHRASES: &str = include_str!("../../../tests/paraphrases.tsv");

const WEIGHTS_SHA256: &str = "dabb40d5d98a22372c8921acf048cb54bb8bf6d781b1233b2a360d5125789c7e";
const TOKENIZER_SHA256: &str = "a9576e4dadfe7f78f071a1c00ba6902cc83ec6ed7e9b590ee974950bd4d54393";

fn embed(texts: &[&str]) -> Vec<Embedding> {
    BuiltinModel::new().embed(texts).expect("embeds")
}

fn similarity(left: &str, right: &str) -> f32 {
    let vectors = embed(&[left, right]);
    vectors[0].cosine(&vectors[1]).expect("same dimension")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Where cargo unpacked the crate.
fn crate_folder() -> PathBuf {
    let version = cargo(&["-vV"]);
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("a host");
    let options = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        host,
    ];
    let metadata: serde_json::Value = serde_json::from_str(&cargo(&options)).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    let package = packages
        .iter()
        .find(|package| package["name"] == "pocket-encoder");
    let manifest = package.expect("a dependency")["manifest_path"]
        .as_str()
        .expect("a path");
    Path::new(manifest).parent().expect("a folder").to_owned()
}

fn sha256(file: &Path) -> String {
    let bytes = std::fs::read(file).expect("readable");
    Sha256::digest(&bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("memory");
            text
        })
}

#[test]
fn the_weights_are_those_whose_vectors_were_stored() {
    let assets = crate_folder().join("assets");
    assert_eq!(sha256(&assets.join("model.safetensors")), WEIGHTS_SHA256);
    assert_eq!(sha256(&assets.join("tokenizer.json")), TOKENIZER_SHA256);
    let info = pocket_encoder::model_info();
    assert_eq!(info.id, BuiltinModel::new().id().as_str());
    assert_eq!(info.revision, format!("sha256:{WEIGHTS_SHA256}"));
    assert_eq!(info.dimensions, DIM);
}

#[test]
fn nothing_is_loaded_before_the_first_text() {
    let mut model = BuiltinModel::new();
    assert!(model.loaded.is_none());
    assert_eq!(model.embed(&["now"]).expect("embeds")[0].dim(), DIM);
    assert!(
        model
            .loaded
            .is_some_and(|loaded| loaded.thread.current_num_threads() == 1)
    );
}

#[test]
fn blank_text_is_refused_for_good() {
    let error = BuiltinModel::new()
        .embed(&[" \n"])
        .expect_err("nothing to embed");
    assert!(error.is_permanent(), "{error}");
}

#[test]
fn meaning_ranks_above_words() {
    let texts = [
        "Python is a high-level interpreted programming language",
        "Java is an object-oriented language for enterprise software development",
        "Rust is a language for systems programming without a garbage collector",
        "The cat slept on the warm windowsill all afternoon",
        "A recipe for tomato soup with basil",
        "The stock market fell sharply on Monday",
    ];
    let mut segment = FlatSegment::new(DIM);
    for (number, vector) in (0_u32..).zip(&embed(&texts)) {
        let pushed = segment.push(RowNumber(number.into()), EntryNumber(number), vector);
        assert_eq!(pushed, Ok(()));
    }
    let segment = Arc::new(segment);
    for (query, best) in [
        ("coding languages", &[0, 1, 2][..]),
        ("a sleeping pet", &[3]),
        ("how do I cook something", &[4]),
        ("shares lost value at the exchange", &[5]),
    ] {
        let query_vector = &embed(&[query])[0];
        let nearest = segment.nearest(query_vector, best.len()).expect("fits");
        let mut found = nearest.slots;
        found.sort_unstable();
        assert_eq!(found, best, "{query}");
    }
}

#[test]
fn a_threshold_separates_paraphrases_from_other_texts() {
    let threshold = 0.5;
    for line in PARAPHRASES.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [text, paraphrase, other] = columns[..] else {
            panic!("three columns: {line}");
        };
        let (near, far) = (similarity(text, paraphrase), similarity(text, other));
        assert!(
            near > threshold && far < threshold,
            "{text:?}: {near} and {far}"
        );
    }
}
