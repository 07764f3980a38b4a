//! What may be given as a key.

use bytes::Bytes;
use engram_core::types::{Blob, Key, KeyError};

/// Anything that can be a key: text, bytes, or a key that a scan returned. A key has 1 to
/// [`engram_core::limits::KEY_BYTES_MAX`] bytes.
pub trait IntoKey {
    /// The key.
    ///
    /// # Errors
    /// [`KeyError`] if it is empty or too long.
    fn into_key(self) -> Result<Key, KeyError>;
}

impl IntoKey for Key {
    fn into_key(self) -> Result<Key, KeyError> {
        Ok(self)
    }
}

impl IntoKey for &Key {
    fn into_key(self) -> Result<Key, KeyError> {
        Ok(self.clone())
    }
}

impl IntoKey for &String {
    fn into_key(self) -> Result<Key, KeyError> {
        Key::new(self.as_str())
    }
}

impl<const LENGTH: usize> IntoKey for &[u8; LENGTH] {
    fn into_key(self) -> Result<Key, KeyError> {
        Key::new(&self[..])
    }
}

macro_rules! into_key {
    ($($kind:ty),*) => {
        $(impl IntoKey for $kind {
            fn into_key(self) -> Result<Key, KeyError> {
                Key::new(self)
            }
        })*
    };
}

into_key!(&str, String, &[u8], Vec<u8>, Bytes, Blob);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_bytes_and_keys_are_keys() {
        let key = Key::new("k").expect("short");
        let same = [
            "k".into_key(),
            String::from("k").into_key(),
            (&String::from("k")).into_key(),
            b"k".into_key(),
            vec![b'k'].into_key(),
            (&key).into_key(),
        ];
        for made in same {
            assert_eq!(made.as_ref(), Ok(&key));
        }
        assert_eq!("".into_key(), Err(KeyError::Empty));
    }
}
