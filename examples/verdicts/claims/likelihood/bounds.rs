//! Bounds and estimates.

use quadrivium::diffusion::{ProbabilityFlow, Sde, Solver};
use quadrivium::engine::transport;
use quadrivium::hybrid::Codec;
use quadrivium::ndarray::{Array2, Array3};
use quadrivium::numeric::rng::Streams;
use quadrivium::worlds::Toy;
use quadrivium::{Activation, NetworkSpec, TraceEstimator, prelude::*};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

/// Images of 8 × 8 pixels: a row or a column is lit, and every pixel has noise.
fn bars() -> Outcome<Toy> {
    let lit = |bar: usize, pixel: usize| if bar < 8 { pixel / 8 == bar } else { pixel % 8 == bar - 8 };
    let means = Array2::from_shape_fn((16, 64), |(bar, pixel)| if lit(bar, pixel) { 1.0 } else { 0.0 });
    let noise = Array3::from_shape_fn((16, 64, 64), |(_, i, j)| if i == j { 0.04 } else { 0.0 });
    Ok(Toy::mixture(&[1.0; 16], means.view(), noise.view())?)
}

pub fn variational(lab: &Lab) -> Outcome<Finding> {
    let worlds = [("moons", Toy::moons(0.1)?, 2), ("images of bars", bars()?, 8)];
    let mut finding = Finding::new();
    for (name, truth, latent_dim) in worlds {
        let figures = lab.each(|seed| {
            let mut rng = lab.streams(seed).stream(0);
            let network = NetworkSpec::mlp([64, 64], Activation::Tanh, if latent_dim == 2 { 3 } else { 0 });
            let config = VaeConfig {
                dim: truth.dim(),
                latent_dim,
                encoder: network.clone(),
                decoder: network,
                draws: 100,
                ..Default::default()
            };
            let mut vae = Vae::new(config, &mut rng)?;
            let data = Dataset::new(truth.sample(5_000, &mut rng))?;
            vae.train(&data, &TrainOptions { steps: 700, ..Default::default() }, &mut rng, &mut NoObserver)?;
            let test = truth.sample(1_000, &mut rng);
            let known = truth.log_density(test.view())?.mean().ok_or("no rows")?;
            let LogLikelihood::LowerBound { nats, .. } =
                vae.log_likelihood(test.view(), &LikelihoodOptions::default())?
            else {
                return Err("not a lower bound".into());
            };
            let many = nats.mean().ok_or("no rows")?;
            let one = (0..20).map(|seed| Ok(vae.explain(test.view(), seed)?.nats.mean().ok_or("no rows")?));
            let one = one.collect::<Outcome<Vec<f64>>>()?.iter().sum::<f64>() / 20.0;
            Ok((known - many, many - one))
        })?;
        let of = |get: fn(&(f64, f64)) -> f64| statistics::mean(&figures.iter().map(get).collect::<Vec<_>>());
        finding = finding
            .claim(
                format!("{name}: truth − bound of 100 draws, nats"),
                of(|figures| figures.0),
                Bound::AtLeast(0.0),
            )
            .claim(
                format!("{name}: what 100 draws add to the bound of one"),
                of(|figures| figures.1),
                Bound::AtLeast(0.0),
            );
    }
    Ok(finding
        .because("On rows that a VAE has learned well, its bound is too near the truth to be told from it."))
}

pub fn probability_flow(lab: &Lab) -> Outcome<Finding> {
    // With the exact score of a mixture, the ODE has to give its density.
    let grid = Toy::grid(3, 2.0, 0.3)?;
    let mixture = grid.diffused().ok_or("a mixture")?;
    let flow = ProbabilityFlow { sde: Sde::PRESERVING, mixture: &mixture };
    let z = mixture.standardizer().apply(grid.sample(200, &mut lab.streams(0).stream(0)));
    let off = |rtol: f64| -> Outcome<Estimate> {
        let mut nats = vec![0.0; z.nrows()];
        transport::log_density(
            &flow,
            Solver::DormandPrince { rtol, atol: rtol },
            (0.0, 1.0),
            (TraceEstimator::Exact, Streams::new(0)),
            z.as_slice().ok_or("contiguous")?,
            |end| flow.log_density(1.0, end),
            &mut nats,
            &mut Default::default(),
        )?;
        let exact = |row: usize| mixture.log_density(1.0, 0.0, &[z[[row, 0]].into(), z[[row, 1]].into()]);
        let off =
            nats.iter().enumerate().map(|(row, nats)| (nats - exact(row)).abs() / exact(row).abs().max(1.0));
        Ok(Estimate::exact(off.fold(0.0, f64::max)))
    };

    let moons = Toy::moons(0.1)?;
    let figures = lab.each(|seed| {
        let mut rng = lab.streams(seed).stream(1);
        let network = NetworkSpec::mlp([64, 64], Activation::Silu, 3);
        let mut model = Diffusion::new(DiffusionConfig { network, ..Default::default() }, &mut rng)?;
        let data = Dataset::new(moons.sample(10_000, &mut rng))?;
        model.train(&data, &TrainOptions { steps: 800, ..Default::default() }, &mut rng, &mut NoObserver)?;
        let test = moons.sample(300, &mut rng);
        let score = model.log_likelihood(test.view(), &LikelihoodOptions::default())?;
        let LogLikelihood::OdeEstimate { nats, nfe, .. } = score else { return Err("no estimate".into()) };
        Ok((nfe as f64, (moons.log_density(test.view())? - nats).mean().ok_or("no rows")?))
    })?;
    let of = |get: fn(&(f64, f64)) -> f64| statistics::mean(&figures.iter().map(get).collect::<Vec<_>>());
    Ok(Finding::new()
        .claim(
            "ODE with the exact score against the density, largest relative difference at a tolerance of 1e-8",
            off(1e-8)?,
            Bound::AtMost(1e-5),
        )
        .limit("the same at a tolerance of 1e-5", off(1e-5)?, Bound::AtMost(1e-4))
        // A flow takes one.
        .claim("evaluations of the costliest row", of(|figures| figures.0), Bound::AtLeast(10.0))
        .beside("nats behind the truth, after a short training on moons", of(|figures| figures.1))
        .because(
            "The solver holds its tolerance in each step, not over all of them: how far off the likelihood is has \
             to be found by a smaller tolerance.",
        ))
}
