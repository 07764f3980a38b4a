//! Inner products in single precision.
//!
//! The sum runs in [`LANES`] separate lanes that are added up in a fixed tree, and products are
//! rounded before they are added (a fused multiply-add would round differently where it exists).

use pulp::{Arch, Simd, WithSimd};

/// Partial sums: wide enough to fill the registers of every instruction set in use.
const LANES: usize = 32;

/// The dot product of two vectors `[dim]`. The longer one is cut to the shorter.
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    Arch::new().dispatch(One { left, right })
}

/// Sets `scores` to the dot products of `query` `[dim]` with each row of `rows` `[n, dim]`.
pub fn dot_rows(query: &[f32], rows: &[f32], scores: &mut Vec<f32>) {
    scores.clear();
    scores.resize(rows.len().checked_div(query.len()).unwrap_or(0), 0.0);
    Arch::new().dispatch(Rows {
        query,
        rows,
        scores,
    });
}

/// The work of [`dot`]. A type of its own, because a closure is not sure to be inlined into the
/// function that enables the instruction set, and would then run without it.
struct One<'a> {
    left: &'a [f32],
    right: &'a [f32],
}

impl WithSimd for One<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        dot_lanes(simd, self.left, self.right)
    }
}

/// The work of [`dot_rows`].
struct Rows<'a> {
    query: &'a [f32],
    rows: &'a [f32],
    scores: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut rest = self.rows;
        for score in self.scores {
            let Some((row, after)) = rest.split_at_checked(self.query.len()) else {
                return;
            };
            *score = dot_lanes(simd, self.query, row);
            rest = after;
        }
    }
}

#[inline(always)]
fn dot_lanes<S: Simd>(simd: S, left: &[f32], right: &[f32]) -> f32 {
    let (left_chunks, left_rest) = left.as_chunks::<LANES>();
    let (right_chunks, right_rest) = right.as_chunks::<LANES>();
    // As many registers as hold all lanes; the others stay unused.
    let mut sums = [simd.splat_f32s(0.0); LANES];
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        let (left, right) = (S::as_simd_f32s(left).0, S::as_simd_f32s(right).0);
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum = simd.add_f32s(*sum, simd.mul_f32s(*left, *right));
        }
    }
    let mut lanes = [0.0_f32; LANES];
    for (register, sum) in S::as_mut_simd_f32s(&mut lanes).0.iter_mut().zip(sums) {
        *register = sum;
    }
    for ((lane, left), right) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane += left * right;
    }
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same order of operations, without SIMD.
    fn plain(left: &[f32], right: &[f32]) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        for (place, (left, right)) in left.iter().zip(right).enumerate() {
            lanes[place % LANES] += left * right;
        }
        for width in [16, 8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        lanes[0]
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_same_bits(
            pairs in proptest::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..200),
        ) {
            let (left, right): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let fast = dot(&left, &right);
            prop_assert_eq!(fast.to_bits(), plain(&left, &right).to_bits());
            let exact: f64 =
                left.iter().zip(&right).map(|(l, r)| f64::from(*l) * f64::from(*r)).sum();
            prop_assert!((f64::from(fast) - exact).abs() < 1e-4);
            let mut scores = Vec::new();
            dot_rows(&left, &right, &mut scores);
            prop_assert_eq!(scores.len(), usize::from(!left.is_empty()));
            prop_assert!(scores.iter().all(|score| score.to_bits() == fast.to_bits()));
        }
    }

    #[test]
    fn rows_of_odd_length_are_told_apart() {
        let query = [1.0, 0.0, 2.0];
        let rows = [1.0, 1.0, 1.0, 0.5, 9.0, 0.25];
        let mut scores = Vec::new();
        dot_rows(&query, &rows, &mut scores);
        assert_eq!(scores, [3.0, 1.0]);
    }
}
