//! What goes wrong at an endpoint.

use engram_core::index::EmbeddingError;

/// Why an endpoint gave no vectors.
#[derive(Debug, thiserror::Error)]
pub enum OpenAiError {
    /// It took too long.
    #[error("the endpoint did not answer within {timeout_ms} ms")]
    Timeout {
        /// How long it was given.
        timeout_ms: u64,
    },
    /// There is no connection, or it broke.
    #[error("the endpoint cannot be reached: {0}")]
    Unreachable(Box<ureq::Error>),
    /// It is overloaded, or its server is away: status 429, 502, 503 or 504.
    #[error("the endpoint is busy (status {status}): {message}")]
    Busy {
        /// The status.
        status: u16,
        /// What it said.
        message: String,
        /// After how many seconds it wants to be asked again.
        retry_after: Option<u64>,
    },
    /// It failed: another status from 500 on.
    #[error("the endpoint failed (status {status}): {message}")]
    ServerFailed {
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It does not take this input: status 400, 413 or 422.
    #[error("the endpoint refuses the input (status {status}): {message}")]
    InputRefused {
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It does not take this request: the key, the model or the address is wrong.
    #[error("the endpoint refuses the request (status {status}): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The answer is larger than any that was asked for.
    #[error("the endpoint's answer is too large: more than {limit} bytes")]
    TooLarge {
        /// Bytes that are read.
        limit: u64,
    },
    /// The answer is not what the protocol says.
    #[error("the endpoint's answer makes no sense: {0}")]
    NotJson(#[source] serde_json::Error),
    /// The answer does not hold one vector for each text.
    #[error("the endpoint gave {found} vectors for {wanted} texts")]
    Count {
        /// Texts.
        wanted: usize,
        /// Vectors, or those for different texts.
        found: usize,
    },
    /// The vectors are of another length than was configured.
    #[error("the endpoint's vectors have {found} dimensions, {wanted} are configured")]
    Dimensions {
        /// As configured.
        wanted: usize,
        /// As found.
        found: usize,
    },
    /// A vector holds something that is no number.
    #[error("the endpoint's vector for text {text} is unusable: {source}")]
    Vector {
        /// Which text, from 0.
        text: usize,
        /// What is wrong.
        source: EmbeddingError,
    },
}

impl OpenAiError {
    /// The error that a status stands for.
    pub(super) fn of_status(status: u16, message: String, retry_after: Option<u64>) -> OpenAiError {
        match status {
            429 | 502..=504 => OpenAiError::Busy {
                status,
                message,
                retry_after,
            },
            500.. => OpenAiError::ServerFailed { status, message },
            400 | 413 | 422 => OpenAiError::InputRefused { status, message },
            _ => OpenAiError::Refused { status, message },
        }
    }

    /// The error that went wrong below HTTP.
    pub(super) fn of_transport(error: ureq::Error, timeout_ms: u64) -> OpenAiError {
        match error {
            ureq::Error::Timeout(_) => OpenAiError::Timeout { timeout_ms },
            ureq::Error::BodyExceedsLimit(limit) => OpenAiError::TooLarge { limit },
            error => OpenAiError::Unreachable(Box::new(error)),
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self,
            OpenAiError::Timeout { .. }
                | OpenAiError::Unreachable(_)
                | OpenAiError::Busy { .. }
                | OpenAiError::ServerFailed { .. }
        )
    }

    /// Whether the text may be the reason.
    pub(super) fn may_blame_text(&self) -> bool {
        matches!(self, OpenAiError::InputRefused { .. })
    }

    /// After how many seconds the endpoint wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            OpenAiError::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
