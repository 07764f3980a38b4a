//! Cursors: where a scan goes on.

use std::fmt;
use std::str::FromStr;

use engram_core::limits::KEY_BYTES_MAX;
use engram_core::types::Key;
use xxhash_rust::xxh3::xxh3_64;

/// Hexadecimal digits of the checksum at the end of a printed cursor.
const CHECKSUM_DIGITS: usize = 8;

/// Where a scan goes on. It prints as text without spaces, to be handed to users and parsed
/// again, also by another client; what is in the text may change with the next release.
///
/// ```
/// use engram_client::{Cursor, IntoKey};
///
/// # fn main() -> Result<(), engram_client::ClientError> {
/// let cursor = Cursor::after("user:1".into_key()?);
/// let text = cursor.to_string();
/// assert_eq!(text.parse::<Cursor>()?, cursor);
/// assert!("nonsense".parse::<Cursor>().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cursor(Key);

/// The text is not a cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a cursor: expected the text that an earlier page of a scan gave, unchanged")]
pub struct CursorError;

impl Cursor {
    /// Goes on with the first key after this one.
    pub fn after(key: Key) -> Cursor {
        Cursor(key)
    }

    pub(crate) fn into_key(self) -> Key {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(&checksum(self.0.as_bytes()))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Cursor, CursorError> {
        let too_long = text.len() > 2 * KEY_BYTES_MAX + CHECKSUM_DIGITS;
        if too_long || !text.is_ascii() || text.len() < CHECKSUM_DIGITS {
            return Err(CursorError);
        }
        let (digits, sum) = text.split_at(text.len() - CHECKSUM_DIGITS);
        let bytes: Vec<u8> = digits
            .as_bytes()
            .chunks(2)
            .map(byte)
            .collect::<Option<_>>()
            .ok_or(CursorError)?;
        if checksum(&bytes) != sum {
            return Err(CursorError);
        }
        Key::new(bytes).map(Cursor).map_err(|_| CursorError)
    }
}

fn byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

fn checksum(bytes: &[u8]) -> String {
    let sum = xxh3_64(bytes) & 0xffff_ffff;
    format!("{sum:0CHECKSUM_DIGITS$x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(key: &[u8]) -> Cursor {
        Cursor::after(Key::new(key).expect("a key"))
    }

    #[test]
    fn cursors_survive_printing_and_parsing() {
        let longest = [0xff; KEY_BYTES_MAX];
        for key in [&b"k"[..], b"\x00", "käse".as_bytes(), &longest] {
            let text = cursor(key).to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert_eq!(text.parse(), Ok(cursor(key)));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let good = cursor(b"user:1").to_string();
        let (cut, head) = (&good[1..], &good[..good.len() - 2]);
        let changed = good.replacen('7', "8", 1);
        let long = "0".repeat(2 * KEY_BYTES_MAX + CHECKSUM_DIGITS + 1);
        let empty_key = checksum(b"");
        let bad = [
            "",
            "7",
            "nonsense",
            "ää€€ää",
            "user:1",
            cut,
            head,
            &changed,
            &long,
            &empty_key,
        ];
        for text in bad {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }
}
