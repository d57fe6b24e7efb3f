//! Files of older formats give the model that they gave to the versions that wrote them.
//!
//! `format1/` holds files that the first version wrote, `format2/` those of later ones, and `expected.json` what they
//! made of them: the bits of three draws and of the log-likelihoods of three rows (none for a model that a condition
//! of numbers is missing from), for each instruction set that they were run on.
#![cfg(feature = "safetensors")]

use std::collections::BTreeMap;
use std::path::Path;

use quadrivium::instruction_set;
use quadrivium::ndarray::Array2;
use quadrivium::persist::{self, Column, Persist};
use quadrivium::prelude::*;
use quadrivium::seeded;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    columns: Vec<(String, f64)>,
    /// By the name of the instruction set.
    answers: BTreeMap<String, Answers>,
}

/// Bits in hexadecimal, separated by spaces.
#[derive(Deserialize)]
struct Answers {
    draws: String,
    nats: String,
}

impl Answers {
    fn draws(&self) -> Vec<f32> {
        self.draws.split(' ').map(|bits| f32::from_bits(u32::from_str_radix(bits, 16).unwrap())).collect()
    }

    fn nats(&self) -> Vec<f64> {
        let bits = self.nats.split_whitespace();
        bits.map(|bits| f64::from_bits(u64::from_str_radix(bits, 16).unwrap())).collect()
    }
}

/// What the model answers today.
fn answers(model: &dyn Persist) -> (Vec<f32>, Vec<f64>) {
    let drawn = model.sample(3, &SampleOptions::default(), &mut seeded(5)).unwrap().x;
    let rows = Array2::from_shape_fn((3, model.dim()), |(i, j)| 0.25 * i as f32 - 0.5 * j as f32);
    let nats = match model.log_likelihood(rows.view(), &LikelihoodOptions::default()) {
        Ok(LogLikelihood::Unnormalized(nats)) => nats.to_vec(),
        Ok(other) => other.nats().map(|nats| nats.to_vec()).unwrap_or_default(),
        Err(Error::Condition(_)) => Vec::new(),
        Err(error) => panic!("{error}"),
    };
    (drawn.iter().copied().collect(), nats)
}

/// What runs the tests on another instruction set is to run on it.
#[test]
fn the_instruction_set_is_the_one_asked_for() {
    if let Ok(asked) = std::env::var("QUADRIVIUM_SIMD") {
        assert_eq!(instruction_set(), asked);
    }
}

/// How far apart the answers may be where they were not recorded: another processor, another mathematical library.
const ELSEWHERE: f64 = 1e-4;

#[test]
fn files_of_format_1_give_the_same_bits() {
    check(1);
}

#[test]
fn files_of_format_2_give_the_same_bits() {
    check(2);
}

fn check(format: u64) {
    let folder = format!("tests/format{format}");
    let folder = Path::new(&folder);
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&text).unwrap();
    let files = std::fs::read_dir(folder).unwrap().count() - 1;
    assert_eq!(files, expected.len(), "each file is expected, and each that is expected is there");

    let mut wrong = Vec::new();
    for (name, Expected { columns, answers: recorded }) in &expected {
        let path = folder.join(format!("{name}.safetensors"));
        assert_eq!(persist::describe(&path).unwrap().format, format, "{name}");
        let (model, found) = persist::load_with(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            found
                .iter()
                .map(|Column { name, width, .. }| (name, width))
                .eq(columns.iter().map(|(n, w)| (n, w)))
        );

        let (draws, nats) = answers(model.as_ref());
        let exact = cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"));
        let same = match recorded.get(instruction_set()) {
            Some(answers) if exact => {
                let draws = draws.iter().map(|v| v.to_bits()).eq(answers.draws().iter().map(|v| v.to_bits()));
                draws && nats.iter().map(|v| v.to_bits()).eq(answers.nats().iter().map(|v| v.to_bits()))
            }
            _ => {
                let answers = &recorded["scalar"];
                let close = |a: f64, b: f64| (a - b).abs() <= ELSEWHERE * (1.0 + b.abs());
                let (drew, gave) = (answers.draws(), answers.nats());
                (draws.len(), nats.len()) == (drew.len(), gave.len())
                    && draws.iter().zip(drew).all(|(&a, b)| close(a.into(), b.into()))
                    && nats.iter().zip(gave).all(|(&a, b)| close(a, b))
            }
        };
        if !same {
            wrong.push(format!("{name}: draws {draws:?}, nats {nats:?}"));
        }

        // Saved again, it is a file of the newest format with the same model.
        let again = persist::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(answers(again.as_ref()), (draws, nats), "{name}");
    }
    assert!(wrong.is_empty(), "on {}, other answers than format {format}'s: {wrong:#?}", instruction_set());
}
