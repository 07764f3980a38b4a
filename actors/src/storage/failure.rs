//! The one-way switch from working to poisoned.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::env::StoreError;

/// What the node does when its storage has failed; in production it ends the process.
pub(super) type OnFailure = Box<dyn FnOnce(StoreError) + Send>;

/// Remembers the first failure, and tells the node of it once.
pub(super) struct Failure {
    reason: OnceLock<Arc<str>>,
    on_failure: Mutex<Option<OnFailure>>,
}

impl Failure {
    pub(super) fn new(on_failure: OnFailure) -> Failure {
        Failure {
            reason: OnceLock::new(),
            on_failure: Mutex::new(Some(on_failure)),
        }
    }

    /// Poisons the store. The first call tells the node; later ones change nothing.
    pub(super) fn fail(&self, reason: String) {
        if self.reason.set(Arc::from(reason)).is_err() {
            return;
        }
        let on_failure = self
            .on_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(on_failure), Some(error)) = (on_failure, self.error()) {
            on_failure(error);
        }
    }

    /// What every append gets once the store is poisoned.
    pub(super) fn error(&self) -> Option<StoreError> {
        self.reason
            .get()
            .map(|reason| StoreError::Poisoned(Arc::clone(reason)))
    }

    /// Whether the store is poisoned.
    pub(super) fn is_set(&self) -> bool {
        self.reason.get().is_some()
    }
}

/// What a panic said.
pub(super) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without text".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_failure_counts() {
        let (sender, told) = crossbeam_channel::unbounded();
        let failure = Failure::new(Box::new(move |error| {
            sender.send(error.to_string()).expect("the receiver lives");
        }));
        assert!(failure.error().is_none());
        failure.fail("first".to_owned());
        failure.fail("second".to_owned());
        assert!(told.try_recv().expect("told once").ends_with("first"));
        assert!(told.try_recv().is_err());
        assert!(
            failure
                .error()
                .expect("poisoned")
                .to_string()
                .ends_with("first")
        );
    }
}
