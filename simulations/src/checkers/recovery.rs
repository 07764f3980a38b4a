//! After a fault, an operation succeeds again within a bound of virtual time.

use super::{Property, Violation};

/// Checks how long it took after each fault of a kind, in virtual microseconds, and that there was an
/// end to it.
///
/// # Errors
/// If it took longer than `most_us`, or something has not recovered.
pub fn check<'a>(
    recovered: impl IntoIterator<Item = (&'a str, u64)>,
    waiting: impl IntoIterator<Item = &'a str>,
    most_us: u64,
) -> Result<(), Violation> {
    let violation = |story: String| Err(Violation::new(Property::Recovery, story));
    for (kind, took_us) in recovered {
        if took_us > most_us {
            let (took_ms, most_ms) = (took_us / 1000, most_us / 1000);
            return violation(format!(
                "it took {took_ms} ms after {kind} until an operation succeeded, at most {most_ms} \
                 it may"
            ));
        }
    }
    match waiting.into_iter().next() {
        Some(kind) => violation(format!("no operation succeeded any more after {kind}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_or_has_no_end_is_caught() {
        let within = |took: &[(&str, u64)], waiting: &[&str]| {
            check(took.iter().copied(), waiting.iter().copied(), 3_000)
        };
        assert_eq!(within(&[("crash", 3_000), ("pause", 1)], &[]), Ok(()));
        assert!(within(&[("crash", 1), ("crash", 3_001)], &[]).is_err());
        assert!(within(&[("crash", 1)], &["pause"]).is_err());
    }
}
