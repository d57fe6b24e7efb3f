//! Models without a likelihood, and those that are said to have none.

use quadrivium::engine::Token;
use quadrivium::ndarray::{Array2, Axis, s};
use quadrivium::worlds::Toy;
use quadrivium::{
    Activation, LikelihoodKind as Kind, MapObjective, NetworkSpec, Transformer, TransformerConfig,
    prelude::*, seeded,
};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

/// The dimension of the set that rows lie on, by how the distance to the nearest of n rows falls with n: as n^(−1/d).
fn dimension(x: &Array2<f32>) -> f64 {
    const ASKED: usize = 500;
    let (asked, others) = x.view().split_at(Axis(0), ASKED);
    let nearest = |n: usize| {
        let others = others.slice(s![..n, ..]);
        let of_row = asked.rows().into_iter().map(|row| {
            let squares = others
                .rows()
                .into_iter()
                .map(|other| other.iter().zip(row).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>());
            0.5 * squares.fold(f64::INFINITY, f64::min).max(1e-20).ln()
        });
        of_row.sum::<f64>() / ASKED as f64
    };
    let (few, many) = (500, 16_000);
    (many as f64 / few as f64).ln() / (nearest(few) - nearest(many))
}

pub fn games(lab: &Lab) -> Outcome<Finding> {
    let moons = Toy::moons(0.1)?;
    let trained = |latent_dim: usize, seed: u64| -> Outcome<Gan> {
        let mut rng = lab.streams(seed).stream(latent_dim as u64);
        let generator = NetworkSpec::mlp([48; 3], Activation::Silu, 2);
        let critic = NetworkSpec::mlp([48; 2], Activation::Silu, 2);
        let mut gan = Gan::new(GanConfig { latent_dim, generator, critic, ..Default::default() }, &mut rng)?;
        let data = Dataset::new(moons.sample(5_000, &mut rng))?;
        gan.train(&data, &TrainOptions { steps: 400, ..Default::default() }, &mut rng, &mut NoObserver)?;
        Ok(gan)
    };
    let (mut answers, mut dimensions) = (0, [Vec::new(), Vec::new()]);
    for seed in 0..crate::lab::SEEDS {
        for (latent_dim, dimensions) in [1, 2].into_iter().zip(&mut dimensions) {
            let gan = trained(latent_dim, seed)?;
            let x = gan.draw(16_500, &mut lab.streams(seed).stream(9))?;
            let score = gan.log_likelihood(x.slice(s![..1, ..]), &LikelihoodOptions::default())?;
            answers += usize::from(score.nats().is_some());
            dimensions.push(dimension(&x));
        }
    }
    let [thread, plane] = dimensions.map(|dimensions| statistics::mean(&dimensions));
    Ok(Finding::new()
        .claim("GANs, of ten, that give a likelihood", Estimate::exact(answers as f64), Bound::AtMost(0.0))
        // Rows on a line have no density in the plane.
        .limit("dimension of the rows drawn in the plane, from two latents", plane, Bound::AtMost(1.5))
        .beside("from one latent", thread)
        .because(
            "With as many latents as columns the generator does have a density, that of N(0, I) carried along by it; it \
             is out of reach, as the generator need not be invertible and its preimages are unknown. With fewer latents \
             than columns the rows lie on a surface, and there is no density at all.",
        ))
}

pub fn distilled(lab: &Lab) -> Outcome<Finding> {
    const OBJECTIVES: [MapObjective; 4] = [
        MapObjective::Lagrangian,
        MapObjective::Eulerian,
        MapObjective::Progressive,
        MapObjective::Consistency { stages: 8 },
    ];
    let moons = Toy::moons(0.1)?;
    let network = NetworkSpec::mlp([64, 64], Activation::Silu, 3);
    let options = TrainOptions { steps: 800, ..Default::default() };
    let figures = lab.each(|seed| {
        let mut rng = lab.streams(seed).stream(0);
        let data = Dataset::new(moons.sample(10_000, &mut rng))?;
        let config = DiffusionConfig { network: network.clone(), ..Default::default() };
        let mut teacher = Diffusion::new(config, &mut rng)?;
        teacher.train(&data, &options, &mut rng, &mut NoObserver)?;
        let test = moons.sample(300, &mut rng);
        let mean = |model: &dyn Distribution| -> Outcome<Option<f64>> {
            let score = model.log_likelihood(test.view(), &LikelihoodOptions::default())?;
            Ok(score.nats().and_then(|nats| nats.mean()))
        };
        let of_teacher = mean(&teacher)?.ok_or("a diffusion has a likelihood")?;
        let mut silent = 0;
        let mut behind = f64::NAN;
        for objective in OBJECTIVES {
            let config =
                FlowMapConfig { network: network.clone(), objective, steps: 1, ..Default::default() };
            let mut student = FlowMap::distill(&teacher, config, &mut rng)?;
            // Whether there is a likelihood does not depend on how well it is trained; how good it is, does.
            let steps = if objective == MapObjective::Lagrangian { options.steps } else { 1 };
            student.train(&data, &TrainOptions { steps, ..options.clone() }, &mut rng, &mut NoObserver)?;
            match mean(&student)? {
                Some(nats) if objective == MapObjective::Lagrangian => behind = of_teacher - nats,
                Some(_) => {}
                None => silent += 1,
            }
        }
        Ok((silent as f64 / OBJECTIVES.len() as f64, behind))
    })?;
    let of = |get: fn(&(f64, f64)) -> f64| statistics::mean(&figures.iter().map(get).collect::<Vec<_>>());
    Ok(Finding::new()
        .claim("share of four ways to distill that leave no likelihood", of(|figures| figures.0), Bound::AtLeast(1.0))
        .beside("Lagrangian flow map, nats behind its teacher", of(|figures| figures.1))
        .because(
            "It is true of consistency models, which jump to the data and know nothing else. A flow map keeps the \
             velocity as its jump of length 0, and the ODE of that velocity has a likelihood as before.",
        ))
}

pub fn kinds(_: &Lab) -> Outcome<Finding> {
    let mut rng = seeded(0);
    let consistency = MapObjective::Consistency { stages: 4 };
    let rows: Vec<Box<dyn Generative>> = vec![
        Box::new(Autoregressive::new(Default::default(), &mut rng)?),
        Box::new(Vae::new(Default::default(), &mut rng)?),
        Box::new(Gan::new(Default::default(), &mut rng)?),
        Box::new(Diffusion::new(Default::default(), &mut rng)?),
        Box::new(Flow::new(Default::default(), &mut rng)?),
        Box::new(FlowMatching::new(Default::default(), &mut rng)?),
        Box::new(FlowMap::new(Default::default(), &mut rng)?),
        Box::new(FlowMap::new(FlowMapConfig { objective: consistency, ..Default::default() }, &mut rng)?),
        Box::new(EnergyModel::new(Default::default(), &mut rng)?),
        Box::new(ScoreModel::new(Default::default(), &mut rng)?),
    ];
    let tokens: Vec<Box<dyn Generative<Token>>> = vec![
        Box::new(Transformer::new(
            TransformerConfig { vocabulary: 4, len: 4, ..Default::default() },
            &mut rng,
        )?),
        Box::new(NGram::new(NGramConfig { vocabulary: 4, max_len: 4, ..Default::default() })?),
    ];
    let mut found = Vec::new();
    let options = LikelihoodOptions::default();
    for model in &rows {
        found.push(model.log_likelihood(Array2::zeros((1, 2)).view(), &options)?.kind());
    }
    for model in &tokens {
        found.push(model.log_likelihood(Array2::from_elem((1, 4), Token(0)).view(), &options)?.kind());
    }
    let count = |kinds: &[Kind]| found.iter().filter(|kind| kinds.contains(kind)).count() as f64;
    Ok(Finding::new()
        .claim(
            "share of twelve kinds of models that say how probable a row is, exactly, by a bound or by an estimate",
            Estimate::exact(count(&[Kind::Exact, Kind::LowerBound, Kind::OdeEstimate, Kind::Estimate]) / found.len() as f64),
            Bound::AtLeast(1.0),
        )
        .beside("exactly", Estimate::exact(count(&[Kind::Exact])))
        .beside("up to a constant", Estimate::exact(count(&[Kind::Unnormalized])))
        .beside("not at all", Estimate::exact(count(&[Kind::Unavailable])))
        .because(
            "To draw and to score are two abilities. GANs, consistency models and score ladders draw only; an \
             energy-based model knows a density up to a constant that it does not know.",
        ))
}
