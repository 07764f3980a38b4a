//! A completion that cannot be lost: if nobody calls it, dropping it does.

use crate::env::StoreError;

/// What a [`Completion`] calls: an `AppendDone` or a `ReadDone`.
type Done<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

/// Calls a completion exactly once. A request that is dropped unanswered, because a thread ended
/// or the queue was closed under it, is answered `Closed`.
pub(super) struct Completion<T> {
    done: Option<Done<T>>,
}

impl<T> Completion<T> {
    pub(super) fn new(done: Done<T>) -> Completion<T> {
        Completion { done: Some(done) }
    }

    /// Answers.
    pub(super) fn finish(mut self, result: Result<T, StoreError>) {
        if let Some(done) = self.done.take() {
            done(result);
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Err(StoreError::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_is_called_once_whether_finished_or_dropped() {
        let (sender, answers) = crossbeam_channel::unbounded();
        let make = || {
            let sender = sender.clone();
            Completion::<u8>::new(Box::new(move |result| {
                sender.send(result).expect("the receiver lives");
            }))
        };
        make().finish(Ok(7));
        drop(make());
        assert!(matches!(answers.try_recv(), Ok(Ok(7))));
        assert!(matches!(answers.try_recv(), Ok(Err(StoreError::Closed))));
        assert!(answers.try_recv().is_err());
    }
}
