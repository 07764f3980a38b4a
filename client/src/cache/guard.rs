//! What stands between a prompt and the answer to another one.

use std::fmt;
use std::sync::Arc;

use super::words::difference;

type Verifier = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Decides whether a prompt may have the answer to another one that looks alike. By itself it
/// compares their words, see [`difference`].
#[derive(Clone)]
pub(super) struct Guard {
    words: bool,
    verifier: Option<Verifier>,
}

impl Default for Guard {
    fn default() -> Guard {
        Guard {
            words: true,
            verifier: None,
        }
    }
}

impl Guard {
    pub(super) fn without_words(mut self) -> Guard {
        self.words = false;
        self
    }

    pub(super) fn with_verifier(
        mut self,
        verifier: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
    ) -> Guard {
        self.verifier = Some(Arc::new(verifier));
        self
    }

    pub(super) fn admits(&self, asked: &str, stored: &str) -> bool {
        let words = !self.words || difference(asked, stored).is_none();
        words
            && self
                .verifier
                .as_ref()
                .is_none_or(|verifier| verifier(asked, stored))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("words", &self.words)
            .field("verifier", &self.verifier.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_verifier_must_both_agree() {
        let (asked, opposite, like) = ("lock it", "unlock it", "lock that");
        let words = Guard::default();
        assert!(words.admits(asked, like) && !words.admits(asked, opposite));
        let nothing = Guard::default().without_words();
        assert!(nothing.admits(asked, opposite));
        let both = Guard::default().with_verifier(|asked, stored| asked.len() == stored.len());
        assert!(!both.admits(asked, like) && !both.admits(asked, opposite));
        assert!(both.admits(asked, asked));
    }
}
