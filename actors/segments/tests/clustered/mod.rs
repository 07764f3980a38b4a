//! Vectors that are distributed like embeddings of texts: around centres of topics, in a subspace
//! of few dimensions that all topics share, with a little noise in all dimensions.

use engram_core::index::Embedding;
use engram_core::protocol::random::Random;

/// Dimensions of the subspace; embeddings of texts have about so many that matter.
const INNER: usize = 48;

/// Draws vectors of one distribution; the same seed gives the same.
pub(crate) struct Clustered {
    random: Random,
    dim: usize,
    centres: Vec<Vec<f64>>,
    inner: Vec<Vec<f64>>,
}

impl Clustered {
    /// A distribution with so many topics.
    pub(crate) fn new(seed: u64, dim: usize, topics: usize) -> Clustered {
        let mut clustered = Clustered {
            random: Random::new(seed),
            dim,
            centres: Vec::new(),
            inner: Vec::new(),
        };
        clustered.centres = (0..topics).map(|_| clustered.direction()).collect();
        clustered.inner = (0..INNER).map(|_| clustered.direction()).collect();
        clustered
    }

    /// The next vector.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "small numbers, and rounding does no harm"
    )]
    pub(crate) fn draw(&mut self) -> Embedding {
        let topic = self.random.below(self.centres.len() as u64);
        let centre = self.centres.get(usize::try_from(topic).unwrap_or(0));
        let mut sum: Vec<f64> = centre.cloned().unwrap_or_default();
        sum.iter_mut().for_each(|value| *value *= 0.6);
        let inner = std::mem::take(&mut self.inner);
        for direction in &inner {
            let share = self.normal() * 0.9 / (INNER as f64).sqrt();
            for (sum, value) in sum.iter_mut().zip(direction) {
                *sum += share * value;
            }
        }
        self.inner = inner;
        for value in &mut sum {
            *value += self.normal() * 0.25 / (self.dim as f64).sqrt();
        }
        Embedding::new(sum.into_iter().map(|value| value as f32).collect()).expect("not zero")
    }

    fn direction(&mut self) -> Vec<f64> {
        let values: Vec<f64> = (0..self.dim).map(|_| self.normal()).collect();
        let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        values.into_iter().map(|value| value / length).collect()
    }

    /// A normal number, about: the sum of twelve uniform ones (Irwin and Hall).
    #[expect(clippy::cast_precision_loss, reason = "a million values are enough")]
    fn normal(&mut self) -> f64 {
        let uniform = |random: &mut Random| random.below(1 << 20) as f64 / f64::from(1 << 20);
        (0..12).map(|_| uniform(&mut self.random)).sum::<f64>() - 6.0
    }
}
