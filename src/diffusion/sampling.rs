use ndarray::{Array2, Array3, ArrayView2};
use rand::RngCore;

use super::likelihood::probability_flow;
use super::network::{NoiseNet, Pass};
use super::sampler::{Plan, Update};
use super::schedule::NoiseLevel;
use super::{Diffusion, DiffusionConfig};
use crate::engine::Standardiser;
use crate::engine::tiles::{self, DrawTile, RowStreams};
use crate::error::{Result, check};
use crate::model::{SampleOptions, Samples, check_rows};
use crate::numeric::rng::Rng;
use crate::numeric::{Real, ode};
use crate::worlds::DiffusedMixture;

/// What guesses the noise in noisy rows: a trained network, or a density whose score is known
/// ([`DiffusedMixture`]).
pub trait NoisePredictor<F: Real = f32>: Sync {
    /// What a thread keeps from call to call.
    type Scratch: Default;

    /// Columns d of a row.
    fn dim(&self) -> usize;

    /// ε̂: (n, d), the expected noise in rows x = α x₀ + σ ε: (n, d), all at one level, σ > 0.
    fn noise<'a>(&self, x: &[F], level: NoiseLevel, scratch: &'a mut Self::Scratch) -> &'a [F];
}

/// The network and its parameters.
pub(super) struct Network<'a, F> {
    pub(super) net: &'a NoiseNet,
    pub(super) p: &'a [F],
}

impl<F: Real> NoisePredictor<F> for Network<'_, F> {
    type Scratch = Pass<F>;

    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn noise<'a>(&self, x: &[F], level: NoiseLevel, pass: &'a mut Pass<F>) -> &'a [F] {
        self.net.infer(self.p, x, level, pass)
    }
}

/// The best guess there is: ε* = −σ ∇ ln p(x).
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

/// Draws rows as an untrained [`Diffusion`] of this config would, had it `predictor` for a network: in standard
/// units, by `config.sampler`. With a [`DiffusedMixture`] it shows what a sampler costs in quality when nothing
/// is wrong with the network.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) naming the first field out of range, of the config (its `dim` must
/// be the predictor's) or of the options.
///
/// ```
/// use quadrivium::worlds::Toy;
/// use quadrivium::diffusion::{DiffusionConfig, Sampler, sample_with};
///
/// let mixture = Toy::grid25().diffused().expect("a mixture");
/// let config = DiffusionConfig { sampler: Sampler::Heun { steps: 18 }, ..Default::default() };
/// let mut drawn = sample_with(&mixture, &config, 100, &Default::default(), &mut quadrivium::seeded(0))?;
/// mixture.standardiser().restore(drawn.x.as_slice_mut().unwrap());
/// assert_eq!((drawn.x.dim(), drawn.nfe), ((100, 2), 35));
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn sample_with<P: NoisePredictor>(
    predictor: &P,
    config: &DiffusionConfig,
    n: usize,
    options: &SampleOptions,
    rng: &mut dyn RngCore,
) -> Result<Samples> {
    config.validate()?;
    check(config.dim == predictor.dim(), "DiffusionConfig::dim", config.dim, "the predictor's columns")?;
    let plan = config.sampler.plan(config, &config.schedule.levels(config.timesteps));
    let standardiser = &Standardiser::identity(config.dim);
    tiles::sample(&Reverse { predictor, plan: &plan, standardiser }, n, options, rng)
}

/// From noise to rows: a plan, carried out with a predictor.
pub(super) struct Reverse<'a, P> {
    pub(super) predictor: &'a P,
    pub(super) plan: &'a Plan,
    pub(super) standardiser: &'a Standardiser,
}

impl Diffusion {
    /// The network that samples and scores: its averaged parameters.
    pub(super) fn predictor(&self) -> Network<'_, f32> {
        Network { net: &self.net, p: &self.fitted.parameters.average }
    }

    /// ε̂ of noisy rows z: (n, dim), in standard units, all at one level: what each step of a sampler asks.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for a wrong number of columns,
    /// [`Error::NonFinite`](crate::Error::NonFinite) for a NaN or an infinity,
    /// [`Error::Config`](crate::Error::Config) for a level without noise.
    ///
    /// ```
    /// use quadrivium::diffusion::{Diffusion, DiffusionConfig, NoiseLevel};
    /// use quadrivium::ndarray::array;
    ///
    /// let model = Diffusion::new(DiffusionConfig::default(), &mut quadrivium::seeded(0))?;
    /// // Untrained, it takes rows for standard normal: ε̂ = σz.
    /// let eps_hat = model.predict_noise(array![[1.0, -2.0]].view(), NoiseLevel::at_sigma(0.5))?;
    /// assert_eq!(eps_hat, array![[0.5, -1.0]]);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn predict_noise(&self, z: ArrayView2<f32>, level: NoiseLevel) -> Result<Array2<f32>> {
        check_rows("z", z, self.config.dim)?;
        check(
            level.sigma > 0.0 && level.sigma <= 1.0,
            "NoiseLevel::sigma",
            level.sigma,
            "more than 0, to 1",
        )?;
        let mut eps_hat = z.as_standard_layout().into_owned();
        let (network, rows) = (self.predictor(), eps_hat.as_slice_mut().expect("standard layout"));
        tiles::for_each_tile(rows, self.config.dim, |pass: &mut Pass<f32>, _, rows| {
            let predicted = network.noise(rows, level, pass);
            rows.copy_from_slice(predicted);
            Ok(())
        })?;
        Ok(eps_hat)
    }

    /// The ways to the rows that [`sample`](crate::Generative::sample) gives from the same state of `rng`, shape
    /// (n, states, dim) in the units of the data: the noise, then the rows after each network evaluation, or, of
    /// [`Sampler::Ode`](super::Sampler::Ode), after each step. The last states are those rows, bit for bit.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options out of range, or for more than fits into memory.
    ///
    /// ```
    /// use quadrivium::{prelude::*, seeded};
    ///
    /// let model = Diffusion::new(DiffusionConfig::default(), &mut seeded(0))?;
    /// let quick = model.with_sampler(Sampler::Ddim { steps: 20, eta: 0.0 })?;
    /// let path = quick.sample_path(5, &SampleOptions::default(), &mut seeded(1))?;
    /// assert_eq!(path.dim(), (5, 21, 2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn sample_path(
        &self,
        n: usize,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Array3<f32>> {
        let (predictor, dim) = (self.predictor(), self.config.dim);
        let reverse = self.reverse(&predictor);
        let steps = match &self.plan {
            Plan::Steps(steps) => steps.len(),
            Plan::Ode { steps, .. } => *steps,
        };
        tiles::sample_paths(
            n,
            (steps + 1, dim),
            options,
            rng,
            |temperature, streams, scratch: &mut (Vec<f32>, _), ways| {
                let (x, scratch) = scratch;
                x.resize(ways.len() / (steps + 1), 0.0);
                let mut state = 0;
                reverse.walk(temperature, streams, scratch, x, |x| {
                    tiles::note_state(ways, state, dim, x, |x| x);
                    state += 1;
                });
                self.fitted.standardiser.restore(ways);
            },
        )
    }

    pub(super) fn reverse<'a>(&'a self, predictor: &'a Network<'a, f32>) -> Reverse<'a, Network<'a, f32>> {
        Reverse { predictor, plan: &self.plan, standardiser: &self.fitted.standardiser }
    }
}

impl<P: NoisePredictor> Reverse<'_, P> {
    /// z ~ N(0, T²I), then the plan with T·ξ for ξ: rows x: (n, d) in standard units, shown at each state; the
    /// evaluations spent.
    fn walk(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Scratch<f32, P::Scratch>,
        x: &mut [f32],
        mut seen: impl FnMut(&[f32]),
    ) -> usize {
        let d = self.predictor.dim();
        streams.fill(x.len() / d, &mut scratch.rngs);
        for (x, rng) in x.chunks_exact_mut(d).zip(&mut scratch.rngs) {
            x.fill_with(|| temperature as f32 * f32::normal(rng));
        }
        seen(x);
        denoise(self.predictor, self.plan, temperature, x, scratch, seen)
    }
}

/// What a thread keeps from tile to tile.
#[derive(Debug, Default)]
pub(super) struct Scratch<F, S> {
    rngs: Vec<Rng>,
    memory: Vec<F>,  // m: (n, d)
    state: Vec<f64>, // of an ODE: (n, d)
    at: Vec<F>,      // where it asks: (n, d)
    ode: ode::Scratch,
    kept: S, // the predictor's
}

impl<P: NoisePredictor> DrawTile for Reverse<'_, P> {
    type Scratch = Scratch<f32, P::Scratch>;

    fn columns(&self) -> usize {
        self.predictor.dim()
    }

    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Self::Scratch,
        x: &mut [f32],
    ) -> usize {
        let nfe = self.walk(temperature, streams, scratch, x, |_| {});
        self.standardiser.restore(x);
        nfe
    }
}

/// Carries out a plan on rows x: (n, d) in place, shown after each step (by an
/// [`Plan::Ode`] tile after tile); the evaluations spent.
pub(super) fn denoise<F: Real, P: NoisePredictor<F>>(
    predictor: &P,
    plan: &Plan,
    temperature: f64,
    x: &mut [F],
    Scratch { rngs, memory, state, at, ode, kept }: &mut Scratch<F, P::Scratch>,
    mut seen: impl FnMut(&[F]),
) -> usize {
    let d = predictor.dim();
    match plan {
        Plan::Steps(steps) => {
            memory.clear();
            memory.resize(x.len(), F::zero());
            for step in steps {
                let eps_hat = predictor.noise(x, step.level, kept);
                step.apply(x, eps_hat, memory);
                if step.noise > 0.0 {
                    let noise = F::of(step.noise * temperature);
                    for (x, rng) in x.chunks_exact_mut(d).zip(&mut *rngs) {
                        x.iter_mut().for_each(|x| *x += noise * F::normal(rng));
                    }
                }
                seen(x);
            }
            steps.len()
        }
        Plan::Ode { method, steps, span } => {
            state.clear();
            state.extend(x.iter().map(|x| x.f64()));
            let slope = |_: &[usize], lambda: &[f64], z: &[f64], dz: &mut [f64]| {
                // In equal steps all rows are at one time.
                let level = NoiseLevel::at_log_snr(lambda[0]);
                at.clear();
                at.extend(z.iter().map(|&z| F::of(z)));
                let eps_hat = predictor.noise(at, level, kept);
                for ((dz, &z), eps) in dz.iter_mut().zip(z).zip(eps_hat) {
                    *dz = probability_flow(level.sigma, z, eps.f64());
                }
            };
            let nfe = ode::fixed_watched(*method, *steps, *span, d, state, ode, slope, |state| {
                memory.clear();
                memory.extend(state.iter().map(|&z| F::of(z)));
                seen(memory);
            });
            x.iter_mut().zip(&*state).for_each(|(x, &z)| *x = F::of(z));
            nfe
        }
    }
}

impl Update {
    /// x ← keep·x + eps·ε̂ + recall·m, and m's new value of the old x.
    fn apply<F: Real>(&self, x: &mut [F], eps_hat: &[F], memory: &mut [F]) {
        let [keep, eps, recall] = [self.keep, self.eps, self.recall].map(F::of);
        match self.store {
            None if self.recall == 0.0 => {
                x.iter_mut().zip(eps_hat).for_each(|(x, &eps_hat)| *x = keep * *x + eps * eps_hat);
            }
            store => {
                for ((x, &eps_hat), m) in x.iter_mut().zip(eps_hat).zip(memory) {
                    let (old, remembered) = (*x, *m);
                    *x = keep * old + eps * eps_hat + recall * remembered;
                    if let Some((of_x, of_eps)) = store {
                        *m = F::of(of_x) * old + F::of(of_eps) * eps_hat;
                    }
                }
            }
        }
    }
}
