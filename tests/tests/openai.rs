//! The model against an endpoint that answers rightly, wrongly, late or not at all.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use engram_actors::embedder::{
    EmbedError, EmbedPriority, Embedder, EmbedderActor, EmbeddingModel, QueuedEmbedder,
};
use engram_core::index::Embedding;
use engram_node::embedder::openai::{OpenAiModel, OpenAiOptions};
use engram_tests::endpoint::{self, Endpoint, Reply};
use serde_json::Value;

/// Dimensions that the endpoint is configured with.
const DIM: usize = 4;

fn model(endpoint: &Endpoint) -> OpenAiModel {
    OpenAiModel::new(options(endpoint))
}

fn options(endpoint: &Endpoint) -> OpenAiOptions {
    let mut options = OpenAiOptions::new(&endpoint.url(), "test-model", DIM).expect("sound");
    options.retry_ms = 1;
    options.attempts = 3;
    options
}

#[test]
fn texts_go_out_in_one_batch_with_the_key_and_come_back_in_order() {
    let endpoint = Endpoint::start(|_, _| Reply::Vectors(DIM));
    let mut options = options(&endpoint);
    options.key = Some("secret".into());
    options.request_dimensions = true;
    let mut model = OpenAiModel::new(options);
    let texts = ["aaa", "b", "cc"];
    let vectors = model.embed(&texts).expect("it works");
    for (text, vector) in texts.iter().zip(&vectors) {
        let expected = Embedding::new(endpoint::numbers(text, DIM)).expect("finite");
        assert_eq!(*vector, expected);
    }
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/v1/embeddings");
    assert_eq!(asked[0].authorization.as_deref(), Some("Bearer secret"));
    let body = &asked[0].body;
    assert_eq!(body["model"], "test-model");
    assert_eq!(body["dimensions"], DIM);
    assert_eq!(body["encoding_format"], "float");
    assert_eq!(body["input"], serde_json::json!(texts));
    assert_eq!(
        (model.id().as_str(), model.dim()),
        ("openai/test-model/4", DIM)
    );
}

#[test]
fn without_a_key_or_wish_nothing_is_sent_of_them() {
    let endpoint = Endpoint::start(|_, _| Reply::Vectors(DIM));
    model(&endpoint).embed(&["text"]).expect("it works");
    let asked = endpoint.asked();
    assert_eq!(asked[0].authorization, None);
    assert_eq!(asked[0].body.get("dimensions"), None);
}

#[test]
fn what_may_pass_is_tried_again_a_bounded_number_of_times() {
    let troubles: [fn() -> Reply; 5] = [
        || Reply::status(429, r#"{"error":{"message":"slow down"}}"#),
        || Reply::status(500, "oops"),
        || Reply::status(503, ""),
        || Reply::HangUp,
        || Reply::Partial,
    ];
    for trouble in troubles {
        let endpoint = Endpoint::start(move |number, _| match number {
            0 | 1 => trouble(),
            _ => Reply::Vectors(DIM),
        });
        assert_eq!(
            model(&endpoint).embed(&["text"]).expect("third time").len(),
            1
        );
        let endpoint = Endpoint::start(move |_, _| trouble());
        let error = model(&endpoint).embed(&["text"]).expect_err("always");
        assert!(!error.is_permanent(), "{error}");
        assert_eq!(endpoint.asked().len(), 3, "{error}");
    }
}

#[test]
fn an_endpoint_that_hangs_or_is_not_there_is_given_up() {
    let endpoint = Endpoint::start(|_, _| Reply::Silence);
    let mut hurried = options(&endpoint);
    hurried.timeout_ms = 100;
    hurried.attempts = 2;
    let mut model = OpenAiModel::new(hurried);
    let error = model.embed(&["text"]).expect_err("silent");
    assert!(matches!(&error, EmbedError::Unavailable(why) if why.contains("within 100 ms")));
    // The endpoint may not have seen the last of them yet.
    assert!(endpoint.asked().len() <= 2);
    let gone = endpoint.url();
    drop(endpoint);
    let mut options = OpenAiOptions::new(&gone, "m", DIM).expect("sound");
    options.retry_ms = 1;
    let mut model = OpenAiModel::new(options);
    let error = model.embed(&["text"]).expect_err("nobody listens");
    assert!(matches!(&error, EmbedError::Unavailable(why) if why.contains("cannot be reached")));
}

#[test]
fn answers_that_make_no_sense_are_named_and_not_asked_for_again() {
    let zeros = r#"{"data":[{"index":0,"embedding":[0,0,0,0]}]}"#;
    let nulls = r#"{"data":[{"index":0,"embedding":[1,null,0,0]}]}"#;
    let nan = r#"{"data":[{"index":0,"embedding":[1,NaN,0,0]}]}"#;
    let cases: [(Reply, &str); 7] = [
        (Reply::Vectors(DIM + 1), "5 dimensions, 4 are configured"),
        (Reply::status(200, zeros), "no direction"),
        (Reply::status(200, nulls), "not a finite number"),
        (Reply::status(200, nan), "makes no sense"),
        (Reply::status(200, "<html>hello</html>"), "makes no sense"),
        (Reply::status(200, r#"{"data":[]}"#), "0 vectors for 1"),
        (Reply::status(200, ""), "makes no sense"),
    ];
    for (reply, complaint) in cases {
        let endpoint = Endpoint::start(move |_, _| reply.clone());
        let error = model(&endpoint).embed(&["text"]).expect_err(complaint);
        assert!(error.to_string().contains(complaint), "{error}");
        assert!(!error.is_permanent(), "it may be mended: {error}");
        assert_eq!(endpoint.asked().len(), 1, "{error}");
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let endpoint = Endpoint::start(|_, _| Reply::Endless);
    let error = model(&endpoint).embed(&["text"]).expect_err("endless");
    assert!(error.to_string().contains("too large"), "{error}");
}

#[test]
fn a_wrong_key_or_model_is_a_matter_of_settings() {
    for status in [301, 401, 403, 404] {
        let endpoint = Endpoint::start(move |_, _| Reply::status(status, "no"));
        let error = model(&endpoint).embed(&["text"]).expect_err("refused");
        assert!(matches!(error, EmbedError::Unavailable(_)), "{error}");
        assert_eq!(endpoint.asked().len(), 1);
    }
}

#[test]
fn a_text_is_refused_for_good_only_if_another_one_is_taken() {
    let is_long = |body: &Value| body["input"].to_string().len() > 50;
    let endpoint = Endpoint::start(move |_, body| match is_long(body) {
        true => Reply::status(400, r#"{"error":{"message":"too many tokens"}}"#),
        false => Reply::Vectors(DIM),
    });
    let mut fine = model(&endpoint);
    let long = "word ".repeat(100);
    let error = fine.embed(&[&long]).expect_err("too long");
    assert!(matches!(&error, EmbedError::Rejected(why) if why.contains("too many tokens")));
    // Of several it is not known which: they are tried one by one.
    let error = fine.embed(&["short", &long]).expect_err("too long");
    assert!(matches!(error, EmbedError::Failed(_)), "{error}");

    let endpoint = Endpoint::start(|_, _| Reply::status(422, "unknown field dimensions"));
    let error = model(&endpoint).embed(&["text"]).expect_err("refused");
    assert!(matches!(error, EmbedError::Unavailable(_)), "{error}");
}

/// The bad text of a batch costs only itself, through the queue and its threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn behind_the_queue_one_bad_text_costs_only_itself() {
    let endpoint = Endpoint::start(|_, body| match body["input"].to_string().contains("bad") {
        true => Reply::status(400, "bad text"),
        false => Reply::Vectors(DIM),
    });
    let options = options(&endpoint);
    let embedder = QueuedEmbedder::new(Arc::new(move || {
        Box::new(OpenAiModel::new(options.clone()))
    }));
    let (sender, answers) = mpsc::channel();
    for text in ["good", "bad", "better"] {
        let sender = sender.clone();
        let done = move |result| sender.send((text, result)).expect("the test listens");
        embedder.embed(text, EmbedPriority::Text, Box::new(done));
    }
    let (actor, handle) = ractor::Actor::spawn(None, EmbedderActor, embedder.clone())
        .await
        .expect("starts");
    for _ in 0..3 {
        let (text, result) = answers
            .recv_timeout(Duration::from_secs(30))
            .expect("answered");
        assert_eq!(result.is_ok(), text != "bad", "{text}: {result:?}");
    }
    assert!(
        embedder
            .last_failure()
            .expect("one failed")
            .contains("bad text")
    );
    actor.stop(None);
    handle.await.expect("stops");
}
