//! Dot products: portable loops that the compiler turns into SIMD, compiled once per instruction
//! set and chosen when the process runs, so that old processors work too.
//!
//! The result depends on the numbers alone, not on the processor: the sum runs in [`LANES`]
//! separate lanes that are added up in a fixed tree, and products are rounded before they are
//! added (a fused multiply-add would round differently where it exists).

use pulp::Arch;

/// Partial sums: wide enough to fill the registers of every instruction set in use.
const LANES: usize = 32;

/// The dot product of two vectors `[dim]`. The longer one is cut to the shorter.
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f32 {
    Arch::new().dispatch(|| dot_lanes(left, right))
}

/// Appends to `scores` the dot product of `query` `[dim]` with each row of `rows` `[n, dim]`.
pub(crate) fn dot_rows(query: &[f32], rows: &[f32], scores: &mut Vec<f32>) {
    if query.is_empty() {
        return;
    }
    Arch::new().dispatch(|| {
        scores.extend(rows.chunks_exact(query.len()).map(
            #[inline(always)]
            |row| dot_lanes(query, row),
        ));
    });
}

#[inline(always)]
fn dot_lanes(left: &[f32], right: &[f32]) -> f32 {
    let (left_chunks, left_rest) = left.as_chunks::<LANES>();
    let (right_chunks, right_rest) = right.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for ((lane, left), right) in lanes.iter_mut().zip(left).zip(right) {
            *lane += left * right;
        }
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
