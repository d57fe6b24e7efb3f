//! Steps do not allocate: a training and a sampler ask for memory as often for many steps as for few.

use quadrivium::data::Toy;
use quadrivium::prelude::*;
use quadrivium::seeded;

/// Allocations of `work` on one thread, the second time: the first may fill what is kept for good.
fn allocations(mut work: impl FnMut() + Send) -> u64 {
    let mut count = || allocation_counter::measure(&mut work).count_total;
    #[cfg(feature = "rayon")]
    let mut count = {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        move || pool.install(&mut count)
    };
    count();
    count()
}

fn assert_steps_are_free(what: &str, mut of_steps: impl FnMut(usize) -> u64) {
    let (few, many) = (of_steps(5), of_steps(50));
    assert!(few > 0 && few == many, "{what}: {few} allocations for 5 steps, {many} for 50");
}

/// Every paradigm, and every objective whose step has code of its own.
fn models() -> Vec<Box<dyn Generative>> {
    let mut rng = seeded(0);
    let rng = &mut rng;
    let head = Head::Bins { bins: 16 };
    let coupling = Coupling::OptimalTransport { rows: 64 };
    let gan = |loss| GanConfig { loss, ..GanConfig::default() };
    let denoising = EnergyTraining::DenoisingScoreMatching { sigma: 0.1 };
    let sliced = ScoreTraining::Sliced;
    let masked = FlowConfig { architecture: Architecture::MaskedAutoregressive, ..FlowConfig::default() };
    vec![
        Box::new(Autoregressive::new(AutoregressiveConfig::default(), rng).unwrap()),
        Box::new(Autoregressive::new(AutoregressiveConfig { head, ..Default::default() }, rng).unwrap()),
        Box::new(Vae::new(VaeConfig::default(), rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::NonSaturatingR1 { gamma: 0.1 }), rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::WassersteinGp { lambda: 0.1 }), rng).unwrap()),
        Box::new(Diffusion::new(DiffusionConfig::default(), rng).unwrap()),
        Box::new(Flow::new(FlowConfig::default(), rng).unwrap()),
        Box::new(Flow::new(FlowConfig { transform: Transform::Affine, ..masked }, rng).unwrap()),
        Box::new(EnergyModel::new(EnergyConfig::default(), rng).unwrap()),
        Box::new(EnergyModel::new(EnergyConfig { training: denoising, ..Default::default() }, rng).unwrap()),
        Box::new(ScoreModel::new(ScoreConfig { training: sliced, ..Default::default() }, rng).unwrap()),
        Box::new(FlowMatching::new(FlowMatchingConfig { coupling, ..Default::default() }, rng).unwrap()),
    ]
}

#[test]
fn training_steps_do_not_allocate() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(500, &mut seeded(1))).unwrap();
    for mut model in models() {
        assert_steps_are_free(&model.card().name.clone(), |steps| {
            // Shards of more than one tile, the last not full.
            let options = TrainOptions { steps, batch: 150, ..TrainOptions::default() };
            allocations(|| {
                model.train(&data, &options, &mut seeded(2), &mut Silent).unwrap();
            })
        });
    }
}

#[test]
fn sampling_steps_do_not_allocate() {
    let model = Diffusion::new(DiffusionConfig::default(), &mut seeded(0)).unwrap();
    for eta in [0.0, 1.0] {
        assert_steps_are_free("DDIM", |steps| {
            let model = model.with_sampler(Sampler::Ddim { steps, eta }).unwrap();
            allocations(|| {
                model.sample(150, &SampleOptions::default(), &mut seeded(1)).unwrap();
            })
        });
    }
}
