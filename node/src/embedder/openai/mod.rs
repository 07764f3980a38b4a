//! Any endpoint that speaks OpenAI's embeddings protocol: OpenAI itself, Ollama, vLLM, TEI and others.
//!
//! `POST {url}/embeddings` with `{"model", "input": [texts], "encoding_format": "float"}`; the answer
//! is `{"data": [{"index", "embedding": [numbers]}]}`, one for each text.
//!
//! | what happens | what follows |
//! |---|---|
//! | timeout, no connection, status 429 or 5xx | tried again, a bounded number of times, with growing pauses and jitter |
//! | status 400, 413 or 422 | the text is to blame if the endpoint takes another one; then it is refused for good |
//! | other statuses, answers that make no sense | the endpoint counts as not available; the index tries later |

mod answer;
mod error;
mod options;
#[cfg(test)]
mod tests;

use std::time::Duration;

use engram_actors::embedder::{EmbedError, EmbeddingModel};
use engram_core::index::{Embedding, ModelId};
use serde::Serialize;
use tracing::debug;
use ureq::Agent;

pub use self::error::OpenAiError;
pub use self::options::{OpenAiOptions, OpenAiOptionsError};

use self::answer::{excerpt, vectors};

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest pause that an endpoint can ask for before the next attempt, in milliseconds.
const RETRY_AFTER_MS_MAX: u64 = 10_000;
/// Longest time to wait for a connection, in milliseconds.
const CONNECT_MS_MAX: u64 = 5_000;
/// A text that every endpoint takes.
const PROBE: &str = "hello";

/// See the module. Each thread has one of its own, with its own connections.
pub struct OpenAiModel {
    options: OpenAiOptions,
    agent: Agent,
    /// Whether the endpoint has taken a text: then a refusal is about the text, not the settings.
    proven: bool,
    jitter: u64,
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: &'a [&'a str],
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

impl OpenAiModel {
    /// A client of that endpoint. Connects when there is something to embed.
    pub fn new(options: OpenAiOptions) -> OpenAiModel {
        let timeout = Duration::from_millis(options.timeout_ms);
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("engram/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(timeout))
            .timeout_connect(Some(timeout.min(Duration::from_millis(CONNECT_MS_MAX))));
        if options.is_local() {
            config = config.proxy(None);
        }
        OpenAiModel {
            agent: config.build().new_agent(),
            options,
            proven: false,
            // Without random numbers all nodes would ask again at the same time; that is all.
            jitter: getrandom::u64().unwrap_or(1),
        }
    }

    /// Asks until there is an answer, or too often.
    fn ask(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, OpenAiError> {
        let mut attempt = 1;
        loop {
            let error = match self.ask_once(texts) {
                Ok(found) => {
                    self.proven = true;
                    return Ok(found);
                }
                Err(error) => error,
            };
            if attempt >= self.options.attempts || !error.is_transient() {
                return Err(error);
            }
            let pause = self.pause(attempt, &error);
            debug!(model = %self.options.id, attempt, %error, ?pause, "embedding is tried again");
            std::thread::sleep(pause);
            attempt += 1;
        }
    }

    fn ask_once(&self, texts: &[&str]) -> Result<Vec<Embedding>, OpenAiError> {
        let question = Question {
            model: &self.options.model,
            input: texts,
            encoding_format: "float",
            dimensions: self
                .options
                .request_dimensions
                .then_some(self.options.dimensions),
        };
        let body = serde_json::to_vec(&question).map_err(OpenAiError::NotJson)?;
        let mut request = self
            .agent
            .post(self.options.endpoint())
            .content_type("application/json");
        if let Some(key) = &self.options.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let failed = |error| OpenAiError::of_transport(error, self.options.timeout_ms);
        let mut response = request.send(&body[..]).map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get("Retry-After")
            .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = body.read_to_vec().map_err(failed)?;
        if status != 200 {
            return Err(OpenAiError::of_status(status, excerpt(&body), retry_after));
        }
        vectors(&body, texts.len(), self.options.dimensions)
    }

    /// How long to wait: twice as long each time, and between half and all of that at random.
    fn pause(&mut self, attempt: u32, error: &OpenAiError) -> Duration {
        if let Some(seconds) = error.retry_after() {
            return Duration::from_millis(seconds.saturating_mul(1000).min(RETRY_AFTER_MS_MAX));
        }
        // xorshift64 (Marsaglia 2003).
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        let longest = self.options.retry_ms.saturating_mul(1 << attempt.min(10));
        let longest = longest.clamp(1, RETRY_AFTER_MS_MAX);
        Duration::from_millis(longest - self.jitter % (longest / 2 + 1))
    }

    /// Finds out whether a refusal is about the texts, and says so.
    fn judge(&mut self, error: OpenAiError, texts: usize) -> EmbedError {
        if error.may_blame_text() && !self.proven {
            // Settings that the endpoint does not take must not cost any text its vector.
            self.proven = self.ask(&[PROBE]).is_ok();
        }
        let proven = self.proven;
        let reason = error.to_string().into();
        match error {
            _ if error.may_blame_text() && proven && texts == 1 => EmbedError::Rejected(reason),
            _ if error.may_blame_text() && proven => EmbedError::Failed(reason),
            // One of several texts may be to blame.
            OpenAiError::ServerFailed { .. } | OpenAiError::Vector { .. } => {
                EmbedError::Failed(reason)
            }
            _ => EmbedError::Unavailable(reason),
        }
    }
}

impl EmbeddingModel for OpenAiModel {
    fn id(&self) -> ModelId {
        self.options.id.clone()
    }

    fn dim(&self) -> usize {
        self.options.dimensions
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        self.ask(texts)
            .map_err(|error| self.judge(error, texts.len()))
    }
}
