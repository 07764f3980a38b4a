//! Vectors in a quarter of their size: one signed byte a dimension.

/// The largest value of a code.
const LARGEST: f32 = 127.0;

/// How a code stands to the vector it was made of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CodeScale {
    /// One over the length of the code: by it the code has length 1, as the vector has.
    pub inverse_length: f32,
    /// How far the code of length 1 is from the vector, rounded up.
    pub error: f32,
}

/// Appends the code of a vector `[dim]` that is not zero to `codes`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the rounded numbers are small, and rounding is what is wanted"
)]
pub fn encode(vector: &[f32], codes: &mut Vec<i8>) -> CodeScale {
    let largest = vector
        .iter()
        .fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let start = codes.len();
    codes.extend(
        vector
            .iter()
            .map(|value| (value / largest * LARGEST).round() as i8),
    );
    let code = codes.get(start..).unwrap_or_default();
    let squared: f64 = code.iter().map(|value| f64::from(*value).powi(2)).sum();
    let inverse_length = 1.0 / squared.max(1.0).sqrt();
    let error: f64 = vector
        .iter()
        .zip(code)
        .map(|(value, code)| (f64::from(*value) - f64::from(*code) * inverse_length).powi(2))
        .sum();
    CodeScale {
        inverse_length: inverse_length as f32,
        error: (error.sqrt() * 1.001) as f32,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::Embedding;

    proptest! {
        #[test]
        fn codes_are_as_near_as_they_say(values in proptest::collection::vec(-9_i8..9, 1..80)) {
            let values = values.into_iter().map(f32::from).collect();
            let Ok(embedding) = Embedding::new(values) else { return Ok(()) };
            let mut codes = Vec::new();
            let scale = encode(embedding.as_slice(), &mut codes);
            prop_assert_eq!(codes.len(), embedding.dim());
            let distance: f64 = embedding
                .as_slice()
                .iter()
                .zip(&codes)
                .map(|(value, code)| {
                    (f64::from(*value) - f64::from(*code) * f64::from(scale.inverse_length)).powi(2)
                })
                .sum();
            prop_assert!(distance.sqrt() <= f64::from(scale.error) + 1e-6);
            prop_assert!(scale.error < 0.05, "{}", scale.error);
        }
    }
}
