//! Threads of their own for work that takes long and that nobody waits for.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, Sender, bounded};
use engram_core::limits::BACKGROUND_JOBS_MAX;

use crate::env::{Background, BackgroundFull, Job};

/// One thread that does jobs in their order. Dropped, it finishes the job at hand and forgets the
/// others.
#[derive(Clone, Debug)]
pub struct BackgroundThread {
    jobs: Sender<Job>,
}

impl BackgroundThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is what stands behind the seam"
    )]
    pub fn start() -> io::Result<BackgroundThread> {
        let (jobs, queue) = bounded(BACKGROUND_JOBS_MAX);
        std::thread::Builder::new()
            .name("background".into())
            .spawn(move || work(&queue))?;
        Ok(BackgroundThread { jobs })
    }
}

impl Background for BackgroundThread {
    fn run(&self, job: Job) -> Result<(), BackgroundFull> {
        self.jobs.try_send(job).map_err(|_| BackgroundFull)
    }
}

/// How much less of a core it gets than threads that somebody waits for, by the scale of `nice`.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

fn work(queue: &Receiver<Job>) {
    // Elsewhere it would be the whole process that steps back.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "background jobs run at the common priority");
    }
    for job in queue {
        // Whoever gave the job learns of a panic by the job's own means; the thread goes on.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a background job panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn jobs_are_done_in_order_whatever_becomes_of_others() {
        let background = BackgroundThread::start().expect("a thread");
        let (sender, results) = mpsc::channel();
        for number in 0..3 {
            let sender = sender.clone();
            let job = Box::new(move || {
                assert_ne!(number, 1, "this job fails");
                sender.send(number).expect("the test waits");
            });
            assert_eq!(background.run(job), Ok(()));
        }
        drop(sender);
        assert_eq!(results.iter().collect::<Vec<_>>(), [0, 2]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_steps_back_and_nobody_else_does() {
        let nice = || rustix::process::nice(0).expect("a thread has one");
        let before = nice();
        let background = BackgroundThread::start().expect("a thread");
        let (sender, results) = mpsc::channel();
        let job = Box::new(move || sender.send(nice()).expect("the test waits"));
        assert_eq!(background.run(job), Ok(()));
        assert_eq!(results.recv(), Ok((before + NICENESS).min(19)));
        assert_eq!(nice(), before);
    }

    #[test]
    fn more_than_fits_is_refused() {
        let background = BackgroundThread::start().expect("a thread");
        let (release, wait) = mpsc::channel::<()>();
        let mut refused = 0;
        let blocked = background.run(Box::new(move || assert!(wait.recv().is_err())));
        assert_eq!(blocked, Ok(()));
        for _ in 0..BACKGROUND_JOBS_MAX + 1 {
            refused += usize::from(background.run(Box::new(|| ())).is_err());
        }
        assert!((1..=2).contains(&refused), "{refused}");
        drop(release);
    }
}
