//! Trainings that go on from a file: after a kill, and beside files that are not theirs.

use quadrivium::error::{FileError, TrainingError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quadrivium::ndarray::Array2;
use quadrivium::prelude::*;
use quadrivium::rand::RngCore;
use quadrivium::seeded;
use quadrivium::worlds::Toy;
use quadrivium::{Activation, Checkpoint, EnergyTraining, Error, NetworkSpec, Observer, Step, TrainReport};

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quadrivium-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn checkpoint(&self, every: usize) -> Checkpoint {
        Checkpoint { path: self.0.join("checkpoint"), every }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn moons() -> Dataset {
    Dataset::new(Toy::moons(0.1).unwrap().sample(300, &mut seeded(1))).unwrap()
}

#[cfg(not(feature = "safetensors"))]
use quadrivium::Generative as Model;
/// A model that can be a file, where models can.
#[cfg(feature = "safetensors")]
use quadrivium::persist::Persist as Model;

fn drawn(model: &dyn Model) -> Array2<f32> {
    model.sample(20, &SampleOptions::default(), &mut seeded(5)).unwrap().x
}

/// A network under validation and patience, a game, chains that live from step to step, and networks that are told
/// a time or a level of noise.
fn model(name: &str) -> Box<dyn Model> {
    let mut rng = seeded(3);
    match name {
        "VAE" => Box::new(Vae::new(VaeConfig::default(), &mut rng).unwrap()),
        "GAN" => Box::new(Gan::new(GanConfig::default(), &mut rng).unwrap()),
        "EBM" => Box::new(EnergyModel::new(EnergyConfig::default(), &mut rng).unwrap()),
        "flow" => Box::new(Flow::new(FlowConfig::default(), &mut rng).unwrap()),
        "diffusion" => Box::new(Diffusion::new(DiffusionConfig::default(), &mut rng).unwrap()),
        "score" => Box::new(ScoreModel::new(ScoreConfig::default(), &mut rng).unwrap()),
        other => panic!("no model {other}"),
    }
}

fn options(name: &str, steps: usize, checkpoint: Option<Checkpoint>) -> TrainOptions {
    let patience = (name == "VAE").then_some(1000);
    TrainOptions {
        steps,
        batch: 64,
        validation: 0.1,
        validate_every: 7,
        patience,
        checkpoint,
        ..Default::default()
    }
}

/// What a training came to, bit by bit: the report and what can be seen of the model, all its parameters where it
/// can be a file.
fn result(report: &TrainReport, model: &dyn Model) -> Vec<u8> {
    let TrainReport { loss, parts, validation, stop } = report;
    let numbers = loss.iter().chain(parts.iter().flat_map(|(_, part)| part)).copied();
    let numbers = numbers.chain(validation.iter().flat_map(|&(at, loss)| [at as f64, loss]));
    let mut bytes: Vec<u8> = numbers.flat_map(f64::to_le_bytes).collect();
    bytes.extend(format!("{stop:?}").into_bytes());
    bytes.extend(drawn(model).iter().flat_map(|v| v.to_le_bytes()));
    #[cfg(feature = "safetensors")]
    bytes.extend(model.to_bytes().unwrap());
    bytes
}

/// Run by the test below, in a process of its own: after step `halt` it says that it is there, and waits.
#[test]
#[ignore = "a part of the test below, which starts it as a process of its own"]
fn child() {
    let Ok(arguments) = std::env::var("QUADRIVIUM_CHILD") else { return };
    let [name, steps, halt, pace, folder] = arguments.split('\n').collect::<Vec<_>>()[..] else {
        panic!("{arguments}")
    };
    let (steps, halt): (usize, usize) = (steps.parse().unwrap(), halt.parse().unwrap());
    let pace = Duration::from_millis(pace.parse().unwrap());
    let folder = Path::new(folder);
    let options = options(name, steps, Some(Checkpoint { path: folder.join("checkpoint"), every: 4 }));
    let mut model = model(name);
    let mut observer = |step: &Step<'_>| {
        std::thread::sleep(pace);
        if step.step == halt {
            std::fs::write(folder.join("halted"), "").unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
        std::ops::ControlFlow::Continue(())
    };
    let report = model.train(&moons(), &options, &mut seeded(2), &mut observer).unwrap();
    std::fs::write(folder.join("result"), result(&report, &*model)).unwrap();
}

/// The training of `child` as a process of its own, each step at least as many milliseconds long as `pace` says.
fn start(name: &str, steps: usize, halt: usize, pace: usize, folder: &Folder) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored"])
        .env("QUADRIVIUM_CHILD", format!("{name}\n{steps}\n{halt}\n{pace}\n{}", folder.0.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The result of a training that nobody kills.
fn whole(name: &str, steps: usize) -> Vec<u8> {
    let mut model = model(name);
    let report = model.train(&moons(), &options(name, steps, None), &mut seeded(2), &mut NoObserver).unwrap();
    result(&report, &*model)
}

/// The last run of a training that was killed goes to its end, which is this, and leaves nothing else.
fn assert_ends_as(expected: &[u8], name: &str, steps: usize, folder: &Folder) {
    let status = start(name, steps, usize::MAX, 0, folder).wait().unwrap();
    assert!(status.success(), "{name}: {status}");
    assert!(std::fs::read(folder.0.join("result")).unwrap() == expected, "{name} ends elsewhere after kills");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["checkpoint", "checkpoint.previous", "result"], "{name}");
}

#[test]
fn a_killed_training_ends_in_the_same_bits() {
    for name in ["VAE", "GAN", "EBM", "flow", "diffusion", "score"] {
        let steps = 20;
        let expected = whole(name, steps);
        let folder = Folder::new(name);
        // When only the start is written, between two writings, just before one.
        for halt in [2, 9, 15] {
            let mut child = start(name, steps, halt, 0, &folder);
            let halted = folder.0.join("halted");
            while !halted.exists() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(halted.exists(), "{name} ended before step {halt}");
            // SIGKILL, where there are signals.
            child.kill().unwrap();
            assert!(!child.wait().unwrap().success(), "{name}");
            std::fs::remove_file(halted).unwrap();
            // As a kill within a writing leaves it.
            if halt == 9 {
                std::fs::write(folder.0.join(".checkpoint.0123456789abcdef.tmp"), "quadrivium chec").unwrap();
            }
        }
        assert_ends_as(&expected, name, steps, &folder);
    }
}

/// Wherever a kill falls, within a step or a writing: when it falls does not decide how this ends. Each falls on a
/// training that has gone on: so slow a one that none comes to its end first.
#[test]
fn a_training_killed_at_any_moment_ends_in_the_same_bits() {
    let (name, steps) = ("GAN", 200);
    let expected = whole(name, steps);
    let folder = Folder::new("moments");
    let path = folder.checkpoint(1).path;
    let written = || std::fs::read(&path).unwrap_or_default();
    let mut rng = seeded(4);
    for _ in 0..8 {
        let before = written();
        let mut child = start(name, steps, usize::MAX, 20, &folder);
        while written() == before {
            assert!(child.try_wait().unwrap().is_none(), "ended before it was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(rng.next_u64() % 100));
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "ended before it was killed");
    }
    assert!(!folder.0.join("result").exists());
    assert_ends_as(&expected, name, steps, &folder);
}

/// A small model, trained for five steps with a checkpoint in this folder.
fn train(
    folder: &Folder,
    change: impl FnOnce(&mut VaeConfig, &mut TrainOptions, &mut u64, &mut u64),
) -> Result<TrainReport> {
    let mut config = VaeConfig {
        encoder: NetworkSpec::mlp([4], Activation::Tanh, 0),
        decoder: NetworkSpec::mlp([4], Activation::Tanh, 0),
        ..Default::default()
    };
    let mut options = options("small", 5, Some(folder.checkpoint(2)));
    let (mut start, mut seed) = (0, 1);
    change(&mut config, &mut options, &mut start, &mut seed);
    let mut vae = Vae::new(config, &mut seeded(start)).unwrap();
    vae.train(&moons(), &options, &mut seeded(seed), &mut NoObserver)
}

#[test]
fn the_checkpoint_of_another_training_is_refused_by_what_differs() {
    let folder = Folder::new("others");
    let whole = train(&folder, |_, _, _, _| ()).unwrap();
    assert_eq!(train(&folder, |_, _, _, _| ()).unwrap(), whole);
    let refused = |what: &str, report: Result<TrainReport>| match report {
        Err(Error::File(FileError::Checkpoint { what: found, .. })) => {
            assert!(found.contains(what), "{found}: expected {what}")
        }
        other => panic!("{what}: {other:?}"),
    };
    refused("config", train(&folder, |config, _, _, _| config.beta = 0.5));
    refused("config", train(&folder, |config, _, _, _| config.optimizer.lr = 0.5));
    refused("options", train(&folder, |_, options, _, _| options.steps = 6));
    refused("random generator", train(&folder, |_, _, _, seed| *seed = 7));
    refused("parameters at the start", train(&folder, |_, _, start, _| *start = 7));
    // How often it is written is no part of the result.
    let often = |_: &mut VaeConfig, options: &mut TrainOptions, _: &mut u64, _: &mut u64| {
        options.checkpoint = Some(folder.checkpoint(1));
    };
    assert_eq!(train(&folder, often).unwrap(), whole);

    let mut vae = Vae::new(VaeConfig::default(), &mut seeded(0)).unwrap();
    let never = TrainOptions { checkpoint: Some(folder.checkpoint(0)), ..Default::default() };
    let report = vae.train(&moons(), &never, &mut seeded(1), &mut NoObserver);
    assert!(matches!(report, Err(Error::Config { field: "Checkpoint::every", .. })), "{report:?}");
}

#[test]
fn other_rows_are_another_training() {
    let folder = Folder::new("rows");
    let options = options("small", 5, Some(folder.checkpoint(2)));
    let train = |data: Dataset| {
        let mut vae = Vae::new(VaeConfig::default(), &mut seeded(0)).unwrap();
        vae.train(&data, &options, &mut seeded(1), &mut NoObserver)
    };
    train(moons()).unwrap();
    let mut x = moons().x().to_owned();
    x[[17, 1]] += 1e-6;
    let report = train(Dataset::new(x).unwrap());
    assert!(
        matches!(&report, Err(Error::File(FileError::Checkpoint { what, .. })) if what.contains("data")),
        "{report:?}"
    );
}

#[test]
fn damaged_files_are_refused() {
    let folder = Folder::new("damaged");
    train(&folder, |_, _, _, _| ()).unwrap();
    let path = folder.checkpoint(1).path;
    let good = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: String| {
        std::fs::remove_file(previous(&folder)).ok();
        std::fs::write(&path, bytes).unwrap();
        let report = train(&folder, |_, _, _, _| ());
        assert!(matches!(report, Err(Error::File(FileError::Checkpoint { .. }))), "{what}: {report:?}");
    };
    for at in (0..good.len()).step_by(13) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        refused(&bytes, format!("bit flipped in byte {at}"));
        refused(&good[..at], format!("cut at {at}"));
    }
    refused(&[&good[..], b"more"].concat(), "longer".into());
    refused(b"", "empty".into());
    std::fs::write(&path, &good).unwrap();
    train(&folder, |_, _, _, _| ()).unwrap();
}

fn previous(folder: &Folder) -> PathBuf {
    folder.0.join("checkpoint.previous")
}

#[test]
fn a_damaged_file_is_replaced_by_the_one_before() {
    let folder = Folder::new("generations");
    let whole = train(&folder, |_, _, _, _| ()).unwrap();
    let path = folder.checkpoint(1).path;
    for damaged in [&b"quadrivium checkpoint 2\n"[..], b"", &vec![0; 5000]] {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(train(&folder, |_, _, _, _| ()).unwrap(), whole);
        // It was before the end, so the end is written again.
        assert_ne!(std::fs::read(&path).unwrap(), damaged);
    }
    // Who removes the file starts anew.
    std::fs::remove_file(&path).unwrap();
    let mut seen = Vec::new();
    let mut steps = |step: &Step<'_>| {
        seen.push(step.step);
        std::ops::ControlFlow::Continue(())
    };
    let mut vae = Vae::new(VaeConfig::default(), &mut seeded(0)).unwrap();
    let options = options("small", 5, Some(folder.checkpoint(2)));
    vae.train(&moons(), &options, &mut seeded(1), &mut steps).unwrap();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

/// The file with its sum put right, as a forger would.
fn forged(file: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = file[..file.len() - 8].to_vec();
    change(&mut bytes);
    // FNV-1a.
    let sum = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    bytes.extend(sum.to_le_bytes());
    bytes
}

#[test]
fn another_instruction_set_is_told_by_its_name() {
    let folder = Folder::new("instructions");
    train(&folder, |_, _, _, _| ()).unwrap();
    let path = folder.checkpoint(1).path;
    let file = std::fs::read(&path).unwrap();
    std::fs::write(&path, forged(&file, |_| ())).unwrap();
    train(&folder, |_, _, _, _| ()).unwrap();
    std::fs::write(&path, forged(&file, |bytes| bytes[24..32].copy_from_slice(b"sse9    "))).unwrap();
    let error = train(&folder, |_, _, _, _| ()).unwrap_err().to_string();
    let here = format!("{:?} rounds", quadrivium::instruction_set());
    assert!(error.contains("QUADRIVIUM_SIMD=sse9") && error.contains(&here), "{error}");
}

/// Whatever numbers a file with a right sum holds, a training goes on from it or refuses it.
#[test]
fn forged_numbers_do_no_harm() {
    let folder = Folder::new("forged");
    let path = folder.checkpoint(1).path;
    let options = TrainOptions { patience: Some(9), ..options("small", 6, Some(folder.checkpoint(3))) };
    let chains = EnergyTraining::PersistentChains { chains: 4, steps: 2, restart: 0.0, magnitude: 0.0 };
    let energy = EnergyConfig {
        network: NetworkSpec::mlp([2], Activation::Silu, 0),
        training: chains,
        ..Default::default()
    };
    let vae = VaeConfig {
        encoder: NetworkSpec::mlp([2], Activation::Tanh, 0),
        decoder: NetworkSpec::mlp([2], Activation::Tanh, 0),
        ..Default::default()
    };
    let small = |patient: bool| -> Box<dyn Model> {
        match patient {
            true => Box::new(Vae::new(vae.clone(), &mut seeded(0)).unwrap()),
            false => Box::new(EnergyModel::new(energy.clone(), &mut seeded(0)).unwrap()),
        }
    };
    for patient in [true, false] {
        let patience = options.patience.filter(|_| patient);
        let options = TrainOptions { patience, batch: 4, ..options.clone() };
        let train =
            |observer: &mut dyn Observer| small(patient).train(&moons(), &options, &mut seeded(1), observer);
        std::fs::remove_file(&path).ok();
        // In the middle of it.
        let half = |step: &Step<'_>| match step.step {
            2 => std::ops::ControlFlow::Break(()),
            _ => std::ops::ControlFlow::Continue(()),
        };
        train(&mut { half }).unwrap();
        let file = std::fs::read(&path).unwrap();
        let mut went_on = 0;
        for at in (24 + 8 + 7 * 8..file.len() - 16).step_by(4) {
            for number in [u64::MAX, i32::MAX as u64, 1e300f64.to_bits()] {
                let changed = |bytes: &mut Vec<u8>| bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
                std::fs::write(&path, forged(&file, changed)).unwrap();
                match train(&mut NoObserver) {
                    Ok(_) => went_on += 1,
                    Err(
                        Error::File(FileError::Checkpoint { .. })
                        | Error::Training(TrainingError::Diverged { .. }),
                    ) => {}
                    Err(other) => panic!("{number:x} at {at}: {other}"),
                }
            }
        }
        assert!(went_on > 0);
        std::fs::remove_file(previous(&folder)).ok();
    }
}

#[cfg(unix)]
#[test]
fn two_trainings_do_not_share_a_file() {
    let folder = Folder::new("shared");
    let mut refused = 0;
    let mut vae = Vae::new(VaeConfig::default(), &mut seeded(0)).unwrap();
    let options = options("small", 5, Some(folder.checkpoint(2)));
    let mut meanwhile = |_: &Step<'_>| {
        let mut other = Vae::new(VaeConfig::default(), &mut seeded(0)).unwrap();
        match other.train(&moons(), &options, &mut seeded(1), &mut NoObserver) {
            Err(Error::File(FileError::Io { source, .. })) => {
                assert!(source.to_string().contains("another running training"), "{source}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
        std::ops::ControlFlow::Continue(())
    };
    vae.train(&moons(), &options, &mut seeded(1), &mut meanwhile).unwrap();
    assert_eq!(refused, 5);
    // The lock ends with the training, and a file that somebody else put there ends the training.
    let path = folder.checkpoint(1).path;
    std::fs::remove_file(&path).unwrap();
    let mut replaced = |_: &Step<'_>| {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "of another").unwrap();
        std::ops::ControlFlow::Continue(())
    };
    let report = vae.train(&moons(), &options, &mut seeded(1), &mut replaced);
    assert!(matches!(report, Err(Error::File(FileError::Io { .. }))), "{report:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"of another");
}

#[test]
fn the_last_writing_may_fail_and_the_model_is_trained() {
    let folder = Folder::new("last");
    let steps = 6;
    let options = |checkpoint| TrainOptions { patience: None, ..options("VAE", steps, checkpoint) };
    let mut whole = model("VAE");
    whole.train(&moons(), &options(None), &mut seeded(2), &mut NoObserver).unwrap();
    let mut vae = model("VAE");
    let inner = folder.0.join("inner");
    std::fs::create_dir(&inner).unwrap();
    let checkpoint = Checkpoint { path: inner.join("checkpoint"), every: 4 };
    let mut gone = |step: &Step<'_>| {
        if step.step == steps - 1 {
            std::fs::remove_dir_all(&inner).unwrap();
        }
        std::ops::ControlFlow::Continue(())
    };
    let report = vae.train(&moons(), &options(Some(checkpoint)), &mut seeded(2), &mut gone);
    assert!(matches!(report, Err(Error::File(FileError::Io { .. }))), "{report:?}");
    assert_eq!(drawn(&*vae), drawn(&*whole));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_io_error() {
    let folder = Folder::new("nowhere");
    let nowhere = |_: &mut VaeConfig, options: &mut TrainOptions, _: &mut u64, _: &mut u64| {
        options.checkpoint = Some(Checkpoint { path: folder.0.join("none").join("checkpoint"), every: 1 });
    };
    assert!(matches!(train(&folder, nowhere), Err(Error::File(FileError::Io { .. }))));
}
