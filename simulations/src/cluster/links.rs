//! Links between nodes, as `engram-remote` keeps them: both ends greet and admit each other, each
//! notices by itself that the link is up, and silence takes it down.

use engram_actors::gossip::GossipActorMessage;
use engram_core::protocol::membership::{Identity, admit};
use engram_core::types::MemberId;

use super::node::Process;
use super::state::{Happening, State};

/// How often two nodes try to reach each other, in microseconds.
const LOOK_US: u64 = 200_000;
/// Silence of this length takes a link down, in microseconds.
const SILENCE_US: u64 = 2_000_000;

/// A link between two nodes, low number first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) id: u64,
    /// The lives of both ends.
    lives: (u64, u64),
    /// The disks of both ends: a wiped one comes back as another.
    members: (MemberId, MemberId),
    /// Which ends have noticed that it is up.
    up: (bool, bool),
    /// Since when something was in its way.
    silent_since_us: Option<u64>,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl State {
    pub(super) fn begin_links(&mut self) {
        for low in 0..self.nodes.len() {
            for high in low + 1..self.nodes.len() {
                let delay_us = self.network.below(LOOK_US);
                self.after(delay_us, Happening::Link { low, high });
            }
        }
    }

    /// The link on which a node may send to another.
    pub(super) fn link_of(&self, from: usize, to: usize) -> Option<u64> {
        let link = self.links.get(&pair(from, to))?;
        let (up, life) = if from < to {
            (link.up.0, link.lives.0)
        } else {
            (link.up.1, link.lives.1)
        };
        (up && life == self.node(from).life).then_some(link.id)
    }

    /// Looks after one pair of nodes.
    pub(super) fn look_at_link(&mut self, low: usize, high: usize) {
        let jitter_us = self.network.below(LOOK_US);
        self.after(LOOK_US / 2 + jitter_us, Happening::Link { low, high });
        let now_us = self.now_us();
        let clear = [low, high]
            .into_iter()
            .all(|node| self.node(node).up && self.paused_until_us(node).is_none())
            && !self.is_blocked(low, high)
            && !self.is_blocked(high, low);
        let lives = (self.node(low).life, self.node(high).life);
        match self.links.get(&(low, high)).copied() {
            None if clear => self.greet(low, high),
            None => {}
            // A process is gone; its successor greets, and the other end lets the old link go.
            Some(link) if link.lives != lives => self.take_down(low, high, link),
            Some(link) if clear && link.silent_since_us.is_some() => {
                self.set_silent(low, high, None);
            }
            Some(_) if clear => {}
            Some(link) => match link.silent_since_us {
                None => self.set_silent(low, high, Some(now_us)),
                Some(since_us) if now_us >= since_us + SILENCE_US => {
                    self.take_down(low, high, link);
                }
                Some(_) => {}
            },
        }
    }

    fn set_silent(&mut self, low: usize, high: usize, since_us: Option<u64>) {
        if let Some(link) = self.links.get_mut(&(low, high)) {
            link.silent_since_us = since_us;
        }
    }

    fn greet(&mut self, low: usize, high: usize) {
        let (Some(first), Some(second)) = (self.process(low), self.process(high)) else {
            return;
        };
        let (ours, theirs) = (identity(&first), identity(&second));
        let refusal = admit(&ours, first.directory.config().as_deref(), &theirs)
            .and_then(|()| admit(&theirs, second.directory.config().as_deref(), &ours));
        if let Err(refusal) = refusal {
            self.counters.refused_links += 1;
            self.note("refuse", Some(low), format_args!("{high}: {refusal}"));
            return;
        }
        let id = self.next_link;
        self.next_link += 1;
        let lives = (self.node(low).life, self.node(high).life);
        let link = Link {
            id,
            lives,
            members: (ours.member.id, theirs.member.id),
            up: (false, false),
            silent_since_us: None,
        };
        self.links.insert((low, high), link);
        self.note("link", Some(low), format_args!("{high} is {id}"));
        self.notice(low, high, &link, true);
        self.notice(high, low, &link, true);
    }

    fn take_down(&mut self, low: usize, high: usize, link: Link) {
        self.links.remove(&(low, high));
        self.note("unlink", Some(low), format_args!("{high} was {}", link.id));
        self.notice(low, high, &link, false);
        self.notice(high, low, &link, false);
    }

    fn notice(&mut self, node: usize, peer: usize, link: &Link, up: bool) {
        let delay_us = 100 + self.network.below(20_000);
        let (life, member) = if node < peer {
            (link.lives.0, link.members.1)
        } else {
            (link.lives.1, link.members.0)
        };
        let happening = Happening::Notice {
            node,
            life,
            peer,
            member,
            link: link.id,
            up,
        };
        let at_us = self.leaves_us(node) + delay_us;
        self.at(at_us, happening);
    }

    /// A node notices a change of a link. Returns what its gossip agent is told.
    pub(super) fn noticed(
        &mut self,
        node: usize,
        (peer, member): (usize, MemberId),
        id: u64,
        up: bool,
    ) -> Option<(Process, GossipActorMessage)> {
        let process = self.process(node)?;
        if !up {
            // A node that was paused may have met its peer anew before it notices that an older link is
            // down: then it has a link all the same.
            let has_another = self.link_of(node, peer).is_some_and(|other| other != id);
            return (!has_another).then_some((process, GossipActorMessage::Down(member)));
        }
        let other = self.process(peer)?;
        let link = self
            .links
            .get_mut(&pair(node, peer))
            .filter(|link| link.id == id)?;
        if node < peer {
            link.up.0 = true;
        } else {
            link.up.1 = true;
        }
        let identity = identity(&other);
        // Read before anything arrives on this link: so it is from earlier ones.
        let seen = process.directory.seen_lsn(identity.member.id);
        Some((process, GossipActorMessage::Up(identity, seen)))
    }

    /// Whether a frame that arrives belongs to the link that its receiver has now.
    pub(super) fn hears(&self, from: usize, to: usize, id: u64) -> bool {
        self.node(to).up && self.link_of(to, from) == Some(id)
    }

    fn process(&self, node: usize) -> Option<Process> {
        let it = self.node(node);
        it.process.clone().filter(|_| it.up)
    }
}

fn identity(process: &Process) -> Identity {
    let told = process.directory.identity();
    told.unwrap_or_else(|| process.identity.clone())
}
