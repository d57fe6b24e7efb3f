//! The contract under conditions, of classes and of vectors: three conditions of each.

use quadrivium::ConditionKind;
use quadrivium::engine::RowStreams;
use quadrivium::error::{ConditionError, DataError};
use quadrivium::ndarray::Array1;
use quadrivium::numeric::Real;
use quadrivium::numeric::rng::Streams;

use super::*;

const CLASSES: ConditionKind = ConditionKind::Class { classes: 3 };
const VECTORS: ConditionKind = ConditionKind::Vector { dim: 2 };

/// The promises of each model under conditions of each kind. Beside its name, a model has the kind of its likelihood,
/// and what it scores without a condition: Σ p(c) p(x|c) of the classes and nothing of vectors (`Mixture`), p(x) for
/// both, trained beside p(x|c) (`Marginal`), or p(x), which of the classes is that sum (`Joint`).
macro_rules! conditional {
    ($($name:ident: $likelihood:ident, $without:ident;)*) => { $(
        mod $name {
            mod class {
                use super::super::*;

                static SUBJECT: Conditional = Conditional::new(&models::$name::SUBJECT, CLASSES);

                promises!(All);
                promises!($likelihood);
                promises!($without, class);
            }

            mod vector {
                use super::super::*;

                static SUBJECT: Conditional = Conditional::new(&models::$name::SUBJECT, VECTORS);

                promises!(All);
                promises!($likelihood);
                promises!($without, vector);
            }
        }
    )* };
}

macro_rules! promises {
    (All) => {
        kept! {
            conditions::shapes_and_costs_are_as_the_card_says,
            conditions::first_rows_do_not_depend_on_how_many_follow,
            conditions::row_is_drawn_under_its_own_condition,
            conditions::shared_condition_draws_as_the_same_repeated,
            conditions::each_bad_condition_has_its_error,
        }
        #[cfg(feature = "rayon")]
        kept!(conditions::number_of_threads_does_not_move_a_bit);
        #[cfg(feature = "safetensors")]
        kept!(conditions::loaded_model_is_the_saved_one_to_the_bit);
    };
    (Exact) => {
        promises!(Bound);
        kept!(conditions::density_integrates_to_one);
    };
    (LowerBound) => {
        promises!(Bound);
    };
    (OdeEstimate) => {
        promises!(Bound);
    };
    (Estimate) => {
        promises!(Bound);
    };
    (Bound) => {
        kept! {
            conditions::row_scores_under_its_own_condition,
            conditions::shared_condition_scores_as_the_same_repeated,
        }
    };
    (Unnormalized) => {};
    (Unavailable) => {};
    (Mixture, class) => {
        kept!(conditions::score_without_a_class_is_the_mixture_of_the_classes);
    };
    (Mixture, vector) => {
        kept!(conditions::score_without_a_vector_is_an_error);
    };
    (Joint, class) => {
        promises!(Mixture, class);
    };
    (Joint, vector) => {
        promises!(Marginal, vector);
    };
    (Marginal, $kind:ident) => {
        kept!(conditions::rows_are_drawn_and_scored_without_a_condition);
    };
}

conditional! {
    autoregressive_mixture: Exact, Mixture;
    autoregressive_bins: Exact, Mixture;
    flow_coupling_spline: Exact, Mixture;
    flow_masked_spline: Exact, Mixture;
    vae: LowerBound, Mixture;
    gan_wasserstein: Unavailable, Mixture;
    diffusion_ddim: OdeEstimate, Marginal;
    diffusion_predictor_corrector: OdeEstimate, Marginal;
    energy_chains: Unnormalized, Mixture;
    energy_normalized: Estimate, Mixture;
    score_denoising: Unavailable, Marginal;
    gaussian_mixture: Exact, Joint;
    kernel_density_cross_validated: Exact, Joint;
    flow_map_lagrangian: OdeEstimate, Marginal;
    flow_map_consistency: Unavailable, Marginal;
    flow_matching: OdeEstimate, Marginal;
    latent_diffusion: LowerBound, Marginal;
    latent_warp: LowerBound, Marginal;
    latent_line: Exact, Mixture;
    warp_mixture: Exact, Joint;
}

/// A model of the contract that takes conditions of a kind.
pub struct Conditional {
    subject: &'static Subject,
    kind: ConditionKind,
    trained: OnceLock<Box<dyn Model>>,
}

impl Conditional {
    const fn new(subject: &'static Subject, kind: ConditionKind) -> Self {
        Conditional { subject, kind, trained: OnceLock::new() }
    }

    fn fresh(&self) -> Box<dyn Model> {
        self.subject.made(&Setting { condition: self.kind, ..Setting::default() })
    }

    fn trained(&self) -> &dyn Model {
        let train = || {
            let mut model = self.fresh();
            model.train(&self.rows(600), &short(200), &mut seeded(2), &mut NoObserver).unwrap();
            model
        };
        self.trained.get_or_init(train).as_ref()
    }

    /// Three that differ.
    fn conditions(&self) -> Condition {
        match self.kind {
            ConditionKind::Class { .. } => Condition::Class(array![0, 1, 2]),
            _ => Condition::Vector(array![[0.0, 0.0], [1.0, -1.0], [-1.5, 0.5]]),
        }
    }

    /// The three in turn, one for each of n rows.
    fn in_turn(&self, n: usize) -> Condition {
        self.conditions().select(&(0..n).map(|row| row % 3).collect::<Vec<_>>())
    }

    fn repeated(&self, which: usize, n: usize) -> Condition {
        self.conditions().select(&vec![which; n])
    }

    /// Three lumps, of which the classes have a half, a third and a sixth of the rows; or lumps about (a, ab/2),
    /// where the condition (a, b) has normal numbers.
    fn rows(&self, n: usize) -> Dataset {
        let rng = &mut seeded(7);
        let numbers = Array2::from_shape_simple_fn((n, 2), || f32::normal(rng));
        let mut x = Array2::from_shape_simple_fn((n, 2), || 0.4 * f32::normal(rng));
        let classes = Array1::from_shape_fn(n, |row| [0, 0, 0, 1, 1, 2][row % 6]);
        for (row, (mut x, class)) in x.rows_mut().into_iter().zip(&classes).enumerate() {
            let middle = match self.kind {
                ConditionKind::Class { .. } => [[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]][*class as usize],
                _ => [numbers[[row, 0]], 0.5 * numbers[[row, 0]] * numbers[[row, 1]]],
            };
            x += &quadrivium::ndarray::ArrayView1::from(&middle);
        }
        let condition = match self.kind {
            ConditionKind::Class { .. } => Condition::Class(classes),
            _ => Condition::Vector(numbers),
        };
        Dataset::new(x).unwrap().with_condition(condition).unwrap()
    }
}

fn given<'a>(model: &'a dyn Model, condition: &Condition) -> Box<dyn Distribution + 'a> {
    model.given(condition).unwrap()
}

pub fn shapes_and_costs_are_as_the_card_says(subject: &Conditional) {
    for model in [subject.fresh().as_ref(), subject.trained()] {
        assert_eq!(model.condition(), subject.kind);
        for condition in (0..3).map(|which| subject.repeated(which, 1)).chain([subject.in_turn(70)]) {
            let p = given(model, &condition);
            let (card, drawn) = (p.card(), sample(p.as_ref(), 70, 0));
            assert_eq!((drawn.x.dim(), drawn.nfe, p.dim()), ((70, 2), card.nfe, 2));
            assert!(drawn.x.iter().all(|v| v.is_finite()));
            let score = p.log_likelihood(drawn.x.view(), &LikelihoodOptions::default()).unwrap();
            assert_eq!(score.kind(), card.likelihood);
            assert_eq!(score.kind(), subject.subject.likelihood);
            assert!(score.nats().into_iter().flatten().all(|nats| nats.is_finite()));
        }
    }
}

pub fn first_rows_do_not_depend_on_how_many_follow(subject: &Conditional) {
    let model = subject.trained();
    let of_rows = |n: usize| sample(given(model, &subject.in_turn(n)).as_ref(), n, 5).x;
    let (all, without) = (of_rows(130), sample(model, 130, 5).x);
    // From their address, under the conditions of their numbers, of which there are enough.
    let at = RowStreams::new(Streams::from_rng(&mut seeded(5)), 60);
    let (mut rows, options) = (vec![0.0; 2 * 50], SampleOptions::default());
    given(model, &subject.in_turn(130)).draw_at(at, &options, &mut rows).unwrap();
    assert_eq!(rows, all.slice(s![60..110, ..]).iter().copied().collect::<Vec<_>>());
    let few = told(given(model, &subject.in_turn(109)).draw_at(at, &options, &mut rows));
    assert!(matches!(few, ConditionError::Rows { got: 109, expected: 110 }));
    let shared = given(model, &subject.repeated(1, 1));
    let shared_all = sample(shared.as_ref(), 130, 5).x;
    for k in [1, 48, 49, 129] {
        assert_eq!(of_rows(k), all.slice(s![..k, ..]), "{k} rows, each under its own");
        assert_eq!(sample(shared.as_ref(), k, 5).x, shared_all.slice(s![..k, ..]), "{k} rows under one");
        assert_eq!(sample(model, k, 5).x, without.slice(s![..k, ..]), "{k} rows without");
    }
    assert_eq!(joined(&blocks(given(model, &subject.in_turn(130)).as_ref(), 130, 5)), all);
    assert_eq!(joined(&blocks(shared.as_ref(), 130, 5)), shared_all);
    assert_eq!(joined(&blocks(model, 130, 5)), without);
}

/// Row i of a draw is what it is where all rows have the condition of row i, and differs under any other.
pub fn row_is_drawn_under_its_own_condition(subject: &Conditional) {
    let (model, n) = (subject.trained(), 100);
    let mixed = sample(given(model, &subject.in_turn(n)).as_ref(), n, 5).x;
    for which in 0..3 {
        let alone = sample(given(model, &subject.repeated(which, n)).as_ref(), n, 5).x;
        for row in 0..n {
            let same = mixed.row(row) == alone.row(row);
            assert_eq!(same, row % 3 == which, "row {row} under condition {which}");
        }
    }
}

pub fn shared_condition_draws_as_the_same_repeated(subject: &Conditional) {
    let (model, n) = (subject.trained(), 100);
    for which in 0..3 {
        let [one, repeated] = [1, n].map(|rows| {
            let p = given(model, &subject.repeated(which, rows));
            sample(p.as_ref(), n, 5)
        });
        assert_eq!(one, repeated, "condition {which}");
    }
}

/// As [`row_is_drawn_under_its_own_condition`], for scores; and a row scores as in a batch when it is alone.
pub fn row_scores_under_its_own_condition(subject: &Conditional) {
    let (model, n) = (subject.trained(), 60);
    let x = subject.rows(n).x().to_owned();
    let mixed = nats(given(model, &subject.in_turn(n)).as_ref(), &x).unwrap();
    for which in 0..3 {
        let p = given(model, &subject.repeated(which, 1));
        let alone = nats(p.as_ref(), &x).unwrap();
        let mut differ = 0;
        for row in 0..n {
            if row % 3 == which {
                assert_same_score(alone[row], mixed[row]);
            } else if (alone[row] - mixed[row]).abs() > 1e-4 {
                differ += 1;
            }
        }
        // By chance two densities may cross at a row.
        assert!(differ > 36, "{differ} of 40 rows score otherwise under condition {which}");
        let row = x.slice(s![which..which + 1, ..]).to_owned();
        assert_same_score(nats(p.as_ref(), &row).unwrap()[0], mixed[which]);
    }
}

pub fn shared_condition_scores_as_the_same_repeated(subject: &Conditional) {
    let (model, n) = (subject.trained(), 60);
    let x = subject.rows(n).x().to_owned();
    for which in 0..3 {
        let [one, repeated] = [1, n].map(|rows| {
            let p = given(model, &subject.repeated(which, rows));
            nats(p.as_ref(), &x).unwrap()
        });
        assert_eq!(one, repeated, "condition {which}");
    }
}

pub fn density_integrates_to_one(subject: &Conditional) {
    // Steps need more points than slopes.
    let points = if subject.subject.name.ends_with("bins") { 200_000 } else { 60_000 };
    for which in 0..3 {
        let p = given(subject.trained(), &subject.repeated(which, 1));
        let (inside, outside) = mass(p.as_ref(), ([-6.0, -6.0], [6.0, 6.0]), points, 10_000);
        assert!((inside + outside - 1.0).abs() < 4e-3, "condition {which}: {inside}, {outside} outside");
    }
}

/// p(x) = Σ p(c) p(x|c), p(c) the share of the class in the training rows.
pub fn score_without_a_class_is_the_mixture_of_the_classes(subject: &Conditional) {
    let (model, x) = (subject.trained(), subject.rows(60).x().to_owned());
    let Some(whole) = nats(model, &x) else {
        // Energies have a constant for each class that nobody knows, and a GAN has no density.
        assert!(nats(given(model, &Condition::class(0)).as_ref(), &x).is_none());
        return;
    };
    let mut sum = Array1::<f64>::zeros(60);
    for (class, share) in [1.0 / 2.0, 1.0 / 3.0, 1.0 / 6.0].into_iter().enumerate() {
        let p = given(model, &Condition::class(class as u32));
        sum += &nats(p.as_ref(), &x).unwrap().iter().map(|nats| share * nats.exp()).collect::<Array1<f64>>();
    }
    for (whole, sum) in whole.iter().zip(&sum) {
        assert!((whole - sum.ln()).abs() < 1e-9 * (1.0 + sum.ln().abs()), "{whole}, by classes {}", sum.ln());
    }
}

pub fn score_without_a_vector_is_an_error(subject: &Conditional) {
    let x = subject.rows(9).x().to_owned();
    let scored = subject.trained().log_likelihood(x.view(), &LikelihoodOptions::default());
    assert!(matches!(scored, Err(Error::Condition(ConditionError::Missing { .. }))), "{scored:?}");
}

pub fn rows_are_drawn_and_scored_without_a_condition(subject: &Conditional) {
    let model = subject.trained();
    let drawn = sample(model, 100, 5);
    assert_eq!(drawn.nfe, model.card().nfe);
    assert!(drawn.x.iter().all(|v| v.is_finite()));
    let score = model.log_likelihood(drawn.x.view(), &LikelihoodOptions::default()).unwrap();
    assert_eq!(score.kind(), subject.subject.likelihood);
    for which in 0..3 {
        let p = given(model, &subject.repeated(which, 1));
        assert_ne!(sample(p.as_ref(), 100, 5).x, drawn.x, "condition {which}");
        let under = p.log_likelihood(drawn.x.view(), &LikelihoodOptions::default()).unwrap();
        assert!(score.nats().is_none() || score.nats() != under.nats(), "condition {which}");
    }
}

#[cfg(feature = "rayon")]
pub fn number_of_threads_does_not_move_a_bit(subject: &Conditional) {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut model, data) = (subject.fresh(), subject.rows(150));
            let options = TrainOptions { shards: 4, ..short(5) };
            let report = model.train(&data, &options, &mut seeded(2), &mut NoObserver).unwrap();
            let p = given(model.as_ref(), &subject.in_turn(150));
            let nats = nats(p.as_ref(), &data.x().to_owned());
            (report, sample(p.as_ref(), 150, 7).x, nats, sample(model.as_ref(), 150, 7).x)
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}

#[cfg(feature = "safetensors")]
pub fn loaded_model_is_the_saved_one_to_the_bit(subject: &Conditional) {
    let model = subject.trained();
    let bytes = model.to_bytes().unwrap();
    let loaded = persist::from_bytes(&bytes).unwrap();
    assert_eq!((loaded.card(), loaded.condition()), (model.card(), subject.kind));
    assert!(loaded.to_bytes().unwrap() == bytes, "the same file again");
    let x = subject.rows(20).x().to_owned();
    let bits = |model: &dyn Model| {
        let p = given(model, &subject.in_turn(20));
        (sample(p.as_ref(), 20, 5).x, nats(p.as_ref(), &x), sample(model, 20, 5).x)
    };
    assert_eq!(bits(loaded.as_ref()), bits(model));
}

/// What a call says of its condition.
fn told<T>(result: Result<T>) -> ConditionError {
    match result.err() {
        Some(Error::Condition(error)) => error,
        other => panic!("{other:?}"),
    }
}

pub fn each_bad_condition_has_its_error(subject: &Conditional) {
    let (trained, rows) = (subject.trained(), subject.rows(60));
    let bare = Dataset::new(rows.x().to_owned()).unwrap();
    let options = (SampleOptions::default(), LikelihoodOptions::default());
    let train = |data: &Dataset| subject.fresh().train(data, &short(1), &mut seeded(0), &mut NoObserver);
    // Neither one row nor one for each.
    let p = given(trained, &subject.in_turn(2));
    let wrong = |got| matches!(got, ConditionError::Rows { got: 2, expected: 9 });
    assert!(wrong(told(p.sample(9, &options.0, &mut seeded(0)))));
    let mut sink = |_: quadrivium::ndarray::ArrayView2<f32>| panic!("no row can be drawn");
    assert!(wrong(told(p.sample_each(9, &options.0, &mut seeded(0), &mut sink))));
    assert!(wrong(told(p.log_likelihood(bare.x().slice(s![..9, ..]), &options.1))));
    // None in training.
    assert!(matches!(told(train(&bare)), ConditionError::Missing { .. }));
    // Of another kind.
    let class = Condition::Class(Array1::zeros(60));
    let vector = Condition::Vector(Array2::zeros((60, 2)));
    let other = if subject.kind == CLASSES { vector } else { class };
    assert!(matches!(told(trained.given(&other)), ConditionError::Kind { .. }));
    let trained_with = |condition| train(&bare.clone().with_condition(condition).unwrap());
    assert!(matches!(told(trained_with(other)), ConditionError::Kind { .. }));
    if subject.kind == CLASSES {
        // A class that nobody knows.
        let unknown = Condition::Class(Array1::from_shape_fn(60, |row| if row == 4 { 3 } else { 0 }));
        let expected = ConditionError::UnknownClass { row: 4, class: 3, classes: 3 };
        assert_eq!(told(trained.given(&unknown)), expected);
        assert_eq!(told(trained_with(unknown)), expected);
    } else {
        // Too many numbers, and one that is none.
        let wide = Condition::Vector(Array2::zeros((60, 3)));
        let expected = ConditionError::Width { got: 3, expected: 2 };
        assert_eq!(told(trained.given(&wide)), expected);
        assert_eq!(told(trained_with(wide)), expected);
        for bad in [f32::NAN, f32::INFINITY] {
            match trained.given(&Condition::Vector(array![[0.0, 0.0], [0.0, bad]])).err() {
                Some(Error::Data(DataError::NonFinite { what: "condition", row: 1, column: 1, .. })) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
