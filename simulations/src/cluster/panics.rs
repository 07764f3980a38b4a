//! Panics of actors: an assertion that fails inside an actor ends it, and its supervisor starts
//! another, so that nobody would notice. Here they are heard, and those that nobody planned are
//! violations.

use std::cell::RefCell;
use std::sync::Once;

/// What a planned panic says.
pub(super) const PLANNED: &str = "injected";

thread_local! {
    /// What panicked on this thread; none while no cluster runs on it.
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Hears panics on this thread until it is dropped. The actors of a cluster all run on one thread.
pub(super) struct Listening(());

impl Listening {
    pub(super) fn begin() -> Listening {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                let is_heard = HEARD.with_borrow_mut(|heard| match heard {
                    Some(heard) => {
                        heard.push(info.to_string());
                        true
                    }
                    None => false,
                });
                if !is_heard {
                    before(info);
                }
            }));
        });
        HEARD.set(Some(Vec::new()));
        Listening(())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        HEARD.set(None);
    }
}

/// The first panic since this was last asked that nobody planned.
pub(super) fn unplanned() -> Option<String> {
    HEARD.with_borrow_mut(|heard| {
        let all = heard.as_mut().map(std::mem::take).unwrap_or_default();
        all.into_iter().find(|story| !story.ends_with(PLANNED))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_panics_are_told_from_others() {
        let panic = |story: &'static str| {
            let result = std::panic::catch_unwind(|| panic!("{story}"));
            assert!(result.is_err());
        };
        let listening = Listening::begin();
        panic(PLANNED);
        assert_eq!(unplanned(), None);
        panic(PLANNED);
        panic("an assertion failed");
        assert!(unplanned().is_some_and(|story| story.ends_with("an assertion failed")));
        assert_eq!(unplanned(), None, "each is told once");
        drop(listening);
    }
}
