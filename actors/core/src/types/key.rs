//! Keys as users give them, and as records are stored.

use std::fmt;

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};

use super::{Blob, NamespaceId};
use crate::limits::KEY_BYTES_MAX;

/// A user's key: 1 to [`KEY_BYTES_MAX`] bytes. Any bytes are allowed; text is customary.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Blob);

/// The bytes are not a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// A key has at least one byte.
    #[error("a key must not be empty")]
    Empty,
    /// A key has at most [`KEY_BYTES_MAX`] bytes.
    #[error("a key may have {KEY_BYTES_MAX} bytes at most, this one has {0}")]
    TooLong(usize),
}

impl Key {
    /// Checks and takes the bytes.
    ///
    /// # Errors
    /// [`KeyError`] if they are none or too many.
    pub fn new(bytes: impl Into<Blob>) -> Result<Key, KeyError> {
        let bytes = bytes.into();
        match bytes.len() {
            0 => Err(KeyError::Empty),
            length if length > KEY_BYTES_MAX => Err(KeyError::TooLong(length)),
            _ => Ok(Key(bytes)),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// The bytes as shared storage.
    pub fn blob(&self) -> &Blob {
        &self.0
    }

    /// The key as text, with invalid UTF-8 replaced.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Encode for Key {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<Context> Decode<Context> for Key {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Key::new(Blob::decode(decoder)?)
            .map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

bincode::impl_borrow_decode!(Key);

/// Where a register lives within its shard.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct RecordKey {
    /// The namespace, by id.
    pub namespace: NamespaceId,
    /// The user's key.
    pub key: Key,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded() {
        assert_eq!(Key::new(""), Err(KeyError::Empty));
        assert!(Key::new(vec![b'k'; KEY_BYTES_MAX]).is_ok());
        assert_eq!(
            Key::new(vec![b'k'; KEY_BYTES_MAX + 1]),
            Err(KeyError::TooLong(KEY_BYTES_MAX + 1))
        );
    }
}
