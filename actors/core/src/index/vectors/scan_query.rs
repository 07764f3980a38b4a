//! A query, made ready to be compared with many rows.

use engram_kernels::dot;

use super::codes::CodeScale;
use crate::index::Embedding;

/// The largest value of a dimension of the query's code.
const LARGEST: f32 = 16_383.0;
/// The largest product of a query's and a row's code must fit 31 bits, whatever the signs.
const SUM_MAX: f32 = 2_147_483_000.0 / 128.0;
/// More than all rounding of single precision adds up to.
const ROUNDING: f32 = 2e-4;
/// What the length of a query is at most.
const LENGTH_MAX: f32 = 1.001;

/// A query and its code: two bytes a dimension.
#[derive(Clone, Debug)]
pub struct ScanQuery<'a> {
    vector: &'a Embedding,
    code: Vec<i16>,
    /// Of one step of the code.
    step: f32,
    /// How far the code is from the vector, and what rounding may add.
    slack: f32,
}

impl<'a> ScanQuery<'a> {
    /// Makes a query ready.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the rounded numbers are small, and rounding is what is wanted"
    )]
    pub fn new(vector: &'a Embedding) -> ScanQuery<'a> {
        let values = vector.as_slice();
        let largest = values
            .iter()
            .fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        let steps = LARGEST.min(SUM_MAX / values.len() as f32 - 1.0);
        let step = largest / steps;
        let code: Vec<i16> = values
            .iter()
            .map(|value| (value / step).round() as i16)
            .collect();
        let error: f64 = values
            .iter()
            .zip(&code)
            .map(|(value, code)| (f64::from(*value) - f64::from(*code) * f64::from(step)).powi(2))
            .sum();
        ScanQuery {
            vector,
            code,
            step,
            slack: (error.sqrt() * 1.001) as f32 + ROUNDING,
        }
    }

    /// The query itself.
    pub fn embedding(&self) -> &Embedding {
        self.vector
    }

    /// The code, `[dim]`.
    pub(super) fn code(&self) -> &[i16] {
        &self.code
    }

    /// The similarity of a row `[dim]`.
    pub fn score(&self, row: &[f32]) -> f32 {
        dot(self.vector.as_slice(), row)
    }

    /// What the similarity of a row is at most, given the inner product of the codes. By the
    /// triangle and Cauchy-Schwarz inequalities: query, row and the row's code have length 1.
    pub(super) fn score_at_most(&self, product: i32, scale: CodeScale) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "covered by the slack")]
        let product = product as f32;
        product * self.step * scale.inverse_length + scale.error * LENGTH_MAX + self.slack
    }
}

#[cfg(test)]
mod tests {
    use engram_kernels::dot_codes_rows;
    use proptest::prelude::*;

    use super::super::codes::encode;
    use super::*;

    proptest! {
        #[test]
        fn no_row_is_better_than_its_bound(
            pairs in proptest::collection::vec((any::<i8>(), any::<i8>()), 1..120),
        ) {
            let (query, row): (Vec<f32>, Vec<f32>) =
                pairs.iter().map(|(q, r)| (f32::from(*q), f32::from(*r))).unzip();
            let (Ok(query), Ok(row)) = (Embedding::new(query), Embedding::new(row)) else {
                return Ok(());
            };
            let mut codes = Vec::new();
            let scale = encode(row.as_slice(), &mut codes);
            let scan = ScanQuery::new(&query);
            let mut products = Vec::new();
            dot_codes_rows(scan.code(), &codes, &mut products);
            let most = scan.score_at_most(products[0], scale);
            let score = scan.score(row.as_slice());
            prop_assert!(score <= most, "{score} > {most}");
            prop_assert!(most < score + 0.1, "{score} is far below {most}");
        }
    }

    #[test]
    fn the_widest_query_does_not_overflow() {
        let query = Embedding::new(vec![1.0; crate::limits::EMBEDDING_DIM_MAX]).expect("finite");
        let mut codes = Vec::new();
        let scale = encode(query.as_slice(), &mut codes);
        let scan = ScanQuery::new(&query);
        let mut products = Vec::new();
        dot_codes_rows(scan.code(), &codes, &mut products);
        let most = scan.score_at_most(products[0], scale);
        assert!((0.999..1.01).contains(&most), "{most}");
    }
}
