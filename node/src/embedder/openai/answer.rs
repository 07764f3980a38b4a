//! Reads what an endpoint answers. Nothing of it is trusted.

use engram_core::index::{Embedding, EmbeddingError};
use serde::Deserialize;

use super::OpenAiError;

/// Longest part of an error message that is shown, in characters.
const EXCERPT_CHARACTERS: usize = 200;

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    /// Which text; some endpoints leave it out and keep the order.
    index: Option<usize>,
    embedding: Vec<Option<f32>>,
}

#[derive(Deserialize)]
struct Complaint {
    error: ComplaintText,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ComplaintText {
    Text(String),
    Object { message: String },
}

/// The vectors of so many texts, in their order, each of so many dimensions.
pub(super) fn vectors(
    body: &[u8],
    texts: usize,
    dimensions: usize,
) -> Result<Vec<Embedding>, OpenAiError> {
    let answer: Answer = serde_json::from_slice(body).map_err(OpenAiError::NotJson)?;
    let mut places: Vec<Option<Embedding>> = vec![None; texts];
    let wrong_count = |found| OpenAiError::Count {
        wanted: texts,
        found,
    };
    if answer.data.len() != texts {
        return Err(wrong_count(answer.data.len()));
    }
    for (position, item) in answer.data.into_iter().enumerate() {
        let text = item.index.unwrap_or(position);
        let found = item.embedding.len();
        if found != dimensions {
            let wanted = dimensions;
            return Err(OpenAiError::Dimensions { wanted, found });
        }
        let vector =
            embedding(item.embedding).map_err(|source| OpenAiError::Vector { text, source })?;
        if let Some(place) = places.get_mut(text) {
            *place = Some(vector);
        }
    }
    let found = places.iter().flatten().count();
    // Two for one text, or one for none that was asked for.
    let all: Option<Vec<Embedding>> = places.into_iter().collect();
    all.ok_or_else(|| wrong_count(found))
}

/// JSON has no NaN: endpoints write `null`.
fn embedding(numbers: Vec<Option<f32>>) -> Result<Embedding, EmbeddingError> {
    let missing = numbers.iter().position(Option::is_none);
    match missing {
        Some(place) => Err(EmbeddingError::NotFinite(place)),
        None => Embedding::new(numbers.into_iter().flatten().collect()),
    }
}

/// What an endpoint says is wrong, short enough for a log.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Complaint>(body) {
        Ok(Complaint {
            error: ComplaintText::Text(message) | ComplaintText::Object { message },
        }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars()
        .filter(|character| !character.is_control())
        .take(EXCERPT_CHARACTERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<Embedding>, String> {
        vectors(body.as_bytes(), 2, 2).map_err(|error| error.to_string())
    }

    #[test]
    fn vectors_come_in_the_order_of_the_texts() {
        let body =
            r#"{"data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[3,0]}],"model":"m"}"#;
        let found = read(body).expect("sound");
        assert_eq!(found[0].as_slice(), [1.0, 0.0]);
        assert_eq!(found[1].as_slice(), [0.0, 1.0]);
        let body = r#"{"data":[{"embedding":[1,0]},{"embedding":[0,1]}]}"#;
        assert_eq!(read(body).expect("in order")[1].as_slice(), [0.0, 1.0]);
    }

    #[test]
    fn nonsense_is_named() {
        let one = r#"{"index":0,"embedding":[1,0]}"#;
        for (body, complaint) in [
            ("".to_owned(), "makes no sense"),
            ("<html>".to_owned(), "makes no sense"),
            ("[]".to_owned(), "makes no sense"),
            (r#"{"data":[]}"#.to_owned(), "0 vectors for 2"),
            (format!(r#"{{"data":[{one}]}}"#), "1 vectors for 2"),
            (format!(r#"{{"data":[{one},{one}]}}"#), "1 vectors for 2"),
            (
                format!(r#"{{"data":[{one},{{"index":7,"embedding":[1,0]}}]}}"#),
                "1 vectors for 2",
            ),
            (
                format!(r#"{{"data":[{one},{{"index":1,"embedding":[1,0,0]}}]}}"#),
                "3 dimensions, 2",
            ),
            (
                format!(r#"{{"data":[{one},{{"index":1,"embedding":[1,null]}}]}}"#),
                "dimension 1 of the embedding is not a finite",
            ),
            (
                format!(r#"{{"data":[{one},{{"index":1,"embedding":[1,NaN]}}]}}"#),
                "makes no sense",
            ),
            (
                format!(r#"{{"data":[{one},{{"index":1,"embedding":[1,1e300]}}]}}"#),
                "",
            ),
            (
                format!(r#"{{"data":[{one},{{"index":1,"embedding":[0,0]}}]}}"#),
                "no direction",
            ),
            (
                format!(r#"{{"data":[{one},{{"index":1,"embedding":"AACAPw=="}}]}}"#),
                "makes no sense",
            ),
        ] {
            let error = read(&body).expect_err(&body);
            assert!(error.contains(complaint), "{body}: {error}");
        }
    }

    #[test]
    fn complaints_are_short_and_on_one_line() {
        let object = br#"{"error":{"message":"model\nnot found","type":"x"}}"#;
        assert_eq!(excerpt(object), "model not found");
        assert_eq!(excerpt(br#"{"error":"no such model"}"#), "no such model");
        assert_eq!(excerpt(&[b'x'; 1000]).len(), EXCERPT_CHARACTERS);
        assert_eq!(excerpt(b"\x1b[31mred\xff"), "[31mred\u{fffd}");
    }
}
