use super::*;

/// Every model in a small size, with every objective, head and sampler; two columns.
pub fn models() -> Vec<Box<dyn Model>> {
    let mut rng = seeded(3);
    let rng = &mut rng;
    let gan = |loss| GanConfig {
        loss,
        generator_hidden: vec![16, 16],
        critic_hidden: vec![16, 16],
        ..GanConfig::default()
    };
    let diffusion =
        |schedule| DiffusionConfig { hidden: vec![32, 32], timesteps: 40, schedule, ..Default::default() };
    let exploding = Diffusion::new(diffusion(Schedule::Continuous(Sde::EXPLODING)), rng).unwrap();
    let probed = Diffusion::new(
        DiffusionConfig {
            divergence: Some(TraceEstimator::Hutchinson { probes: 2 }),
            solver: Solver::Fixed { method: Method::Rk4, steps: 20 },
            ..diffusion(Schedule::Linear)
        },
        rng,
    )
    .unwrap();
    let diffusion = Diffusion::new(diffusion(Schedule::Cosine), rng).unwrap();
    // Runs that do not converge while a test watches.
    let mixture = |components| GaussianMixtureConfig {
        components,
        restarts: 2,
        tol: 0.0,
        max_iter: 10,
        ..Default::default()
    };
    let kernel_density =
        |bandwidth| KernelDensity::new(KernelDensityConfig { bandwidth, ..Default::default() }).unwrap();
    let matching = |source, coupling, (method, steps)| FlowMatchingConfig {
        source,
        coupling,
        hidden: vec![32, 32],
        sampler: FlowSteps { method, steps },
        ..Default::default()
    };
    let (independent, matched) = (Pairing::Independent, Pairing::OptimalTransport { rows: 32 });
    let circles = Source::Toy(Toy::concentric(&[1.0], 0.1).unwrap());
    let rows = Source::Rows(moons(40).into());
    let autoregressive = |head| AutoregressiveConfig { head, hidden: vec![32, 32], ..Default::default() };
    let energy = |training, acceptance, steps| EnergyConfig {
        training,
        hidden: vec![16, 16],
        langevin: Langevin { steps, acceptance, ..Default::default() },
        ..Default::default()
    };
    let chains = EnergyTraining::PersistentChains { chains: 128, steps: 5, restart: 0.05, magnitude: 1e-4 };
    let denoising = EnergyTraining::DenoisingScoreMatching { sigma: 0.2 };
    let normalisation = Normalisation::Quadrature { intervals: 200 };
    let normalised = EnergyConfig { normalisation, ..energy(denoising, Acceptance::Metropolis, 30) };
    let score = |training| ScoreConfig {
        training,
        hidden: vec![32, 32],
        levels: 8,
        steps_per_level: 3,
        ..Default::default()
    };
    let flow = |architecture, transform| FlowConfig {
        architecture,
        transform,
        hidden: vec![16, 16],
        ..Default::default()
    };
    let spline = Transform::Spline { bins: 8, bound: 4.0 };
    let affine_spline = Transform::AffineSpline { bins: 8, bound: 4.0 };
    vec![
        Box::new(Autoregressive::new(autoregressive(Head::Mixture { components: 5 }), rng).unwrap()),
        Box::new(Autoregressive::new(autoregressive(Head::Bins { bins: 20 }), rng).unwrap()),
        Box::new(Flow::new(flow(Architecture::Coupling, Transform::Affine), rng).unwrap()),
        Box::new(Flow::new(flow(Architecture::Coupling, affine_spline), rng).unwrap()),
        Box::new(Flow::new(flow(Architecture::MaskedAutoregressive, Transform::Affine), rng).unwrap()),
        Box::new(Flow::new(flow(Architecture::MaskedAutoregressive, spline), rng).unwrap()),
        Box::new(Vae::new(VaeConfig { hidden: vec![16, 16], draws: 20, ..Default::default() }, rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::Minimax), rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::NonSaturatingR1 { gamma: 0.1 }), rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::WassersteinGp { lambda: 1.0 }), rng).unwrap()),
        Box::new(diffusion.with_sampler(Sampler::Ddpm).unwrap()),
        Box::new(diffusion.with_sampler(Sampler::Ddim { steps: 7, eta: 0.0 }).unwrap()),
        Box::new(diffusion.with_sampler(Sampler::Ddim { steps: 7, eta: 1.0 }).unwrap()),
        Box::new(diffusion.with_sampler(Sampler::Heun { steps: 6 }).unwrap()),
        Box::new(probed),
        Box::new(diffusion.with_sampler(Sampler::DpmSolver { steps: 6 }).unwrap()),
        Box::new(exploding.with_sampler(Sampler::EulerMaruyama { steps: 8 }).unwrap()),
        Box::new(exploding.with_sampler(Sampler::PredictorCorrector { steps: 6, snr: 0.16 }).unwrap()),
        Box::new(exploding.with_sampler(Sampler::Ode { method: Method::Heun, steps: 7 }).unwrap()),
        Box::new(EnergyModel::new(energy(chains, Acceptance::Metropolis, 30), rng).unwrap()),
        Box::new(EnergyModel::new(energy(chains, Acceptance::Always, 25), rng).unwrap()),
        Box::new(EnergyModel::new(energy(denoising, Acceptance::Metropolis, 30), rng).unwrap()),
        Box::new(EnergyModel::new(normalised, rng).unwrap()),
        Box::new(ScoreModel::new(score(ScoreTraining::Denoising), rng).unwrap()),
        Box::new(ScoreModel::new(score(ScoreTraining::Sliced), rng).unwrap()),
        Box::new(GaussianMixture::new(mixture(ComponentCount::Fixed(5))).unwrap()),
        Box::new(GaussianMixture::new(mixture(ComponentCount::Bic { max: 3 })).unwrap()),
        Box::new(kernel_density(Bandwidth::Scott)),
        Box::new(kernel_density(Bandwidth::CrossValidated { rows: 50 })),
        Box::new(
            FlowMatching::new(matching(Source::Gaussian, independent, (Method::Euler, 7)), rng).unwrap(),
        ),
        Box::new(FlowMatching::new(matching(Source::Gaussian, matched, (Method::Rk4, 5)), rng).unwrap()),
        Box::new(FlowMatching::new(matching(circles, matched, (Method::Heun, 5)), rng).unwrap()),
        Box::new(FlowMatching::new(matching(rows, independent, (Method::Rk4, 5)), rng).unwrap()),
    ]
}
