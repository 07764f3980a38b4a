//! An entry as one line of JSON: what `get` and `scan` print, `export` writes and `import` reads.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use engram_client::{Entry, Version};
use engram_core::types::{Key, KeyError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One entry. Bytes that are not UTF-8 stand in the field that ends with `_base64`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryLine {
    /// The key, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// The key, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key_base64: Option<String>,
    /// The value, if it is text. Of other JSON the compact form is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Value>,
    /// The value, if it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value_base64: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    /// When it ends, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at_ms: Option<u64>,
    /// Its version; not imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
}

/// A line that is no entry.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// Not JSON, or not of this form.
    #[error("{}", without_position(.0))]
    Json(#[from] serde_json::Error),
    /// Not an object. Without names nobody can tell a key from a value.
    #[error("expected a JSON object")]
    NotAnObject,
    /// Not base64.
    #[error("{field} is not base64: {source}")]
    Base64 {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: base64::DecodeError,
    },
    /// Neither or both of two fields.
    #[error("exactly one of {0} and {0}_base64 is needed")]
    One(&'static str),
    /// Not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What is wrong, without `at line 1`: the text is a line of a file, whose number is another.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

/// An entry read from a line.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct ParsedLine {
    /// The key.
    pub(super) key: Key,
    /// The value.
    pub(super) value: Vec<u8>,
    /// Its tags.
    pub(super) tags: Vec<String>,
    /// When it ends, in milliseconds since 1970.
    pub(super) expires_at_ms: Option<u64>,
}

impl EntryLine {
    /// A line with a key alone.
    pub(super) fn of_key(key: &[u8]) -> EntryLine {
        let (key, key_base64) = split(key);
        EntryLine {
            key,
            key_base64,
            ..EntryLine::default()
        }
    }

    /// A line with everything but the version.
    pub(super) fn of_entry(key: &[u8], entry: &Entry) -> EntryLine {
        let (value, value_base64) = split(entry.bytes());
        EntryLine {
            value: value.map(Value::String),
            value_base64,
            ..EntryLine::of_key(key)
        }
        .with_meta(&entry.tags, entry.expires_at.map(|at| at.0))
    }

    /// A line with everything but the version, and perhaps without the value.
    pub(super) fn of_found(key: &[u8], entry: &Entry, keys_only: bool) -> EntryLine {
        if keys_only {
            let expires_at_ms = entry.expires_at.map(|at| at.0);
            EntryLine::of_key(key).with_meta(&entry.tags, expires_at_ms)
        } else {
            EntryLine::of_entry(key, entry)
        }
    }

    /// The same with tags and expiry.
    pub(super) fn with_meta(mut self, tags: &[String], expires_at_ms: Option<u64>) -> EntryLine {
        self.tags = tags.to_vec();
        self.expires_at_ms = expires_at_ms;
        self
    }

    /// The same with a version.
    pub(super) fn with_version(mut self, version: Version) -> EntryLine {
        self.version = Some(version.to_string());
        self
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`LineError`] says what is wrong with it.
    pub(super) fn parse(line: &[u8]) -> Result<ParsedLine, LineError> {
        if line
            .trim_ascii_start()
            .first()
            .is_some_and(|first| *first == b'[')
        {
            return Err(LineError::NotAnObject);
        }
        let line: EntryLine = serde_json::from_slice(line)?;
        let value = match line.value {
            Some(Value::String(text)) => Some(text),
            Some(other) => Some(other.to_string()),
            None => None,
        };
        Ok(ParsedLine {
            key: Key::new(join("key", "key_base64", line.key, line.key_base64)?)?,
            value: join("value", "value_base64", value, line.value_base64)?,
            tags: line.tags,
            expires_at_ms: line.expires_at_ms,
        })
    }
}

fn split(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.into()), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

fn join(
    name: &'static str,
    base64_name: &'static str,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Vec<u8>, LineError> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => BASE64.decode(base64).map_err(|source| LineError::Base64 {
            field: base64_name,
            source,
        }),
        _ => Err(LineError::One(name)),
    }
}

/// Bytes on one line of a terminal: text as it is, everything else escaped.
pub(super) fn printable(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Cow::Borrowed(text),
        Ok(text) => Cow::Owned(
            text.chars()
                .flat_map(|c| {
                    let escaped = c.is_control().then(|| c.escape_default());
                    let plain = escaped.is_none().then_some(c);
                    escaped.into_iter().flatten().chain(plain)
                })
                .collect(),
        ),
        Err(_) => Cow::Owned(bytes.escape_ascii().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use engram_client::Blob;
    use engram_core::types::Millis;
    use proptest::prelude::*;

    use super::*;

    fn entry(value: &[u8]) -> Entry {
        Entry {
            value: Blob::from(value),
            version: Version::ZERO,
            tags: vec!["eu".into()],
            expires_at: Some(Millis(5)),
            ttl: None,
        }
    }

    #[test]
    fn a_line_is_written_like_this() {
        let line = |key: &[u8], value: &[u8]| {
            serde_json::to_string(&EntryLine::of_entry(key, &entry(value))).expect("JSON")
        };
        assert_eq!(
            line(b"k", b"v"),
            r#"{"key":"k","value":"v","tags":["eu"],"expires_at_ms":5}"#
        );
        assert_eq!(
            line(b"\xff", b"\xfe"),
            r#"{"key_base64":"/w==","value_base64":"/g==","tags":["eu"],"expires_at_ms":5}"#
        );
    }

    #[test]
    fn a_value_may_be_any_json() {
        let value = |text: &str| EntryLine::parse(text.as_bytes()).map(|line| line.value);
        let cases = [
            (r#"{"key":"k","value":"7"}"#, "7"),
            (r#"{"key":"k","value":7}"#, "7"),
            (r#"{"key":"k","value":{"a":[1,true]}}"#, r#"{"a":[1,true]}"#),
            (r#"{"key":"k","value":"","version":"x"}"#, ""),
        ];
        for (line, expected) in cases {
            assert_eq!(value(line).expect(line), expected.as_bytes());
        }
    }

    #[test]
    fn a_bad_line_is_refused_by_reason() {
        let cases = [
            ("", "EOF while parsing a value at column 0"),
            ("[]", "expected a JSON object"),
            (r#" ["k",null,"v"]"#, "expected a JSON object"),
            (r#"{"key":"k"}"#, "exactly one of value"),
            (r#"{"value":"v"}"#, "exactly one of key"),
            (
                r#"{"key":"k","key_base64":"aw==","value":"v"}"#,
                "exactly one of key",
            ),
            (r#"{"key":"","value":"v"}"#, "empty"),
            (
                r#"{"key":"k","value_base64":"?"}"#,
                "value_base64 is not base64",
            ),
            (
                r#"{"key":"k","value":"v","tag":"eu"}"#,
                "unknown field `tag`",
            ),
            (
                r#"{"key":"k","value":"v","expires_at_ms":-1}"#,
                "invalid value",
            ),
        ];
        for (line, reason) in cases {
            let error = EntryLine::parse(line.as_bytes())
                .expect_err(line)
                .to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }

    #[test]
    fn a_terminal_sees_no_control_characters() {
        assert_eq!(printable("grün".as_bytes()), "grün");
        assert_eq!(printable(b"a\tb\x1b[31m"), "a\\tb\\u{1b}[31m");
        assert_eq!(printable(b"\xff\x00"), "\\xff\\x00");
    }

    proptest! {
        #[test]
        fn every_entry_survives_the_round_trip(
            key in prop::collection::vec(any::<u8>(), 1..50),
            value: Vec<u8>,
        ) {
            let line = serde_json::to_vec(&EntryLine::of_entry(&key, &entry(&value))).expect("JSON");
            let parsed = EntryLine::parse(&line).expect("just written");
            prop_assert_eq!(parsed.key.as_bytes(), key);
            prop_assert_eq!(parsed.value, value);
            prop_assert_eq!(parsed.expires_at_ms, Some(5));
        }

        #[test]
        fn garbage_is_refused_without_panic(line: Vec<u8>) {
            prop_assert!(EntryLine::parse(&line).is_err());
        }
    }
}
