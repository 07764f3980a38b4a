//! Errors, by what their receiver can do about them.

use std::fmt;
use std::time::Duration;

use engram_core::index::ExpressionError;
use engram_core::types::{KeyError, WriteId};
use engram_core::wire::RequestError;
use engram_remote::{DialError, EndpointError};

use crate::{CursorError, Version};

/// A request was not carried out, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It certainly had no effect. It may be sent again.
    #[error("not applied: {reason}")]
    NotApplied {
        /// What the node said.
        reason: String,
    },
    /// A write may or may not have had effect, and may still have it. Read the key to find out,
    /// or send the same write again with the same id.
    #[error("the outcome is unknown: {reason}")]
    Unknown {
        /// Names the write.
        write_id: WriteId,
        /// What happened last.
        reason: String,
    },
    /// The condition of a write did not hold. It had no effect.
    #[error("conflict: {}", match current {
        Some(version) => format!("the key is at version {version}"),
        None => "the key holds no value".to_owned(),
    })]
    Conflict {
        /// The version that the key has instead; none if it holds no value.
        current: Option<Version>,
    },
    /// Too much is in flight. It had no effect.
    #[error("overloaded, try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// Something is larger than allowed. It had no effect.
    #[error("{what} is too large: {actual}, at most {limit} are allowed")]
    TooLarge {
        /// What, with its unit.
        what: String,
        /// The bound.
        limit: u64,
        /// What was given.
        actual: u64,
    },
    /// It makes no sense. It had no effect.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A search is no expression. Nothing was asked.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// A value is not what this call makes of it. Nothing was changed.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Too few nodes answered. It had no effect.
    #[error("{} not available: {reason}", match shard {
        Some(shard) => format!("shard {shard} is"),
        None => "the cluster is".to_owned(),
    })]
    Unavailable {
        /// The shard of the key, if the request has one.
        shard: Option<u16>,
        /// What is missing.
        reason: String,
    },
    /// The embedder of the namespace is missing at the nodes that were asked, or failed. It had no
    /// effect.
    #[error("embedder {embedder}: {reason}")]
    Embedder {
        /// Its name in the nodes' settings.
        embedder: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This client may not do this.
    #[error("unauthorized: {0}")]
    Unauthorized(String),
    /// There is no connection to the cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// This client was closed.
    #[error("the client is closed")]
    Closed,
}

impl ClientError {
    /// Whether a write that ended so may nevertheless have been applied, or still be.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, ClientError::Unknown { .. })
    }

    pub(crate) fn from_node(error: RequestError, write_id: Option<WriteId>) -> ClientError {
        match error {
            RequestError::NotApplied(reason) => ClientError::NotApplied { reason },
            RequestError::Unknown(reason) => match write_id {
                Some(write_id) => ClientError::Unknown { write_id, reason },
                None => ClientError::NotApplied { reason },
            },
            RequestError::Forgotten => {
                ClientError::from_node(RequestError::Unknown(error.to_string()), write_id)
            }
            RequestError::Conflict { current } => ClientError::Conflict { current },
            RequestError::Overloaded { retry_after_ms } => ClientError::Overloaded {
                retry_after: Duration::from_millis(retry_after_ms),
            },
            RequestError::TooLarge {
                what,
                limit,
                actual,
            } => ClientError::TooLarge {
                what,
                limit,
                actual,
            },
            RequestError::Invalid(reason) => ClientError::Invalid(reason),
            RequestError::Unavailable { shard, reason } => ClientError::Unavailable {
                shard: Some(shard),
                reason,
            },
            RequestError::StaleConfig { version } => ClientError::NotApplied {
                reason: format!("the node asked has configuration version {version}"),
            },
            RequestError::Embedder { embedder, reason } => {
                ClientError::Embedder { embedder, reason }
            }
            RequestError::Unauthorized(reason) => ClientError::Unauthorized(reason),
        }
    }
}

impl From<KeyError> for ClientError {
    fn from(error: KeyError) -> ClientError {
        ClientError::Invalid(error.to_string())
    }
}

impl From<CursorError> for ClientError {
    fn from(error: CursorError) -> ClientError {
        ClientError::Invalid(error.to_string())
    }
}

/// A value is not of the form that a call expects.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The value is not UTF-8.
    #[error("the value is not text: {0}")]
    NotText(#[from] std::str::Utf8Error),
    /// The value is not JSON of the expected type.
    #[error("the value is not the JSON expected: {0}")]
    NotJson(#[source] serde_json::Error),
    /// What was to be stored has no JSON form.
    #[error("it cannot be written as JSON: {0}")]
    NoJson(#[source] serde_json::Error),
    /// The value is not a decimal integer of 64 bits.
    #[error("the value is not an integer")]
    NotInteger,
    /// The sum does not fit into 64 bits.
    #[error("the sum does not fit into 64 bits")]
    Overflow,
}

/// A client did not come to be connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration makes no sense.
    #[error("invalid client configuration: {0}")]
    Invalid(String),
    /// It was called outside a tokio runtime.
    #[error("connecting needs a tokio runtime; without one use engram_client::blocking")]
    NoRuntime,
    /// The thread of a blocking client did not start.
    #[error("the client's thread did not start: {0}")]
    Thread(#[source] std::io::Error),
    /// The transport of this process did not start.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The operating system has no random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
    /// No seed led to a link. [`SeedFailure`] tells a wrong cookie from a refusal and from
    /// silence.
    #[error("no node could be reached: {}", list(seeds))]
    NoLink {
        /// Every seed, and what went wrong there.
        seeds: Vec<SeedFailure>,
    },
    /// A node was reached, but none that serves.
    #[error("no node serves yet: {reason}")]
    NotServing {
        /// What the node asked last said.
        reason: String,
    },
}

impl ConnectError {
    /// Whether the cookie is the likely culprit.
    pub fn is_wrong_cookie(&self) -> bool {
        let ConnectError::NoLink { seeds } = self else {
            return false;
        };
        let suspected =
            |seed: &SeedFailure| matches!(seed.error, Some(DialError::SuspectedWrongCookie));
        seeds.iter().any(suspected)
    }
}

/// A seed without a link.
#[derive(Clone, Debug)]
pub struct SeedFailure {
    /// As configured.
    pub address: String,
    /// What went wrong last; none if the time was up before anything did.
    pub error: Option<DialError>,
}

impl SeedFailure {
    /// Whether trying again would end the same way.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(
            self.error,
            Some(
                DialError::SuspectedWrongCookie
                    | DialError::Stranger
                    | DialError::WireVersion { .. }
                    | DialError::RefusedByUs(_)
                    | DialError::Refused(
                        engram_remote::Refusal::Cluster { .. }
                            | engram_remote::Refusal::ClusterId { .. }
                            | engram_remote::Refusal::Policy { .. }
                    )
            )
        )
    }
}

impl fmt::Display for SeedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{}: {error}", self.address),
            None => write!(f, "{}: no answer in time", self.address),
        }
    }
}

fn list(seeds: &[SeedFailure]) -> String {
    let lines: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_named_with_its_error() {
        let seed = |address: &str, error| SeedFailure {
            address: address.into(),
            error,
        };
        let error = ConnectError::NoLink {
            seeds: vec![
                seed("h:1", Some(DialError::SuspectedWrongCookie)),
                seed("h:2", Some(DialError::Timeout(3000))),
                seed("h:3", None),
            ],
        };
        let text = error.to_string();
        for part in ["h:1", "cookie", "h:2", "3000", "h:3: no answer"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(error.is_wrong_cookie());
    }

    #[test]
    fn only_what_time_does_not_heal_is_permanent() {
        let busy = DialError::Refused(engram_remote::Refusal::Busy);
        let cases = [
            (Some(DialError::Stranger), true),
            (Some(DialError::SuspectedWrongCookie), true),
            (Some(DialError::Timeout(1)), false),
            (Some(busy), false),
            (None, false),
        ];
        for (error, permanent) in cases {
            let seed = SeedFailure {
                address: "h:1".into(),
                error,
            };
            assert_eq!(seed.is_permanent(), permanent, "{seed}");
        }
    }
}
