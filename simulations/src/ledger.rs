//! Everything that any disk ever durably accepted, and what of it was chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engram_core::types::{Ballot, MemberId, RecordKey, Register, WriteId};

/// A register accepted at one ballot of one key.
#[derive(Clone, Debug)]
pub struct Held {
    /// What was accepted.
    pub register: Arc<Register>,
    /// Who durably accepted it, at any time.
    pub members: BTreeSet<MemberId>,
}

/// What all disks have accepted.
#[derive(Debug)]
pub struct Ledger {
    majority: usize,
    held: BTreeMap<RecordKey, BTreeMap<Ballot, Held>>,
    versions: BTreeMap<(RecordKey, Ballot), WriteId>,
    /// Writes that any disk accepted: when the first one did, and when their effect was chosen, if
    /// it was.
    written: BTreeMap<WriteId, (u64, Option<u64>)>,
}

impl Ledger {
    /// An empty ledger; `majority` replicas choose.
    pub fn new(majority: usize) -> Ledger {
        Ledger {
            majority,
            held: BTreeMap::new(),
            versions: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// Notes that a member durably accepted a register, at a virtual time.
    pub fn accepted(
        &mut self,
        now_us: u64,
        member: MemberId,
        key: &RecordKey,
        ballot: Ballot,
        register: &Arc<Register>,
    ) {
        if ballot.is_zero() {
            return;
        }
        let of_key = self.held.entry(key.clone()).or_default();
        let mut new = false;
        let held = of_key.entry(ballot).or_insert_with(|| {
            new = true;
            Held {
                register: register.clone(),
                members: BTreeSet::new(),
            }
        });
        let became = held.members.insert(member) && held.members.len() == self.majority;
        if new {
            for recent in &register.recent {
                self.versions
                    .insert((key.clone(), recent.ballot), recent.write);
                self.written.entry(recent.write).or_insert((now_us, None));
            }
        }
        if became {
            for recent in &register.recent {
                let (_, chosen_us) = self.written.entry(recent.write).or_insert((now_us, None));
                chosen_us.get_or_insert(now_us);
            }
        }
    }

    /// What was chosen of each key, in the order of ballots.
    pub fn chosen(&self) -> impl Iterator<Item = (&RecordKey, Vec<(Ballot, &Arc<Register>)>)> {
        self.held.iter().map(|(key, of_key)| {
            let chosen = of_key
                .iter()
                .filter(|(_, held)| held.members.len() >= self.majority)
                .map(|(ballot, held)| (*ballot, &held.register));
            (key, chosen.collect())
        })
    }

    /// What was chosen for a key with this version.
    pub fn chosen_at(&self, key: &RecordKey, version: Ballot) -> Option<&Arc<Register>> {
        let of_key = self.held.get(key)?.values();
        let mut chosen = of_key.filter(|held| held.members.len() >= self.majority);
        let found = chosen.find(|held| held.register.vtag == version)?;
        Some(&found.register)
    }

    /// Whether a register was chosen for a key at any ballot.
    pub fn was_chosen(&self, key: &RecordKey, register: &Register) -> bool {
        self.held.get(key).is_some_and(|of_key| {
            of_key
                .values()
                .rev()
                .any(|held| held.members.len() >= self.majority && *held.register == *register)
        })
    }

    /// The write that made a version.
    pub fn writer(&self, key: &RecordKey, version: Ballot) -> Option<WriteId> {
        self.versions.get(&(key.clone(), version)).copied()
    }

    /// Whether any disk ever held the effect of a write.
    pub fn appeared(&self, write: WriteId) -> bool {
        self.written.contains_key(&write)
    }

    /// When the effect of a write was first on a disk, and when it was chosen, in virtual
    /// microseconds; none if it never was chosen.
    pub fn effective_us(&self, write: WriteId) -> Option<(u64, u64)> {
        let (first_us, chosen_us) = self.written.get(&write)?;
        Some((*first_us, (*chosen_us)?))
    }
}
