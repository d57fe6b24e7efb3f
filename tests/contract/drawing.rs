//! What drawing promises.

use quadrivium::engine::RowStreams;
use quadrivium::error::DataError;
use quadrivium::map::Objective;
use quadrivium::numeric::rng::Streams;

use super::*;

pub fn shapes_and_costs_are_as_the_card_says(subject: &Subject) {
    // Usable untrained, and trained.
    for model in [subject.fresh().as_ref(), subject.trained()] {
        let card = model.card();
        assert_eq!(card.likelihood, subject.likelihood);
        assert!(model.num_params() > 0);
        for n in [0, 1, 5, 100] {
            let drawn = sample(model, n, 0);
            assert_eq!(drawn.x.dim(), (n, model.dim()));
            assert!(drawn.x.iter().all(|v| v.is_finite()));
            if n > 0 {
                assert_eq!(drawn.nfe, card.nfe, "counted against predicted");
            }
        }
        for n in [0, 1, 3] {
            let x = moons(3).x().slice(s![..n, ..]).to_owned();
            let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
            assert_eq!(score.kind(), card.likelihood);
            if let Some(nats) = score.nats() {
                assert_eq!(nats.len(), n);
            }
        }
    }
}

pub fn first_rows_do_not_depend_on_how_many_follow(subject: &Subject) {
    let model = subject.trained();
    let all = sample(model, 130, 5).x;
    for k in [1, 47, 48, 49, 129] {
        assert_eq!(sample(model, k, 5).x, all.slice(s![..k, ..]), "{k} rows");
    }
    assert_eq!(joined(&blocks(model, 130, 5)), all);
    // Of any rows alone, from their address.
    let at = RowStreams::new(Streams::from_rng(&mut seeded(5)), 0);
    let mut rows = vec![0.0; 2 * 50];
    model.draw_at(at.skip(60), &SampleOptions::default(), &mut rows).unwrap();
    assert_eq!(rows, all.slice(s![60..110, ..]).iter().copied().collect::<Vec<_>>());
    let some = model.sample_rows(60..110, 5, &SampleOptions::default()).unwrap();
    assert_eq!(some.x, all.slice(s![60..110, ..]));
    let ragged = model.draw_at(at, &SampleOptions::default(), &mut rows[1..]);
    assert!(matches!(ragged, Err(Error::Data(DataError::Shape { .. }))), "{ragged:?}");
    assert_ne!(sample(model, 5, 6).x, all.slice(s![..5, ..]), "another seed, other rows");
}

pub fn long_draw_comes_in_blocks_and_stops_when_told_to(subject: &Subject) {
    let model = subject.fresh();
    let mut first = None;
    let mut sink = |rows: quadrivium::ndarray::ArrayView2<f32>| {
        assert!(first.is_none(), "called again after it said stop");
        first = Some(rows.to_owned());
        ControlFlow::Break(())
    };
    // More rows than one would wait for.
    model.sample_each(1 << 40, &SampleOptions::default(), &mut seeded(5), &mut sink).unwrap();
    let first = first.unwrap();
    assert_eq!(first.slice(s![..100, ..]), sample(model.as_ref(), 100, 5).x);
    // All of more than two blocks, of models that draw them quickly.
    if model.card().nfe <= 2 {
        let blocks = blocks(model.as_ref(), 20_000, 5);
        assert!(blocks.len() > 2 && blocks[0] == first);
        assert!(joined(&blocks) == sample(model.as_ref(), 20_000, 5).x);
    }
}

/// On one round lump, where less randomness can only mean rows nearer to its middle.
pub fn lower_temperature_gives_less_varied_rows(subject: &Subject) {
    let toy =
        Toy::mixture(&[1.0], array![[1.0, -2.0]].view(), array![[[1.0, 0.0], [0.0, 4.0]]].view()).unwrap();
    let data = Dataset::new(toy.sample(500, &mut seeded(1))).unwrap();
    let mut model = subject.fresh();
    model.train(&data, &short(150), &mut seeded(2), &mut NoObserver).unwrap();
    let spread = |temperature: f64| {
        let options = SampleOptions { temperature };
        let x = model.sample(2_000, &options, &mut seeded(0)).unwrap().x;
        x.std_axis(Axis(0), 0.0).sum()
    };
    let ratio = spread(0.2) / spread(1.0);
    // A temperature leaves the centers of components and kernels where they are.
    let card = model.card();
    let any = |objective| std::iter::once(&card).chain(&card.parts).any(|card| card.objective == objective);
    let most = match () {
        () if any(Objective::KernelSmoothing) => 0.999,
        () if any(Objective::ExpectationMaximization) => 0.9,
        () => 0.6,
    };
    assert!(ratio < most, "spread at 0.2 against 1: {ratio}");
}

pub fn every_accepted_temperature_gives_numbers(subject: &Subject) {
    for temperature in [f64::MIN_POSITIVE, 1e6] {
        let options = SampleOptions { temperature };
        let x = subject.trained().sample(50, &options, &mut seeded(1)).unwrap().x;
        assert!(x.iter().all(|x| x.is_finite()), "{temperature}");
    }
    assert!(SampleOptions { temperature: 1.1e6 }.validate().is_err());
}
