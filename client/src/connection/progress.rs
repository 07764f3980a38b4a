//! What becomes of a request after each attempt: pure.
//!
//! A write carries the same id in every attempt, and from the first attempt on that may have had
//! effect the same `since`; nodes apply each id at most once. So it may be sent again after
//! anything. What is left to decide is when an error is final, and whether it may say that the
//! write had no effect.

use engram_core::limits::{CLIENT_RETRY_MS_MAX, CLIENT_RETRY_MS_MIN};
use engram_core::types::{Condition, WriteId};
use engram_core::wire::{ClientReply, ClientRequest, RequestError};
use engram_remote::SendError;

use crate::ClientError;

/// When to ask again after a link took no more frames, in milliseconds.
const FULL_RETRY_MS: u64 = 10;
/// How many further nodes are asked after one could not embed.
const EMBEDDER_RETRIES_MAX: u32 = 3;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The node answered.
    Answered(Result<ClientReply, RequestError>),
    /// The link went down before the answer came.
    LinkLost,
    /// No answer came in time.
    TimedOut,
    /// The request did not leave.
    NotSent(SendError),
}

/// What to do after an attempt.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// This is the result.
    Done(Result<ClientReply, ClientError>),
    /// Ask again.
    Again(Again),
}

/// How to ask again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Again {
    /// After so long, before jitter.
    pub(crate) delay_ms: u64,
    /// Preferably somebody else.
    pub(crate) elsewhere: bool,
    /// After fetching the configuration, if this version of it is new.
    pub(crate) config_version: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct PendingWrite {
    id: WriteId,
    condition: Condition,
}

/// The attempts of one request so far.
#[derive(Debug)]
pub(crate) struct Progress {
    write: Option<PendingWrite>,
    shard: Option<u16>,
    /// Whether the write was made for this request alone, so that no other sent it before.
    is_own: bool,
    retries: u32,
    /// Whether an attempt may have been, or may yet be, applied.
    uncertain: bool,
    last: Option<ClientError>,
}

impl Progress {
    /// No attempt was made yet. `is_own`: a write's id was never sent before.
    pub(crate) fn new(request: &ClientRequest, shard: Option<u16>, is_own: bool) -> Progress {
        let write = match request {
            ClientRequest::Put(put) => Some(PendingWrite {
                id: put.write.id,
                condition: put.write.condition,
            }),
            _ => None,
        };
        Progress {
            write,
            shard,
            is_own,
            retries: 0,
            uncertain: false,
            last: None,
        }
    }

    /// Whether the next attempt may carry a later `since`. It bounds from below when the write can
    /// have been applied; attempts that certainly had no effect do not count. A late `since` keeps
    /// a much-written key from forgetting what came after it, and so from refusing the write.
    pub(crate) fn may_renew_since(&self) -> bool {
        self.write.is_some() && self.is_own && !self.uncertain
    }

    /// Judges the end of an attempt.
    pub(crate) fn judge(&mut self, end: End) -> Verdict {
        match end {
            End::Answered(Ok(reply)) => Verdict::Done(Ok(reply)),
            End::Answered(Err(error)) => self.judge_error(error),
            End::LinkLost => {
                self.uncertain = true;
                self.again_after_silence("the connection was lost before the answer came")
            }
            End::TimedOut => {
                self.uncertain = true;
                self.again_after_silence("no answer came in time")
            }
            End::NotSent(SendError::TooLarge { bytes }) => self.refuse(RequestError::TooLarge {
                what: "the request, in bytes,".into(),
                limit: engram_core::protocol::link::limits::FRAME_BYTES_MAX as u64,
                actual: bytes as u64,
            }),
            End::NotSent(SendError::Full { .. }) => self.judge_error(RequestError::Overloaded {
                retry_after_ms: FULL_RETRY_MS,
            }),
            End::NotSent(SendError::NotConnected(_)) => {
                self.again_after_silence("the connection was lost")
            }
        }
    }

    fn judge_error(&mut self, error: RequestError) -> Verdict {
        match error {
            // The version of a key never recurs, so an earlier attempt cannot succeed any more;
            // had it succeeded, the node would have recognised the id.
            RequestError::Conflict { .. } if self.is_compare_and_set() => self.done(error),
            // A value may come and go: an earlier attempt may yet find what it wants.
            RequestError::Conflict { .. }
            | RequestError::TooLarge { .. }
            | RequestError::Invalid(_)
            | RequestError::Unauthorized(_) => self.refuse(error),
            RequestError::NotApplied(_) | RequestError::Unavailable { .. } => {
                self.keep(error);
                self.again(true)
            }
            // Another node may have it. One after the other is asked, but not until the time is up:
            // if it is nowhere, that is the answer.
            RequestError::Embedder { .. } if self.retries < EMBEDDER_RETRIES_MAX => {
                self.keep(error);
                self.again(true)
            }
            RequestError::Embedder { .. } => self.refuse(error),
            // Nothing was ever evaluated, so the next attempt carries a later `since`.
            RequestError::Forgotten if self.may_renew_since() => {
                self.keep(error);
                self.again(false)
            }
            // The node will say so again and again.
            RequestError::Forgotten => {
                self.uncertain = true;
                self.refuse(error)
            }
            RequestError::Unknown(_) => {
                self.uncertain = true;
                self.keep(error);
                self.again(true)
            }
            RequestError::Overloaded { retry_after_ms } => {
                self.keep(error);
                let backoff = self.again(false);
                match backoff {
                    Verdict::Again(again) => Verdict::Again(Again {
                        delay_ms: again.delay_ms.max(retry_after_ms),
                        ..again
                    }),
                    done => done,
                }
            }
            RequestError::StaleConfig { version } => {
                self.keep(error);
                match self.again(true) {
                    Verdict::Again(again) => Verdict::Again(Again {
                        config_version: Some(version),
                        ..again
                    }),
                    done => done,
                }
            }
        }
    }

    /// The time is up, or nobody is left to ask.
    pub(crate) fn give_up(self, reason: &str) -> ClientError {
        match (self.write, self.last) {
            (Some(write), last) if self.uncertain => ClientError::Unknown {
                write_id: write.id,
                reason: match last {
                    Some(ClientError::Unknown { reason, .. }) => reason,
                    Some(error) => error.to_string(),
                    None => reason.into(),
                },
            },
            (_, Some(error)) => error,
            (_, None) => ClientError::Unavailable {
                shard: self.shard,
                reason: reason.into(),
            },
        }
    }

    /// The client was closed.
    pub(crate) fn close(self) -> ClientError {
        match self.write {
            Some(_) if self.uncertain => self.give_up("the client was closed"),
            _ => ClientError::Closed,
        }
    }

    fn is_compare_and_set(&self) -> bool {
        self.write
            .is_some_and(|write| matches!(write.condition, Condition::Version(_)))
    }

    fn write_id(&self) -> Option<WriteId> {
        self.write.map(|write| write.id)
    }

    fn keep(&mut self, error: RequestError) {
        self.last = Some(ClientError::from_node(error, self.write_id()));
    }

    fn done(&self, error: RequestError) -> Verdict {
        Verdict::Done(Err(ClientError::from_node(error, self.write_id())))
    }

    /// An error that repeating does not change; it says nothing of earlier attempts.
    fn refuse(&self, error: RequestError) -> Verdict {
        match self.write {
            Some(write) if self.uncertain => Verdict::Done(Err(ClientError::Unknown {
                write_id: write.id,
                reason: format!("an earlier attempt was not answered, a later one: {error}"),
            })),
            _ => self.done(error),
        }
    }

    fn again_after_silence(&mut self, reason: &str) -> Verdict {
        self.last = Some(ClientError::Unavailable {
            shard: self.shard,
            reason: reason.into(),
        });
        self.again(true)
    }

    fn again(&mut self, elsewhere: bool) -> Verdict {
        // The first retry is immediate: most often one node failed and another one is there.
        let delay_ms = match self.retries {
            0 if elsewhere => 0,
            retries => (CLIENT_RETRY_MS_MIN << retries.min(16)).min(CLIENT_RETRY_MS_MAX),
        };
        self.retries = self.retries.saturating_add(1);
        Verdict::Again(Again {
            delay_ms,
            elsewhere,
            config_version: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use engram_core::types::{
        Ballot, Blob, Change, Key, LogicalTime, NamespaceId, RecordKey, Write,
    };
    use engram_core::wire::{Get, Put, Written};
    use engram_remote::PeerId;

    use super::*;

    const ID: WriteId = WriteId {
        client: 7,
        sequence: 1,
    };

    fn key() -> RecordKey {
        RecordKey {
            namespace: NamespaceId(1),
            key: Key::new("k").expect("short"),
        }
    }

    fn write(condition: Condition) -> Progress {
        let change = Change::Put {
            value: Blob::from("v"),
            tags: vec![],
            expires_at: None,
        };
        let write = Write {
            change,
            condition,
            id: ID,
            since: LogicalTime(1),
        };
        let put = Put { key: key(), write };
        Progress::new(&ClientRequest::Put(put), Some(3), true)
    }

    fn read() -> Progress {
        let get = Get {
            key: key(),
            with_value: true,
        };
        Progress::new(&ClientRequest::Get(get), Some(3), false)
    }

    fn error(error: RequestError) -> End {
        End::Answered(Err(error))
    }

    fn conflict() -> End {
        error(RequestError::Conflict { current: None })
    }

    fn not_applied() -> End {
        error(RequestError::NotApplied("starting".into()))
    }

    fn unknown() -> End {
        error(RequestError::Unknown("too few".into()))
    }

    fn not_connected() -> End {
        let peer = PeerId::Member(engram_core::types::MemberId(1));
        End::NotSent(SendError::NotConnected(peer))
    }

    fn name(result: &ClientError) -> &'static str {
        match result {
            ClientError::NotApplied { .. } => "not applied",
            ClientError::Unknown { write_id, .. } => {
                assert_eq!(*write_id, ID);
                "unknown"
            }
            ClientError::Conflict { .. } => "conflict",
            ClientError::Overloaded { .. } => "overloaded",
            ClientError::TooLarge { .. } => "too large",
            ClientError::Invalid(_) => "invalid",
            ClientError::Unavailable { .. } => "unavailable",
            other => panic!("no node says so: {other}"),
        }
    }

    /// What a request with these attempts ends with, if the time is up after the last one.
    fn outcome(mut progress: Progress, ends: Vec<End>) -> &'static str {
        for end in ends {
            match progress.judge(end) {
                Verdict::Done(Ok(_)) => return "ok",
                Verdict::Done(Err(error)) => return name(&error),
                Verdict::Again(_) => {}
            }
        }
        name(&progress.give_up("the time is up"))
    }

    fn written() -> End {
        End::Answered(Ok(ClientReply::Written(Written {
            version: Ballot::ZERO,
            found: false,
        })))
    }

    #[test]
    fn a_write_is_said_to_have_no_effect_only_if_that_is_sure() {
        use Condition::{Absent, Any, Present, Version};
        let version = Version(Ballot::ZERO);
        let overloaded = || error(RequestError::Overloaded { retry_after_ms: 9 });
        let invalid = || error(RequestError::Invalid("x".into()));
        let cases: Vec<(Condition, Vec<End>, &str)> = vec![
            (Any, vec![], "unavailable"),
            (Any, vec![written()], "ok"),
            (Any, vec![End::TimedOut, written()], "ok"),
            (Any, vec![not_connected()], "unavailable"),
            (Any, vec![not_applied()], "not applied"),
            (Any, vec![not_applied(), overloaded()], "overloaded"),
            (Any, vec![invalid()], "invalid"),
            (Any, vec![End::LinkLost], "unknown"),
            (Any, vec![End::TimedOut, not_applied()], "unknown"),
            (Any, vec![End::TimedOut, not_connected()], "unknown"),
            (Any, vec![unknown(), overloaded()], "unknown"),
            (Any, vec![End::LinkLost, invalid()], "unknown"),
            (Absent, vec![conflict()], "conflict"),
            (Absent, vec![not_applied(), conflict()], "conflict"),
            (Absent, vec![End::LinkLost, conflict()], "unknown"),
            (Present, vec![unknown(), conflict()], "unknown"),
            // An expiry is set without condition, and conflicts where there is no value.
            (Any, vec![End::TimedOut, conflict()], "unknown"),
            (version, vec![End::LinkLost, conflict()], "conflict"),
            (version, vec![unknown()], "unknown"),
        ];
        for (condition, ends, expected) in cases {
            let shown = format!("{condition:?} {ends:?}");
            assert_eq!(outcome(write(condition), ends), expected, "{shown}");
        }
    }

    #[test]
    fn since_stays_once_an_attempt_may_have_had_effect() {
        let mut progress = write(Condition::Any);
        assert!(progress.may_renew_since());
        for (end, may_renew) in [
            (not_applied(), true),
            (not_connected(), true),
            (End::TimedOut, false),
            (not_applied(), false),
        ] {
            again(&mut progress, end);
            assert_eq!(progress.may_renew_since(), may_renew);
        }
        let mut given = write(Condition::Any);
        given.is_own = false;
        assert!(!given.may_renew_since(), "it may have been sent before");
        assert!(!read().may_renew_since());
    }

    #[test]
    fn a_read_is_never_uncertain() {
        let stale = || error(RequestError::StaleConfig { version: 2 });
        let cases = [
            (vec![End::TimedOut], "unavailable"),
            (vec![End::LinkLost, not_applied()], "not applied"),
            (vec![stale()], "not applied"),
            (vec![unknown()], "not applied"),
            (
                vec![End::NotSent(SendError::TooLarge { bytes: 9 })],
                "too large",
            ),
        ];
        for (ends, expected) in cases {
            let shown = format!("{ends:?}");
            assert_eq!(outcome(read(), ends), expected, "{shown}");
        }
    }

    fn again(progress: &mut Progress, end: End) -> Again {
        match progress.judge(end) {
            Verdict::Again(again) => again,
            Verdict::Done(result) => panic!("not to be repeated: {result:?}"),
        }
    }

    #[test]
    fn retries_go_elsewhere_at_once_then_back_off() {
        let mut progress = read();
        let first = again(&mut progress, End::LinkLost);
        assert_eq!((first.delay_ms, first.elsewhere), (0, true));
        let delays: Vec<u64> = (0..20)
            .map(|_| again(&mut progress, not_applied()).delay_ms)
            .collect();
        assert!(delays.is_sorted() && delays.first() > Some(&0));
        assert_eq!(delays.last(), Some(&CLIENT_RETRY_MS_MAX));
    }

    #[test]
    fn an_overloaded_node_is_given_its_time_and_a_newer_configuration_is_fetched() {
        let mut progress = read();
        let overloaded = error(RequestError::Overloaded {
            retry_after_ms: 999,
        });
        let waiting = again(&mut progress, overloaded);
        assert_eq!((waiting.delay_ms, waiting.elsewhere), (999, false));
        let stale = again(
            &mut progress,
            error(RequestError::StaleConfig { version: 5 }),
        );
        assert_eq!(stale.config_version, Some(5));
    }
}
