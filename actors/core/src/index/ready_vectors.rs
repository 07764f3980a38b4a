//! Vectors that users bring along: an entry holds its own in a field of a JSON document, and a query
//! is a vector itself. Nothing is embedded then.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Embedding, EmbeddingError, ModelId};
use crate::limits::EMBEDDING_DIM_MAX;

/// What embedders and models of this kind are called, before the number of dimensions.
const EMBEDDER_PREFIX: &str = "vectors-";
const MODEL_PREFIX: &str = "vectors/";
/// Most bytes of a bad vector that a complaint repeats.
const SHOWN_BYTES_MAX: usize = 40;

/// The "embedder" of a namespace whose entries bring their vectors: `vectors-384` for 384
/// dimensions. Stateless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadyVectors {
    dim: usize,
}

/// A text is not a vector.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ReadyVectorError {
    /// It is something else.
    #[error(
        "this is no vector: {shown} (a vector is a JSON array of numbers, or the base64 of \
         little-endian 32-bit floats)"
    )]
    NotAVector {
        /// Its beginning.
        shown: String,
    },
    /// It has another number of dimensions than the namespace.
    #[error("the vector has {found} dimensions, the namespace's have {expected}")]
    Dimensions {
        /// Of the namespace.
        expected: usize,
        /// Of the vector.
        found: usize,
    },
    /// It has no direction, or numbers that are not finite.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
}

impl ReadyVectors {
    /// The field of a JSON document that holds its vector.
    pub const FIELD: &str = "vector";

    /// The embedder of that name, if it is of this kind.
    pub fn named(name: &str) -> Option<ReadyVectors> {
        ReadyVectors::parse(name.strip_prefix(EMBEDDER_PREFIX)?)
    }

    /// The embedder of that model, if it is of this kind.
    pub fn of(model: &ModelId) -> Option<ReadyVectors> {
        ReadyVectors::parse(model.as_str().strip_prefix(MODEL_PREFIX)?)
    }

    fn parse(number: &str) -> Option<ReadyVectors> {
        let dim: usize = number.parse().ok()?;
        let is_canonical = dim.to_string() == number;
        let is_possible = (1..=EMBEDDING_DIM_MAX).contains(&dim);
        (is_canonical && is_possible).then_some(ReadyVectors { dim })
    }

    /// Which model its vectors are of: none, but vectors of other lengths are not compared.
    pub fn id(self) -> ModelId {
        let Self { dim } = self;
        ModelId::new(format!("{MODEL_PREFIX}{dim}")).expect("the name is short")
    }

    /// Dimensions of its vectors.
    pub fn dim(self) -> usize {
        self.dim
    }

    /// The text of a vector, in its shorter form: what a search by meaning takes as its query.
    pub fn encode(vector: &[f32]) -> String {
        let bytes: Vec<u8> = vector.iter().flat_map(|n| n.to_le_bytes()).collect();
        STANDARD.encode(bytes)
    }

    /// The vector that a text is, scaled to length 1.
    ///
    /// # Errors
    /// [`ReadyVectorError`] says why it is none.
    pub fn embed(self, text: &str) -> Result<Embedding, ReadyVectorError> {
        let numbers = numbers(text).ok_or_else(|| ReadyVectorError::NotAVector {
            shown: beginning(text),
        })?;
        if numbers.len() != self.dim {
            let (expected, found) = (self.dim, numbers.len());
            return Err(ReadyVectorError::Dimensions { expected, found });
        }
        Ok(Embedding::new(numbers)?)
    }
}

/// The text to embed of a document that brings its vector; none if it has no such field. What is
/// there but is no vector is returned as it is: the embedder refuses it then, and says why.
pub(super) fn ready_text(value: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        vector: serde_json::Value,
    }
    let document: Document = serde_json::from_slice(value).ok()?;
    match document.vector {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        array @ serde_json::Value::Array(_) => {
            let text = array.to_string();
            Some(numbers(&text).map_or(text, |numbers| ReadyVectors::encode(&numbers)))
        }
        other => Some(other.to_string()),
    }
}

fn numbers(text: &str) -> Option<Vec<f32>> {
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    let bytes = STANDARD
        .decode(text)
        .ok()
        .filter(|bytes| !bytes.is_empty())?;
    let (floats, []) = bytes.as_chunks::<4>() else {
        return None;
    };
    Some(
        floats
            .iter()
            .map(|float| f32::from_le_bytes(*float))
            .collect(),
    )
}

fn beginning(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN_BYTES_MAX);
    let shown = text.get(..end).unwrap_or_default();
    let rest = if end < text.len() { " ..." } else { "" };
    format!("{shown:?}{rest}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn three() -> ReadyVectors {
        ReadyVectors::named("vectors-3").expect("it is of this kind")
    }

    #[test]
    fn names_and_models_say_the_number_of_dimensions() {
        assert_eq!(three().dim(), 3);
        assert_eq!(three().id().as_str(), "vectors/3");
        assert_eq!(ReadyVectors::of(&three().id()), Some(three()));
        for name in [
            "vectors-",
            "vectors-0",
            "vectors-03",
            "vectors--3",
            "vectors-4097",
            "vectors/3",
            "builtin",
        ] {
            assert_eq!(ReadyVectors::named(name), None, "{name}");
        }
    }

    #[test]
    fn documents_bring_their_vector_as_numbers_or_as_base64() {
        let as_base64 = ReadyVectors::encode(&[3.0, 0.0, 4.0]);
        for value in [
            r#"{"title": "x", "vector": [3, 0.0, 4e0], "more": [1]}"#.to_owned(),
            format!(r#"{{"vector": "{as_base64}"}}"#),
        ] {
            let text = ready_text(value.as_bytes()).expect("it has one");
            let vector = three().embed(&text).expect("it is one");
            assert_eq!(vector.as_slice(), [0.6, 0.0, 0.8], "{value}");
        }
        for value in ["{}", "[1, 2, 3]", "plain", r#"{"vector": null}"#, "\u{0}"] {
            assert_eq!(ready_text(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn what_is_no_vector_is_refused_with_the_reason() {
        let reason = |value: &str| {
            let text = ready_text(value.as_bytes()).expect("it has the field");
            three().embed(&text).expect_err("it is none").to_string()
        };
        for (value, part) in [
            (r#"{"vector": [1, 2]}"#, "2 dimensions"),
            (r#"{"vector": []}"#, "no vector"),
            (r#"{"vector": [0, 0, 0]}"#, "length is zero"),
            (r#"{"vector": [1, 2, 1e39]}"#, "not a finite number"),
            (r#"{"vector": [1, "2", 3]}"#, "no vector"),
            (r#"{"vector": "what is this?"}"#, "what is this?"),
            (r#"{"vector": {"a": 1}}"#, "no vector"),
            (r#"{"vector": true}"#, "no vector"),
            (r#"{"vector": "AAAA"}"#, "no vector"),
        ] {
            assert!(reason(value).contains(part), "{value}: {}", reason(value));
        }
        let long = format!(r#"{{"vector": "{}"}}"#, "?".repeat(10_000));
        assert!(reason(&long).len() < 300);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text: String, value in any::<Vec<u8>>()) {
            let _ = three().embed(&text);
            let _ = ready_text(&value);
        }

        #[test]
        fn both_forms_are_the_same_vector(numbers in prop::collection::vec(-1.0_f32..1.0, 3)) {
            let array = serde_json::to_string(&numbers).expect("finite");
            prop_assert_eq!(three().embed(&array), three().embed(&ReadyVectors::encode(&numbers)));
        }
    }
}
