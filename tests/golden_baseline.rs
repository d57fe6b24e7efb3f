//! The baselines against scikit-learn and scipy (`tests/golden/baseline.py`): the same f32 rows, all sums in
//! f64.

use std::collections::HashMap;

use quadrivium::ndarray::{Array2, Array3};
use quadrivium::prelude::*;
use quadrivium::seeded;
use quadrivium::{Bandwidth, ComponentCount, Covariance};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    mixtures: Vec<Mixture>,
    kernels: Vec<Kernels>,
}

#[derive(Deserialize)]
struct Mixture {
    family: String,
    dim: usize,
    components: usize,
    iterations: usize,
    train: Vec<f32>,
    test: Vec<f32>,
    weights: Vec<f64>,
    means: Vec<f64>,
    covariances: Vec<f64>,
    start_nats: Vec<f64>,
    fit_weights: Vec<f64>,
    fit_means: Vec<f64>,
    fit_covariances: Vec<f64>,
    fit_nats: Vec<f64>,
    responsibilities: Vec<f64>,
    bic: f64,
}

#[derive(Deserialize)]
struct Kernels {
    dim: usize,
    train: Vec<f32>,
    test: Vec<f32>,
    isotropic: HashMap<String, Vec<f64>>,
    scott: Rule,
    silverman: Rule,
}

#[derive(Deserialize)]
struct Rule {
    factor: f64,
    covariance: Vec<f64>,
    nats: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/baseline.json")).unwrap()
}

fn rows(x: &[f32], dim: usize) -> Array2<f32> {
    Array2::from_shape_vec((x.len() / dim, dim), x.to_vec()).unwrap()
}

fn nats(model: &dyn Generative, x: &Array2<f32>) -> Vec<f64> {
    let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    score.nats().unwrap().to_vec()
}

fn assert_close<'a>(what: &str, got: impl IntoIterator<Item = &'a f64>, want: &[f64], tolerance: f64) {
    let got: Vec<f64> = got.into_iter().copied().collect();
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() < tolerance * want.abs().max(1.0), "{what}[{i}]: {got}, there {want}");
    }
}

#[test]
fn the_mixture_scores_and_fits_as_scikit_learn() {
    for g in golden().mixtures {
        let (k, d) = (g.components, g.dim);
        let covariance = match g.family.as_str() {
            "full" => Covariance::Full,
            "tied" => Covariance::Tied,
            "diag" => Covariance::Diagonal,
            _ => Covariance::Spherical,
        };
        let config = GaussianMixtureConfig {
            dim: d,
            covariance,
            components: ComponentCount::Fixed(k),
            tol: 0.0,
            max_iter: g.iterations,
            reg_covar: 0.0,
            shrinkage: 0.0,
            ..Default::default()
        };
        let means = Array2::from_shape_vec((k, d), g.means).unwrap();
        let covariances = Array3::from_shape_vec((k, d, d), g.covariances).unwrap();
        let mut model =
            GaussianMixture::from_parameters(config, &g.weights, means.view(), covariances.view()).unwrap();
        let test = rows(&g.test, d);
        assert_close("nats of the start", &nats(&model, &test), &g.start_nats, 1e-12);

        let train = rows(&g.train, d);
        let data = Dataset::new(train.clone()).unwrap();
        let report = model.train(&data, &TrainOptions::default(), &mut seeded(0), &mut NoObserver).unwrap();
        assert_eq!(report.loss.len(), g.iterations);
        assert_close("weights", model.weights(), &g.fit_weights, 1e-10);
        assert_close("means", model.means(), &g.fit_means, 1e-10);
        assert_close("covariances", model.covariances(), &g.fit_covariances, 1e-10);
        assert_close("nats of the fit", &nats(&model, &test), &g.fit_nats, 1e-9);
        assert_close(
            "responsibilities",
            &model.responsibilities(test.view()).unwrap(),
            &g.responsibilities,
            1e-9,
        );
        assert_close("bic", &[model.bic(train.view()).unwrap()], &[g.bic], 1e-10);
    }
}

#[test]
fn the_kernel_density_scores_as_scikit_learn_and_scipy() {
    for g in golden().kernels {
        let (data, test) = (Dataset::new(rows(&g.train, g.dim)).unwrap(), rows(&g.test, g.dim));
        for (h, want) in &g.isotropic {
            let h: f64 = h.parse().unwrap();
            let model = KernelDensity::from_parameters(&data, (Array2::eye(g.dim) * (h * h)).view()).unwrap();
            assert_close(&format!("h = {h}"), &nats(&model, &test), want, 1e-11);
        }
        for (bandwidth, want) in [(Bandwidth::Scott, &g.scott), (Bandwidth::Silverman, &g.silverman)] {
            let mut model =
                KernelDensity::new(KernelDensityConfig { dim: g.dim, bandwidth, ..Default::default() })
                    .unwrap();
            model.train(&data, &TrainOptions::default(), &mut seeded(0), &mut NoObserver).unwrap();
            assert_close("factor", &[model.bandwidth()], &[want.factor], 1e-14);
            assert_close("covariance", &model.covariance(), &want.covariance, 1e-12);
            assert_close(&format!("{bandwidth:?}"), &nats(&model, &test), &want.nats, 1e-11);
        }
    }
}
