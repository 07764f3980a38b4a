//! Judgement at the end of a run.

use engram_core::types::WriteId;

use super::state::{EPOCH_MS, State};
use super::workload::original;
use crate::checkers::{at_most_once, deletes, expiry, linearizability};
use crate::history::{Action, Outcome};

impl State {
    /// Judges the whole run, unless something was found already.
    pub(super) fn give_verdict(&mut self) {
        self.counters.purges = self.judge.purges;
        if !self.violations.is_empty() {
            return;
        }
        let chain = self.judge.ledger.chosen().try_for_each(|(key, chosen)| {
            let chosen = chosen
                .iter()
                .map(|(ballot, register)| (*ballot, &***register));
            at_most_once::check(key, chosen)
        });
        self.check(chain);
        let (ledger, history) = (&self.judge.ledger, &self.judge.history);
        // A blind retry has other ids, of which its client knows nothing.
        let retries = |id: WriteId| {
            (0..8).map(move |retry| WriteId {
                client: id.client + (retry << 32),
                ..id
            })
        };
        let refused = history
            .iter()
            .try_for_each(|operation| match operation.action {
                Action::Write {
                    id,
                    outcome: Outcome::Refused,
                    ..
                } => at_most_once::refused(id, retries(id).any(|id| ledger.appeared(id))),
                _ => Ok(()),
            });
        let context = linearizability::Context {
            writer: &|key, version| ledger.writer(key, version).map(original),
            effective_us: &|id| retries(id).filter_map(|id| ledger.effective_us(id)).min(),
            epoch_ms: EPOCH_MS,
            skew_ms: self.profile.skew_ms,
        };
        let results = [
            refused,
            linearizability::check(history, &context),
            deletes::check(history),
            deletes::at_rest(history, &self.last_reads),
            expiry::check(history, EPOCH_MS, self.profile.skew_ms),
            self.judge.bounds.check(),
        ];
        for result in results {
            self.check(result);
        }
    }
}
