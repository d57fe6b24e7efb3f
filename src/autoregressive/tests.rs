use ndarray::{Array2, Axis, array, s};

use super::bins::{Adapted, Bins, Grid, TAIL};
use super::mixture::LEAST_SD;
use super::network::{Drawn, Pass};
use super::objective::Scratch;
use super::*;
use crate::engine::{Batch, Loss as _};
use crate::error::Error;
use crate::nn::Activation::LeakyRelu;
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::{Rng, seeded};
use crate::worlds::Toy;

const MIXTURE: Head = Head::Mixture { components: 5 };
const BINS: Head = Head::Bins { bins: 12 };

fn normals<F: Real>(n: usize, rng: &mut Rng) -> Vec<F> {
    (0..n).map(|_| F::normal(rng)).collect()
}

/// The loss and its gradient at p.
fn loss_grad(model: &Autoregressive, p: &[f64], x: &[f64], weight: f64) -> (f64, Vec<f64>) {
    let objective = ChainRuleNll { made: &model.made, conditionals: &model.conditionals };
    let (mut t, mut dp, mut scratch) = (vec![f64::NAN; p.len()], vec![0.0; p.len()], Scratch::default());
    objective.transpose(p, &mut t);
    // Buffers dirty from other rows must not matter.
    objective.loss_grad(
        Weights { p, t: &[] },
        Batch::of(&[x, x].concat()),
        &(),
        0.0,
        None,
        &mut [],
        &mut scratch,
    );
    let w = Weights { p, t: &t };
    let loss = objective.loss_grad(w, Batch::of(x), &(), weight, Some(&mut dp), &mut [], &mut scratch);
    (loss, dp)
}

/// A small model whose parameters are all random, but for the masked ones; those are where a gradient is
/// exactly 0.
fn shaken(dim: usize, head: Head) -> (Autoregressive, Vec<f64>, Vec<bool>) {
    let config = AutoregressiveConfig { dim, hidden: vec![13, 9], octaves: 2, head, ..Default::default() };
    let mut model = Autoregressive::new(config, &mut seeded(0)).unwrap();
    let rng = &mut seeded(1);
    let start = &model.parameters.p;
    let mut p: Vec<f64> = start.iter().map(|&p| f64::from(p) + 0.3 * f64::normal(rng)).collect();
    let (_, dp) = loss_grad(&model, &p, &normals(4 * dim, rng), 1.0);
    let open: Vec<bool> = dp.iter().map(|&dp| dp != 0.0).collect();
    p.iter_mut().zip(&open).filter(|(_, open)| !**open).for_each(|(p, _)| *p = 0.0);
    model.parameters = Parameters::new(p.iter().map(|&p| p as f32).collect());
    (model, p, open)
}

fn nats(model: &Autoregressive, x: &Array2<f32>) -> Vec<f64> {
    let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    score.nats().unwrap().to_vec()
}

fn mean_nll(model: &Autoregressive, x: &Array2<f32>) -> f64 {
    -nats(model, x).iter().sum::<f64>() / x.nrows() as f64
}

fn trained(config: AutoregressiveConfig, data: &Dataset, steps: usize) -> Autoregressive {
    let mut model = Autoregressive::new(config, &mut seeded(0)).unwrap();
    let options = TrainOptions { steps, ..Default::default() };
    model.train(data, &options, &mut seeded(1), &mut Silent).unwrap();
    model
}

fn draw(model: &Autoregressive, n: usize, temperature: f64) -> Array2<f32> {
    model.sample(n, &SampleOptions { temperature }, &mut seeded(2)).unwrap().x
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    for (dim, head) in [(1, MIXTURE), (2, MIXTURE), (4, MIXTURE), (1, BINS), (2, BINS), (4, BINS)] {
        let (model, mut p, open) = shaken(dim, head);
        let mut x: Vec<f64> = normals(5 * dim, &mut seeded(3));
        // Both tails of the bins, and rows beyond the reach of the network's eye.
        (x[0], x[dim]) = (-7.0, 30.0);
        let (weight, h) = (0.7, 1e-5);
        let (_, dp) = loss_grad(&model, &p, &x, weight);
        for at in (0..p.len()).filter(|&at| open[at]) {
            let here = p[at];
            p[at] = here + h;
            let (above, _) = loss_grad(&model, &p, &x, weight);
            p[at] = here - h;
            let (below, _) = loss_grad(&model, &p, &x, weight);
            p[at] = here;
            let slope = weight * (above - below) / (2.0 * h);
            let close = (dp[at] - slope).abs() < 1e-6 * (1.0 + slope.abs());
            assert!(close, "{head:?}, {dim} columns, dp[{at}] = {}, by differences {slope}", dp[at]);
        }
    }
}

#[test]
fn output_i_sees_all_coordinates_before_i_and_no_other() {
    for dim in [2, 3, 6] {
        let (model, p, _) = shaken(dim, MIXTURE);
        let (made, x) = (&model.made, normals::<f64>(dim, &mut seeded(4)));
        let outputs = |x: &[f64]| {
            let mut pass = Pass::default();
            made.infer(&p, x, &mut pass);
            pass.y
        };
        let (y, width) = (outputs(&x), model.conditionals[0].outputs());
        for j in 0..dim {
            let mut moved = x.clone();
            moved[j] += 0.1;
            let moved = outputs(&moved);
            for i in 0..dim {
                let same = y[i * width..(i + 1) * width] == moved[i * width..(i + 1) * width];
                assert_eq!(same, j >= i, "output {i} of {dim}, coordinate {j} moved");
            }
        }
    }
}

#[test]
fn a_sampler_step_equals_the_whole_network() {
    for dim in [1, 2, 3, 8] {
        let (model, _, _) = shaken(dim, MIXTURE);
        let (made, p) = (&model.made, &model.parameters.average);
        let (mut pass, mut drawn) = (Pass::default(), Drawn::default());
        // The second tile finds the buffers of a larger one.
        for rows in [5, 3] {
            let x: Vec<f32> = normals(rows * dim, &mut seeded(5));
            made.infer(p, &x, &mut pass);
            let n = rows * model.conditionals[0].outputs();
            // A step must not look at what has not been drawn.
            let mut known = vec![f32::NAN; x.len()];
            for i in 0..dim {
                for (got, want) in made.step(p, &known, i, &mut drawn).iter().zip(&pass.y[i * n..]) {
                    assert!((got - want).abs() < 1e-5 * (1.0 + want.abs()), "output {i} of {dim}");
                }
                known.chunks_exact_mut(dim).zip(x.chunks_exact(dim)).for_each(|(to, from)| to[i] = from[i]);
            }
        }
    }
}

/// Σₖ πₖ N(z; μₖ, σₖ²) as it is written.
fn naive_mixture(y: &[f64], z: f64) -> f64 {
    let k = y.len() / 3;
    let total: f64 = y[..k].iter().map(|l| l.exp()).sum();
    let density = |k_: usize| {
        let sd = LEAST_SD + y[2 * k + k_].exp().ln_1p();
        let u = (z - y[k + k_]) / sd;
        y[k_].exp() / total * (-0.5 * u * u).exp() / (sd * std::f64::consts::TAU.sqrt())
    };
    (0..k).map(density).sum::<f64>().ln()
}

fn log_density<F: Real>(conditional: &Conditional, y: &[F], z: F) -> F {
    let (mut work, mut nats) = (vec![F::nan(); y.len() + 2], [F::nan()]);
    conditional.log_density(y, &[z], &mut work, &mut nats);
    nats[0]
}

#[test]
fn a_mixture_has_its_density_and_finite_tails() {
    let conditional = Conditional::new(MIXTURE);
    let mut y: Vec<f64> = normals(15, &mut seeded(6));
    for z in [-3.0, -0.2, 0.0, 1.7, 9.0] {
        let (got, want) = (log_density(&conditional, &y, z), naive_mixture(&y, z));
        assert!((got - want).abs() < 1e-12 * (1.0 + want.abs()), "at {z}: {got}, as written {want}");
    }
    // Where the density as written is 0, its logarithm is not.
    let far = log_density(&conditional, &y, 1e6);
    assert!(far < -1e10 && far.is_finite(), "{far}");
    assert_eq!(log_density(&conditional, &y, f64::INFINITY), f64::NEG_INFINITY);
    // The floor bounds the peak, whatever the network says.
    y[10..].fill(-1e6);
    let peak = log_density(&conditional, &y, y[5]);
    assert!(peak <= -(LEAST_SD * std::f64::consts::TAU.sqrt()).ln() + 1e-9, "{peak}");
    y.iter_mut().for_each(|y| *y *= 1e6);
    assert!(!log_density(&conditional, &y, 0.3).is_nan());
}

/// Midpoints of parts of the line, (w, dw): of equal parts of each bin, and of a tail of equal parts of its
/// distribution function, where its density is constant.
fn axis(conditional: &Conditional, fineness: usize) -> Vec<(f64, f64)> {
    let share = |i: usize| (i as f64 + 0.5) / fineness as f64;
    let Conditional::Bins(bins) = conditional else {
        let step = 16.0 / (24 * fineness) as f64;
        return (0..24 * fineness).map(|i| (-8.0 + step * (i as f64 + 0.5), step)).collect();
    };
    // The distance beyond an edge with the share s of its tail farther out, and minus its slope in s.
    type Excess = fn(f64, f64) -> (f64, f64);
    let (edges, tails, excess): (Vec<f64>, [f64; 2], Excess) = match &bins.grid {
        Grid::Equal { low, high } => {
            let edge = |i: usize| low + (high - low) * i as f64 / (bins.outputs() - 2) as f64;
            let edges = (0..bins.outputs() - 1).map(edge).collect();
            (edges, [TAIL; 2], |s, tail| (-tail * s.ln(), tail / s))
        }
        Grid::Adapted(Adapted { edges, tails }) => {
            let excess: Excess = |s, tail| (2.0 * tail * (s.powf(-0.5) - 1.0), tail * s.powf(-1.5));
            (edges.clone(), *tails, excess)
        }
    };
    let mut nodes = Vec::new();
    for pair in edges.windows(2) {
        let width = pair[1] - pair[0];
        nodes.extend((0..fineness).map(|i| (pair[0] + width * share(i), width / fineness as f64)));
    }
    for (edge, tail, sign) in [(edges[0], tails[0], -1.0), (edges[edges.len() - 1], tails[1], 1.0)] {
        let node = |s: f64| {
            let (excess, slope) = excess(s, tail);
            (edge + sign * excess, slope / fineness as f64)
        };
        nodes.extend((0..fineness).map(|i| node(share(i))));
    }
    nodes
}

/// The rows x of rows w, (n, d), and dx/dw.
fn restored(model: &Autoregressive, w: Vec<f64>) -> (Array2<f32>, f64) {
    let mut x: Vec<f32> = w.into_iter().map(|w| w as f32).collect();
    model.fitted.standardiser.restore(&mut x);
    let dim = model.dim();
    let log_det = model.fitted.standardiser.log_det(&x[..dim]);
    (Array2::from_shape_vec((x.len() / dim, dim), x).unwrap(), (-log_det).exp())
}

#[test]
fn densities_on_the_line_integrate_to_one() {
    let column = Toy::moons(0.1).unwrap().sample(2_000, &mut seeded(7)).slice(s![.., ..1]).to_owned();
    let data = Dataset::new(column).unwrap();
    for head in [Head::Mixture { components: 8 }, BINS] {
        let config = AutoregressiveConfig { dim: 1, head, ..Default::default() };
        let model = trained(config, &data, 50);
        let nodes = axis(&model.conditionals[0], 400);
        let (x, scale) = restored(&model, nodes.iter().map(|node| node.0).collect());
        let p = nats(&model, &x).into_iter().zip(&nodes).map(|(nats, (_, dw))| nats.exp() * dw);
        let total = p.sum::<f64>() * scale;
        assert!((total - 1.0).abs() < 1e-3, "{head:?}: {total}");
    }
}

/// ∫ p = 1 over the plane, and samples come from that p: the mean of ln p over them is ∫ p ln p.
#[test]
fn densities_on_the_plane_integrate_to_one_and_are_sampled() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(4_000, &mut seeded(8))).unwrap();
    for head in [MIXTURE, BINS] {
        let model = trained(AutoregressiveConfig { head, ..Default::default() }, &data, 150);
        let (a, b) = (axis(&model.conditionals[0], 20), axis(&model.conditionals[1], 20));
        let pairs: Vec<_> = a.iter().flat_map(|a| b.iter().map(move |b| (a, b))).collect();
        let (x, scale) = restored(&model, pairs.iter().flat_map(|(a, b)| [a.0, b.0]).collect());
        let grid = nats(&model, &x);
        let integral = |f: &dyn Fn(f64) -> f64| {
            let parts = grid.iter().zip(&pairs).map(|(nats, (a, b))| nats.exp() * f(*nats) * a.1 * b.1);
            scale * parts.sum::<f64>()
        };
        let total = integral(&|_| 1.0);
        assert!((total - 1.0).abs() < 2e-3, "{head:?}: {total}");

        let mean = integral(&|nats| nats);
        let variance = integral(&|nats| (nats - mean).powi(2));
        let n = 20_000;
        let sampled = -mean_nll(&model, &draw(&model, n, 1.0));
        // Four standard errors: one false alarm in 16,000, and quadrature's own error.
        let bound = 4.0 * (variance / n as f64).sqrt() + 5e-3;
        assert!((sampled - mean).abs() < bound, "{head:?}: ⟨ln p⟩ {sampled} over samples, {mean} over p");
    }
}

/// Draws of one conditional with fixed y.
fn drawn(conditional: &Conditional, y: &[f32], temperature: f64, n: usize) -> Vec<f64> {
    let rng = &mut seeded(31);
    (0..n).map(|_| conditional.draw(&mut y.to_vec(), temperature, rng).into()).collect()
}

fn share_within(z: &[f64], low: f64, high: f64) -> f64 {
    z.iter().filter(|z| (low..high).contains(*z)).count() as f64 / z.len() as f64
}

/// Bins of a skewed column, both before and after a training: the share of draws in each token and in parts of
/// both tails is the integral of the density there.
#[test]
fn bins_draw_their_density_tails_included() {
    let rng = &mut seeded(32);
    let mut column: Vec<f32> = (0..4_000).map(|_| (0.7 * f32::normal(rng)).exp()).collect();
    column.sort_unstable_by(f32::total_cmp);
    for fitted in [false, true] {
        let mut bins = Bins::new(6);
        let mut y = vec![0.0; 8];
        if fitted {
            bins.fit(&column, &mut y);
        }
        // Unlike shares, the largest in the tails.
        let y: Vec<f32> = [2.0, 0.3, -0.5, 0.8, 0.0, 0.1, -1.0, 1.5].to_vec();
        let (low, high) = bins.grid.ends();
        let conditional = Conditional::Bins(bins);
        let z = drawn(&conditional, &y, 1.0, 40_000);
        let range = high - low;
        let cuts = [low - range, low - 0.1 * range, low, low + 0.2 * range, high - 0.3 * range, high];
        let cuts = [&cuts[..], &[high + 0.1 * range, high + range]].concat();
        for pair in cuts.windows(2) {
            let step = (pair[1] - pair[0]) / 4_000.0;
            let at = |i: i32| pair[0] + step * (f64::from(i) + 0.5);
            let y: Vec<f64> = y.iter().map(|&y| y.into()).collect();
            let p: f64 = (0..4_000).map(|i| log_density(&conditional, &y, at(i)).exp() * step).sum();
            let share = share_within(&z, pair[0], pair[1]);
            // Five standard errors of 40,000 draws.
            assert!((share - p).abs() < 0.0125, "{fitted}, {pair:?}: {share} of the draws, ∫ p = {p}");
        }
    }
}

#[test]
fn bins_follow_the_rows_and_not_an_outlier() {
    let rng = &mut seeded(33);
    let mut column: Vec<f32> = (0..20_000).map(|_| f32::normal(rng)).collect();
    let entropy = 0.5 * (std::f64::consts::TAU.ln() + 1.0);
    let gap = |column: &mut Vec<f32>, rng: &mut Rng| {
        column.sort_unstable_by(f32::total_cmp);
        let mut bins = Bins::new(64);
        let mut y = vec![0.0; 66];
        bins.fit(column, &mut y);
        let y: Vec<f64> = y.into_iter().map(Into::into).collect();
        let conditional = Conditional::Bins(bins);
        let nll = (0..5_000).map(|_| -log_density(&conditional, &y, f64::normal(rng))).sum::<f64>() / 5_000.0;
        nll - entropy
    };
    let clean = gap(&mut column, &mut seeded(34));
    column[17] = 1e5;
    let spoiled = gap(&mut column, &mut seeded(34));
    assert!((-0.01..0.03).contains(&clean) && (spoiled - clean).abs() < 0.01, "{clean} {spoiled}");
    // A value in nine of ten rows has a bin as narrow as bins get.
    column[..18_000].fill(0.125);
    column.sort_unstable_by(f32::total_cmp);
    let mut bins = Bins::new(64);
    bins.fit(&column, &mut vec![0.0; 66]);
    let Grid::Adapted(grid) = &bins.grid else { panic!("fitted") };
    assert!(grid.edges.windows(2).all(|pair| pair[1] - pair[0] > 0.998 * LEAST_SD), "{:?}", grid.edges);
    assert!(grid.edges.windows(2).any(|pair| pair[0] == 0.125 && pair[1] - pair[0] < 1.002 * LEAST_SD));
}

/// A draw at a temperature T has the density p^(1/T²), normalised: here of a mixture with components far
/// apart, with overlapping ones, and of bins.
#[test]
fn a_temperature_tempers_the_density() {
    // [l | μ | s]
    let apart = (Head::Mixture { components: 2 }, vec![0.0, 1.0, -2.0, 2.0, -1.0, 0.0]);
    let overlapping =
        (Head::Mixture { components: 4 }, vec![0.0, 0.5, 0.5, 0.0, -1.0, -0.3, 0.4, 1.1, 0.0, 0.2, 0.2, 0.0]);
    let bins = (Head::Bins { bins: 5 }, vec![-1.0, 0.5, 1.0, 0.0, 2.0, 1.0, -1.0]);
    for (head, y) in [apart, overlapping, bins] {
        let conditional = Conditional::new(head);
        let wide: Vec<f64> = y.iter().map(|&y: &f32| y.into()).collect();
        // Above 1, the tails of bins would take an endless share of p^a: they keep their own.
        let hot = matches!(head, Head::Mixture { .. }).then_some(1.5);
        for temperature in [0.6].into_iter().chain(hot) {
            let step = 0.004;
            let power = 1.0f64 / (temperature * temperature);
            let at = |i: i32| -8.0 + step * (f64::from(i) + 0.5);
            let tempered: Vec<f64> =
                (0..4_000).map(|i| (power * log_density(&conditional, &wide, at(i))).exp()).collect();
            let total: f64 = tempered.iter().sum();
            let z = drawn(&conditional, &y, temperature, 20_000);
            for cut in [-2.4, -0.8, 0.0, 0.8, 2.4] {
                let p: f64 =
                    (0..4_000).filter(|&i| at(i) < cut).map(|i| tempered[i as usize]).sum::<f64>() / total;
                let share = share_within(&z, f64::NEG_INFINITY, cut);
                // Five standard errors, and what the tails of bins keep of their own.
                assert!(
                    (share - p).abs() < 0.02,
                    "{head:?} at {temperature}: {share} below {cut}, {p} by p^a"
                );
            }
        }
    }
}

/// A correlated Gaussian of 6 columns, (n, 6), and its entropy.
fn correlated(n: usize, seed: u64) -> (Array2<f32>, f64) {
    let rng = &mut seeded(seed);
    let mut x = Array2::zeros((n, 6));
    for mut row in x.rows_mut() {
        let mut last = 0.0;
        for v in &mut row {
            last = 0.95f32 * last + 0.3 * f32::normal(rng);
            *v = last;
        }
    }
    (x, 6.0 * (0.5 * (std::f64::consts::TAU.ln() + 1.0) + 0.3f64.ln()))
}

#[test]
fn a_model_starts_at_one_full_gaussian() {
    let (test, entropy) = correlated(4_000, 1);
    let optimiser = OptimiserConfig { lr: 1e-12, ..Default::default() };
    for (whiten, rows, gap) in [(true, 100, 0.4), (true, 5_000, 0.02), (false, 5_000, 2.0)] {
        let config =
            AutoregressiveConfig { dim: 6, whiten, optimiser: optimiser.clone(), ..Default::default() };
        let model = trained(config, &Dataset::new(correlated(rows, 0).0).unwrap(), 1);
        let excess = mean_nll(&model, &test) - entropy;
        // Without the linear part, only the columns' own spreads are known.
        assert_eq!(excess < gap, whiten, "{rows} rows: {excess} above the entropy");
        assert!(excess > -0.05, "{excess}");
    }
}

#[test]
fn fewer_units_than_columns_still_train() {
    let (x, entropy) = correlated(1_000, 5);
    let config = AutoregressiveConfig { dim: 6, hidden: vec![2, 3], ..Default::default() };
    let model = trained(config, &Dataset::new(x).unwrap(), 20);
    assert!(mean_nll(&model, &correlated(1_000, 6).0) - entropy < 0.3);
    assert_eq!(draw(&model, 10, 1.0).dim(), (10, 6));
}

/// Eight modes of two thousandths: with Adam's usual memory of a thousand steps half of such trainings lost one or
/// more, each a gap of 1.3 nats.
#[test]
fn narrow_modes_are_not_lost() {
    let toy = Toy::ring(8, 1.0, 0.002).unwrap();
    let data = Dataset::new(toy.sample(10_000, &mut seeded(20))).unwrap();
    let config = AutoregressiveConfig { hidden: vec![64, 64], ..Default::default() };
    let model = trained(config, &data, 600);
    let excess = mean_nll(&model, &toy.sample(4_000, &mut seeded(21))) - toy.entropy().unwrap();
    assert!((-0.05..0.3).contains(&excess), "{excess}");
}

#[test]
fn far_points_score_low_and_never_nan() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(500, &mut seeded(9))).unwrap();
    for head in [MIXTURE, BINS] {
        let model = trained(AutoregressiveConfig { head, ..Default::default() }, &data, 20);
        let far = array![[1e6, 0.0], [0.0, -1e6], [-1e6, 1e6], [30.0, 30.0]];
        for (row, nats) in nats(&model, &far).iter().enumerate() {
            assert!(*nats < -15.0 && nats.is_finite(), "{head:?}, row {row}: {nats}");
        }
        let beyond = nats(&model, &array![[f32::MAX, 0.0], [0.0, f32::MIN], [f32::MIN, f32::MAX]]);
        // The tails of bins fall as a power.
        let most = if head == BINS { -200.0 } else { -1e10 };
        assert!(beyond.iter().all(|nats| *nats < most), "{head:?}: {beyond:?}");
    }
}

#[test]
fn a_known_density_is_recovered() {
    // (toy, head, rows, steps, most that the NLL may be above the truth)
    let cases = [
        (Toy::grid25(), Head::Mixture { components: 16 }, 600, 0.08),
        (Toy::moons(0.1).unwrap(), Head::Mixture { components: 16 }, 300, 0.025),
        (Toy::checkerboard(), Head::Bins { bins: 64 }, 600, 0.04),
    ];
    for (toy, head, steps, gap) in cases {
        let data = Dataset::new(toy.sample(20_000, &mut seeded(10))).unwrap();
        // Its edges run along the axes, where bins can follow them.
        let whiten = !matches!(head, Head::Bins { .. });
        let model = trained(AutoregressiveConfig { head, whiten, ..Default::default() }, &data, steps);
        let test = toy.sample(4_000, &mut seeded(11));
        let excess = mean_nll(&model, &test) + toy.log_density(test.view()).unwrap().mean().unwrap();
        // The truth is the best density on its own rows, but for their noise.
        assert!((-0.02..gap).contains(&excess), "{}: {excess} nats above the truth", toy.name());
    }
}

#[test]
fn training_starts_at_the_marginals() {
    // One step at a learning rate of nothing: what is left is the start.
    let toy = Toy::grid25();
    let data = Dataset::new(toy.sample(20_000, &mut seeded(12))).unwrap();
    for (head, most) in [(Head::Mixture { components: 40 }, 0.5), (Head::Bins { bins: 400 }, 0.1)] {
        let optimiser = OptimiserConfig { lr: 1e-12, ..Default::default() };
        let model = trained(AutoregressiveConfig { head, optimiser, ..Default::default() }, &data, 1);
        // The grid's columns are independent: their marginals are the whole truth. One Gaussian per column is
        // 4.9 above it.
        let excess = mean_nll(&model, &toy.sample(4_000, &mut seeded(13))) - toy.entropy().unwrap();
        assert!(excess < most, "{head:?}: {excess} nats above the entropy");
    }
}

#[test]
fn a_first_training_fits_and_a_second_goes_on() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(2_000, &mut seeded(14))).unwrap();
    let mut model = trained(AutoregressiveConfig { head: BINS, ..Default::default() }, &data, 100);
    let (before, conditionals) = (mean_nll(&model, &data.x().to_owned()), model.conditionals.clone());
    // Rows elsewhere: the bins stay where they are, and so, after one small step, do the parameters.
    let elsewhere = Dataset::new(data.x().mapv(|v| 0.5 * v)).unwrap();
    let options = TrainOptions { steps: 1, ..Default::default() };
    model.train(&elsewhere, &options, &mut seeded(15), &mut Silent).unwrap();
    assert_eq!(model.conditionals, conditionals);
    assert!((mean_nll(&model, &data.x().to_owned()) - before).abs() < 0.1);
}

#[test]
fn temperature_scales_what_it_says() {
    let data = Dataset::new(Toy::grid25().sample(5_000, &mut seeded(16))).unwrap();
    // One Gaussian per column, of the data's own spread: half the temperature, half the spread.
    let one = AutoregressiveConfig { head: Head::Mixture { components: 1 }, ..Default::default() };
    let model = trained(one, &data, 50);
    let sd = |temperature| draw(&model, 4_000, temperature).std_axis(Axis(0), 0.0);
    let (cold, warm) = (sd(0.5), sd(1.0));
    for (cold, warm) in cold.iter().zip(&warm) {
        assert!((cold / warm - 0.5).abs() < 0.05, "{cold} {warm}");
    }
    // Nearly no temperature, nearly one bin: the likeliest.
    let model = trained(AutoregressiveConfig { head: BINS, ..Default::default() }, &data, 20);
    let width = f64::from(draw(&model, 500, 1e-3).std_axis(Axis(0), 0.0)[0]);
    assert!(width < 1.0, "{width}: a bin is 8.6/12 wide");
    assert!(draw(&model, 500, 1e6).iter().all(|v| v.is_finite()));
}

#[test]
fn every_option_matters() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(500, &mut seeded(17))).unwrap();
    let score = |config: AutoregressiveConfig| nats(&trained(config, &data, 5), &array![[0.3, 0.1]])[0];
    let base = AutoregressiveConfig { hidden: vec![16, 16], ..Default::default() };
    let variants = [
        AutoregressiveConfig { hidden: vec![16], ..base.clone() },
        AutoregressiveConfig { hidden: vec![16, 17], ..base.clone() },
        AutoregressiveConfig { activation: Activation::Tanh, ..base.clone() },
        AutoregressiveConfig { octaves: 4, ..base.clone() },
        AutoregressiveConfig { whiten: false, ..base.clone() },
        AutoregressiveConfig { head: MIXTURE, ..base.clone() },
        AutoregressiveConfig { head: BINS, ..base.clone() },
        AutoregressiveConfig { head: Head::Bins { bins: 13 }, ..base.clone() },
        AutoregressiveConfig {
            optimiser: OptimiserConfig { lr: 2e-3, ..Default::default() },
            ..base.clone()
        },
    ];
    let mut scores = vec![score(base)];
    for variant in variants {
        let what = format!("{variant:?}");
        let got = score(variant);
        assert!(scores.iter().all(|other| *other != got), "{what} changes nothing");
        scores.push(got);
    }
}

#[test]
fn a_config_out_of_range_is_named() {
    let base = AutoregressiveConfig::default;
    let bad = [
        ("AutoregressiveConfig::dim", AutoregressiveConfig { dim: 0, ..base() }),
        ("AutoregressiveConfig::hidden", AutoregressiveConfig { hidden: vec![], ..base() }),
        ("AutoregressiveConfig::hidden", AutoregressiveConfig { hidden: vec![8, 0], ..base() }),
        ("AutoregressiveConfig::octaves", AutoregressiveConfig { octaves: 15, ..base() }),
        (
            "Activation::LeakyRelu::slope",
            AutoregressiveConfig { activation: LeakyRelu { slope: f64::INFINITY }, ..base() },
        ),
        (
            "Head::Mixture::components",
            AutoregressiveConfig { head: Head::Mixture { components: 0 }, ..base() },
        ),
        (
            "Head::Mixture::components",
            AutoregressiveConfig { head: Head::Mixture { components: usize::MAX }, ..base() },
        ),
        ("Head::Bins::bins", AutoregressiveConfig { head: Head::Bins { bins: usize::MAX }, ..base() }),
        ("Head::Bins::bins", AutoregressiveConfig { head: Head::Bins { bins: 0 }, ..base() }),
    ];
    for (expected, config) in bad {
        match Autoregressive::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn samples_are_a_prefix_and_cost_what_the_card_says() {
    for dim in [1, 2, 5] {
        let (model, _, _) = shaken(dim, MIXTURE);
        let drawn = model.sample(60, &SampleOptions::default(), &mut seeded(2)).unwrap();
        assert_eq!((drawn.nfe, model.card().nfe), (dim, dim));
        for k in [0, 1, 50] {
            assert_eq!(draw(&model, k, 1.0), drawn.x.slice(s![..k, ..]));
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn threads_do_not_move_a_bit() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(500, &mut seeded(18))).unwrap();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut model = Autoregressive::new(AutoregressiveConfig::default(), &mut seeded(0)).unwrap();
            let options = TrainOptions { steps: 5, shards: 4, ..Default::default() };
            let report = model.train(&data, &options, &mut seeded(1), &mut Silent).unwrap();
            let x = draw(&model, 150, 1.0);
            (report, nats(&model, &x), x)
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}
