//! Models in ONNX format, with the one that `scripts/fetch-model` brings. Where it was not run, these
//! tests are reported as skipped ("ignored").

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engram_actors::embedder::{EmbedError, EmbeddingModel};
use engram_core::index::Embedding;
use engram_node::embedder::fastembed::{
    FastembedModel, FastembedOptions, Pooling, RuntimeError, load_runtime,
};
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

/// A text, a paraphrase of it, and a text about something else in each line.
const PARAPHRASES: &str = include_str!("paraphrases.tsv");

type Outcome = Result<(), Failed>;
type Test = (&'static str, fn(&Path) -> Outcome);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: [Test; 6] = [
        ("vectors_have_the_length_that_was_promised", right_length),
        ("a_batch_gives_the_vectors_of_its_texts", batches),
        (
            "a_threshold_separates_paraphrases_from_other_texts",
            paraphrases,
        ),
        (
            "what_was_downloaded_before_is_used_without_internet",
            hub_cache,
        ),
        ("damaged_models_are_named", damaged),
        ("a_process_has_one_library", one_library),
    ];
    let directory = directory();
    let is_there = directory.join("tokenizer_config.json").exists();
    let tests = tests.map(|(name, test)| {
        let directory = directory.clone();
        let trial = Trial::test(name, move || {
            load_runtime(&directory.join("libonnxruntime.so"))?;
            test(&directory)
        });
        match is_there {
            true => trial,
            false => trial
                .with_ignored_flag(true)
                .with_kind("SKIPPED: no model, run scripts/fetch-model"),
        }
    });
    let conclusion: Conclusion = libtest_mimic::run(&arguments, tests.into());
    conclusion.exit_code()
}

/// Where the script puts the model, unless the environment says otherwise.
fn directory() -> PathBuf {
    std::env::var_os("ENGRAM_TEST_MODEL").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/minilm"),
        PathBuf::from,
    )
}

fn model(directory: &Path) -> Result<FastembedModel, Failed> {
    let options = FastembedOptions::of_directory(directory, Pooling::Mean, 256, 1)?;
    Ok(FastembedModel::new(options))
}

fn embed(model: &mut FastembedModel, texts: &[&str]) -> Result<Vec<Embedding>, Failed> {
    Ok(model.embed(texts)?)
}

fn cosine(left: &Embedding, right: &Embedding) -> Result<f32, Failed> {
    Ok(left.cosine(right).ok_or("different lengths")?)
}

fn check(holds: bool, what: impl std::fmt::Display) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(what.to_string().into()),
    }
}

fn right_length(directory: &Path) -> Outcome {
    let mut model = model(directory)?;
    check(model.dim() == 384, model.dim())?;
    let long = "word ".repeat(1_600);
    let vectors = embed(&mut model, &["short", &long, ""])?;
    let lengths: Vec<usize> = vectors.iter().map(Embedding::dim).collect();
    check(lengths == [384; 3], format!("{lengths:?}"))
}

fn batches(directory: &Path) -> Outcome {
    let mut model = model(directory)?;
    let texts: Vec<String> = (1..=32).map(|n| "a text that grows ".repeat(n)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = embed(&mut model, &texts)?;
    for (text, vector) in texts.iter().zip(&together) {
        let alone = &embed(&mut model, &[text])?[0];
        // Eight bits are rounded a little differently beside longer texts.
        let cosine = cosine(vector, alone)?;
        check(cosine > 0.98, format!("{text}: {cosine}"))?;
    }
    Ok(())
}

fn paraphrases(directory: &Path) -> Outcome {
    let mut model = model(directory)?;
    let threshold = 0.4;
    for line in PARAPHRASES.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [text, paraphrase, other] = columns[..] else {
            panic!("three columns: {line}");
        };
        let vectors = embed(&mut model, &[text, paraphrase, other])?;
        let near = cosine(&vectors[0], &vectors[1])?;
        let far = cosine(&vectors[0], &vectors[2])?;
        check(
            near > threshold && far < threshold,
            format!("{text:?}: {near} and {far}"),
        )?;
    }
    Ok(())
}

/// Lays the files out as the hub's cache does.
fn hub_cache(directory: &Path) -> Outcome {
    let cache = tempfile::tempdir()?;
    let repository = cache.path().join("models--Qdrant--all-MiniLM-L6-v2-onnx");
    let snapshot = repository.join("snapshots").join("revision");
    std::fs::create_dir_all(repository.join("refs"))?;
    std::fs::create_dir_all(&snapshot)?;
    std::fs::write(repository.join("refs").join("main"), "revision")?;
    for file in FILES {
        std::fs::copy(directory.join(file), snapshot.join(file))?;
    }
    let options = FastembedOptions::of_hub("AllMiniLML6V2", cache.path(), 256, 1)?;
    let mut hub = FastembedModel::new(options);
    let (here, there) = (
        embed(&mut model(directory)?, &["the same text"])?,
        embed(&mut hub, &["the same text"])?,
    );
    check(here == there, "the same files give the same vector")?;
    check(
        hub.id().as_str() == "fastembed/Qdrant/all-MiniLM-L6-v2-onnx/256",
        hub.id(),
    )
}

const FILES: [&str; 5] = [
    "model.onnx",
    "tokenizer.json",
    "config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];

fn damaged(directory: &Path) -> Outcome {
    for damaged in ["model.onnx", "tokenizer.json", "tokenizer_config.json"] {
        let copy = tempfile::tempdir()?;
        for file in FILES {
            std::fs::copy(directory.join(file), copy.path().join(file))?;
        }
        std::fs::write(copy.path().join(damaged), "{}")?;
        let error = model(copy.path())?.embed(&["text"]).err();
        let named = matches!(&error, Some(EmbedError::Unavailable(_)));
        check(named, format!("{damaged}: {error:?}"))?;
    }
    Ok(())
}

fn one_library(directory: &Path) -> Outcome {
    let library = directory.join("libonnxruntime.so");
    load_runtime(&library)?;
    let copy = tempfile::tempdir()?;
    let other = copy.path().join("libonnxruntime.so");
    std::fs::copy(&library, &other)?;
    let error = load_runtime(&other).err();
    check(
        matches!(error, Some(RuntimeError::Another(_))),
        format!("{error:?}"),
    )
}
