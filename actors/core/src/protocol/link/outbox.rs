//! The bounded queue of one link, and the credit that its two ends return to each other.
//!
//! One window bounds what is queued here, in the layers below and at the peer together: a frame
//! counts from [`Outbox::push`] until the peer reports it processed. Credit is a running total, so
//! a report that is repeated or overtaken does no harm.

use std::collections::VecDeque;

use bytes::Bytes;

use super::limits::{CREDIT_RETURN_SHARE, FRAME_BYTES_MAX};
use crate::limits::{
    LINK_BYTES_MAX, LINK_FRAMES_MAX, PACKET_COALESCE_BYTES, PACKET_COALESCE_FRAMES,
};

/// What a link may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Most frames queued or unacknowledged.
    pub frames: usize,
    /// Most bytes queued or unacknowledged.
    pub bytes: usize,
}

impl Default for Window {
    fn default() -> Self {
        Window {
            frames: LINK_FRAMES_MAX,
            bytes: LINK_BYTES_MAX,
        }
    }
}

/// Running totals of frames and bytes since a link began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Credit {
    /// Frames.
    pub frames: u64,
    /// Bytes of those frames.
    pub bytes: u64,
}

impl Credit {
    fn add(&mut self, frames: usize, bytes: usize) {
        self.frames = self.frames.saturating_add(frames as u64);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// What this total has more than `earlier`; nothing where it has less.
    fn since(self, earlier: Credit) -> Credit {
        Credit {
            frames: self.frames.saturating_sub(earlier.frames),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }

    fn covers(self, other: Credit) -> bool {
        self.frames >= other.frames && self.bytes >= other.bytes
    }
}

/// A frame was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PushError {
    /// The window is used up: the peer is slow, stopped or cut off.
    #[error("the link holds {frames} frames of {bytes} bytes and takes no more for now")]
    Full {
        /// Frames queued or unacknowledged.
        frames: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// No link takes a frame of this size.
    #[error("a frame may have {FRAME_BYTES_MAX} bytes at most, this one has {bytes}")]
    TooLarge {
        /// Bytes of the frame.
        bytes: usize,
    },
    /// The link is closed.
    #[error("the link is closed")]
    Closed,
}

/// What goes into one packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// Frames in order; none if only credit is due.
    pub frames: Vec<Bytes>,
    /// What this side has processed so far.
    pub credit: Credit,
}

/// Queue and credit of one link. States: *idle* (nobody is told to flush), *woken* (somebody is),
/// *closed*.
#[derive(Clone, Debug)]
pub struct Outbox {
    window: Window,
    queue: VecDeque<Bytes>,
    woken: bool,
    closed: bool,
    /// Everything ever queued.
    pushed: Credit,
    /// Everything ever handed out in parcels.
    sent: Credit,
    /// Everything that the peer reported processed.
    acknowledged: Credit,
    /// Everything that this side processed.
    processed: Credit,
    /// What this side last reported.
    reported: Credit,
    refused: u64,
}

impl Outbox {
    /// An empty queue.
    pub fn new(window: Window) -> Outbox {
        Outbox {
            window,
            queue: VecDeque::new(),
            woken: false,
            closed: false,
            pushed: Credit::default(),
            sent: Credit::default(),
            acknowledged: Credit::default(),
            processed: Credit::default(),
            reported: Credit::default(),
            refused: 0,
        }
    }

    /// Queues a frame. `true` asks the caller to wake whoever calls [`Outbox::next_parcel`].
    ///
    /// # Errors
    /// [`PushError`]; the frame is dropped and counted.
    pub fn push(&mut self, frame: Bytes) -> Result<bool, PushError> {
        if let Err(error) = self.admit(frame.len()) {
            self.refused = self.refused.saturating_add(1);
            return Err(error);
        }
        self.pushed.add(1, frame.len());
        self.queue.push_back(frame);
        Ok(self.wake())
    }

    fn admit(&self, bytes: usize) -> Result<(), PushError> {
        if self.closed {
            return Err(PushError::Closed);
        }
        if bytes > FRAME_BYTES_MAX {
            return Err(PushError::TooLarge { bytes });
        }
        let held = self.held();
        let fits = held.frames < self.window.frames as u64
            && held.bytes.saturating_add(bytes as u64) <= self.window.bytes as u64;
        if fits {
            Ok(())
        } else {
            Err(PushError::Full {
                frames: usize::try_from(held.frames).unwrap_or(usize::MAX),
                bytes: usize::try_from(held.bytes).unwrap_or(usize::MAX),
            })
        }
    }

    fn wake(&mut self) -> bool {
        !std::mem::replace(&mut self.woken, true)
    }

    /// Takes what fits into one packet: frames up to the coalescing bounds, but always one, and the
    /// credit due. `None` makes the outbox idle.
    pub fn next_parcel(&mut self) -> Option<Parcel> {
        if self.closed || (self.queue.is_empty() && !self.credit_is_due()) {
            self.woken = false;
            return None;
        }
        let mut frames = Vec::with_capacity(self.queue.len().min(PACKET_COALESCE_FRAMES));
        let mut bytes = 0_usize;
        while let Some(frame) = self.queue.front() {
            let full = frames.len() >= PACKET_COALESCE_FRAMES
                || bytes.saturating_add(frame.len()) > PACKET_COALESCE_BYTES;
            if full && !frames.is_empty() {
                break;
            }
            bytes = bytes.saturating_add(frame.len());
            frames.extend(self.queue.pop_front());
        }
        self.sent.add(frames.len(), bytes);
        Some(Parcel {
            frames,
            credit: self.report(),
        })
    }

    /// The credit to put into a packet that is sent now.
    pub fn report(&mut self) -> Credit {
        self.reported = self.processed;
        self.processed
    }

    /// Notes that frames of the peer were processed. `true` asks the caller to wake whoever calls
    /// [`Outbox::next_parcel`], because credit is due.
    pub fn processed(&mut self, frames: usize, bytes: usize) -> bool {
        self.processed.add(frames, bytes);
        !self.closed && self.credit_is_due() && self.wake()
    }

    fn credit_is_due(&self) -> bool {
        let unreported = self.processed.since(self.reported);
        let share = |window: usize| (window as u64 / CREDIT_RETURN_SHARE).max(1);
        unreported.frames >= share(self.window.frames)
            || unreported.bytes >= share(self.window.bytes)
    }

    /// Takes the peer's report of what it processed. `false` if the peer claims more than it was
    /// ever sent; the report is then ignored.
    pub fn acknowledge(&mut self, credit: Credit) -> bool {
        if !self.sent.covers(credit) {
            return false;
        }
        self.acknowledged.frames = self.acknowledged.frames.max(credit.frames);
        self.acknowledged.bytes = self.acknowledged.bytes.max(credit.bytes);
        true
    }

    /// Drops everything queued and takes nothing any more.
    pub fn close(&mut self) {
        self.closed = true;
        self.queue = VecDeque::new();
    }

    /// Frames and bytes queued or unacknowledged.
    pub fn held(&self) -> Credit {
        self.pushed.since(self.acknowledged)
    }

    /// Frames refused so far.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outbox(frames: usize, bytes: usize) -> Outbox {
        Outbox::new(Window { frames, bytes })
    }

    fn frame(bytes: usize) -> Bytes {
        Bytes::from(vec![b'f'; bytes])
    }

    #[test]
    fn frames_queued_together_leave_together_and_in_order() {
        let mut outbox = outbox(8, 1000);
        assert_eq!(
            outbox.push("a".into()),
            Ok(true),
            "the first frame wakes the link"
        );
        assert_eq!(outbox.push("b".into()), Ok(false), "it is awake already");
        let parcel = outbox.next_parcel().expect("two frames are queued");
        assert_eq!(parcel.frames, [Bytes::from("a"), Bytes::from("b")]);
        assert_eq!(outbox.next_parcel(), None);
        assert_eq!(outbox.push("c".into()), Ok(true), "idle again");
    }

    #[test]
    fn the_window_counts_frames_until_they_are_acknowledged() {
        let mut outbox = outbox(2, 1000);
        assert!(outbox.push(frame(1)).is_ok() && outbox.push(frame(1)).is_ok());
        assert!(outbox.next_parcel().is_some());
        assert_eq!(
            outbox.push(frame(1)),
            Err(PushError::Full {
                frames: 2,
                bytes: 2
            })
        );
        assert!(outbox.acknowledge(Credit {
            frames: 1,
            bytes: 1
        }));
        assert!(outbox.push(frame(1)).is_ok());
        assert_eq!(outbox.refused(), 1);
    }

    #[test]
    fn the_window_counts_bytes() {
        let mut outbox = outbox(100, 10);
        assert_eq!(outbox.push(frame(6)), Ok(true));
        assert_eq!(
            outbox.push(frame(5)),
            Err(PushError::Full {
                frames: 1,
                bytes: 6
            })
        );
        assert_eq!(outbox.push(frame(4)), Ok(false));
    }

    #[test]
    fn oversized_frames_and_closed_links_are_told_apart() {
        let mut outbox = Outbox::new(Window::default());
        let bytes = FRAME_BYTES_MAX + 1;
        assert_eq!(
            outbox.push(frame(bytes)),
            Err(PushError::TooLarge { bytes })
        );
        assert!(outbox.push(frame(FRAME_BYTES_MAX)).is_ok());
        outbox.close();
        assert_eq!(outbox.next_parcel(), None, "what was queued is dropped");
        assert_eq!(outbox.push(frame(1)), Err(PushError::Closed));
    }

    #[test]
    fn a_large_frame_travels_alone_and_small_ones_in_bounded_packets() {
        let mut outbox = Outbox::new(Window::default());
        for bytes in [10, PACKET_COALESCE_BYTES + 1, 10] {
            assert!(outbox.push(frame(bytes)).is_ok());
        }
        let sizes: Vec<usize> = std::iter::from_fn(|| outbox.next_parcel())
            .map(|parcel| parcel.frames.len())
            .collect();
        assert_eq!(sizes, [1, 1, 1]);
        for _ in 0..=PACKET_COALESCE_FRAMES {
            assert!(outbox.push(frame(1)).is_ok());
        }
        let sizes: Vec<usize> = std::iter::from_fn(|| outbox.next_parcel())
            .map(|parcel| parcel.frames.len())
            .collect();
        assert_eq!(sizes, [PACKET_COALESCE_FRAMES, 1]);
    }

    #[test]
    fn credit_is_returned_with_traffic_and_alone_when_much_is_due() {
        let mut outbox = outbox(8, 1000);
        assert!(
            !outbox.processed(1, 1),
            "little is due: it waits for traffic"
        );
        assert_eq!(outbox.push("x".into()), Ok(true));
        let parcel = outbox.next_parcel().expect("a frame is queued");
        assert_eq!(
            parcel.credit,
            Credit {
                frames: 1,
                bytes: 1
            }
        );
        assert_eq!(outbox.next_parcel(), None);
        assert!(outbox.processed(2, 2), "a quarter of the window is due");
        assert!(!outbox.processed(1, 1), "the link is awake already");
        let parcel = outbox.next_parcel().expect("credit is due");
        assert_eq!(
            (parcel.frames.len(), parcel.credit),
            (
                0,
                Credit {
                    frames: 4,
                    bytes: 4
                }
            )
        );
        assert_eq!(outbox.next_parcel(), None);
    }

    #[test]
    fn the_smallest_window_comes_to_rest() {
        let mut outbox = outbox(1, 1);
        assert_eq!(outbox.next_parcel(), None, "nothing is due at the start");
        assert!(
            outbox.processed(1, 0),
            "the peer can send no more without credit"
        );
        assert!(outbox.next_parcel().is_some());
        assert_eq!(outbox.next_parcel(), None);
    }

    #[test]
    fn a_peer_cannot_acknowledge_what_it_was_not_sent() {
        let mut outbox = outbox(8, 1000);
        assert!(outbox.push(frame(3)).is_ok());
        assert!(
            !outbox.acknowledge(Credit {
                frames: 1,
                bytes: 3
            }),
            "still queued here"
        );
        assert!(outbox.next_parcel().is_some());
        assert!(outbox.acknowledge(Credit {
            frames: 1,
            bytes: 3
        }));
        assert!(
            outbox.acknowledge(Credit::default()),
            "an old report changes nothing"
        );
        assert_eq!(outbox.held(), Credit::default());
    }

    proptest! {
        /// Two outboxes that talk to each other never pass their window, lose nothing, and come to
        /// rest with all credit returned once every packet was delivered.
        #[test]
        fn windows_hold_and_credit_returns(steps in prop::collection::vec((0_u8..4, 0_usize..40), 1..400)) {
            let window = Window { frames: 16, bytes: 200 };
            let mut sender = Outbox::new(window);
            let mut receiver = Outbox::new(window);
            let mut wire = VecDeque::new();
            let (mut accepted, mut delivered) = (0_u64, 0_u64);
            for (action, size) in steps {
                match action {
                    0 | 1 => accepted += u64::from(sender.push(frame(size)).is_ok()),
                    2 => wire.extend(sender.next_parcel()),
                    _ => if let Some(Parcel { frames, .. }) = wire.pop_front() {
                        delivered += frames.len() as u64;
                        receiver.processed(frames.len(), frames.iter().map(Bytes::len).sum());
                    },
                }
                let held = sender.held();
                prop_assert!(held.frames <= 16 && held.bytes <= 200);
                while let Some(parcel) = receiver.next_parcel() {
                    prop_assert!(sender.acknowledge(parcel.credit));
                }
            }
            while let Some(parcel) = sender.next_parcel() { wire.push_back(parcel); }
            for Parcel { frames, .. } in wire {
                delivered += frames.len() as u64;
                receiver.processed(frames.len(), frames.iter().map(Bytes::len).sum());
            }
            prop_assert_eq!(accepted, delivered);
            prop_assert!(sender.acknowledge(receiver.report()));
            prop_assert_eq!(sender.held(), Credit::default());
        }
    }
}
