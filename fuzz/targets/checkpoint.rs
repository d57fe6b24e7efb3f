//! Checkpoints of a small training: the input says which places of a sound one get which bytes. The sum is put right,
//! so that the training goes on from the numbers, or refuses them by itself.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, process};

use libfuzzer_sys::fuzz_target;
use quadrivium::worlds::Toy;
use quadrivium::*;

/// A VAE with validation, a game, chains.
const MODELS: usize = 3;

fn model(which: usize) -> Box<dyn Generative> {
    let rng = &mut seeded(0);
    let tiny = || NetworkSpec::mlp([2], Activation::Tanh, 0);
    match which {
        0 => {
            let config = VaeConfig { encoder: tiny(), decoder: tiny(), ..Default::default() };
            Box::new(Vae::new(config, rng).unwrap())
        }
        1 => {
            let config = GanConfig { generator: tiny(), critic: tiny(), ..Default::default() };
            Box::new(Gan::new(config, rng).unwrap())
        }
        _ => {
            let training =
                EnergyTraining::PersistentChains { chains: 4, steps: 2, restart: 0.0, magnitude: 0.0 };
            let config = EnergyConfig { network: tiny(), training, ..Default::default() };
            Box::new(EnergyModel::new(config, rng).unwrap())
        }
    }
}

fn train(which: usize, path: &Path, until: usize) -> Result<TrainReport> {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    let data =
        DATA.get_or_init(|| Dataset::new(Toy::moons(0.1).unwrap().sample(30, &mut seeded(1))).unwrap());
    let options = TrainOptions {
        steps: 6,
        batch: 4,
        validation: 0.2,
        validate_every: 2,
        patience: (which == 0).then_some(9),
        checkpoint: Some(Checkpoint { path: path.into(), every: 100 }),
        ..Default::default()
    };
    let mut half = |step: &Step<'_>| match step.step + 1 == until {
        true => std::ops::ControlFlow::Break(()),
        false => std::ops::ControlFlow::Continue(()),
    };
    model(which).train(data, &options, &mut seeded(2), &mut half)
}

/// A folder in memory, where there is one, and the checkpoints after three steps.
fn sound() -> &'static (PathBuf, [Vec<u8>; MODELS]) {
    static SOUND: OnceLock<(PathBuf, [Vec<u8>; MODELS])> = OnceLock::new();
    SOUND.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.into() } else { env::temp_dir() };
        let path = folder.join(format!("quadrivium-fuzz-{}", process::id()));
        let files = std::array::from_fn(|which| {
            train(which, &path, 3).unwrap();
            let file = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            file
        });
        (path, files)
    })
}

fuzz_target!(|bytes: &[u8]| {
    let (path, files) = sound();
    let Some((which, changes)) = bytes.split_first() else { return };
    let which = usize::from(*which) % MODELS;
    let mut file = files[which][..files[which].len() - 8].to_vec();
    for change in changes.chunks_exact(10) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (file.len() - 8);
        file[at..at + 8].copy_from_slice(&change[2..]);
    }
    // What is left over says how much is cut off.
    file.truncate(file.len() - changes.len() % 10);
    // FNV-1a, as the file has it.
    let sum = file.iter().fold(0xCBF2_9CE4_8422_2325_u64, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    file.extend(sum.to_le_bytes());
    fs::write(path, file).unwrap();
    match train(which, path, usize::MAX) {
        Ok(_)
        | Err(Error::File(FileError::Checkpoint { .. }) | Error::Training(TrainingError::Diverged { .. })) => {
        }
        Err(other) => panic!("{other}"),
    }
    fs::remove_file(path).unwrap();
    fs::remove_file(path.with_extension("previous")).unwrap_or_default();
});
