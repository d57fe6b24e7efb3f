use ndarray::{Array2, Array3, ArrayView2};
use rand::RngCore;

use super::network::{At, Pass};
use super::predictor::Predictor;
use super::sampler::{Plan, Scratch, denoise};
use super::schedule::NoiseLevel;
use super::{Diffusion, DiffusionConfig, NoisePredictor};
use crate::engine::Given;
use crate::engine::tiles::{self, DrawTile, RowStreams};
use crate::error::{Result, check};
use crate::model::*;
use crate::model::{Draws, check_rows, no_condition};
use crate::numeric::Real;

/// Fills x: (n, d) with rows in standard units: z ~ N(0, T²I), then the plan with T·ξ for ξ, shown at each state; the
/// evaluations spent on each.
pub(crate) fn reverse<F: Real, P: Predictor<F, NoiseLevel>>(
    predictor: &P,
    plan: &Plan,
    temperature: f64,
    streams: RowStreams,
    scratch: &mut Scratch<F, P::Workspace>,
    x: &mut [F],
    mut seen: impl FnMut(&[F]),
) -> usize {
    let d = predictor.dim();
    streams.fill(x.len() / d, &mut scratch.rngs);
    for (x, rng) in x.chunks_exact_mut(d).zip(&mut scratch.rngs) {
        x.fill_with(|| F::of(temperature) * F::normal(rng));
    }
    seen(x);
    denoise(predictor, plan, temperature, x, scratch, seen)
}

/// The paths to the rows that a model draws, (n, states, d) in the units of the data: `walk` fills a tile's rows in
/// standard units and shows them at each state.
pub(super) fn paths<M: Paradigm>(
    model: &M,
    states: usize,
    (n, options, rng): (usize, &SampleOptions, &mut dyn RngCore),
    walk: impl Fn(f64, &[f32], RowStreams, &mut M::Workspace, &mut [f32], &mut dyn FnMut(&[f32])) + Sync,
) -> Result<Array3<f32>> {
    let (dim, none) = (model.dim(), no_condition(model));
    let draws = Draws { model, c: none.as_ref().map(Given::of) };
    tiles::sample_paths(
        n,
        (states, dim),
        options,
        rng,
        |temperature, streams, scratch: &mut (Vec<f32>, Vec<f32>, M::Workspace), paths| {
            let (x, drawn, workspace) = scratch;
            x.resize(paths.len() / states, 0.0);
            let c = draws.conditions(streams, x.len() / dim, drawn);
            let mut state = 0;
            walk(temperature, c, streams, workspace, x, &mut |x| {
                tiles::note_state(paths, state, dim, x);
                state += 1;
            });
            model.fitted().standardizer.restore(paths);
        },
    )
}

/// Draws by a predictor in standard units.
struct Reverse<'a, P> {
    predictor: &'a P,
    plan: &'a Plan,
}

impl<P: NoisePredictor> DrawTile for Reverse<'_, P> {
    type Scratch = Scratch<f32, P::Scratch>;

    fn columns(&self) -> usize {
        NoisePredictor::dim(self.predictor)
    }

    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Self::Scratch,
        x: &mut [f32],
    ) -> usize {
        reverse(self.predictor, self.plan, temperature, streams, scratch, x, |_| {})
    }
}

/// Draws rows as an untrained [`Diffusion`] of this config would, had it `predictor` for a network: in standard
/// units, by `config.sampler`. With a [`DiffusedMixture`](crate::worlds::DiffusedMixture) it shows what a sampler
/// costs in quality when nothing is wrong with the network.
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
/// mixture.standardizer().restore(drawn.x.as_slice_mut().unwrap());
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
    let plan = Plan::new(config, &config.schedule.levels(config.timesteps));
    tiles::sample(&Reverse { predictor, plan: &plan }, n, options, rng)
}

impl Diffusion {
    /// ε̂ of noisy rows z: (n, dim), in standard units, all at one level: what each step of a sampler asks for. Of a
    /// model with a condition it is the prediction without one.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity,
    /// [`Error::Config`](crate::Error::Config) for a level without noise,
    /// [`Error::Condition`](crate::Error::Condition) of a model that was trained with conditions alone.
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
        let c = unconditional(self)?;
        let mut eps_hat = z.as_standard_layout().into_owned();
        let (network, rows) = (self.network(&c), eps_hat.as_slice_mut().expect("standard layout"));
        tiles::for_each_tile(rows, self.config.dim, |pass: &mut Pass<f32>, _, rows| {
            let at = At { x: rows, c: &c, levels: &[level] };
            let predicted = network.net.infer(network.p, at, pass);
            rows.copy_from_slice(predicted);
            Ok(())
        })?;
        Ok(eps_hat)
    }

    /// The paths to the rows that [`sample`](crate::Distribution::sample) gives from the same state of `rng`, shape
    /// (n, states, dim) in the units of the data: the noise, then the rows after each network evaluation, or, of
    /// [`Sampler::Ode`](super::Sampler::Ode), after each step. The last states are those rows, bit for bit.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options out of range, or for more than fits into memory.
    ///
    /// ```
    /// use quadrivium::{*, seeded};
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
        let states = self.plan.steps() + 1;
        paths(self, states, (n, options, rng), |temperature, c, streams, scratch, x, seen| {
            reverse(&self.guided(c), &self.plan, temperature, streams, scratch, x, seen);
        })
    }
}

/// The condition of a question that names none: nothing, or zeros for a model that was trained without one, too.
pub(super) fn unconditional<M: Paradigm>(model: &M) -> Result<Vec<f32>> {
    let fitted = &model.fitted().conditions;
    match no_condition(model) {
        Some(none) => Ok(none.into_raw_vec_and_offset().0),
        None => Ok(fitted.encode(None)?.into_raw_vec_and_offset().0),
    }
}
