//! The envelope of what the index keeps on disk: version, checksum, body.

use bincode::config::{self, Configuration};
use bincode::{Decode, Encode};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const CONFIG: Configuration = config::standard();
const VERSION: u8 = 1;

/// What is on disk is not what was written there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// Written by a newer version of this program.
    #[error("index data of format {0}, this program knows up to {VERSION}")]
    Version(u8),
    /// Cut short, changed, or found in another's place.
    #[error("index data is damaged")]
    Damaged,
}

/// Encodes `body`. The checksum covers `place` too, so that data in a wrong place is told apart.
pub(super) fn seal(place: &[u8], body: &impl Encode) -> Vec<u8> {
    let body = bincode::encode_to_vec(body, CONFIG).expect("memory takes any encoding");
    let mut sealed = Vec::with_capacity(1 + 8 + body.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&checksum(place, &body).to_be_bytes());
    sealed.extend_from_slice(&body);
    sealed
}

/// Decodes what [`seal`] made for the same place.
///
/// # Errors
/// [`SealError`] if it is of a newer format or damaged.
pub(super) fn unseal<T: Decode<()>>(place: &[u8], sealed: &[u8]) -> Result<T, SealError> {
    let (version, rest) = sealed.split_first().ok_or(SealError::Damaged)?;
    match *version {
        VERSION => {}
        0 => return Err(SealError::Damaged),
        newer => return Err(SealError::Version(newer)),
    }
    let (sum, body) = rest.split_first_chunk::<8>().ok_or(SealError::Damaged)?;
    if checksum(place, body) != u64::from_be_bytes(*sum) {
        return Err(SealError::Damaged);
    }
    match bincode::decode_from_slice(body, CONFIG) {
        Ok((value, length)) if length == body.len() => Ok(value),
        _ => Err(SealError::Damaged),
    }
}

fn checksum(place: &[u8], body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64_with_seed(place, u64::from(VERSION)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn newer_formats_are_named() {
        let mut sealed = seal(b"here", &7_u64);
        assert_eq!(unseal(b"here", &sealed), Ok(7_u64));
        assert_eq!(unseal::<u64>(b"there", &sealed), Err(SealError::Damaged));
        sealed[0] = 2;
        assert_eq!(unseal::<u64>(b"here", &sealed), Err(SealError::Version(2)));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in any::<Vec<u8>>()) {
            prop_assert!(unseal::<String>(b"", &bytes).is_err());
        }

        #[test]
        fn every_changed_byte_is_noticed(text in ".{0,40}", place in any::<prop::sample::Index>()) {
            let mut sealed = seal(b"place", &text);
            let place = place.index(sealed.len());
            sealed[place] ^= 1;
            prop_assert!(unseal::<String>(b"place", &sealed).is_err());
        }
    }
}
