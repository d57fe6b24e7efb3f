use ndarray::{Array2, Array3, ArrayView2};
use rand::RngCore;

use super::network::{NoiseNet, Pass};
use super::sampler::{Plan, Scratch, denoise};
use super::schedule::NoiseLevel;
use super::{Diffusion, DiffusionConfig, NoisePredictor, Trained};
use crate::engine::Standardiser;
use crate::engine::tiles::{self, DrawTile, RowStreams};
use crate::error::{Result, check};
use crate::model::{SampleOptions, Samples, check_rows};
use crate::numeric::Real;

/// What takes rows along a path, tile by tile, in standard units.
pub(crate) trait Walk: Sync {
    /// What a thread keeps from tile to tile.
    type Scratch: Default;

    fn dim(&self) -> usize;

    /// States that a row has on its path, the first included.
    fn states(&self) -> usize;

    /// Fills x: (n, d) with rows, shown at each state; the evaluations spent on each.
    fn walk(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Self::Scratch,
        x: &mut [f32],
        seen: impl FnMut(&[f32]),
    ) -> usize;
}

/// A walk to rows in the units of the data.
pub(crate) struct Drawing<'a, W> {
    pub(crate) walk: W,
    pub(crate) standardiser: &'a Standardiser,
}

impl<W: Walk> DrawTile for Drawing<'_, W> {
    type Scratch = W::Scratch;

    fn columns(&self) -> usize {
        self.walk.dim()
    }

    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Self::Scratch,
        x: &mut [f32],
    ) -> usize {
        let nfe = self.walk.walk(temperature, streams, scratch, x, |_| {});
        self.standardiser.restore(x);
        nfe
    }
}

impl<W: Walk> Drawing<'_, W> {
    /// The paths to the rows of [`tiles::sample`]: (n, states, d).
    pub(crate) fn paths(
        &self,
        n: usize,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Array3<f32>> {
        let (states, dim) = (self.walk.states(), self.walk.dim());
        tiles::sample_paths(
            n,
            (states, dim),
            options,
            rng,
            |temperature, streams, scratch: &mut (Vec<f32>, _), paths| {
                let (x, scratch) = scratch;
                x.resize(paths.len() / states, 0.0);
                let mut state = 0;
                self.walk.walk(temperature, streams, scratch, x, |x| {
                    tiles::note_state(paths, state, dim, x, |x| x);
                    state += 1;
                });
                self.standardiser.restore(paths);
            },
        )
    }
}

/// From Gaussian noise to rows: a plan, carried out with a predictor.
pub(super) struct Reverse<'a, P> {
    pub(super) predictor: &'a P,
    pub(super) plan: &'a Plan,
}

impl<P: NoisePredictor> Walk for Reverse<'_, P> {
    type Scratch = Scratch<f32, P::Scratch>;

    fn dim(&self) -> usize {
        self.predictor.dim()
    }

    fn states(&self) -> usize {
        self.plan.steps() + 1
    }

    /// z ~ N(0, T²I), then the plan with T·ξ for ξ.
    fn walk(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Self::Scratch,
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
    tiles::sample(&Drawing { walk: Reverse { predictor, plan: &plan }, standardiser }, n, options, rng)
}

impl Diffusion {
    /// The network that samples and scores: its averaged parameters.
    pub(super) fn predictor(&self) -> Trained<'_, f32, NoiseNet> {
        Trained { net: &self.net, p: &self.fitted.parameters.average }
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

    /// The paths to the rows that [`sample`](crate::Generative::sample) gives from the same state of `rng`, shape
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
        self.drawing(&self.predictor()).paths(n, options, rng)
    }

    pub(super) fn drawing<'a>(
        &'a self,
        predictor: &'a Trained<'a, f32, NoiseNet>,
    ) -> Drawing<'a, Reverse<'a, Trained<'a, f32, NoiseNet>>> {
        let walk = Reverse { predictor, plan: &self.plan };
        Drawing { walk, standardiser: &self.fitted.standardiser }
    }
}
