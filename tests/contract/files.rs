//! What is written down is what is read.

use super::*;

#[cfg(feature = "safetensors")]
#[test]
fn a_loaded_model_is_the_saved_one_to_the_bit() {
    let bits = |model: &dyn Generative| {
        let drawn = sample(model, 60, 5).x.mapv(f32::to_bits);
        let nats = nats(model, &moons(20).x().to_owned()).unwrap_or_default();
        (drawn, nats.into_iter().map(f64::to_bits).collect::<Vec<_>>())
    };
    let mut refused = Vec::new();
    for mut model in models() {
        // Untrained, trained, and each trained on.
        for steps in [0, 3] {
            if steps > 0 {
                train(model.as_mut(), steps);
            }
            let name = name(model.as_ref());
            let bytes = match model.to_bytes() {
                Ok(bytes) => bytes,
                Err(Error::Format { what }) => {
                    assert!(what.contains("only a Gaussian source can be saved"), "{name}: {what}");
                    refused.push((name, steps));
                    continue;
                }
                Err(error) => panic!("{name}: {error}"),
            };
            let mut loaded = persist::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(loaded.card(), model.card());
            assert_eq!(loaded.num_params(), model.num_params(), "{name}");
            assert_eq!(bits(loaded.as_ref()), bits(model.as_ref()), "{name}");
            assert!(loaded.to_bytes().unwrap() == bytes, "{name}: the same file again");
            let (ours, theirs) = (train(model.as_mut(), 2), train(loaded.as_mut(), 2));
            assert_eq!(ours.loss, theirs.loss, "{name}");
            assert_eq!(bits(loaded.as_ref()), bits(model.as_ref()), "{name}, trained on");
        }
    }
    // The flows that start elsewhere, untrained and trained, and no other.
    let elsewhere = ["OT-FM, Heun-5", "FM, Rk4-5"].map(|name| [0, 3].map(|steps| (name.to_string(), steps)));
    assert_eq!(refused, elsewhere.concat());
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bits() {
    let path = std::env::temp_dir().join(format!("quadrivium-contract-{}", std::process::id()));
    let options = TrainOptions { shards: 3, validation: 0.2, validate_every: 3, ..short(11) };
    let resumable =
        TrainOptions { checkpoint: Some(Checkpoint { path: path.clone(), every: 4 }), ..options.clone() };
    let data = moons(200);
    for ((mut whole, mut first), mut second) in models().into_iter().zip(models()).zip(models()) {
        let name = name(&*whole);
        let report = whole.train(&data, &options, &mut seeded(2), &mut Silent).unwrap();
        let mut six = |step: &Step<'_>| {
            if step.step == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        first.train(&data, &resumable, &mut seeded(2), &mut six).unwrap();
        assert_eq!(second.train(&data, &resumable, &mut seeded(2), &mut Silent).unwrap(), report, "{name}");
        assert_eq!(sample(&*second, 20, 4), sample(&*whole, 20, 4), "{name}");
        // The baselines write none.
        std::fs::remove_file(&path).ok();
    }
    std::fs::remove_file(path.with_extension("previous")).unwrap();
}
