//! Every operation is answered once, by its deadline, and then forgotten.

use std::collections::BTreeMap;

use engram_core::types::Millis;

use super::{Property, Violation};

/// Operations that one proposer owes an answer.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    open: BTreeMap<u64, Millis>,
}

impl Answers {
    /// An operation was handed over.
    pub fn asked(&mut self, ask: u64, deadline: Millis) {
        self.open.insert(ask, deadline);
    }

    /// An operation was answered, `late_ms` after its deadline at most being excused.
    ///
    /// # Errors
    /// If nobody asked, or it is too late.
    pub fn answered(&mut self, ask: u64, now: Millis, late_ms: u64) -> Result<(), Violation> {
        let Some(deadline) = self.open.remove(&ask) else {
            let story = format!("operation {ask} was answered twice, or never asked");
            return Err(Violation::new(Property::Answered, story));
        };
        if now > deadline.plus(late_ms) {
            let story = format!("operation {ask}, due at {deadline:?}, was answered at {now:?}");
            return Err(Violation::new(Property::Answered, story));
        }
        Ok(())
    }

    /// Checks a proposer that has had time to answer everything.
    ///
    /// # Errors
    /// If it has not.
    pub fn at_rest(&self, in_flight: usize) -> Result<(), Violation> {
        if in_flight == 0 && self.open.is_empty() {
            return Ok(());
        }
        let story = format!(
            "{in_flight} operations in flight at rest, {:?} open",
            self.open
        );
        Err(Violation::new(Property::Answered, story))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_double_and_missing_answers_are_caught() {
        let mut answers = Answers::default();
        for ask in 1..=3 {
            answers.asked(ask, Millis(100));
        }
        assert!(answers.at_rest(3).is_err());
        assert!(answers.answered(1, Millis(110), 10).is_ok());
        assert!(answers.answered(1, Millis(110), 10).is_err(), "twice");
        assert!(answers.answered(2, Millis(111), 10).is_err(), "late");
        assert!(answers.at_rest(0).is_err(), "one was never answered");
        assert!(answers.answered(3, Millis(1), 10).is_ok());
        assert!(answers.at_rest(0).is_ok());
        assert!(answers.at_rest(1).is_err(), "leaked");
    }
}
