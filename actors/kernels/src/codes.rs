//! Inner products of vectors of small integers. They are exact, so the order of operations does not
//! matter, and the compiler may use whatever the instruction set offers.

use pulp::{Arch, Simd, WithSimd};

/// The inner product of two vectors of signed bytes `[dim]`, `dim` up to 130,000. The longer one is
/// cut to the shorter.
pub fn dot_codes(left: &[i8], right: &[i8]) -> i32 {
    Arch::new().dispatch(One { left, right })
}

/// Sets `products` to the inner products of `query` `[dim]` with each row of `rows` `[n, dim]`. The
/// sum of the absolute values of `query` must not exceed 2³¹ / 128, or products wrap around.
pub fn dot_codes_rows(query: &[i16], rows: &[i8], products: &mut Vec<i32>) {
    products.clear();
    products.resize(rows.len().checked_div(query.len()).unwrap_or(0), 0);
    Arch::new().dispatch(Rows {
        query,
        rows,
        products,
    });
}

/// Sets `products` to the inner products of `query` `[dim]` with each of `rows`, which may lie anywhere.
/// Otherwise as [`dot_codes_rows`].
pub fn dot_codes_each(query: &[i16], rows: &[&[i8]], products: &mut Vec<i32>) {
    products.clear();
    products.resize(rows.len(), 0);
    Arch::new().dispatch(Each {
        query,
        rows,
        products,
    });
}

/// The work of [`dot_codes`]; a type for the same reason as in the module `dot`.
struct One<'a> {
    left: &'a [i8],
    right: &'a [i8],
}

impl WithSimd for One<'_> {
    type Output = i32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> i32 {
        let pairs = self.left.iter().zip(self.right);
        pairs.fold(0_i32, |sum, (left, right)| {
            sum.wrapping_add(i32::from(i16::from(*left).wrapping_mul(i16::from(*right))))
        })
    }
}

/// The work of [`dot_codes_rows`].
struct Rows<'a> {
    query: &'a [i16],
    rows: &'a [i8],
    products: &'a mut [i32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let mut rest = self.rows;
        for product in self.products {
            let Some((row, after)) = rest.split_at_checked(self.query.len()) else {
                return;
            };
            *product = dot_wide(self.query, row);
            rest = after;
        }
    }
}

/// The work of [`dot_codes_each`].
struct Each<'a> {
    query: &'a [i16],
    rows: &'a [&'a [i8]],
    products: &'a mut [i32],
}

impl WithSimd for Each<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (product, row) in self.products.iter_mut().zip(self.rows) {
            *product = dot_wide(self.query, row);
        }
    }
}

#[inline(always)]
fn dot_wide(query: &[i16], row: &[i8]) -> i32 {
    let pairs = query.iter().zip(row);
    pairs.fold(0_i32, |sum, (left, right)| {
        sum.wrapping_add(i32::from(*left).wrapping_mul(i32::from(*right)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_are_exact(
            pairs in proptest::collection::vec((-8000_i16..8000, any::<i8>(), any::<i8>()), 0..200),
        ) {
            let query: Vec<i16> = pairs.iter().map(|pair| pair.0).collect();
            let (left, right): (Vec<i8>, Vec<i8>) =
                pairs.iter().map(|pair| (pair.1, pair.2)).unzip();
            let exact: i64 =
                left.iter().zip(&right).map(|(l, r)| i64::from(*l) * i64::from(*r)).sum();
            prop_assert_eq!(i64::from(dot_codes(&left, &right)), exact);
            let rows = [left.clone(), right.clone()].concat();
            let mut products = Vec::new();
            dot_codes_rows(&query, &rows, &mut products);
            let exact = |row: &[i8]| -> i64 {
                query.iter().zip(row).map(|(l, r)| i64::from(*l) * i64::from(*r)).sum()
            };
            let expected: Vec<i64> =
                if query.is_empty() { vec![] } else { vec![exact(&left), exact(&right)] };
            let found: Vec<i64> = products.iter().copied().map(i64::from).collect();
            prop_assert_eq!(&found, &expected);
            dot_codes_each(&query, &[&right, &left], &mut products);
            let expected = [exact(&right), exact(&left)];
            prop_assert!(products.iter().map(|product| i64::from(*product)).eq(expected));
        }
    }

    #[test]
    fn the_extremes_do_not_wrap_around() {
        let low = vec![-128_i8; 4096];
        assert_eq!(dot_codes(&low, &low), 128 * 128 * 4096);
        let mut products = Vec::new();
        dot_codes_rows(&vec![-4095_i16; 4096], &low, &mut products);
        assert_eq!(products, [4095 * 128 * 4096]);
    }
}
