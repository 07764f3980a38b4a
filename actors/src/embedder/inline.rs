//! An embedder without a thread.

use std::sync::{Arc, Mutex, PoisonError};

use engram_core::index::ModelId;

use super::worker::embed_one;
use super::{EmbedDone, EmbedPriority, Embedder, EmbeddingModel};

/// Embeds in the caller's thread and calls back before it returns: no queue, no cache, no timing.
/// For simulations and tests, where the order of everything must depend on the seed alone.
pub struct InlineEmbedder {
    id: ModelId,
    dim: usize,
    model: Mutex<Box<dyn EmbeddingModel>>,
}

impl InlineEmbedder {
    /// Wraps a model.
    pub fn new(model: Box<dyn EmbeddingModel>) -> InlineEmbedder {
        InlineEmbedder {
            id: model.id(),
            dim: model.dim(),
            model: Mutex::new(model),
        }
    }
}

impl Embedder for InlineEmbedder {
    fn id(&self) -> ModelId {
        self.id.clone()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn embed(&self, text: &str, _: EmbedPriority, done: EmbedDone) {
        let result = {
            let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
            embed_one(model.as_mut(), self.dim, text)
        };
        done(result.map(Arc::new));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::{EmbedError, HashModel};
    use super::*;

    #[test]
    fn the_answer_is_there_when_the_call_returns() {
        let embedder = InlineEmbedder::new(Box::new(HashModel));
        let (sender, answers) = mpsc::channel();
        for text in ["two words", "..."] {
            let sender = sender.clone();
            let done = move |result| sender.send(result).expect("the test listens");
            embedder.embed(text, EmbedPriority::Text, Box::new(done));
        }
        let vector = answers.try_recv().expect("answered").expect("has words");
        assert_eq!(vector.dim(), embedder.dim());
        let refused = answers.try_recv().expect("answered");
        assert!(
            matches!(refused, Err(EmbedError::Rejected(_))),
            "{refused:?}"
        );
    }
}
