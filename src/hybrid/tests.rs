use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayView2, array, s};
use rand::RngCore;

use super::codec::log_normal;
use super::*;
use crate::diffusion::{Guidance, Sampler};
use crate::engine::RowStreams;
use crate::error::{DataError, Error};
use crate::map::{FailureMode, LatencyLaw, Paradigm as Way};
use crate::model::*;
use crate::numeric::cholesky::{cholesky, invert_lower, ln_det};
use crate::numeric::rng::{Rng, Streams, seeded};
use crate::testing::normals;
use crate::worlds::Toy;
use crate::*;

fn moons(n: usize, seed: u64) -> Array2<f32> {
    Toy::moons(0.1).unwrap().sample(n, &mut seeded(seed))
}

fn short(steps: usize) -> TrainOptions {
    TrainOptions { steps, batch: 64, ..Default::default() }
}

fn mlp(width: usize) -> NetworkSpec {
    NetworkSpec::mlp([width, width], Activation::Tanh, 2)
}

fn vae(draws: usize) -> Vae {
    let config = VaeConfig { encoder: mlp(16), decoder: mlp(16), draws, ..Default::default() };
    let mut vae = Vae::new(config, &mut seeded(1)).unwrap();
    vae.train(&Dataset::new(moons(500, 1)).unwrap(), &short(200), &mut seeded(2), &mut NoObserver).unwrap();
    vae
}

/// One layer, which untrained is the identity: its rows are N(0, I).
fn identity(dim: usize) -> Flow {
    Flow::new(FlowConfig { layers: 1, ..FlowConfig::with_dim(dim) }, &mut seeded(0)).unwrap()
}

fn nats(p: &dyn Distribution, x: &Array2<f32>) -> Array1<f64> {
    p.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap().nats().unwrap().clone()
}

fn at(seed: u64) -> RowStreams {
    RowStreams::new(Streams::new(seed), 0)
}

/// A VAE that counts how often it is asked for latents and for rows.
#[derive(Debug, Clone)]
struct Counting {
    vae: Vae,
    explained: Arc<AtomicUsize>,
    decoded: Arc<AtomicUsize>,
}

impl Distribution for Counting {
    fn card(&self) -> Card {
        self.vae.card()
    }

    fn dim(&self) -> usize {
        self.vae.dim()
    }

    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples> {
        self.vae.sample(n, options, rng)
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<f32>) -> std::ops::ControlFlow<()>,
    ) -> Result<()> {
        self.vae.sample_each(n, options, rng, sink)
    }

    fn log_likelihood(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        self.vae.log_likelihood(x, options)
    }
}

impl Generative for Counting {
    fn num_params(&self) -> usize {
        self.vae.num_params()
    }

    fn train(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        self.vae.train(data, options, rng, observer)
    }
}

impl Codec for Counting {
    fn latent_dim(&self) -> usize {
        self.vae.latent_dim()
    }

    fn explain(&self, x: ArrayView2<f32>, seed: u64) -> Result<Explanation> {
        self.explained.fetch_add(1, Ordering::Relaxed);
        self.vae.explain(x, seed)
    }

    fn decode_at(
        &self,
        z: ArrayView2<f32>,
        at: RowStreams,
        options: &SampleOptions,
        rows: &mut [f32],
    ) -> Result<usize> {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        self.vae.decode_at(z, at, options, rows)
    }
}

#[test]
fn guided_latent_diffusion_draws_noise_and_never_encodes() {
    let rng = &mut seeded(0);
    let classes = ConditionKind::Class { classes: 2 };
    let sampler = Sampler::Ddim { steps: 50, eta: 0.0 };
    let config = DiffusionConfig { network: mlp(16), sampler, condition: classes, ..Default::default() };
    let counting = Counting { vae: vae(5), explained: Default::default(), decoded: Default::default() };
    let counts = [counting.explained.clone(), counting.decoded.clone()];
    let count = || [0, 1].map(|which: usize| counts[which].load(Ordering::Relaxed));
    let mut model =
        Latent::new(counting, Diffusion::new(config, rng).unwrap(), LatentConfig::default()).unwrap();
    let labels = Condition::Class(Array1::from_shape_fn(200, |row| (row % 2) as u32));
    let data = Dataset::new(moons(200, 1)).unwrap().with_condition(labels).unwrap();
    model.train_prior(&data, &short(5), rng, &mut NoObserver).unwrap();
    assert_eq!(count(), [1, 0], "training encodes");

    let guided = model.prior().with_guidance(Guidance { scale: 2.0, ..Default::default() }).unwrap();
    let guided = model.with_prior(guided).unwrap();
    let card = guided.card();
    assert_eq!((card.nfe, card.parts[0].nfe, card.parts[1].nfe), (101, 100, 1));
    let under = guided.given(&Condition::class(1)).unwrap();
    assert_eq!(under.sample(70, &SampleOptions::default(), rng).unwrap().nfe, 101);
    assert_eq!(count(), [1, 1], "drawing decodes once, and encodes nothing");
    // A guided model draws from no density that could be named, so that its composition has no bound.
    let score = under.log_likelihood(moons(3, 2).view(), &LikelihoodOptions::default()).unwrap();
    assert_eq!((score, card.likelihood), (LogLikelihood::Unavailable, LikelihoodKind::Unavailable));
}

#[test]
fn card_of_three_parts_adds_up() {
    let rng = &mut seeded(0);
    let sampler = Sampler::Ddim { steps: 10, eta: 0.0 };
    let diffusion = Diffusion::new(DiffusionConfig { sampler, ..Default::default() }, rng).unwrap();
    let warp = Warp::new(identity(2), diffusion, LatentConfig::default()).unwrap();
    let warped = warp.card();
    assert_eq!((warped.nfe, warped.likelihood), (11, LikelihoodKind::OdeEstimate));
    let model = Latent::new(vae(1), warp, LatentConfig::default()).unwrap();
    let card = model.card();
    assert_eq!(card.name, "VAE + flow, spline coupling + DDIM-10");
    assert_eq!((card.paradigm, card.nfe, card.latency), (Way::Hybrid, 12, LatencyLaw::LinearInSteps));
    assert_eq!(card.likelihood, LikelihoodKind::LowerBound);
    let of: Vec<Way> = card.parts[0].parts.iter().map(|part| part.paradigm).collect();
    assert_eq!((of, card.parts[1].paradigm), (vec![Way::Diffusion, Way::Flow], Way::Latent));
    for failure in [FailureMode::DiscretizationError, FailureMode::Bridges, FailureMode::Blur] {
        assert_eq!(card.failures.iter().filter(|f| **f == failure).count(), 1, "{failure}");
    }
    assert_eq!(model.sample(3, &SampleOptions::default(), rng).unwrap().nfe, 12);
}

/// Three columns that depend on each other, of means and widths of their own.
fn tilted(n: usize) -> Array2<f32> {
    let rng = &mut seeded(3);
    let mut x = Array2::from_shape_vec((n, 3), normals::<f32>(3 * n, rng)).unwrap();
    for mut x in x.rows_mut() {
        let [a, b, c] = [x[0], x[1], x[2]];
        (x[0], x[1], x[2]) = (4.0 + 2.0 * a, a + 0.5 * b, 0.3 * a - b + 0.4 * c - 7.0);
    }
    x
}

/// With all directions it is the Gaussian of the rows' own mean and covariances; with fewer, the one whose variances in
/// the directions that are left, in standard units, are their mean.
#[test]
fn pca_with_a_normal_prior_is_a_gaussian_in_closed_form() {
    let x = tilted(400);
    let (n, d) = (x.nrows() as f64, 3);
    let mean: Array1<f64> = x.mapv(f64::from).mean_axis(ndarray::Axis(0)).unwrap();
    let centered = x.mapv(f64::from) - &mean;
    let sd = (&centered * &centered).mean_axis(ndarray::Axis(0)).unwrap().mapv(f64::sqrt);
    let y = &centered / &sd;
    let correlations = y.t().dot(&y) / n;
    for latent_dim in [1, 2, 3] {
        let mut pca = Pca::new(PcaConfig { dim: d, latent_dim }).unwrap();
        pca.fit(&Dataset::new(x.clone()).unwrap(), &mut seeded(0)).unwrap();
        // Σ λᵢ uᵢuᵢᵀ + σ² (I − Σ uᵢuᵢᵀ): of the same trace as the correlations, and with them where all are told apart.
        let mut covariance = Array2::<f64>::eye(d) * pca.axes.rest;
        for (u, variance) in pca.axes.directions.chunks_exact(d).zip(&pca.axes.variances) {
            let u = ArrayView2::from_shape((d, 1), u).unwrap();
            covariance = covariance + u.dot(&u.t()) * (variance - pca.axes.rest);
        }
        let left = if latent_dim == d { (&covariance - &correlations).mapv(f64::abs).sum() } else { 0.0 };
        assert!(left < 1e-5 && (covariance.diag().sum() - 3.0).abs() < 1e-5, "{covariance}");
        let l = cholesky(((&covariance + &covariance.t()) / 2.0).view()).unwrap();
        let whiten = Array2::from_shape_vec((d, d), invert_lower(&l, d)).unwrap();
        let constant = 0.5 * 3.0 * std::f64::consts::TAU.ln() + ln_det(&l, d) + sd.mapv(f64::ln).sum();
        let truth: Array1<f64> = y
            .rows()
            .into_iter()
            .map(|y| {
                let white = whiten.dot(&y);
                -constant - 0.5 * white.dot(&white)
            })
            .collect();

        let model =
            Latent::new(pca.clone(), identity_or_masked(latent_dim), LatentConfig::default()).unwrap();
        assert_eq!(model.card().likelihood, LikelihoodKind::Exact);
        for (what, found) in [("alone", nats(&pca, &x)), ("with the prior", nats(&model, &x))] {
            let most = (&found - &truth).iter().fold(0.0f64, |most, gap| most.max(gap.abs()));
            assert!(most < 2e-4, "{latent_dim} directions, {what}: {most}");
        }
        // And what is drawn has these covariances: 20,000 rows, 0.01 of a variance.
        let drawn = model.draw(20_000, &mut seeded(4)).unwrap().mapv(f64::from);
        let drawn = (&drawn - &mean) / &sd;
        let gap = (drawn.t().dot(&drawn) / 20_000.0 - &covariance).mapv(f64::abs);
        assert!(gap.iter().all(|gap| *gap < 0.06), "{gap}");
    }
}

/// Untrained, N(0, I).
fn identity_or_masked(dim: usize) -> Flow {
    Flow::new(FlowConfig { layers: 1, correlated_base: false, ..FlowConfig::with_dim(dim) }, &mut seeded(0))
        .unwrap()
}

#[test]
fn warp_by_the_identity_is_its_prior() {
    let data = Dataset::new(moons(500, 1)).unwrap();
    let mut mixture = GaussianMixture::new(Default::default()).unwrap();
    mixture.fit(&data, &mut seeded(0)).unwrap();
    let warp = Warp::new(identity(2), mixture.clone(), LatentConfig::default()).unwrap();
    let x = moons(100, 2);
    let gap = nats(&warp, &x) - nats(&mixture, &x);
    assert!(gap.iter().all(|gap| gap.abs() < 1e-5), "{gap}");
    let [mut ours, mut theirs] = [[0.0; 60]; 2];
    warp.draw_at(at(1), &SampleOptions::default(), &mut ours).unwrap();
    mixture.draw_at(at(1).family(0), &SampleOptions::default(), &mut theirs).unwrap();
    assert!(ours.iter().zip(theirs).all(|(ours, theirs)| (ours - theirs).abs() < 1e-5));
}

#[test]
fn warp_of_a_normal_prior_is_its_flow() {
    let data = Dataset::new(moons(500, 1)).unwrap();
    let mut flow = Flow::new(FlowConfig { network: mlp(16), ..Default::default() }, &mut seeded(0)).unwrap();
    flow.train(&data, &short(100), &mut seeded(0), &mut NoObserver).unwrap();
    let warp = Warp::new(flow.clone(), identity(2), LatentConfig::default()).unwrap();
    let x = moons(100, 2);
    let gap = nats(&warp, &x) - nats(&flow, &x);
    assert!(gap.iter().all(|gap| gap.abs() < 1e-5), "{gap}");
    // f and back again.
    let (u, _) = flow.to_base(x.view()).unwrap();
    let back = flow.from_base(u.view()).unwrap();
    assert!((back - x).iter().all(|gap| gap.abs() < 1e-4));
    // Beyond f32 there is no density left.
    let far = array![[f32::MAX, f32::MIN], [0.0, 0.0]];
    let scores = nats(&warp, &far);
    assert!(scores[0] < -1e9 && scores[1].is_finite(), "{scores}");
}

/// The mean over draws of the weights' mean is e to the bound, whatever the noise: the VAE's own bound by the same
/// number of draws, within chance.
#[test]
fn normal_prior_gives_a_vae_its_own_bound_back() {
    let draws = 50;
    let vae = vae(draws);
    let x = moons(300, 2);
    let config = LatentConfig { draws, ..Default::default() };
    let model = Latent::new(vae.clone(), identity(2), config).unwrap();
    let gap = nats(&model, &x) - nats(&vae, &x);
    let error = gap.std(1.0) / (gap.len() as f64).sqrt();
    let mean = gap.mean().unwrap();
    assert!(error < 0.05 && mean.abs() < 4.0 * error, "{mean} ± {error}");
    let gain = model.prior_gain(x.view(), &LikelihoodOptions::default()).unwrap().unwrap();
    assert!(gain.iter().all(|gain| gain.abs() < 1e-5), "{gain}");
}

/// What the prior of an exact codec adds is the difference of two likelihoods.
#[test]
fn gain_of_a_prior_is_the_difference_of_likelihoods() {
    let data = Dataset::new(moons(500, 1)).unwrap();
    let prior = GaussianMixture::new(Default::default()).unwrap();
    let mut model =
        Latent::new(Pca::new(PcaConfig::default()).unwrap(), prior, LatentConfig::default()).unwrap();
    model.fit(&data, &mut seeded(0)).unwrap();
    let x = moons(100, 2);
    let gain = model.prior_gain(x.view(), &LikelihoodOptions::default()).unwrap().unwrap();
    let gap = nats(&model, &x) - nats(model.codec(), &x) - &gain;
    assert!(gap.iter().all(|gap| gap.abs() < 1e-9) && gain.mean().unwrap() > 0.1, "{gap}");
}

#[test]
fn weights_of_explained_rows_are_what_their_parts_say() {
    // A decoder whose z says nothing: q(z|x) is near N(0, I), so that the weight is near ln p(x) whatever z is drawn.
    let vae = vae(1);
    let x = moons(20, 2);
    let Explanation { z, nats: weights } = vae.explain(x.view(), 7).unwrap();
    let posterior = vae.encode(x.view()).unwrap();
    // ln w − ln N(z) + ln q(z|x) = ln p(x|z), which is largest at m(z): a row decoded without noise scores best.
    let [log_p, log_q] = [log_normal(z.view()), {
        let standard = (&z - &posterior.mean) / &posterior.sd;
        log_normal(standard.view()) - posterior.sd.mapv(|sd| f64::from(sd).ln()).sum_axis(ndarray::Axis(1))
    }];
    let reconstruction = &weights - &log_p + &log_q;
    let mut means = vec![0.0; x.len()];
    let nearly_none = SampleOptions { temperature: 1e-6 };
    vae.decode_at(z.view(), at(0), &nearly_none, &mut means).unwrap();
    let means = Array2::from_shape_vec(x.dim(), means).unwrap();
    // −½ Σ (x − m)²/s² up to a constant of all rows, as s is shared: the farther, the less.
    let mut order: Vec<usize> = (0..20).collect();
    order.sort_by(|a, b| reconstruction[*b].total_cmp(&reconstruction[*a]));
    let units = Dataset::new(moons(500, 1)).unwrap();
    let spread = units.x().std_axis(ndarray::Axis(0), 0.0);
    let far = |row: usize| ((&x.row(row) - &means.row(row)) / &spread).mapv(|v| v * v).sum();
    assert!(far(order[0]) < far(order[19]), "{} {}", far(order[0]), far(order[19]));
}

#[test]
fn second_stage_resumes_from_a_checkpoint_of_its_own() {
    let path = std::env::temp_dir().join(format!("quadrivium-stages-{}", std::process::id()));
    let build = || {
        let rng: &mut Rng = &mut seeded(0);
        let vae =
            Vae::new(VaeConfig { encoder: mlp(8), decoder: mlp(8), ..Default::default() }, rng).unwrap();
        let flow = Flow::new(FlowConfig { network: mlp(8), ..Default::default() }, rng).unwrap();
        Latent::new(vae, flow, LatentConfig::default()).unwrap()
    };
    let data = Dataset::new(moons(200, 1)).unwrap();
    let resumable = TrainOptions {
        checkpoint: Some(Checkpoint { path: path.clone(), every: 2 }),
        validation: 0.1,
        validate_every: 3,
        ..short(6)
    };
    let whole_options = TrainOptions { checkpoint: None, ..resumable.clone() };
    let [mut whole, mut first, mut second] = [(); 3].map(|()| build());
    let report = whole.train(&data, &whole_options, &mut seeded(5), &mut NoObserver).unwrap();
    assert_eq!((report.loss.len(), report.stop), (12, Stop::Completed));
    assert_eq!(report.validation.iter().map(|v| v.0).collect::<Vec<_>>(), [3, 6, 9, 12]);
    let mut seen = Vec::new();
    let mut until_nine = |step: &Step<'_>| {
        assert_eq!(step.steps, 12);
        seen.push(step.step);
        if step.step == 8 { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    };
    let broken = first.train(&data, &resumable, &mut seeded(5), &mut until_nine).unwrap();
    assert_eq!((broken.loss.len(), broken.stop), (9, Stop::Interrupted));
    let mut resumed = Vec::new();
    let mut rest = |step: &Step<'_>| {
        resumed.push(step.step);
        std::ops::ControlFlow::Continue(())
    };
    assert_eq!(second.train(&data, &resumable, &mut seeded(5), &mut rest).unwrap(), report);
    assert_eq!((seen, resumed), ((0..9).collect(), (9..12).collect::<Vec<_>>()));
    let drawn = [&whole, &second].map(|model| model.draw(20, &mut seeded(1)).unwrap());
    assert_eq!(drawn[0], drawn[1]);
    for end in ["", ".previous", ".2", ".2.previous"] {
        let mut file = path.clone().into_os_string();
        file.push(end);
        std::fs::remove_file(file).unwrap();
    }
}

/// With several encodings each condition goes with each latent of its row.
#[test]
fn encodings_keep_their_conditions() {
    let rng = &mut seeded(0);
    let class = |row: usize| (row % 2) as u32;
    let x = Array2::from_shape_fn((300, 2), |(row, column)| {
        3.0 * class(row) as f32 + (row as f32 * (1.0 + column as f32)).sin()
    });
    let labels = Condition::Class(Array1::from_shape_fn(300, class));
    let data = Dataset::new(x).unwrap().with_condition(labels).unwrap();
    let prior =
        GaussianMixtureConfig { condition: ConditionKind::Class { classes: 2 }, ..Default::default() };
    let config = LatentConfig { encodings: 3, ..Default::default() };
    let mut model = Latent::new(vae(1), GaussianMixture::new(prior).unwrap(), config).unwrap();
    model.train(&data, &short(200), rng, &mut NoObserver).unwrap();
    for which in [0, 1] {
        let drawn = model.given(&Condition::class(which)).unwrap().draw(200, rng).unwrap();
        let mean = drawn.mean().unwrap();
        assert!((mean - 3.0 * which as f32).abs() < 0.5, "class {which}: {mean}");
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let flow = |dim| identity(dim);
    let refused = |made: Result<Latent<Vae, Flow>>| match made {
        Err(Error::Config { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Latent::new(vae(1), flow(3), LatentConfig::default())), "Latent::prior");
    let none = LatentConfig { draws: 0, ..Default::default() };
    assert_eq!(refused(Latent::new(vae(1), flow(2), none)), "LatentConfig::draws");
    let none = LatentConfig { encodings: 0, ..Default::default() };
    assert_eq!(refused(Latent::new(vae(1), flow(2), none)), "LatentConfig::encodings");
    let condition = ConditionKind::Class { classes: 2 };
    let conditional = Vae::new(VaeConfig { condition, ..Default::default() }, &mut seeded(0)).unwrap();
    assert_eq!(refused(Latent::new(conditional, flow(2), LatentConfig::default())), "Latent::codec");
    for config in [PcaConfig { dim: 513, latent_dim: 2 }, PcaConfig { dim: 2, latent_dim: 3 }] {
        assert!(matches!(Pca::new(config), Err(Error::Config { .. })));
    }
    let pca = Pca::new(PcaConfig::default()).unwrap();
    let wrong = pca.decode_at(Array2::zeros((2, 2)).view(), at(0), &SampleOptions::default(), &mut [0.0; 3]);
    assert!(matches!(wrong, Err(Error::Data(DataError::Shape { what: "rows", .. }))), "{wrong:?}");
    let narrow = vae(1).explain(moons(3, 0).slice(s![.., ..1]), 0);
    assert!(matches!(narrow, Err(Error::Data(DataError::Shape { .. }))));
}

#[cfg(feature = "safetensors")]
mod files {
    use super::*;
    use crate::error::FileError;
    use crate::model::file::{Persist, encode_parts};
    use crate::persist;

    fn model() -> Latent<Vae, Warp<Flow>> {
        let warp = Warp::new(identity(2), identity(2), LatentConfig::default()).unwrap();
        Latent::new(vae(3), warp, LatentConfig { draws: 3, ..Default::default() }).unwrap()
    }

    #[test]
    fn composition_loads_as_its_own_type_and_as_any() {
        let model = model();
        let bytes = model.to_bytes().unwrap();
        let x = moons(10, 2);
        let own = Latent::<Vae, Warp<Flow>>::from_bytes(&bytes).unwrap();
        let any = persist::from_bytes(&bytes).unwrap();
        for loaded in [&own as &dyn Persist, any.as_ref()] {
            assert_eq!(nats(loaded, &x), nats(&model, &x));
            assert_eq!(loaded.to_bytes().unwrap(), bytes);
        }
        let other = Latent::<Flow, Flow>::from_bytes(&bytes);
        assert!(matches!(other, Err(Error::File(FileError::Format { .. }))), "{other:?}");
    }

    #[test]
    fn forged_compositions_are_refused() {
        let (vae, flow) = (vae(1).to_bytes().unwrap(), identity(2).to_bytes().unwrap());
        let what = |parts: &[(&str, Vec<u8>)]| {
            let bytes = encode_parts("latent", &LatentConfig::default(), parts).unwrap();
            persist::from_bytes(&bytes).err().unwrap().to_string()
        };
        let codec = ("codec", vae.clone());
        assert!(what(std::slice::from_ref(&codec)).contains("codec and prior"));
        assert!(what(&[("prior", flow.clone())]).contains("no part \"codec\""));
        assert!(
            what(&[codec.clone(), ("prior", flow.clone()), ("more", flow.clone())])
                .contains("codec and prior")
        );
        assert!(what(&[codec.clone(), ("codec.x", flow)]).contains("tensors"));
        // A prior in a prior in a prior …
        let mut deep = model().to_bytes().unwrap();
        for _ in 0..40 {
            deep =
                encode_parts("latent", &LatentConfig::default(), &[codec.clone(), ("prior", deep)]).unwrap();
        }
        assert!(persist::from_bytes(&deep).err().unwrap().to_string().contains("braces deep"));
    }
}
