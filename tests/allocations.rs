//! Steps do not allocate: a training and a sampler ask for memory as often for many steps as for few.

use quadrivium::MapObjective;
use quadrivium::diffusion::Method;
use quadrivium::diffusion::matching::FlowSteps;
use quadrivium::energy::{Acceptance, Langevin};
use quadrivium::model::{Decoder, Sequences};
use quadrivium::ndarray::Array2;
use quadrivium::prelude::*;
use quadrivium::seeded;
use quadrivium::tables::{Header, TableReader};
use quadrivium::worlds::Toy;
use quadrivium::{
    AdversarialLoss, Architecture, EnergyTraining, Head, Pairing, Sampler, Schedule, ScoreTraining, Sde,
    Token, Transform, Transformer, TransformerConfig,
};

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
    let pairing = Pairing::OptimalTransport { rows: 64 };
    let gan = |loss| GanConfig { loss, ..GanConfig::default() };
    let denoising = EnergyTraining::DenoisingScoreMatching { sigma: 0.1 };
    let score = |training| ScoreConfig { training, ..ScoreConfig::default() };
    let masked = FlowConfig { architecture: Architecture::MaskedAutoregressive, ..FlowConfig::default() };
    vec![
        Box::new(Autoregressive::new(AutoregressiveConfig::default(), rng).unwrap()),
        Box::new(Autoregressive::new(AutoregressiveConfig { head, ..Default::default() }, rng).unwrap()),
        Box::new(Vae::new(VaeConfig::default(), rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::Minimax), rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::NonSaturatingR1 { gamma: 0.1 }), rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::WassersteinGp { lambda: 0.1 }), rng).unwrap()),
        Box::new(Diffusion::new(DiffusionConfig::default(), rng).unwrap()),
        Box::new(Flow::new(FlowConfig::default(), rng).unwrap()),
        Box::new(Flow::new(FlowConfig { transform: Transform::Affine, ..masked }, rng).unwrap()),
        Box::new(EnergyModel::new(EnergyConfig::default(), rng).unwrap()),
        Box::new(EnergyModel::new(EnergyConfig { training: denoising, ..Default::default() }, rng).unwrap()),
        Box::new(ScoreModel::new(score(ScoreTraining::Denoising), rng).unwrap()),
        Box::new(ScoreModel::new(score(ScoreTraining::Sliced), rng).unwrap()),
        Box::new(FlowMatching::new(FlowMatchingConfig { pairing, ..Default::default() }, rng).unwrap()),
        Box::new(map(MapObjective::Lagrangian)),
        Box::new(map(MapObjective::Eulerian)),
        Box::new(map(MapObjective::Progressive)),
        Box::new(map(MapObjective::Consistency { stages: 3 })),
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
                model.train(&data, &options, &mut seeded(2), &mut NoObserver).unwrap();
            })
        });
    }
}

/// Rows of tokens that end early, so that steps see sequences of other lengths.
fn words(n: usize) -> Dataset<Token> {
    let token = |row: usize, place: usize| if place > row % 7 { Token::END } else { Token(row as u32 % 5) };
    Dataset::new(Array2::from_shape_fn((n, 8), |(row, place)| token(row, place))).unwrap()
}

fn transformer(len: usize) -> Transformer {
    let sizes = TransformerConfig { width: 16, heads: 2, blocks: 2, ..TransformerConfig::default() };
    Transformer::new(TransformerConfig { vocabulary: 5, len, ..sizes }, &mut seeded(0)).unwrap()
}

#[test]
fn training_steps_on_tokens_do_not_allocate() {
    let (data, mut model) = (words(500), transformer(8));
    assert_steps_are_free("transformer", |steps| {
        let options = TrainOptions { steps, batch: 150, ..TrainOptions::default() };
        allocations(|| {
            model.train(&data, &options, &mut seeded(2), &mut NoObserver).unwrap();
        })
    });
}

#[test]
fn decoded_tokens_do_not_allocate() {
    let model = transformer(60);
    assert_steps_are_free("decoder", |tokens| {
        allocations(|| {
            let mut decoder = model.decoder(3);
            (0..tokens).for_each(|at| assert_eq!(decoder.push(&[Token(at as u32 % 5); 3]).len(), 18));
        })
    });
}

fn map(objective: MapObjective) -> FlowMap {
    FlowMap::new(FlowMapConfig { objective, ..Default::default() }, &mut seeded(0)).unwrap()
}

/// Allocations of drawing rows with models of so many steps, which `make` makes.
fn assert_draws_are_free<M: Generative>(what: &str, make: impl Fn(usize) -> Result<M>) {
    assert_steps_are_free(what, |steps| {
        let model = make(steps).unwrap();
        allocations(|| {
            model.sample(150, &SampleOptions::default(), &mut seeded(1)).unwrap();
        })
    });
}

#[test]
fn sampling_steps_do_not_allocate() {
    let model = Diffusion::new(DiffusionConfig::default(), &mut seeded(0)).unwrap();
    let schedule = Schedule::Continuous(Sde::EXPLODING);
    let sde = Diffusion::new(DiffusionConfig { schedule, ..Default::default() }, &mut seeded(0)).unwrap();
    for eta in [0.0, 1.0] {
        assert_draws_are_free("DDIM", |steps| model.with_sampler(Sampler::Ddim { steps, eta }));
    }
    assert_draws_are_free("DDPM", |timesteps| {
        Diffusion::new(DiffusionConfig { timesteps, ..Default::default() }, &mut seeded(0))
    });
    assert_draws_are_free("Heun", |steps| model.with_sampler(Sampler::Heun { steps }));
    assert_draws_are_free("DPM-Solver++", |steps| model.with_sampler(Sampler::DpmSolver { steps }));
    assert_draws_are_free("Euler-Maruyama", |steps| sde.with_sampler(Sampler::EulerMaruyama { steps }));
    let snr = 0.16;
    assert_draws_are_free("corrector", |steps| sde.with_sampler(Sampler::PredictorCorrector { steps, snr }));
    for method in [Method::Euler, Method::Heun, Method::Rk4] {
        assert_draws_are_free("ODE", |steps| sde.with_sampler(Sampler::Ode { method, steps }));
        assert_draws_are_free("flow matching", |steps| {
            let sampler = FlowSteps { method, steps };
            FlowMatching::new(FlowMatchingConfig { sampler, ..Default::default() }, &mut seeded(0))
        });
    }
    for objective in [MapObjective::Lagrangian, MapObjective::Consistency { stages: 3 }] {
        assert_draws_are_free("flow map", |steps| map(objective).with_steps(steps));
    }
    for acceptance in [Acceptance::Always, Acceptance::Metropolis] {
        assert_draws_are_free("Langevin", |steps| {
            let langevin = Langevin { steps, acceptance, ..Default::default() };
            EnergyModel::new(EnergyConfig { langevin, ..Default::default() }, &mut seeded(0))
        });
    }
    assert_draws_are_free("annealed Langevin", |steps_per_level| {
        ScoreModel::new(ScoreConfig { steps_per_level, ..Default::default() }, &mut seeded(0))
    });
}

/// What an NPY header announces is not there until it is read.
#[test]
fn memory_grows_with_what_a_file_holds() {
    for order in ["False", "True"] {
        let text = format!("{{'descr': '<f8', 'fortran_order': {order}, 'shape': (1000000000, 16384)}}");
        let file = [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), &[0; 100]];
        let file = file.concat();
        let most = allocation_counter::measure(|| {
            let reader = TableReader::new(&file[..], Header::Detect).unwrap();
            assert!(reader.table(usize::MAX).is_err());
        });
        // The names of the columns, and places for them.
        assert!(most.bytes_max < 4 << 20, "{} bytes", most.bytes_max);
    }
}
