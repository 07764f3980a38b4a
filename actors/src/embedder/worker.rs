//! A model's thread: takes batches, runs the model, answers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engram_core::index::Embedding;

use super::queue::{Job, Shared, Takes};
use super::{EmbedError, EmbeddingModel};

/// Serves an embedder until it is closed or younger threads take over.
pub(super) fn run(shared: &Shared, life: u64, takes: Takes) {
    let mut model = None;
    while let Some(batch) = shared.next_batch(life, takes) {
        serve(shared, &mut model, batch);
    }
}

fn serve(shared: &Shared, model: &mut Option<Box<dyn EmbeddingModel>>, batch: Vec<Job>) {
    let mut jobs = answer_known(shared, batch);
    // Texts of like length waste the least padding within a model's own batch.
    jobs.sort_by_key(|job| job.text.len());
    let texts: Vec<&str> = jobs.iter().map(|job| job.text.as_str()).collect();
    if texts.is_empty() {
        return;
    }
    let results: Vec<Result<Arc<Embedding>, EmbedError>> = match call(shared, model, &texts) {
        Ok(vectors) => vectors
            .into_iter()
            .map(|vector| Ok(Arc::new(vector)))
            .collect(),
        Err(error) if texts.len() == 1 => vec![Err(error)],
        Err(error @ EmbedError::Unavailable(_)) => vec![Err(error); texts.len()],
        // One bad text must not cost the others their vectors.
        Err(_) => texts.iter().map(|text| one(shared, model, text)).collect(),
    };
    {
        let mut queues = shared.lock();
        for (job, result) in jobs.iter().zip(&results) {
            match result {
                Ok(vector) => {
                    queues.stats.computed += 1;
                    queues.remember(job.hash, vector.clone());
                }
                Err(error) => queues.note_failure(error),
            }
        }
    }
    for (job, result) in jobs.into_iter().zip(results) {
        job.answer(&result);
    }
}

/// Answers the jobs whose text was embedded while they waited, and returns the others.
fn answer_known(shared: &Shared, batch: Vec<Job>) -> Vec<Job> {
    let mut unknown = Vec::with_capacity(batch.len());
    for job in batch {
        let known = {
            let mut queues = shared.lock();
            let known = queues.known(job.hash);
            queues.stats.reused += u64::from(known.is_some());
            known
        };
        match known {
            Some(vector) => job.answer(&Ok(vector)),
            None => unknown.push(job),
        }
    }
    unknown
}

fn one(
    shared: &Shared,
    model: &mut Option<Box<dyn EmbeddingModel>>,
    text: &str,
) -> Result<Arc<Embedding>, EmbedError> {
    let mut vectors = call(shared, model, &[text])?;
    vectors
        .pop()
        .map(Arc::new)
        .ok_or_else(|| EmbedError::Failed("it gave no vector".into()))
}

/// Runs the model, which is made anew if it panics: it may have been left half way.
fn call(
    shared: &Shared,
    model: &mut Option<Box<dyn EmbeddingModel>>,
    texts: &[&str],
) -> Result<Vec<Embedding>, EmbedError> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let model = model.get_or_insert_with(|| (shared.factory)());
        embed_checked(model.as_mut(), shared.dim, texts)
    }));
    outcome.unwrap_or_else(|panic| {
        *model = None;
        shared.lock().stats.panics += 1;
        let reason = panic_text(panic.as_ref());
        tracing::error!(model = %shared.id, reason, "the embedding model panicked and is replaced");
        Err(EmbedError::Failed(format!("it panicked: {reason}").into()))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

/// Runs the model and checks that it keeps its promises.
fn embed_checked(
    model: &mut dyn EmbeddingModel,
    dim: usize,
    texts: &[&str],
) -> Result<Vec<Embedding>, EmbedError> {
    let vectors = model.embed(texts)?;
    if vectors.len() != texts.len() {
        let counts = format!(
            "it gave {} vectors for {} texts",
            vectors.len(),
            texts.len()
        );
        return Err(EmbedError::Failed(counts.into()));
    }
    if let Some(odd) = vectors.iter().find(|vector| vector.dim() != dim) {
        let dims = format!("it gave {} dimensions, {dim} were promised", odd.dim());
        return Err(EmbedError::Failed(dims.into()));
    }
    Ok(vectors)
}

/// The vector of one text.
pub(super) fn embed_one(
    model: &mut dyn EmbeddingModel,
    dim: usize,
    text: &str,
) -> Result<Embedding, EmbedError> {
    let mut vectors = embed_checked(model, dim, &[text])?;
    vectors
        .pop()
        .ok_or_else(|| EmbedError::Failed("it gave no vector".into()))
}
