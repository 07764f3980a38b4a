//! Judgement at the end of a run.

use engram_core::types::WriteId;

use super::state::{EPOCH_MS, State};
use super::workload::original;
use crate::checkers::Violation;
use crate::checkers::{at_most_once, deletes, expiry, linearizability, recovery};
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
            self.recovered_in_time(),
        ];
        for result in results {
            self.check(result);
        }
    }

    /// Whether operations succeeded soon enough after each fault, where a plot says how soon.
    fn recovered_in_time(&self) -> Result<(), Violation> {
        let Some(most_ms) = self.recovers_ms else {
            return Ok(());
        };
        let kinds = self.recoveries.0.iter();
        let recovered = kinds.flat_map(|(kind, all)| all.iter().map(|took| (kind.as_str(), *took)));
        let waiting = self.recovering.iter().map(|(kind, _)| *kind);
        recovery::check(recovered, waiting, most_ms * 1000)
    }
}
