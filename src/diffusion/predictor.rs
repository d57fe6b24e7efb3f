use std::fmt::Debug;

use super::path::Path;
use super::schedule::NoiseLevel;
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::Rng;
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

    /// The prediction: (n, d) at rows x: (n, d), all at one level.
    fn predict<'a>(&self, x: &[F], level: L, workspace: &'a mut Self::Workspace) -> &'a [F];
}

impl<F: Real, N: NoisePredictor<F>> Predictor<F, NoiseLevel> for N {
    type Workspace = N::Scratch;

    fn dim(&self) -> usize {
        NoisePredictor::dim(self)
    }

    fn predict<'a>(&self, x: &[F], level: NoiseLevel, workspace: &'a mut N::Scratch) -> &'a [F] {
        self.noise(x, level, workspace)
    }
}

/// A network that predicts what its path asks for.
pub(crate) trait PathNet: Debug + Sync {
    type Path: Path;
    /// The buffers of one batch of rows, sized on first use and kept: `forward` may be followed by the others.
    type Workspace<F: Real>: Default + Debug + Send;

    fn dim(&self) -> usize;

    fn num_params(&self) -> usize;

    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng);

    /// Fills the part of t that `backward` reads.
    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]);

    /// The prediction at rows x: (n, d), all at one level, nothing kept.
    fn infer<'a, F: Real>(
        &self,
        p: &[F],
        x: &[F],
        level: LevelOf<Self>,
        workspace: &'a mut Self::Workspace<F>,
    ) -> &'a [F];

    /// The prediction at rows x: (n, d), at `levels`, one for each row or a single one for all.
    fn forward<'a, F: Real>(
        &self,
        p: &[F],
        x: &[F],
        levels: &[LevelOf<Self>],
        workspace: &'a mut Self::Workspace<F>,
    ) -> &'a [F];

    /// dp += ∂⟨dy, prediction⟩/∂p after `forward` with a level for each row.
    fn backward<F: Real>(&self, w: Weights<F>, dy: &[F], dp: &mut [F], workspace: &mut Self::Workspace<F>);

    /// (∂ prediction/∂x) ẋ after `forward` on the same x.
    fn jvp<'a, F: Real>(
        &self,
        p: &[F],
        x: &[F],
        xdot: &[F],
        workspace: &'a mut Self::Workspace<F>,
    ) -> &'a [F];

    /// Whether rows stay where they are at a row and about it, after `forward`: there the network has faded out.
    fn rests<F: Real>(workspace: &Self::Workspace<F>, row: usize) -> bool;
}

/// The levels of the path of a network.
pub(crate) type LevelOf<N> = <<N as PathNet>::Path as Path>::Level;

/// A network with its parameters.
#[derive(Debug)]
pub(crate) struct Trained<'a, F, N> {
    pub(crate) net: &'a N,
    pub(crate) p: &'a [F],
}
