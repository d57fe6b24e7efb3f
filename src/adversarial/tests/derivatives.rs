//! Each player's gradient, in f64, against central differences of its own loss, with the noise held fixed.

use crate::nn::NetworkSpec;
use ndarray::array;

use super::{GAMES, small};
use crate::adversarial::objective::{Critic, Generator};
use crate::adversarial::*;
use crate::engine::{Batch, Loss as _};
use crate::nn::{Activation, Weights};
use crate::numeric::Real;
use crate::seeded;
use crate::testing::{PROGRESS, assert_close, check_gradient, differences, normals};

/// A player's starting numbers in f64, biases moved away from zero.
fn numbers(parameters: &Parameters, seed: u64) -> Vec<f64> {
    let mut rng = seeded(seed);
    parameters.p.iter().map(|&p| f64::from(p) + 0.1 * f64::normal(&mut rng)).collect()
}

/// The critic's loss, its parts and weight · gradient at p, everything else, conditions among it, from the seed.
fn critic_at(gan: &Gan, p: &[f64], weight: f64, seed: u64) -> (f64, [f64; 2], Vec<f64>) {
    let opponent = numbers(&gan.generator_parameters, 1);
    let game = Critic { loss: gan.config.loss, critic: &gan.critic, generator: &gan.generator, opponent };
    let (mut rng, mut noise, mut scratch) = (seeded(seed), Default::default(), Default::default());
    let mut t = vec![0.0; p.len()];
    game.transpose(p, &mut t);
    let mut run = |rows: usize| {
        let x: Vec<f64> = normals(2 * rows, &mut rng);
        let c: Vec<f64> = normals(gan.config.condition.width() * rows, &mut rng);
        game.draw(rows, &c, PROGRESS, &mut rng, &mut noise);
        let (mut dp, mut parts) = (vec![0.0; p.len()], [0.0; 2]);
        let (w, batch) = (Weights { p, t: &t }, Batch { x: &x, c: &c });
        let loss = game.loss_grad(w, batch, &noise, weight, Some(&mut dp), &mut parts, &mut scratch);
        (loss, parts, dp)
    };
    // Buffers dirty from a larger tile must not matter.
    run(6);
    run(4)
}

/// Without a condition, and with one in each way.
fn conditioned(config: GanConfig) -> [GanConfig; 3] {
    let with = |condition, conditioning| GanConfig { condition, conditioning, ..config.clone() };
    [
        config.clone(),
        with(ConditionKind::Class { classes: 3 }, Conditioning::Concatenation),
        with(ConditionKind::Vector { dim: 2 }, Conditioning::Projection),
    ]
}

#[test]
fn gan_critic_gradient_is_that_of_its_whole_loss() {
    // Smooth activations have a curvature, which the penalty's gradient needs.
    for loss in GAMES {
        for critic_activation in [Activation::Silu, Activation::Softplus, Activation::Tanh] {
            for config in conditioned(GanConfig {
                critic: NetworkSpec::mlp([7, 5], critic_activation, 1),
                ..small(loss)
            }) {
                let gan = Gan::new(config, &mut seeded(3)).unwrap();
                let p = numbers(&gan.critic_parameters, 2);
                let (critic, generator) = (&gan.critic, &gan.generator);
                let opponent = numbers(&gan.generator_parameters, 1);
                let game = Critic { loss, critic, generator, opponent };
                let (rng, rows) = (&mut seeded(5), 4);
                let (x, c) = (normals(2 * rows, rng), normals(gan.config.condition.width() * rows, rng));
                let what = format!("{:?}", gan.config);
                let checked = check_gradient(&what, &game, &p, rows, Batch { x: &x, c: &c }, |_| false);
                assert!((checked.loss - checked.parts[0] - checked.parts[1]).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn the_penalty_is_in_the_gradient() {
    for (loss, without) in [
        (GAMES[1], AdversarialLoss::NonSaturatingR1 { gamma: 0.0 }),
        (GAMES[2], AdversarialLoss::WassersteinGp { lambda: 0.0 }),
    ] {
        for config in conditioned(small(loss)) {
            let mut gan = Gan::new(config, &mut seeded(3)).unwrap();
            let p = numbers(&gan.critic_parameters, 2);
            let with = critic_at(&gan, &p, 1.0, 5).2;
            let penalty = differences(&p, |p| critic_at(&gan, p, 1.0, 5).1[1]);
            gan.config.loss = without;
            let without = critic_at(&gan, &p, 1.0, 5).2;
            let difference: Vec<f64> =
                with.iter().zip(&without).map(|(with, without)| with - without).collect();
            assert_close(&format!("{:?}", gan.config), 1e-6, &difference, &penalty);
            let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!(norm(&difference) > 0.5 * norm(&without), "{:?}: {}", gan.config, norm(&difference));
        }
    }
}

#[test]
fn the_penalty_of_an_affine_critic_is_known() {
    // D = w·x + b: ∇D = w everywhere.
    let affine = |loss| GanConfig {
        critic: NetworkSpec::mlp([], Activation::LeakyRelu { slope: 0.2 }, 0),
        ..small(loss)
    };
    let (n, w) = (4.0, [0.6, -0.8]);
    for scale in [0.5, 2.0] {
        let p = [scale * w[0], scale * w[1], 0.3];
        let gan = Gan::new(affine(GAMES[1]), &mut seeded(0)).unwrap();
        assert!((critic_at(&gan, &p, 1.0, 5).1[1] - n * 0.35 * scale * scale).abs() < 1e-12);
        let gan = Gan::new(affine(GAMES[2]), &mut seeded(0)).unwrap();
        let (_, parts, dp) = critic_at(&gan, &p, 1.0, 5);
        assert!((parts[1] - n * 3.0 * (scale - 1.0).powi(2)).abs() < 1e-12);
        let mut unpenalized = gan.clone();
        unpenalized.config.loss = AdversarialLoss::WassersteinGp { lambda: 0.0 };
        let base = critic_at(&unpenalized, &p, 1.0, 5).2;
        let got: Vec<f64> = dp.iter().zip(&base).map(|(dp, base)| dp - base).collect();
        let slope = n * 2.0 * 3.0 * (scale - 1.0);
        assert_close("∂P/∂(w, b)", 1e-6, &got, &[slope * w[0], slope * w[1], 0.0]);
    }
}

#[test]
fn a_flat_critic_has_a_finite_gradient() {
    let p = [0.0, 0.0, 0.3];
    for loss in GAMES {
        let config = GanConfig {
            critic: NetworkSpec::mlp([], Activation::LeakyRelu { slope: 0.2 }, 0),
            ..small(loss)
        };
        let gan = Gan::new(config, &mut seeded(0)).unwrap();
        let (total, parts, dp) = critic_at(&gan, &p, 1.0, 5);
        assert!(total.is_finite() && dp.iter().all(|dp| dp.is_finite()), "{loss:?}: {dp:?}");
        let expected = if let AdversarialLoss::WassersteinGp { lambda } = loss { 4.0 * lambda } else { 0.0 };
        assert_eq!(parts[1], expected);
    }
}

#[test]
fn gan_generator_gradient_goes_through_the_critic() {
    for config in GAMES.into_iter().flat_map(|loss| conditioned(small(loss))) {
        let gan = Gan::new(config, &mut seeded(3)).unwrap();
        let p = numbers(&gan.critic_parameters, 2);
        let mut t = vec![0.0; p.len()];
        gan.critic.net.transpose(&p, &mut t);
        let loss = gan.config.loss;
        let game = Generator { loss, critic: &gan.critic, generator: &gan.generator, opponent: (p, t) };
        let (p, rows) = (numbers(&gan.generator_parameters, 1), 4);
        let c = normals(gan.config.condition.width() * rows, &mut seeded(5));
        let what = format!("{:?}", gan.config);
        let dp = check_gradient(&what, &game, &p, rows, Batch { x: &[], c: &c }, |_| false).dp;
        assert!(dp.iter().any(|dp| dp.abs() > 4e-3));
    }
}

/// D(x, c) = v·h + b₀ + ⟨E·c, h⟩ + ⟨b, c⟩ by hand, for a critic whose h is x itself.
#[test]
fn projection_is_the_product_of_embedding_and_hidden_layer() {
    let config = GanConfig {
        condition: ConditionKind::Class { classes: 2 },
        conditioning: Conditioning::Projection,
        critic: NetworkSpec::mlp([], Activation::LeakyRelu { slope: 0.2 }, 0),
        ..small(GAMES[2])
    };
    let mut gan = Gan::new(config, &mut seeded(0)).unwrap();
    // Of each input, its weights in v and in the columns of E; then the offsets.
    gan.critic_parameters = Parameters::new(vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0, 0.1, 0.2, 0.3]);
    let d = |class| gan.critic_given(array![[10.0, 100.0]].view(), &Condition::class(class)).unwrap()[0];
    assert!((d(0) - (210.0 + 0.1 + 430.0 + 0.2)).abs() < 1e-3, "{}", d(0));
    assert!((d(1) - (210.0 + 0.1 + 650.0 + 0.3)).abs() < 1e-3, "{}", d(1));
    // The slope in x is (1, 2) + E's row of the class: of class 0 alone, the penalty is known.
    let p: Vec<f64> = gan.critic_parameters.p.iter().map(|&p| p.into()).collect();
    let opponent = numbers(&gan.generator_parameters, 1);
    let game = Critic { loss: GAMES[1], critic: &gan.critic, generator: &gan.generator, opponent };
    let (c, x, mut noise, mut parts) = ([1.0, 0.0], [0.3, -0.2], Default::default(), [0.0; 2]);
    game.draw(1, &c, PROGRESS, &mut seeded(1), &mut noise);
    let (mut t, mut dp) = (p.clone(), vec![0.0; p.len()]);
    game.transpose(&p, &mut t);
    let (w, batch) = (Weights { p: &p, t: &t }, Batch { x: &x, c: &c });
    game.loss_grad(w, batch, &noise, 1.0, Some(&mut dp), &mut parts, &mut Default::default());
    assert!((parts[1] - 0.35 * (4.0f64.powi(2) + 6.0f64.powi(2))).abs() < 1e-12, "{parts:?}");
}

#[test]
fn the_games_are_what_the_papers_say() {
    let [minimax, non_saturating, wasserstein] = GAMES;
    for a in [-40.0, -3.0, 0.0, 0.5, 40.0] {
        // Zero-sum on the generated rows.
        let (wins, loses) = (minimax.on_fake(a), minimax.on_generated(a));
        assert_eq!((wins.0 + loses.0, wins.1 + loses.1), (0.0, 0.0));
        let sigma: f64 = 1.0 / (1.0 + f64::exp(-a));
        assert!((non_saturating.on_real(a).0 + sigma.ln()).abs() < 1e-12);
        assert!((non_saturating.on_generated(a).0 + sigma.ln()).abs() < 1e-12);
        assert_eq!(
            (wasserstein.on_real(a).0, wasserstein.on_fake(a).0, wasserstein.on_generated(a).0),
            (-a, a, -a)
        );
    }
    // Against a critic that is sure, one game gives no slope and the other the full one.
    assert!(minimax.on_generated(-30.0f64).1.abs() < 1e-12);
    assert!((non_saturating.on_generated(-30.0f64).1 + 1.0).abs() < 1e-12);
    for loss in GAMES {
        for a in [-1e30f32, 1e30] {
            assert!(loss.on_real(a).0.is_finite() && loss.on_fake(a).0.is_finite(), "{loss:?}");
        }
    }
}
