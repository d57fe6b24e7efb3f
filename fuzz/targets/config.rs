//! Configs as JSON, behind the name of their kind: what validates makes a model, if it is a small one.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use quadrivium::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|text: &str| -> Corpus {
    let Some((kind, json)) = text.split_once(' ') else { return Corpus::Reject };
    let rng = &mut seeded(0);
    match kind {
        "autoregressive" => {
            check::<AutoregressiveConfig, _>(json, |c| c.validate(), |c| Autoregressive::new(c, rng))
        }
        "diffusion" => check::<DiffusionConfig, _>(json, |c| c.validate(), |c| Diffusion::new(c, rng)),
        "energy" => check::<EnergyConfig, _>(json, |c| c.validate(), |c| EnergyModel::new(c, rng)),
        "flow" => check::<FlowConfig, _>(json, |c| c.validate(), |c| Flow::new(c, rng)),
        "flow_map" => check::<FlowMapConfig, _>(json, |c| c.validate(), |c| FlowMap::new(c, rng)),
        "flow_matching" => {
            check::<FlowMatchingConfig, _>(json, |c| c.validate(), |c| FlowMatching::new(c, rng))
        }
        "gan" => check::<GanConfig, _>(json, |c| c.validate(), |c| Gan::new(c, rng)),
        "gaussian_mixture" => check::<GaussianMixtureConfig, _>(json, |c| c.validate(), GaussianMixture::new),
        "kernel_density" => check::<KernelDensityConfig, _>(json, |c| c.validate(), KernelDensity::new),
        "score" => check::<ScoreConfig, _>(json, |c| c.validate(), |c| ScoreModel::new(c, rng)),
        "vae" => check::<VaeConfig, _>(json, |c| c.validate(), |c| Vae::new(c, rng)),
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

/// The largest text whose model is made: sizes are numbers, so a long number means a large model.
fn is_small(json: &str) -> bool {
    json.split(|c: char| !c.is_ascii_digit()).all(|digits| digits.len() <= 2)
}

fn check<C: DeserializeOwned + Serialize, M: Generative>(
    json: &str,
    validate: impl Fn(&C) -> Result<()>,
    new: impl FnOnce(C) -> Result<M>,
) {
    let Ok(config) = serde_json::from_str::<C>(json) else { return };
    let valid = validate(&config).is_ok();
    let again: C = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    assert_eq!(validate(&again).is_ok(), valid);
    if valid && is_small(json) {
        let model = new(config).unwrap();
        assert!(model.num_params() > 0);
    }
}
