//! The queue, the thread and the actor together: they only make sense as one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use engram_core::index::{Embedding, HashEmbedder, ModelId};
use engram_core::limits::{EMBED_BATCH_MAX, EMBED_QUERIES_MAX, QUERY_BYTES_MAX};

use super::super::{EmbedError, EmbedPriority, Embedder, EmbedderThreads, EmbeddingModel};
use super::*;

type Answer = Result<Arc<Embedding>, EmbedError>;

/// A model that waits for permission before each call and notes what it was asked.
struct Scripted {
    permits: Arc<Mutex<mpsc::Receiver<()>>>,
    calls: Arc<Mutex<Vec<Vec<String>>>>,
}

impl EmbeddingModel for Scripted {
    fn id(&self) -> ModelId {
        HashEmbedder::id()
    }

    fn dim(&self) -> usize {
        HashEmbedder::DIM
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let permit = self.permits.lock().expect("not poisoned").recv();
        permit.expect("the test lives");
        let asked = texts.iter().map(|text| (*text).to_owned()).collect();
        self.calls.lock().expect("not poisoned").push(asked);
        assert!(!texts.contains(&"panic"), "told to");
        if texts.contains(&"away") {
            return Err(EmbedError::Unavailable("away".into()));
        }
        if texts.contains(&"bad") {
            return Err(EmbedError::Rejected("bad".into()));
        }
        Ok(texts
            .iter()
            .map(|text| HashEmbedder::embed(text).expect("has words"))
            .collect())
    }
}

struct Bench {
    embedder: QueuedEmbedder,
    permits: mpsc::Sender<()>,
    calls: Arc<Mutex<Vec<Vec<String>>>>,
    models: Arc<AtomicUsize>,
}

impl Bench {
    fn new() -> Bench {
        let (permits, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let models = Arc::new(AtomicUsize::new(0));
        let (made, noted) = (models.clone(), calls.clone());
        let embedder = QueuedEmbedder::new(Arc::new(move || {
            made.fetch_add(1, Ordering::SeqCst);
            Box::new(Scripted {
                permits: receiver.clone(),
                calls: noted.clone(),
            })
        }));
        Bench {
            embedder,
            permits,
            calls,
            models,
        }
    }

    fn permit(&self, calls: usize) {
        for _ in 0..calls {
            self.permits
                .send(())
                .expect("the factory keeps the receiver");
        }
    }

    fn ask(&self, text: &str, priority: EmbedPriority) -> mpsc::Receiver<Answer> {
        let (sender, answer) = mpsc::channel();
        // A test that does not care for the answer drops the receiver.
        let done = move |result| drop(sender.send(result));
        self.embedder.embed(text, priority, Box::new(done));
        answer
    }
}

fn wait(answer: &mpsc::Receiver<Answer>) -> Answer {
    answer
        .recv_timeout(Duration::from_secs(30))
        .expect("answered in time")
}

async fn spawn(
    bench: &Bench,
) -> (
    ActorRef<EmbedderMessage>,
    ractor::concurrency::JoinHandle<()>,
) {
    Actor::spawn(None, EmbedderActor, bench.embedder.clone())
        .await
        .expect("starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn queries_go_first_and_texts_go_in_batches_by_length() {
    let bench = Bench::new();
    let texts: Vec<_> = ["long text here", "text", "text", "a text"]
        .map(|text| bench.ask(text, EmbedPriority::Text))
        .into_iter()
        .collect();
    let query = bench.ask("query", EmbedPriority::Query);
    bench.permit(2);
    let (actor, handle) = spawn(&bench).await;
    for answer in texts.iter().chain([&query]) {
        assert!(wait(answer).is_ok());
    }
    assert_eq!(
        *bench.calls.lock().expect("not poisoned"),
        [vec!["query"], vec!["text", "a text", "long text here"]]
    );
    // Known by now: answered without the model, which has no permit left.
    assert!(wait(&bench.ask("a text", EmbedPriority::Query)).is_ok());
    let stats = bench.embedder.stats();
    assert_eq!((stats.computed, stats.reused, stats.failed), (4, 2, 0));
    actor.stop(None);
    handle.await.expect("stops");
    assert_eq!(
        wait(&bench.ask("late", EmbedPriority::Query)),
        Err(EmbedError::Closed)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bad_text_costs_only_itself_and_a_panic_only_the_model() {
    let bench = Bench::new();
    let answers: Vec<_> = ["bad", "good text", "panic"]
        .map(|text| bench.ask(text, EmbedPriority::Text))
        .into_iter()
        .collect();
    bench.permit(4);
    let (actor, handle) = spawn(&bench).await;
    let results: Vec<Answer> = answers.iter().map(wait).collect();
    assert_eq!(results[0], Err(EmbedError::Rejected("bad".into())));
    assert!(results[1].is_ok());
    assert_eq!(
        results[2],
        Err(EmbedError::Failed("it panicked: told to".into()))
    );
    bench.permit(1);
    assert!(wait(&bench.ask("afterwards", EmbedPriority::Text)).is_ok());
    let stats = bench.embedder.stats();
    // The batch panicked as a whole, then the text alone.
    assert_eq!((stats.panics, stats.failed), (2, 2));
    // One to read its name, one to begin with, one after each panic.
    assert_eq!(bench.models.load(Ordering::SeqCst), 4);
    actor.stop(None);
    handle.await.expect("stops");
}

#[test]
fn beyond_the_bounds_callers_are_refused_at_once() {
    let bench = Bench::new();
    let waiting: Vec<_> = (0..EMBED_QUERIES_MAX)
        .map(|number| bench.ask(&format!("query {number}"), EmbedPriority::Query))
        .collect();
    let refused = bench.ask("one more", EmbedPriority::Query);
    assert_eq!(refused.try_recv(), Ok(Err(EmbedError::Overloaded)));
    let long = "x".repeat(QUERY_BYTES_MAX + 1);
    let refused = bench.ask(&long, EmbedPriority::Text);
    assert!(matches!(
        refused.try_recv(),
        Ok(Err(EmbedError::Rejected(_)))
    ));
    assert_eq!(bench.embedder.stats().queries_waiting, EMBED_QUERIES_MAX);
    bench.embedder.close();
    for answer in waiting {
        assert_eq!(answer.try_recv(), Ok(Err(EmbedError::Closed)));
    }
    assert_eq!(bench.embedder.stats().overloaded, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_next_actor_serves_what_the_last_one_left() {
    let bench = Bench::new();
    let (first, first_handle) = spawn(&bench).await;
    first.kill();
    first_handle.await.expect("dies");
    let answers: Vec<_> = (0..EMBED_BATCH_MAX + 1)
        .map(|number| bench.ask(&format!("text {number}"), EmbedPriority::Text))
        .collect();
    bench.permit(EMBED_BATCH_MAX + 1);
    let (second, second_handle) = spawn(&bench).await;
    for answer in &answers {
        assert!(wait(answer).is_ok());
    }
    second.stop(None);
    second_handle.await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_model_that_is_away_is_not_asked_text_by_text() {
    let bench = Bench::new();
    let answers: Vec<_> = ["away", "text", "another text"]
        .map(|text| bench.ask(text, EmbedPriority::Text))
        .into_iter()
        .collect();
    bench.permit(1);
    let (actor, handle) = spawn(&bench).await;
    for answer in &answers {
        assert_eq!(wait(answer), Err(EmbedError::Unavailable("away".into())));
    }
    assert_eq!(bench.calls.lock().expect("not poisoned").len(), 1);
    assert_eq!(bench.embedder.stats().failed, 3);
    let failure = bench.embedder.last_failure().expect("something failed");
    assert!(failure.contains("away"), "{failure}");
    actor.stop(None);
    handle.await.expect("stops");
}

/// A model that keeps texts until the gate is open, and answers queries at once.
struct Gated(Arc<(Mutex<bool>, Condvar)>);

impl EmbeddingModel for Gated {
    fn id(&self) -> ModelId {
        HashEmbedder::id()
    }

    fn dim(&self) -> usize {
        HashEmbedder::DIM
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let (is_open, opened) = &*self.0;
        if texts.iter().any(|text| text.contains("text")) {
            let shut = is_open.lock().expect("not poisoned");
            let open = opened.wait_while(shut, |is_open| !*is_open);
            drop(open.expect("not poisoned"));
        }
        Ok(texts
            .iter()
            .map(|text| HashEmbedder::embed(text).expect("has words"))
            .collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn with_a_thread_of_their_own_queries_do_not_wait_behind_texts() {
    let gate = Arc::<(Mutex<bool>, Condvar)>::default();
    let of_model = gate.clone();
    let threads = EmbedderThreads { any: 2, queries: 1 };
    let factory = move || Box::new(Gated(of_model.clone())) as Box<dyn EmbeddingModel>;
    let embedder = QueuedEmbedder::with_threads(Arc::new(factory), threads);
    assert_eq!(embedder.threads(), 3);
    let (actor, handle) = Actor::spawn(None, EmbedderActor, embedder.clone())
        .await
        .expect("starts");
    let ask = |text: String, priority| {
        let (sender, answer) = mpsc::channel();
        let done = move |result| drop(sender.send(result));
        embedder.embed(&text, priority, Box::new(done));
        answer
    };
    let texts: Vec<_> = (0..4 * EMBED_BATCH_MAX)
        .map(|number| ask(format!("text {number}"), EmbedPriority::Text))
        .collect();
    for number in 0..10 {
        let query = ask(format!("query {number}"), EmbedPriority::Query);
        assert!(wait(&query).is_ok());
    }
    assert!(texts.iter().all(|answer| answer.try_recv().is_err()));
    *gate.0.lock().expect("not poisoned") = true;
    gate.1.notify_all();
    for answer in &texts {
        assert!(wait(answer).is_ok());
    }
    actor.stop(None);
    handle.await.expect("stops");
}
