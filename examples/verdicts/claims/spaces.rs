//! Critics and latent spaces.

use quadrivium::engine::RowStreams;
use quadrivium::hybrid::{Codec, Pca, PcaConfig};
use quadrivium::ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use quadrivium::numeric::{Real, rng::Rng};
use quadrivium::prelude::*;
use quadrivium::rand::Rng as _;
use quadrivium::worlds::Toy;
use quadrivium::{Activation, AdversarialLoss, NetworkSpec, OptimizerConfig};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::spots::{self, ATTRIBUTES, LATENTS, PIXELS};
use crate::statistics;

/// The lengths of ∇D, in standard units, between rows of the data and of the generator, by central differences.
pub fn slopes(lab: &Lab) -> Outcome<Finding> {
    let figures = lab.each(|seed| {
        let streams = lab.streams(seed).family(85);
        let rng = &mut streams.stream(0);
        let data = Dataset::new(Toy::ring(8, 1.0, 0.1)?.sample(20_000, rng))?;
        let loss = AdversarialLoss::WassersteinGp { lambda: 10.0 };
        let mut gan = Gan::new(GanConfig { loss, critic_steps: 5, ..Default::default() }, rng)?;
        gan.train(&data, &TrainOptions { steps: 1_000, ..Default::default() }, rng, &mut NoObserver)?;
        let (real, drawn) = (data.x().slice(s![..20_000, ..]).to_owned(), gan.draw(20_000, rng)?);
        let share = Array2::from_shape_fn((20_000, 1), |_| rng.random::<f32>());
        let between = &real * &share + &drawn * &(1.0 - &share);
        let (sd, step) = (data.x().std_axis(Axis(0), 0.0), 1e-2);
        let mut square = Array1::zeros(between.nrows());
        for column in 0..2 {
            let moved = |by: f32| {
                let mut x = between.clone();
                x.column_mut(column).mapv_inplace(|v| v + by * sd[column]);
                gan.critic(x.view())
            };
            let slope = (moved(step)? - moved(-step)?) / f64::from(2.0 * step);
            square = square + &slope * &slope;
        }
        let norms = square.mapv(f64::sqrt);
        let steep = norms.iter().filter(|&&norm| norm > 1.2).count() as f64 / norms.len() as f64;
        Ok([norms.mean().ok_or("rows")?, norms.iter().copied().fold(0.0, f64::max), steep])
    })?;
    let mean = |k: usize| statistics::mean(&figures.iter().map(|figure| figure[k]).collect::<Vec<_>>());
    Ok(Finding::new()
        .claim("mean length of ∇D between data and draws", mean(0), Bound::Within(0.95, 1.05))
        .claim("the largest of 20,000", mean(1), Bound::AtLeast(1.2))
        .beside("share of those above 1.2", mean(2))
        .because(
            "The penalty weighs the square of what is missing or too much, so how far a slope strays depends on what the critic \
             gains by it, and that is little where the rows of the two players already meet.",
        ))
}

/// A linear map from latents to attributes, with the share of each attribute's variance that it explains.
struct Probe {
    /// (latents, attributes)
    weights: Array2<f64>,
    explained: Vec<f64>,
}

/// By least squares on the first half of the rows, judged on the second.
fn probe(z: ArrayView2<f32>, attributes: ArrayView2<f32>) -> Probe {
    let half = z.nrows() / 2;
    let with_one = |rows: ArrayView2<f32>| {
        let mut out = Array2::ones((rows.nrows(), rows.ncols() + 1));
        out.slice_mut(s![.., ..-1]).assign(&rows.mapv(f64::from));
        out
    };
    let (x, y) = (with_one(z), attributes.mapv(f64::from));
    let (train, test) = x.view().split_at(Axis(0), half);
    let (seen, held) = y.view().split_at(Axis(0), half);
    let weights = solved(train.t().dot(&train), train.t().dot(&seen));
    let left = &held - &test.dot(&weights);
    let explained = |k: usize| {
        1.0 - left.column(k).mapv(|v| v * v).sum() / (held.column(k).var(0.0) * held.nrows() as f64)
    };
    Probe {
        explained: (0..y.ncols()).map(explained).collect(),
        weights: weights.slice(s![..-1, ..]).to_owned(),
    }
}

/// A⁻¹ B of a positive definite A, by elimination.
fn solved(mut a: Array2<f64>, mut b: Array2<f64>) -> Array2<f64> {
    for k in 0..a.nrows() {
        let (pivot, right) = (a.row(k).to_owned() / a[[k, k]], b.row(k).to_owned() / a[[k, k]]);
        for row in (0..a.nrows()).filter(|&row| row != k) {
            let factor = a[[row, k]];
            a.row_mut(row).scaled_add(-factor, &pivot);
            b.row_mut(row).scaled_add(-factor, &right);
        }
        a.row_mut(k).assign(&pivot);
        b.row_mut(k).assign(&right);
    }
    b
}

impl Probe {
    /// The shortest step in z by which attribute k rises by one and, as far as the map is right, no other moves.
    fn step(&self, k: usize) -> Array1<f32> {
        let mut wanted = Array2::zeros((self.weights.ncols(), 1));
        wanted[[k, 0]] = 1.0;
        let step = self.weights.dot(&solved(self.weights.t().dot(&self.weights), wanted));
        step.column(0).mapv(|v| v as f32)
    }
}

/// R² of each attribute, the share of edits that raise theirs by at least half of what they mean to, and by how much the
/// others move, all in standard deviations; `draw` makes pictures of latents.
fn edited(
    finding: Finding,
    lab: &Lab,
    each: impl Fn(u64) -> Outcome<(Probe, Array2<f32>, Box<dyn Fn(&Array2<f32>) -> Outcome<Array2<f32>>>)>,
) -> Outcome<Finding> {
    let mut figures = [(); 3].map(|()| Vec::new());
    let mut by_attribute = [(); 4].map(|()| Vec::new());
    lab.each(|seed| {
        let spots = spots::world(lab, seed)?;
        let (probe, z, draw) = each(seed)?;
        let (mut right, mut moved) = (0.0, 0.0);
        for k in 0..ATTRIBUTES.len() {
            let half = probe.step(k) / 2.0;
            let change = spots.units(draw(&(&z + &half))?.view()) - spots.units(draw(&(&z - &half))?.view());
            let (rows, others) = (change.nrows() as f64, (ATTRIBUTES.len() - 1) as f64);
            right += change.column(k).iter().filter(|&&change| change >= 0.5).count() as f64 / rows / 4.0;
            let all: f64 = change.iter().map(|change| f64::from(change.abs())).sum();
            let own: f64 = change.column(k).iter().map(|change| f64::from(change.abs())).sum();
            moved += (all - own) / (rows * others) / 4.0;
        }
        figures[0].push(probe.explained.iter().copied().fold(f64::INFINITY, f64::min));
        figures[1].push(right);
        figures[2].push(moved);
        for (column, &explained) in by_attribute.iter_mut().zip(&probe.explained) {
            column.push(explained);
        }
        Ok(())
    })?;
    let [least, right, moved] = figures.map(|figures| statistics::mean(&figures));
    let mut finding = finding
        .claim("least R² of an attribute", least, Bound::AtLeast(0.8))
        .limit("edits that succeed", right, Bound::AtLeast(0.9))
        .limit("change of the other attributes, in sd", moved, Bound::AtMost(0.2));
    for (name, column) in ATTRIBUTES.into_iter().zip(&by_attribute) {
        finding = finding.beside(format!("R² of {name}"), statistics::mean(column));
    }
    Ok(finding)
}

fn normal(n: usize, rng: &mut Rng) -> Array2<f32> {
    Array2::from_shape_fn((n, LATENTS), |_| f32::normal(rng))
}

/// Of a game on pictures of spots, where every attribute is known of every draw.
pub fn of_gan(lab: &Lab) -> Outcome<Finding> {
    let finding = edited(Finding::new(), lab, |seed| {
        let spots = spots::world(lab, seed)?;
        let streams = lab.streams(seed).family(86);
        let base = GanConfig::relativistic();
        let config = GanConfig {
            dim: PIXELS,
            latent_dim: LATENTS,
            generator: spots::wide(128, 3),
            critic: NetworkSpec::mlp([128; 3], Activation::LeakyRelu { slope: 0.2 }, 0),
            loss: AdversarialLoss::Relativistic { gamma: 0.5 },
            critic_lr: 1e-3,
            optimizer: OptimizerConfig { lr: 1e-3, ..base.optimizer.clone() },
            ..base
        };
        let mut gan = Gan::new(config, &mut streams.stream(0))?;
        gan.train(&spots.bare()?, &spots::options(2_000), &mut streams.stream(1), &mut NoObserver)?;
        let z = normal(4_000, &mut streams.stream(2));
        let drawn = spots.units(gan.generate(z.view())?.view());
        let edited = normal(500, &mut streams.stream(3));
        let draw: Box<dyn Fn(&Array2<f32>) -> Outcome<Array2<f32>>> =
            Box::new(move |z| Ok(gan.generate(z.view())?));
        Ok((probe(z.view(), drawn.view()), edited, draw))
    })?;
    Ok(finding.because(
        "Nothing in the game asks for straight directions. Where a spot is comes out nearly linear in z or not, from seed to \
         seed; the smaller effects of size and brightness bend through the whole space. (Measured on pictures of a spot, \
         whose attributes are known; a network that maps z to another space first, as for faces, is not part of it.)",
    ))
}

/// The picture of the data that is nearest, as a root mean square of the pixels.
fn off_the_data(x: ArrayView2<f32>, data: ArrayView2<f32>) -> f64 {
    let nearest = |row: ArrayView1<f32>| {
        let square =
            |other: ArrayView1<f32>| row.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        data.rows().into_iter().map(square).fold(f32::INFINITY, f32::min)
    };
    let sum: f64 = x.rows().into_iter().map(|row| f64::from(nearest(row))).sum();
    (sum / x.len() as f64).sqrt()
}

/// Of an autoencoder, and what lies between two pictures, there and among as many principal components.
pub fn of_vae(lab: &Lab) -> Outcome<Finding> {
    let finding = edited(Finding::new(), lab, |seed| {
        let (spots, codec) = (spots::world(lab, seed)?, spots::shared_codec(lab, seed)?);
        let mean = codec.encode(spots.data.x().slice(s![..4_000, ..]))?.mean;
        let attributes = spots.units(spots.data.x().slice(s![..4_000, ..]));
        let edited = codec.encode(spots.test.slice(s![..500, ..]))?.mean;
        let draw: Box<dyn Fn(&Array2<f32>) -> Outcome<Array2<f32>>> =
            Box::new(move |z| Ok(codec.decode(z.view())?));
        Ok((probe(mean.view(), attributes.view()), edited, draw))
    })?;
    let mut means = [vec![], vec![]];
    let ratio = lab.mean(|seed| {
        let (spots, codec) = (spots::world(lab, seed)?, spots::shared_codec(lab, seed)?);
        let (one, other) = (spots.test.slice(s![..200, ..]), spots.test.slice(s![200..400, ..]));
        let vae = codec.decode(((codec.encode(one)?.mean + codec.encode(other)?.mean) / 2.0).view())?;
        let mut pca = Pca::new(PcaConfig { dim: PIXELS, latent_dim: LATENTS })?;
        pca.fit(&spots.bare()?, &mut lab.streams(seed).family(87).stream(0))?;
        let z = (pca.explain(one, 0)?.z + pca.explain(other, 0)?.z) / 2.0;
        let mut linear = Array2::zeros((200, PIXELS));
        let rows = linear.as_slice_mut().ok_or("standard layout")?;
        // Almost without the noise of the components that are left out.
        let quiet = SampleOptions { temperature: 1e-6 };
        pca.decode_at(z.view(), RowStreams::new(lab.streams(seed), 0), &quiet, rows)?;
        let off = [vae, linear].map(|x| off_the_data(x.view(), spots.data.x().slice(s![..5_000, ..])));
        means.iter_mut().zip(off).for_each(|(mean, off)| mean.push(off));
        Ok(off[0] / off[1])
    })?;
    let [vae, linear] = means.map(|means| statistics::mean(&means));
    Ok(finding
        .claim("distance of midpoints to the nearest picture, VAE : principal components", ratio, Bound::AtMost(1.0))
        .beside("VAE", vae)
        .beside("principal components", linear)
        .beside("the noise of a pixel alone", Estimate::exact(spots::NOISE))
        .because(
            "The space is smooth, but attributes are not all linear in it: the ELBO asks for independent normal latents, \
             not for one latent or one direction per attribute.",
        ))
}
