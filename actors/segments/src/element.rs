//! The numbers that hora's vectors are made of.
//!
//! hora is generic in its numbers, and compares vectors only by a function of theirs. So a vector of
//! [`Element`]s is a code, four signed bytes an element, and in the last element what the code is to
//! be multiplied by for length 1. The function makes an inner product of integers of it. A distance
//! is one element: a number of single precision.

use std::cmp::Ordering;
use std::iter::Sum;
use std::num::FpCategory;
use std::ops::{
    Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign,
};

use bytemuck::{Pod, Zeroable};
use engram_kernels::dot_codes;
use hora::core::node::FloatElement;
use hora::core::simd_metrics::SIMDOptmized;
use num::traits::FloatConst;
use num::{Float, FromPrimitive, Num, NumCast, One, Signed, ToPrimitive, Zero};
use serde::{Deserialize, Serialize};

/// Four bytes of a vector, or a distance. See the module.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Element(u32);

/// Signed bytes of one element.
const BYTES: usize = 4;

impl Element {
    /// How many elements a vector of `dim` dimensions has.
    pub(crate) fn count(dim: usize) -> usize {
        dim.div_ceil(BYTES) + 1
    }

    /// The vector of a code `[dim]` that is multiplied by `inverse_length`.
    pub(crate) fn of_code(code: &[i8], inverse_length: f32) -> Vec<Element> {
        let mut elements = vec![Element::default(); Element::count(code.len())];
        if let Some((scale, codes)) = elements.split_last_mut() {
            *scale = Element::new(inverse_length);
            for (byte, code) in bytemuck::cast_slice_mut::<_, i8>(codes)
                .iter_mut()
                .zip(code)
            {
                *byte = *code;
            }
        }
        elements
    }

    fn new(value: f32) -> Element {
        Element(value.to_bits())
    }

    fn value(self) -> f32 {
        f32::from_bits(self.0)
    }
}

/// The squared distance of two vectors of length 1: 2 - 2 cos.
fn squared_distance(left: &[Element], right: &[Element]) -> Option<f32> {
    let (left_scale, left) = left.split_last()?;
    let (right_scale, right) = right.split_last()?;
    let product = dot_codes(bytemuck::cast_slice(left), bytemuck::cast_slice(right));
    #[expect(clippy::cast_precision_loss, reason = "codes are no more precise")]
    let product = product as f32;
    Some(2.0 - 2.0 * product * left_scale.value() * right_scale.value())
}

impl SIMDOptmized for Element {
    fn dot_product(_: &[Element], _: &[Element]) -> Result<Element, &'static str> {
        Err("graphs are built by distance")
    }

    fn manhattan_distance(_: &[Element], _: &[Element]) -> Result<Element, &'static str> {
        Err("graphs are built by distance")
    }

    fn euclidean_distance(left: &[Element], right: &[Element]) -> Result<Element, &'static str> {
        squared_distance(left, right)
            .map(Element::new)
            .ok_or("a vector is empty")
    }
}

impl FloatElement for Element {
    fn float_one() -> Element {
        Element::new(1.0)
    }

    fn float_two() -> Element {
        Element::new(2.0)
    }

    fn float_zero() -> Element {
        Element::new(0.0)
    }

    fn zero_patch_num() -> Element {
        Element::new(f32::EPSILON)
    }
}

// What follows makes an element a number, as hora demands of it. Distances are compared and negated;
// the rest is not used.

impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        self.value() == other.value()
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Element) -> Option<Ordering> {
        self.value().partial_cmp(&other.value())
    }
}

macro_rules! operators {
    ($($operator:ident $name:ident $assign:ident $assign_name:ident $symbol:tt),*) => { $(
        impl $operator for Element {
            type Output = Element;
            fn $name(self, other: Element) -> Element {
                Element::new(self.value() $symbol other.value())
            }
        }
        impl $assign for Element {
            fn $assign_name(&mut self, other: Element) {
                *self = *self $symbol other;
            }
        }
    )* };
}
operators!(
    Add add AddAssign add_assign +,
    Sub sub SubAssign sub_assign -,
    Mul mul MulAssign mul_assign *,
    Div div DivAssign div_assign /,
    Rem rem RemAssign rem_assign %
);

impl Neg for Element {
    type Output = Element;

    fn neg(self) -> Element {
        Element::new(-self.value())
    }
}

impl Zero for Element {
    fn zero() -> Element {
        Element::new(0.0)
    }

    fn is_zero(&self) -> bool {
        self.value() == 0.0
    }
}

impl One for Element {
    fn one() -> Element {
        Element::new(1.0)
    }
}

impl Sum for Element {
    fn sum<I: Iterator<Item = Element>>(elements: I) -> Element {
        Element::new(elements.map(Element::value).sum())
    }
}

impl Num for Element {
    type FromStrRadixErr = <f32 as Num>::FromStrRadixErr;

    fn from_str_radix(text: &str, radix: u32) -> Result<Element, Self::FromStrRadixErr> {
        f32::from_str_radix(text, radix).map(Element::new)
    }
}

impl ToPrimitive for Element {
    fn to_i64(&self) -> Option<i64> {
        self.value().to_i64()
    }

    fn to_u64(&self) -> Option<u64> {
        self.value().to_u64()
    }

    fn to_f64(&self) -> Option<f64> {
        self.value().to_f64()
    }
}

impl FromPrimitive for Element {
    fn from_i64(value: i64) -> Option<Element> {
        f32::from_i64(value).map(Element::new)
    }

    fn from_u64(value: u64) -> Option<Element> {
        f32::from_u64(value).map(Element::new)
    }

    fn from_f64(value: f64) -> Option<Element> {
        f32::from_f64(value).map(Element::new)
    }
}

impl NumCast for Element {
    fn from<T: ToPrimitive>(value: T) -> Option<Element> {
        value.to_f32().map(Element::new)
    }
}

impl Signed for Element {
    fn abs(&self) -> Element {
        Element::new(self.value().abs())
    }

    fn abs_sub(&self, other: &Element) -> Element {
        Element::new((self.value() - other.value()).max(0.0))
    }

    fn signum(&self) -> Element {
        Element::new(self.value().signum())
    }

    fn is_positive(&self) -> bool {
        self.value().is_sign_positive()
    }

    fn is_negative(&self) -> bool {
        self.value().is_sign_negative()
    }
}

macro_rules! constants {
    ($($name:ident),*) => {
        impl FloatConst for Element {
            $( fn $name() -> Element { Element::new(std::f32::consts::$name) } )*
        }
    };
}
constants!(
    E,
    FRAC_1_PI,
    FRAC_1_SQRT_2,
    FRAC_2_PI,
    FRAC_2_SQRT_PI,
    FRAC_PI_2,
    FRAC_PI_3,
    FRAC_PI_4,
    FRAC_PI_6,
    FRAC_PI_8,
    LN_10,
    LN_2,
    LOG10_E,
    LOG2_E,
    PI,
    SQRT_2
);

macro_rules! values {
    ($($name:ident $value:expr),*) => { $( fn $name() -> Element { Element::new($value) } )* };
}
macro_rules! functions {
    ($($name:ident),*) => { $(
        fn $name(self) -> Element { Element::new(self.value().$name()) }
    )* };
}
macro_rules! functions_of_two {
    ($($name:ident),*) => { $(
        fn $name(self, other: Element) -> Element { Element::new(self.value().$name(other.value())) }
    )* };
}
macro_rules! questions {
    ($($name:ident),*) => { $( fn $name(self) -> bool { self.value().$name() } )* };
}

impl Float for Element {
    values!(
        nan f32::NAN, infinity f32::INFINITY, neg_infinity f32::NEG_INFINITY, neg_zero -0.0,
        min_value f32::MIN, min_positive_value f32::MIN_POSITIVE, max_value f32::MAX
    );
    functions!(
        floor, ceil, round, trunc, fract, abs, signum, recip, sqrt, exp, exp2, ln, log2, log10,
        cbrt, sin, cos, tan, asin, acos, atan, exp_m1, ln_1p, sinh, cosh, tanh, asinh, acosh,
        atanh
    );
    functions_of_two!(powf, log, max, min, hypot, atan2);
    questions!(is_finite, is_normal, is_sign_positive, is_sign_negative);

    /// Asked by hora about the elements of vectors, which are bytes and never so.
    fn is_nan(self) -> bool {
        false
    }

    /// As [`Float::is_nan`].
    fn is_infinite(self) -> bool {
        false
    }

    fn classify(self) -> FpCategory {
        self.value().classify()
    }

    fn mul_add(self, factor: Element, summand: Element) -> Element {
        Element::new(self.value().mul_add(factor.value(), summand.value()))
    }

    fn powi(self, exponent: i32) -> Element {
        Element::new(self.value().powi(exponent))
    }

    fn abs_sub(self, other: Element) -> Element {
        Element::new((self.value() - other.value()).max(0.0))
    }

    fn sin_cos(self) -> (Element, Element) {
        let (sine, cosine) = self.value().sin_cos();
        (Element::new(sine), Element::new(cosine))
    }

    fn integer_decode(self) -> (u64, i16, i8) {
        Float::integer_decode(self.value())
    }
}

#[cfg(test)]
mod tests {
    use engram_core::index::Embedding;
    use engram_core::index::vectors::codes::encode;

    use super::*;

    #[test]
    fn distances_are_those_of_the_vectors() {
        let vector = |values: &[f32]| Embedding::new(values.to_vec()).expect("finite");
        let elements = |vector: &Embedding| {
            let mut code = Vec::new();
            let scale = encode(vector.as_slice(), &mut code);
            Element::of_code(&code, scale.inverse_length)
        };
        let (left, right) = (
            vector(&[1.0, 2.0, -3.0, 4.0, 5.0]),
            vector(&[-1.0, 2.0, 2.0, 3.0, 1.0]),
        );
        let distance = |left: &[Element], right: &[Element]| {
            let distance = Element::euclidean_distance(left, right);
            distance.expect("not empty").value()
        };
        let found = distance(&elements(&left), &elements(&right));
        let cosine = left.cosine(&right).expect("same dimension");
        assert!(
            (found - (2.0 - 2.0 * cosine)).abs() < 0.02,
            "{found} for {cosine}"
        );
        assert!(distance(&elements(&left), &elements(&left)).abs() < 1e-6);
        assert_eq!(elements(&left).len(), Element::count(5));
        assert!(Element::euclidean_distance(&[], &[]).is_err());
    }
}
