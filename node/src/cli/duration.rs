//! Durations as people write and read them.

use std::time::Duration;

const UNITS: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

/// The text is not a duration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum DurationError {
    /// Nothing was given.
    #[error("expected a duration such as 500ms, 30s or 1h30m")]
    Empty,
    /// A unit without a number.
    #[error("a number is missing before {0:?}; expected a duration such as 500ms, 30s or 1h30m")]
    Number(String),
    /// A number without a unit, or with one that is not known.
    #[error("{0:?} is not a unit: use ms, s, m, h, d or w, as in 500ms, 30s or 1h30m")]
    Unit(String),
    /// More than 64 bits of milliseconds.
    #[error("this is too long")]
    TooLong,
    /// Zero, where there must be some time.
    #[error("it must be longer than zero")]
    Zero,
}

/// Reads `500ms`, `30s`, `1h30m` and the like. Zero needs a unit too.
///
/// # Errors
/// [`DurationError`] says what is wrong with the text.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut sum_ms: u64 = 0;
    while !rest.is_empty() {
        let (digits, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit() || c.is_whitespace());
        if digits.is_empty() {
            return Err(DurationError::Number(unit.into()));
        }
        let found = UNITS.iter().find(|(name, _)| *name == unit);
        let Some((_, unit_ms)) = found else {
            return Err(DurationError::Unit(unit.into()));
        };
        sum_ms = digits
            .parse()
            .ok()
            .and_then(|count: u64| count.checked_mul(*unit_ms))
            .and_then(|ms| sum_ms.checked_add(ms))
            .ok_or(DurationError::TooLong)?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(sum_ms))
}

/// As [`parse`], but not zero.
///
/// # Errors
/// [`DurationError`] says what is wrong with the text.
pub(super) fn parse_positive(text: &str) -> Result<Duration, DurationError> {
    match parse(text)? {
        Duration::ZERO => Err(DurationError::Zero),
        duration => Ok(duration),
    }
}

fn split_where(text: &str, ends: impl FnMut(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// Two units at most: `3d 4h`, `1m 30s`, `2.50 s`, `340 ms`, `85 µs`.
pub(super) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, large_name: &str, small: u64, small_name: &str| match small {
        0 => format!("{large}{large_name}"),
        small => format!("{large}{large_name} {small}{small_name}"),
    };
    if seconds >= 86_400 {
        two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h")
    } else if seconds >= 3_600 {
        two(seconds / 3_600, "h", seconds % 3_600 / 60, "m")
    } else if seconds >= 60 {
        two(seconds / 60, "m", seconds % 60, "s")
    } else if seconds >= 1 && duration.subsec_millis() == 0 {
        format!("{seconds} s")
    } else if seconds >= 1 {
        format!("{:.2} s", duration.as_secs_f64())
    } else if duration.as_millis() >= 10 {
        format!("{} ms", duration.as_millis())
    } else if duration.as_millis() >= 1 {
        format!("{:.2} ms", duration.as_secs_f64() * 1e3)
    } else {
        format!("{} µs", duration.as_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let cases = [
            ("500ms", 500),
            ("0s", 0),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            (" 1h 30m ", 5_400_000),
            ("2d", 172_800_000),
            ("1w1ms", 604_800_001),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_by_reason() {
        let cases = [
            ("", DurationError::Empty),
            ("h", DurationError::Number("h".into())),
            ("-1s", DurationError::Number("-".into())),
            ("5", DurationError::Unit(String::new())),
            ("5y", DurationError::Unit("y".into())),
            ("1.5s", DurationError::Unit(".".into())),
            ("5 s", DurationError::Unit(String::new())),
            ("99999999999999999999s", DurationError::TooLong),
            ("18446744073709551615w", DurationError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert_eq!(parse_positive("0ms"), Err(DurationError::Zero));
        assert_eq!(parse_positive("1ms"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn durations_are_shown_with_two_units_at_most() {
        let cases = [
            (Duration::from_micros(85), "85 µs"),
            (Duration::from_micros(1_234), "1.23 ms"),
            (Duration::from_millis(340), "340 ms"),
            (Duration::from_millis(2_000), "2 s"),
            (Duration::from_millis(2_500), "2.50 s"),
            (Duration::from_secs(90), "1m 30s"),
            (Duration::from_secs(3_600), "1h"),
            (Duration::from_secs(97_200), "1d 3h"),
        ];
        for (duration, text) in cases {
            assert_eq!(show(duration), text);
        }
    }
}
