//! What is written down is what is read.

use super::*;
use quadrivium::error::FileError;

pub fn loaded_model_is_the_saved_one_to_the_bit(subject: &Subject) {
    let bits = |model: &dyn Generative| {
        let drawn = sample(model, 60, 5).x.mapv(f32::to_bits);
        let nats = nats(model, &moons(20).x().to_owned()).unwrap_or_default();
        (drawn, nats.into_iter().map(f64::to_bits).collect::<Vec<_>>())
    };
    // The flows that start elsewhere have no file.
    let elsewhere = subject.name.starts_with("flow_matching_from");
    let mut model = subject.fresh();
    // Untrained, trained, and each trained on.
    for steps in [0, 3] {
        if steps > 0 {
            train(model.as_mut(), steps);
        }
        let bytes = match model.to_bytes() {
            Err(Error::File(FileError::Format { what })) if elsewhere => {
                assert!(what.contains("only a Gaussian source can be saved"), "{what}");
                continue;
            }
            saved => saved.unwrap(),
        };
        assert!(!elsewhere);
        let mut loaded = persist::from_bytes(&bytes).unwrap();
        assert_eq!(loaded.card(), model.card());
        assert_eq!(loaded.num_params(), model.num_params());
        assert_eq!(bits(loaded.as_ref()), bits(model.as_ref()));
        assert!(loaded.to_bytes().unwrap() == bytes, "the same file again");
        let (ours, theirs) = (train(model.as_mut(), 2), train(loaded.as_mut(), 2));
        assert_eq!(ours.loss, theirs.loss);
        assert_eq!(bits(loaded.as_ref()), bits(model.as_ref()), "trained on");
    }
}
