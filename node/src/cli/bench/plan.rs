//! What is to be measured, as the command line says it.

use std::fmt;
use std::str::FromStr;

use engram_core::limits::VALUE_BYTES_MAX;

/// Most clients at a time.
const CLIENTS_MAX: usize = 4096;
/// Most keys: all of them are held in memory.
const KEYS_MAX: u32 = 10_000_000;

/// What the clients do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Mix {
    /// Writes.
    Put,
    /// Reads.
    Get,
    /// Searches.
    Search,
    /// Reads and writes: so many requests in a thousand are reads.
    Mixed {
        /// 1 to 999.
        reads_per_mille: u64,
    },
}

/// The text is not a mix.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected put, get, search, or mixed:SHARE with a share of reads between 0.001 and 0.999")]
pub(super) struct MixError;

impl Mix {
    /// Whether keys are read.
    pub(super) fn reads(self) -> bool {
        matches!(self, Mix::Get | Mix::Mixed { .. })
    }
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Mix, MixError> {
        match text {
            "put" => return Ok(Mix::Put),
            "get" => return Ok(Mix::Get),
            "search" => return Ok(Mix::Search),
            _ => {}
        }
        let share = text.strip_prefix("mixed:").ok_or(MixError)?;
        // Counted in whole thousandths: three digits after the point, as text.
        let digits = share.strip_prefix("0.").ok_or(MixError)?;
        let is_number =
            (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let padded = format!("{digits:0<3}");
        match padded.parse() {
            Ok(reads_per_mille) if is_number && reads_per_mille > 0 => {
                Ok(Mix::Mixed { reads_per_mille })
            }
            _ => Err(MixError),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mix::Put => f.write_str("put"),
            Mix::Get => f.write_str("get"),
            Mix::Search => f.write_str("search"),
            Mix::Mixed { reads_per_mille } => {
                let digits = format!("{reads_per_mille:03}");
                write!(f, "mixed:0.{}", digits.trim_end_matches('0'))
            }
        }
    }
}

/// A number of clients.
pub(super) fn parse_clients(text: &str) -> Result<usize, String> {
    let clients: Option<usize> = text.parse().ok();
    clients
        .filter(|clients| (1..=CLIENTS_MAX).contains(clients))
        .ok_or_else(|| format!("expected a number from 1 to {CLIENTS_MAX}"))
}

/// A length of values.
pub(super) fn parse_value_bytes(text: &str) -> Result<usize, String> {
    let bytes: Option<usize> = text.parse().ok();
    bytes
        .filter(|bytes| *bytes <= VALUE_BYTES_MAX)
        .ok_or_else(|| format!("expected a number from 0 to {VALUE_BYTES_MAX}"))
}

/// A number of keys.
pub(super) fn parse_keys(text: &str) -> Result<u32, String> {
    let keys: Option<u32> = text.parse().ok();
    keys.filter(|keys| (1..=KEYS_MAX).contains(keys))
        .ok_or_else(|| format!("expected a number from 1 to {KEYS_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_are_read_and_printed() {
        let mixed = |reads_per_mille| Mix::Mixed { reads_per_mille };
        let cases = [
            ("put", Mix::Put),
            ("get", Mix::Get),
            ("search", Mix::Search),
            ("mixed:0.9", mixed(900)),
            ("mixed:0.25", mixed(250)),
            ("mixed:0.001", mixed(1)),
        ];
        for (text, mix) in cases {
            assert_eq!(text.parse(), Ok(mix), "{text}");
            assert_eq!(mix.to_string(), text);
        }
        let bad = [
            "",
            "putt",
            "mixed",
            "mixed:",
            "mixed:0.",
            "mixed:0.0",
            "mixed:1",
            "mixed:1.0",
            "mixed:0.1234",
            "mixed:-0.5",
            "mixed:0.+1",
            "mixed:x",
        ];
        for text in bad {
            assert_eq!(text.parse::<Mix>(), Err(MixError), "{text}");
        }
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(parse_clients("64"), Ok(64));
        for bad in ["0", "-1", "x", "4097"] {
            assert!(parse_clients(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_value_bytes("0"), Ok(0));
        assert!(parse_value_bytes(&(VALUE_BYTES_MAX + 1).to_string()).is_err());
        assert_eq!(parse_keys("1"), Ok(1));
        assert!(parse_keys("0").is_err());
        assert!(parse_keys("10000001").is_err());
    }
}
