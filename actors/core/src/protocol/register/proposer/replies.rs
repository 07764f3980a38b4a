//! Which round an answer belongs to.

use super::scans::Page;
use super::{Asked, Effect, Proposer};
use crate::types::Millis;
use crate::wire::register::{RegisterReply, ReplyBody};

impl Proposer {
    pub(super) fn reply(&mut self, now: Millis, reply: RegisterReply, out: &mut Vec<Effect>) {
        let RegisterReply {
            reply_to,
            from,
            body,
            ..
        } = reply;
        let ours = reply_to.member == self.options.member
            && reply_to.incarnation == self.options.incarnation
            && self.options.members.contains(&from);
        if !ours {
            return;
        }
        let Some(asked) = self.asked.get(&reply_to.request).cloned() else {
            return;
        };
        match (asked, body) {
            (
                Asked::Round(key),
                ReplyBody::Promise {
                    ballot,
                    accepted,
                    register,
                    floor_time,
                },
            ) => {
                self.promised(
                    now,
                    &key,
                    from,
                    ballot,
                    (accepted, register, floor_time),
                    out,
                );
            }
            (Asked::Round(key), ReplyBody::Accepted { ballot }) => {
                self.accepted(now, &key, from, ballot, out);
            }
            (Asked::Round(key), ReplyBody::Nack { ballot, seen }) => {
                self.nacked(now, &key, from, ballot, seen, out);
            }
            (Asked::Read, ReplyBody::Read { accepted, register }) => {
                self.read_answered(now, reply_to.request, from, accepted, register, out);
            }
            (Asked::Scan, ReplyBody::Scanned { entries, more }) => {
                self.scanned(now, reply_to.request, from, Page { entries, more }, out);
            }
            // A replica that does not vote, is busy, or lives in another epoch counts as silent:
            // the timer asks it again, or others.
            _ => {}
        }
    }
}
