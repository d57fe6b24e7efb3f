use super::network::{At, Noise, Pass, PathNet};
use super::schedule::NoiseLevel;
use crate::numeric::Real;
use crate::worlds::DiffusedMixture;

/// What predicts the noise in noisy rows: a trained network, or a density whose score is known
/// ([`DiffusedMixture`]).
pub trait NoisePredictor<F: Real = f32>: Sync {
    /// What a thread keeps from call to call.
    type Scratch: Default;

    /// Columns d of a row.
    fn dim(&self) -> usize;

    /// ε̂: (n, d), the expected noise in rows x = α x₀ + σ ε: (n, d), all at one level, σ > 0.
    fn noise<'a>(&self, x: &[F], level: NoiseLevel, scratch: &'a mut Self::Scratch) -> &'a [F];
}

/// The best prediction there is: ε* = −σ ∇ ln p(x).
impl<F: Real> NoisePredictor<F> for DiffusedMixture {
    /// (x, ∇ ln p, ε*)
    type Scratch = (Vec<f64>, Vec<f64>, Vec<F>);

    fn dim(&self) -> usize {
        DiffusedMixture::dim(self)
    }

    fn noise<'a>(&self, rows: &[F], level: NoiseLevel, (x, score, eps): &'a mut Self::Scratch) -> &'a [F] {
        x.clear();
        x.extend(rows.iter().map(|x| x.f64()));
        score.resize(x.len(), 0.0);
        self.score(level.alpha, level.sigma, x, score, None);
        eps.clear();
        eps.extend(score.iter().map(|s| F::of(-level.sigma * s)));
        eps
    }
}

/// What predicts at a level of some path: all that a sampler asks for.
pub(crate) trait Predictor<F, L>: Sync {
    type Workspace: Default;

    fn dim(&self) -> usize;

    /// The prediction: (n, d) at rows x: (n, d), all at one level. The evaluations of a row are added to `spent`.
    fn predict<'a>(
        &self,
        x: &[F],
        level: L,
        workspace: &'a mut Self::Workspace,
        spent: &mut usize,
    ) -> &'a [F];
}

impl<F: Real, N: NoisePredictor<F>> Predictor<F, NoiseLevel> for N {
    type Workspace = N::Scratch;

    fn dim(&self) -> usize {
        NoisePredictor::dim(self)
    }

    fn predict<'a>(
        &self,
        x: &[F],
        level: NoiseLevel,
        workspace: &'a mut N::Scratch,
        spent: &mut usize,
    ) -> &'a [F] {
        *spent += 1;
        self.noise(x, level, workspace)
    }
}

/// A network with its parameters, under the conditions c of its rows: (n, k), or (1, k) where all have the same.
#[derive(Debug)]
pub(crate) struct Trained<'a, F, P> {
    pub(crate) net: &'a PathNet<F, P>,
    pub(crate) p: &'a [F],
    pub(crate) c: &'a [F],
}

impl<F: Real> NoisePredictor<F> for Trained<'_, F, Noise> {
    type Scratch = Pass<F>;

    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn noise<'a>(&self, x: &[F], level: NoiseLevel, pass: &'a mut Pass<F>) -> &'a [F] {
        self.net.infer(self.p, At { x, c: self.c, levels: &[level] }, pass)
    }
}
