//! Watermarks as text: a commit's payload must be a string.

use std::fmt::Write as _;

use engram_core::types::Blob;

/// The bytes in hexadecimal.
pub(super) fn encode(watermark: &Blob) -> String {
    let mut text = String::with_capacity(watermark.len() * 2);
    for byte in watermark.as_ref() {
        write!(text, "{byte:02x}").expect("writing to memory does not fail");
    }
    text
}

/// The bytes again. `None`: the text was not made by [`encode`].
pub(super) fn decode(text: &str) -> Option<Blob> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect();
    bytes.map(Blob::from)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_and_other_text_is_told_apart() {
        let all = Blob::from((0..=255).collect::<Vec<u8>>());
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(decode(""), Some(Blob::from("")));
        for bad in ["0", "0g", "AB", "é"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
