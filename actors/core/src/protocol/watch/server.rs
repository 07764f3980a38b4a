//! The open questions of one node.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::meaning::Comparison;
use super::{WatchEntry, WatchFeed, WatchQuery, WatchState};
use crate::index::{Embedding, IndexOptions, ModelId};
use crate::limits::{KEY_BYTES_MAX, MEMBERS_MAX, QUERY_BYTES_MAX, WATCHES_MAX};
use crate::planted::{Bug, Planted};
use crate::types::{Lseq, MemberId, Millis, ShardId};
use crate::wire::{Entry, RequestError, Watch, WatchChange, WatchPage, Watched};

/// A question from a watcher.
#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    /// Names it.
    pub id: u64,
    /// When it is answered even if nothing happened.
    pub until: Millis,
    /// What is asked.
    pub watch: Watch,
    /// How the namespace is indexed, if it is known to be.
    pub indexing: Option<IndexOptions>,
}

/// What happens to a server.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Somebody asks.
    Ask(Question),
    /// Answers [`Effect::Read`].
    Fed(WatchFeed),
    /// The bell of a shard rings: there are new changes.
    Rung(ShardId),
    /// Answers [`Effect::Embed`]: nothing if the model never will embed this text, an error if it
    /// could not now.
    Embedded(u64, usize, Result<Option<Arc<Embedding>>, String>),
    /// The time asked for by [`Effect::SetTimer`] has come.
    Timer,
}

/// What a server wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Ring once when this shard has new changes.
    Listen(ShardId),
    /// Read this shard's log; report [`Event::Fed`].
    Read(ShardId, WatchQuery),
    /// Embed a text; report [`Event::Embedded`] with the same numbers.
    Embed {
        /// The question.
        id: u64,
        /// The text's place in it.
        place: usize,
        /// By this model.
        model: ModelId,
        /// The text.
        text: String,
    },
    /// Answer a question.
    Answer(u64, Result<WatchPage, RequestError>),
    /// Report [`Event::Timer`] at this time. Only the earliest one asked for since the last
    /// [`Event::Timer`] counts.
    SetTimer(Millis),
}

/// A replica that does not answer for so long after the question's time is given up.
const GRACE_MS: u64 = 500;

#[derive(Debug)]
struct Open {
    question: Question,
    after: Option<Lseq>,
    stage: Stage,
    /// How far it has come, while there was nothing to show.
    position: Vec<(MemberId, Lseq)>,
}

#[derive(Debug)]
enum Stage {
    /// The log is being read; whether the bell has rung since.
    Reading { rung: bool },
    /// Nothing has happened yet.
    Waiting,
    /// Entries are compared; where the log goes on, and the page without them.
    Comparing(Box<Comparison>, Lseq, WatchPage),
}

/// Answers standing queries. See the module above.
#[derive(Debug)]
pub struct WatchServer {
    member: MemberId,
    open: BTreeMap<u64, Open>,
    timer: Option<Millis>,
    planted: Planted,
}

impl WatchServer {
    /// A server of this member; `planted` is a bug planted by the simulator, none in production.
    pub fn new(member: MemberId, planted: Planted) -> WatchServer {
        WatchServer {
            member,
            open: BTreeMap::new(),
            timer: None,
            planted,
        }
    }

    /// Takes one event; adds what it wants done to `out`, in order.
    pub fn step(&mut self, now: Millis, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Ask(question) => self.ask(question, out),
            Event::Fed(feed) => self.fed(feed, out),
            Event::Rung(shard) => self.rung(shard, out),
            Event::Embedded(id, place, result) => self.embedded(id, place, result, out),
            Event::Timer => {
                self.timer = None;
                self.time_is_up(now, out);
            }
        }
        let due = |open: &Open| match open.stage {
            Stage::Waiting => open.question.until,
            _ => open.question.until.plus(GRACE_MS),
        };
        let next = self.open.values().map(due).min();
        if let Some(at) = next.filter(|at| self.timer.is_none_or(|armed| *at < armed)) {
            self.timer = Some(at);
            out.push(Effect::SetTimer(at));
        }
    }

    /// How many questions are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    fn ask(&mut self, question: Question, out: &mut Vec<Effect>) {
        let id = question.id;
        if self.open.len() >= WATCHES_MAX {
            let error = RequestError::Overloaded {
                retry_after_ms: 500,
            };
            return out.push(Effect::Answer(id, Err(error)));
        }
        if let Err(error) = check(&question) {
            return out.push(Effect::Answer(id, Err(error)));
        }
        let since = &question.watch.since;
        let own = since.iter().find(|(member, _)| *member == self.member);
        let after = match own {
            Some((_, lseq)) => Some(*lseq),
            None if since.is_empty() => None,
            // No log goes so far: the replica will say that it cannot tell.
            None => Some(Lseq(u64::MAX)),
        };
        let open = Open {
            question,
            after,
            stage: Stage::Waiting,
            position: Vec::new(),
        };
        self.open.insert(id, open);
        self.read(id, out);
    }

    fn read(&mut self, id: u64, out: &mut Vec<Effect>) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        open.stage = Stage::Reading { rung: false };
        let watch = &open.question.watch;
        // First the bell, then the log: what comes between must not be missed.
        out.push(Effect::Listen(watch.shard));
        let query = WatchQuery {
            token: id,
            after: open.after,
            namespace: watch.namespace,
            prefix: watch.prefix.clone(),
        };
        out.push(Effect::Read(watch.shard, query));
    }

    fn fed(&mut self, feed: WatchFeed, out: &mut Vec<Effect>) {
        let id = feed.token;
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let Stage::Reading { rung } = open.stage else {
            return;
        };
        if !feed.serving {
            let error = RequestError::Unavailable {
                shard: open.question.watch.shard.0,
                reason: "the replica is recovering".into(),
            };
            return self.answer(id, Err(error), out);
        }
        let page = WatchPage {
            member: self.member,
            changes: Vec::new(),
            position: feed.position,
            is_complete: feed.is_complete || self.planted.is(Bug::GapUntold),
        };
        if !feed.is_complete || open.after.is_none() {
            return self.answer(id, Ok(page), out);
        }
        if feed.entries.is_empty() {
            let came_on = open.after.is_some_and(|after| feed.upto > after);
            return self.nothing(id, feed.upto, page, rung || came_on, out);
        }
        match &open.question.watch.similar {
            None => {
                let with_values = open.question.watch.with_values;
                let entries = feed.entries.into_iter();
                let changes = entries
                    .map(|entry| change(entry, None, with_values))
                    .collect();
                self.answer(id, Ok(WatchPage { changes, ..page }), out);
            }
            Some(_) => self.compare(id, feed.entries, feed.upto, page, out),
        }
    }

    /// A page held nothing to show: goes on if there is more to read, else waits.
    fn nothing(
        &mut self,
        id: u64,
        upto: Lseq,
        page: WatchPage,
        again: bool,
        out: &mut Vec<Effect>,
    ) {
        if let Some(open) = self.open.get_mut(&id) {
            open.after = Some(upto);
            open.position = page.position;
            open.stage = Stage::Waiting;
            if again {
                self.read(id, out);
            }
        }
    }

    fn rung(&mut self, shard: ShardId, out: &mut Vec<Effect>) {
        let mut waiting = Vec::new();
        for (id, open) in &mut self.open {
            if open.question.watch.shard == shard {
                match &mut open.stage {
                    Stage::Waiting => waiting.push(*id),
                    Stage::Reading { rung } => *rung = true,
                    Stage::Comparing(..) => {}
                }
            }
        }
        for id in waiting {
            self.read(id, out);
        }
    }

    fn compare(
        &mut self,
        id: u64,
        entries: Vec<WatchEntry>,
        upto: Lseq,
        page: WatchPage,
        out: &mut Vec<Effect>,
    ) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let watch = &open.question.watch;
        let (Some(similar), Some(options)) = (&watch.similar, &open.question.indexing) else {
            return;
        };
        let (comparison, texts) =
            Comparison::new(&similar.text, similar.threshold, entries, options);
        if comparison.is_empty() {
            return self.nothing(id, upto, page, true, out);
        }
        let model = options.model.clone();
        open.stage = Stage::Comparing(Box::new(comparison), upto, page);
        for text in texts {
            out.push(Effect::Embed {
                id,
                place: text.place,
                model: model.clone(),
                text: text.text,
            });
        }
    }

    fn embedded(
        &mut self,
        id: u64,
        place: usize,
        result: Result<Option<Arc<Embedding>>, String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let Stage::Comparing(comparison, _, _) = &mut open.stage else {
            return;
        };
        match result {
            Ok(vector) => comparison.embedded(place, vector),
            // Nothing was shown yet: the watcher asks again from where it was.
            Err(reason) => {
                let reason = format!("a text could not be embedded: {reason}");
                return self.answer(id, Err(RequestError::NotApplied(reason)), out);
            }
        }
        if !comparison.is_over() {
            return;
        }
        let stage = std::mem::replace(&mut open.stage, Stage::Waiting);
        let Stage::Comparing(comparison, upto, page) = stage else {
            return;
        };
        let with_values = open.question.watch.with_values;
        let near = comparison.result().into_iter();
        let changes: Vec<WatchChange> = near
            .map(|(entry, score)| change(entry, score, with_values))
            .collect();
        if changes.is_empty() {
            self.nothing(id, upto, page, true, out);
        } else {
            self.answer(id, Ok(WatchPage { changes, ..page }), out);
        }
    }

    fn time_is_up(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let over: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| open.question.until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            let Some(open) = self.open.get(&id) else {
                continue;
            };
            let is_silent = open.question.until.plus(GRACE_MS) <= now;
            match open.stage {
                Stage::Waiting => {
                    let page = WatchPage {
                        member: self.member,
                        changes: Vec::new(),
                        position: open.position.clone(),
                        is_complete: true,
                    };
                    self.answer(id, Ok(page), out);
                }
                _ if is_silent => {
                    let error = RequestError::Unavailable {
                        shard: open.question.watch.shard.0,
                        reason: "the replica does not answer".into(),
                    };
                    self.answer(id, Err(error), out);
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, id: u64, result: Result<WatchPage, RequestError>, out: &mut Vec<Effect>) {
        if self.open.remove(&id).is_some() {
            out.push(Effect::Answer(id, result));
        }
    }
}

fn change(entry: WatchEntry, score: Option<f32>, with_values: bool) -> WatchChange {
    let state = match &entry.state {
        WatchState::Deleted => Watched::Deleted,
        WatchState::Expired => Watched::Expired,
        WatchState::Present(register) => {
            let value = register.value.clone().filter(|_| with_values);
            Watched::Present(Entry {
                value: value.unwrap_or_default(),
                version: register.vtag,
                tags: register.tags.clone(),
                expires_at: register.expires_at,
            })
        }
    };
    WatchChange {
        key: entry.key.key,
        version: entry.version,
        state,
        score,
    }
}

fn check(question: &Question) -> Result<(), RequestError> {
    let watch = &question.watch;
    let too_large = |what: &str, limit: usize, actual: usize| RequestError::TooLarge {
        what: what.into(),
        limit: limit as u64,
        actual: actual as u64,
    };
    let invalid = |reason: &str| Err(RequestError::Invalid(reason.into()));
    if watch.prefix.len() > KEY_BYTES_MAX {
        let actual = watch.prefix.len();
        return Err(too_large("a prefix, in bytes,", KEY_BYTES_MAX, actual));
    }
    if watch.since.len() > MEMBERS_MAX {
        let actual = watch.since.len();
        return Err(too_large("members in a position", MEMBERS_MAX, actual));
    }
    let Some(similar) = &watch.similar else {
        return Ok(());
    };
    if similar.text.trim().is_empty() {
        return invalid("a text to be similar to must not be empty");
    }
    if similar.text.len() > QUERY_BYTES_MAX {
        let actual = similar.text.len();
        return Err(too_large("a query, in bytes,", QUERY_BYTES_MAX, actual));
    }
    if !(-1.0..=1.0).contains(&similar.threshold) {
        return invalid("a threshold of similarity is -1 to 1");
    }
    match &question.indexing {
        Some(options) if options.semantic => Ok(()),
        Some(_) => invalid("the namespace is not indexed by meaning"),
        None => Err(RequestError::NotApplied(
            "this node does not know how the namespace is indexed".into(),
        )),
    }
}
