//! What likelihoods promise.

use quadrivium::hybrid::{Latent, LatentConfig};

use super::*;

pub fn batch_scores_as_its_rows(subject: &Subject) {
    let (model, x) = (subject.trained(), moons(60).x().to_owned());
    let all = nats(model, &x).unwrap();
    for r in [0, 17, 59] {
        let one = nats(model, &x.slice(s![r..r + 1, ..]).to_owned()).unwrap()[0];
        assert_same_score(one, all[r]);
    }
    // A view that is not contiguous is the same rows.
    let mut columns = Array2::zeros((2, 60));
    columns.assign(&x.t());
    let score = model.log_likelihood(columns.t(), &LikelihoodOptions::default()).unwrap();
    assert_eq!(score.nats().unwrap().to_vec(), all);
}

pub fn far_points_score_low_and_never_nan(subject: &Subject) {
    let x = array![[30.0, -30.0], [1e4, 0.0], [-1e8, 1e8], [f32::MAX, f32::MIN], [0.0, 1e30]];
    for (row, nats) in nats(subject.trained(), &x).unwrap().iter().enumerate() {
        assert!(*nats < -15.0, "far point {row} scores {nats}");
    }
}

pub fn density_integrates_to_one(subject: &Subject) {
    let (inside, outside) = mass(subject.trained(), ([-4.0, -3.0], [5.0, 3.5]), 300_000, 20_000);
    // Steps are resolved less well than slopes; the model's own tests integrate them bin by bin.
    let most = if subject.name.ends_with("bins") { 2e-3 } else { 1e-3 };
    assert!((inside + outside - 1.0).abs() < most, "{inside}, {outside} outside");
}

/// Nats of a likelihood that claims them are at most the truth on average. On the same rows, so that the rows' own
/// chance cancels: the mean of log p_truth − log p_model estimates a KL divergence, which is not negative.
pub fn likelihood_does_not_beat_the_truth(subject: &Subject) {
    let toy = Toy::moons(0.1).unwrap();
    let data = Dataset::new(toy.sample(5_000, &mut seeded(11))).unwrap();
    let test = toy.sample(1_000, &mut seeded(12));
    let truth = toy.log_density(test.view()).unwrap();
    let mut model = subject.fresh();
    model.train(&data, &short(300), &mut seeded(2), &mut NoObserver).unwrap();
    let nats = nats(model.as_ref(), &test).unwrap();
    let gaps: Vec<f64> = truth.iter().zip(&nats).map(|(truth, model)| truth - model).collect();
    let n = gaps.len() as f64;
    let mean = gaps.iter().sum::<f64>() / n;
    let error = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n / n).sqrt();
    // After so short a training each is measurably worse than the truth.
    assert!(mean > 3.0 * error, "KL(truth ‖ model) = {mean} ± {error}");
}

#[test]
fn vae_elbo_is_below_iwae_is_below_the_truth() {
    let toy = Toy::moons(0.1).unwrap();
    let data = Dataset::new(toy.sample(5_000, &mut seeded(11))).unwrap();
    let test = toy.sample(1_000, &mut seeded(12));
    let truth = toy.log_density(test.view()).unwrap().mean().unwrap();
    let bound = |draws: usize| {
        let mut vae = Vae::new(VaeConfig { draws, ..Default::default() }, &mut seeded(0)).unwrap();
        vae.train(&data, &short(300), &mut seeded(1), &mut NoObserver).unwrap();
        let score = vae.log_likelihood(test.view(), &LikelihoodOptions::default()).unwrap();
        score.nats().unwrap().mean().unwrap()
    };
    let (elbo, iwae_5, iwae_100) = (bound(1), bound(5), bound(100));
    assert!(elbo < iwae_5 && iwae_5 < iwae_100 && iwae_100 < truth, "{elbo} {iwae_5} {iwae_100} {truth}");
}

/// A VAE whose KL weighs little leaves latents that are not N(0, I), which a flow learns.
#[test]
fn latent_bound_tightens_and_stays_below_the_truth() {
    let toy = Toy::moons(0.1).unwrap();
    let data = Dataset::new(toy.sample(2_000, &mut seeded(11))).unwrap();
    let test = toy.sample(500, &mut seeded(12));
    let truth = toy.log_density(test.view()).unwrap().mean().unwrap();
    let vae = Vae::new(VaeConfig { beta: 0.1, ..Default::default() }, &mut seeded(0)).unwrap();
    let flow = Flow::new(FlowConfig::default(), &mut seeded(0)).unwrap();
    let mut model = Latent::new(vae, flow, LatentConfig::default()).unwrap();
    model.train(&data, &short(300), &mut seeded(1), &mut NoObserver).unwrap();
    let [elbo, iwae_5, iwae_50] = [1, 5, 50].map(|draws| {
        let model = model.clone().with_config(LatentConfig { draws, ..Default::default() }).unwrap();
        let score = model.log_likelihood(test.view(), &LikelihoodOptions::default()).unwrap();
        assert!(matches!(score, LogLikelihood::LowerBound { draws: found, .. } if found == draws));
        score.nats().unwrap().mean().unwrap()
    });
    assert!(elbo < iwae_5 && iwae_5 < iwae_50 && iwae_50 < truth, "{elbo} {iwae_5} {iwae_50} {truth}");
    let gain = model.prior_gain(test.view(), &LikelihoodOptions::default()).unwrap().unwrap();
    let error = gain.std(1.0) / 500f64.sqrt();
    assert!(gain.mean().unwrap() > 3.0 * error, "{} ± {error}", gain.mean().unwrap());
}
